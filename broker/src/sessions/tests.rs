//! Sessions come, go, come back, expire; wills with them.

use gatemq_mqtt::kind;
use gatemq_mqtt::packet::connect;
use gatemq_types::{Actions, Grant, Limits, NoMatch, Protocol, QoS, ReasonCode};

use super::*;
use crate::identity::testing::{free, key, with};
use crate::router::testing::{drain, frame, publish, send, subscribe};
use crate::session::{Ack, Attached, Home, SessionLimits, Spare};
use crate::{Decision, Identity, LeftWill, Out, Tenants, TopicCache, Will, router};

const NEVER: u32 = u32::MAX;

fn none() -> Spare {
    Spare::default()
}

fn out() -> Out {
    Out::new(TopicCache::new(8, 64))
}

fn opening(key: &Arc<SessionKey>, connection: u32, clean_start: bool, expiry_s: u32) -> Opening<'_> {
    let home = Home { worker: 1, connection };
    let limits = SessionLimits::default();
    Opening { key, protocol: Protocol::V5, limits, home, clean_start, expiry_s, will: None }
}

fn connect_will(delay_s: u32, topic: &str) -> connect::Will {
    let (qos, topic) = (QoS::AtLeastOnce, topic.to_owned());
    connect::Will { topic, qos, retain: false, delay_s, properties: Vec::new(), payload: b"gone".to_vec() }
}

fn will(identity: &Identity, delay_s: u32) -> Option<Will> {
    match identity.may_leave_will(&connect_will(delay_s, "will")) {
        Decision::Permit(will) => Some(will),
        other => panic!("{other:?}"),
    }
}

fn lost() -> Leave {
    Leave { publish_will: true, ..Leave::default() }
}

/// Opens, and begins what was resumed.
fn open(sessions: &Sessions, opening: Opening<'_>, now_ms: u64, out: &mut Out) -> Opened {
    let opened = sessions.open(opening, now_ms, &mut none());
    if opened.resumed {
        router::begin(&opened.session, now_ms, &mut out.spare);
    }
    opened
}

fn ack(kind: u8, packet_id: u16) -> Ack {
    Ack { kind, packet_id, reason: ReasonCode::SUCCESS }
}

/// A PUBLISH with that QoS and one byte to topic `a`.
fn message(identity: &Identity, from: &Attached, qos: u8, n: u8, out: &mut Out) {
    send(identity, from, &frame(from.protocol(), 0x30 | qos << 1, "a", &[], &[n]), out);
}

/// First byte, identifier and payload of the PUBLISH packets to topic `a` in `bytes`, and PUBREL as `(0x62, id, 0)`.
fn packets(mut bytes: &[u8], five: bool) -> Vec<(u8, u16, u8)> {
    let mut packets = Vec::new();
    while let [first, len, rest @ ..] = bytes {
        let (body, next) = rest.split_at(usize::from(*len));
        packets.push(match first {
            0x62 => (*first, u16::from_be_bytes([body[0], body[1]]), 0),
            first if first & 6 == 0 => (*first, 0, body[3 + usize::from(five)]),
            first => (*first, u16::from_be_bytes([body[3], body[4]]), body[5 + usize::from(five)]),
        });
        bytes = next;
    }
    packets
}

/// Guards takeover (MQTT-3.1.4-3): the old session gets no more bytes and has no subscriptions, its owner is named once, and
/// its late end does not touch the new one.
#[test]
fn takeover_ends_a_session_without_expiry() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let old = sessions.open(opening(&key, 1, true, 0), 0, &mut none());
    assert_eq!((old.taken_over, old.resumed, old.ended), (None, false, false));
    let old = old.session;
    subscribe(&identity, &old, "a", 0);
    assert_eq!(publish(&identity, &old, "a", &mut out).delivered, 1);
    for clean_start in [false, true] {
        let new = sessions.open(opening(&key, 2, clean_start, 0), 0, &mut none());
        assert!(!new.resumed && new.ended, "it was not to outlive its connection");
        assert!(new.taken_over.is_some());
        assert_eq!(old.take(0, &mut out.spare), None, "what waited is gone");
        assert!(old.is_closed() && !new.session.is_closed());
        assert_eq!(publish(&identity, &new.session, "a", &mut out).delivered, 0);
        assert_eq!(subscribe(&identity, &old, "a", 0), 0x80, "too late");
        let left = sessions.leave(&old, lost(), 0, &mut none());
        assert!(!left.stays && !left.ended);
        assert!(Arc::ptr_eq(&sessions.get(&key).unwrap(), new.session.session()));
    }
    let new = sessions.open(opening(&key, 3, true, 0), 0, &mut none()).session;
    assert!(sessions.leave(&new, lost(), 0, &mut none()).ended);
    assert!(sessions.is_empty() && key.tenant().tree.read().is_empty());
}

/// Guards section 5: the same client identifier of another user or tenant is another session.
#[test]
fn another_user_or_tenant_takes_nothing_over() {
    let tenants = Tenants::new(2);
    let sessions = Sessions::default();
    for (connection, (tenant, user)) in (0..).zip([("one", "u"), ("one", "v"), ("two", "u")]) {
        let tenant = tenants.get_or_create(tenant).unwrap();
        let key = Arc::new(SessionKey::new(tenant, user, "c").unwrap());
        assert_eq!(sessions.open(opening(&key, connection, false, 10), 0, &mut none()).taken_over, None);
        let again = sessions.open(opening(&key, connection + 10, false, 10), 0, &mut none());
        let before = Some(Home { worker: 1, connection });
        assert_eq!((again.taken_over, again.resumed), (before, true), "twin: the same three names");
    }
    assert_eq!(sessions.len(), 3);
}

/// Guards section 7 and 4.4: what was not acknowledged comes again with DUP and its identifier, in the order in which it was
/// sent, PUBREL where PUBREC came; then what was queued while away, without QoS 0; also to another version.
#[test]
fn resumed_in_order() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let one = sessions.open(opening(&key, 1, false, 60), 0, &mut none()).session;
    let from = sessions.open(opening(&crate::identity::testing::key("p"), 9, true, 0), 0, &mut none()).session;
    subscribe(&identity, &one, "a", 2);
    for (n, qos) in [(1, 1), (2, 2), (3, 1), (4, 2), (5, 1), (6, 0)] {
        message(&identity, &from, qos, n, &mut out);
    }
    assert_eq!(packets(&drain(&one, &mut out), true).len(), 6);
    // 1 is done, 2 and 4 are released (4 first), 3 and 5 stay.
    one.settle(&[ack(kind::PUBACK, 1), ack(kind::PUBREC, 4), ack(kind::PUBREC, 2)], 0, &mut Vec::new(), &mut out.spare);
    message(&identity, &from, 1, 7, &mut out);
    assert!(sessions.leave(&one, lost(), 0, &mut none()).stays);
    assert!(one.is_closed() && one.take(0, &mut out.spare).is_none());
    for (n, qos) in [(8, 0), (9, 1), (10, 2)] {
        message(&identity, &from, qos, n, &mut out);
    }
    let three = Opening { protocol: Protocol::V311, ..opening(&key, 2, false, NEVER) };
    let opened = sessions.open(three, 59_999, &mut none());
    assert!(opened.resumed && opened.taken_over.is_none() && !opened.ended);
    let two = opened.session;
    message(&identity, &from, 1, 11, &mut out);
    two.settle(&[], 0, &mut Vec::new(), &mut out.spare);
    assert_eq!(drain(&two, &mut out), [], "nothing before it begins");
    let begun = router::begin(&two, 59_999, &mut out.spare);
    assert_eq!((begun.again, begun.waiting, begun.dropped), (5, 3, 0));
    let got = packets(&drain(&two, &mut out), false);
    let again = [(0x62, 4, 0), (0x62, 2, 0), (0x3A, 3, 3), (0x3A, 5, 5), (0x3A, 1, 7)];
    assert_eq!(got[..5], again, "7 got the identifier of 1");
    assert_eq!(got[5..], [(0x32, 6, 9), (0x34, 7, 10), (0x32, 8, 11)]);
    // All of it is in flight under this connection: acknowledged, it is over.
    let acks = [3, 5, 1, 6, 8].map(|id| ack(kind::PUBACK, id));
    let unknown = two.settle(&acks, 0, &mut Vec::new(), &mut out.spare);
    let rest = [ack(kind::PUBCOMP, 4), ack(kind::PUBCOMP, 2), ack(kind::PUBREC, 7), ack(kind::PUBCOMP, 7)];
    assert_eq!(unknown + two.settle(&rest, 0, &mut Vec::new(), &mut out.spare), 0);
    assert!(sessions.leave(&two, lost(), 59_999, &mut none()).stays);
    let three = open(&sessions, opening(&key, 3, false, 0), 1 << 40, &mut out).session;
    assert_eq!(drain(&three, &mut out), [], "nothing is left, and MQTT 3 never expires here");
}

/// Promise 5: a QoS 2 message that other nodes do not have yet is not acknowledged when it comes again, by whichever connection; when
/// they cannot take it, it is new.
#[test]
fn what_other_nodes_do_not_have_is_not_acknowledged_again() {
    use crate::session::Received;
    let (key, sessions) = (key("c"), Sessions::default());
    sessions.store_from(1);
    for (taken, then) in [(false, Received::New), (true, Received::Repeated)] {
        let one = sessions.open(opening(&key, 1, false, 60), 0, &mut none()).session;
        assert_eq!(one.receive(7, &mut none().changes), Received::New);
        one.forwards(&[7]);
        let two = sessions.open(opening(&key, 2, false, 60), 0, &mut none()).session;
        assert_eq!(two.receive(7, &mut none().changes), Received::UnderWay);
        two.forwarded(&[7], taken);
        assert_eq!(two.receive(7, &mut none().changes), then);
        two.release(7, &mut none().changes);
    }
}

/// Guards the takeover of a live session that outlives its connection: nothing is lost, the old connection can do nothing
/// any more, and identifiers of received QoS 2 messages stay known.
#[test]
fn a_live_session_moves_without_loss() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let limits = SessionLimits { inflight_max: 2, ..SessionLimits::default() };
    let one = sessions.open(Opening { limits, ..opening(&key, 1, false, 60) }, 0, &mut none()).session;
    subscribe(&identity, &one, "a", 1);
    for n in 1..=5 {
        message(&identity, &one, 1, n, &mut out);
    }
    assert_eq!(one.receive(7, &mut none().changes), crate::session::Received::New);
    message(&identity, &one, 0, 6, &mut out);
    assert_eq!((packets(&drain(&one, &mut out), true).len(), one.waiting()), (2, 4));
    let narrower = SessionLimits { inflight_max: 1, ..SessionLimits::default() };
    let two = open(&sessions, Opening { limits: narrower, ..opening(&key, 2, false, 60) }, 0, &mut out);
    assert_eq!((two.taken_over, two.resumed), (Some(Home { worker: 1, connection: 1 }), true));
    let two = two.session;
    assert_eq!(one.take(0, &mut out.spare), None);
    assert_eq!(one.settle(&[ack(kind::PUBACK, 1)], 0, &mut Vec::new(), &mut out.spare), 0);
    assert_eq!(one.receive(8, &mut none().changes), crate::session::Received::TakenOver);
    assert_eq!(subscribe(&identity, &one, "b", 1), 0x80);
    assert!(!sessions.leave(&one, lost(), 0, &mut none()).ended);
    assert_eq!(two.receive(7, &mut none().changes), crate::session::Received::Repeated);
    let mut got = Vec::new();
    while two.has_more() {
        for (first, id, n) in packets(&drain(&two, &mut out), true) {
            got.push((first, n));
            assert!(!two.has_more(), "one at a time: its Receive Maximum is 1 now");
            two.settle(&[ack(kind::PUBACK, id)], 0, &mut Vec::new(), &mut out.spare);
        }
    }
    assert_eq!(got, [(0x3A, 1), (0x3A, 2), (0x32, 3), (0x32, 4), (0x32, 5)], "and no QoS 0 of before");
}

/// Guards 4.1: while its client is away a session keeps no QoS 0, also not what waited when it went.
#[test]
fn qos_0_goes_with_the_connection() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let limits = SessionLimits { inflight_max: 1, ..SessionLimits::default() };
    let one = sessions.open(Opening { limits, ..opening(&key, 1, false, 60) }, 0, &mut none()).session;
    subscribe(&identity, &one, "a", 1);
    for (n, qos) in [(1, 1), (2, 1), (3, 0), (4, 0)] {
        message(&identity, &one, qos, n, &mut out);
    }
    assert_eq!(one.waiting(), 3);
    assert!(sessions.leave(&one, lost(), 0, &mut none()).stays);
    message(&identity, &one, 0, 5, &mut out);
    assert_eq!(one.session().waiting(), 1);
}

/// Guards the window of a resumed session: what is acknowledged before it was sent again is over, and takes no room from
/// what is sent.
#[test]
fn acknowledged_before_it_is_sent_again() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let one = sessions.open(opening(&key, 1, false, 60), 0, &mut none()).session;
    subscribe(&identity, &one, "a", 2);
    for (n, qos) in [(1, 1), (2, 1), (3, 2), (4, 2)] {
        message(&identity, &one, qos, n, &mut out);
    }
    let limits = SessionLimits { inflight_max: 1, ..SessionLimits::default() };
    let two = open(&sessions, Opening { limits, ..opening(&key, 2, false, 60) }, 0, &mut out).session;
    let early = [ack(kind::PUBACK, 2), ack(kind::PUBREC, 3)];
    assert_eq!(two.settle(&early, 0, &mut Vec::new(), &mut out.spare), 0);
    assert_eq!(packets(&drain(&two, &mut out), true), [(0x3A, 1, 1)]);
    two.settle(&[ack(kind::PUBACK, 1)], 0, &mut Vec::new(), &mut out.spare);
    assert_eq!(drain(&two, &mut out), [], "3 is in flight until its PUBCOMP");
    two.settle(&[ack(kind::PUBCOMP, 3)], 0, &mut Vec::new(), &mut out.spare);
    assert_eq!(packets(&drain(&two, &mut out), true), [(0x3C, 4, 4)]);
    message(&identity, &two, 1, 5, &mut out);
    assert_eq!(drain(&two, &mut out), [], "one at a time");
}

/// Guards 3.1.2.11.2: a session ends when its time is over, not before, swept or not, and its subscriptions with it.
#[test]
fn expiry_ends_a_session() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    for swept in [false, true] {
        let one = sessions.open(opening(&key, 1, true, 5), 0, &mut none()).session;
        subscribe(&identity, &one, "a", 1);
        // DISCONNECT gives it another expiry.
        assert!(sessions.leave(&one, Leave { expiry_s: Some(10), ..Leave::default() }, 1_000, &mut none()).stays);
        assert!(sessions.sweep(10_999, 100, &mut none()).expired.is_empty());
        if swept {
            assert_eq!(sessions.sweep(11_000, 100, &mut none()).expired.len(), 1);
            assert!(sessions.is_empty() && key.tenant().tree.read().is_empty());
        }
        let two = open(&sessions, opening(&key, 2, false, 5), 11_000, &mut out);
        assert_eq!((two.resumed, two.ended), (false, !swept));
        assert_eq!((two.session.subscriptions(), sessions.detached()), (0, 0));
        assert!(sessions.leave(&two.session, Leave { expiry_s: Some(0), ..Leave::default() }, 0, &mut none()).ended);
    }
    let one = sessions.open(opening(&key, 1, true, 0), 0, &mut none()).session;
    assert!(
        sessions.leave(&one, Leave { expiry_s: Some(10), ..Leave::default() }, 0, &mut none()).ended,
        "cannot be raised from 0"
    );
}

/// Guards MQTT-3.1.2-4: Clean Start ends the session that is away, whatever its expiry.
#[test]
fn clean_start_ends_what_is_away() {
    let key = key("c");
    let (identity, sessions) = (free(&key), Sessions::default());
    let one = sessions.open(opening(&key, 1, false, NEVER), 0, &mut none()).session;
    subscribe(&identity, &one, "a", 1);
    assert!(sessions.leave(&one, Leave::default(), 0, &mut none()).stays);
    let two = sessions.open(opening(&key, 2, true, NEVER), 0, &mut none());
    assert!(!two.resumed && two.ended && two.taken_over.is_none());
    assert_eq!((sessions.len(), sessions.detached(), two.session.subscriptions()), (1, 0, 0));
    assert!(key.tenant().tree.read().is_empty());
}

/// Guards the bound on sessions that are away: the one that expires first goes, is named, and its will is published; and a
/// sweep does no more than it was asked to.
#[test]
fn sessions_away_are_bounded() {
    let sessions = Sessions::new(2);
    for (connection, (client, expiry_s)) in (0..).zip([("a", NEVER), ("b", 20), ("c", 30), ("d", 10)]) {
        let key = key(client);
        let will = will(&free(&key), 5);
        let one = sessions.open(Opening { will, ..opening(&key, connection, false, expiry_s) }, 0, &mut none()).session;
        let left = sessions.leave(&one, lost(), 0, &mut none());
        let evicted = left.evicted.as_ref().map(|session| session.key().client_id().to_owned());
        let expect = match client {
            "c" => Some("b"),
            "d" => Some("d"),
            _ => None,
        };
        assert_eq!(
            (evicted.as_deref(), left.stays, left.wills.len()),
            (expect, client != "d", usize::from(expect.is_some()))
        );
        assert_eq!(sessions.len(), sessions.detached());
    }
    assert_eq!(sessions.detached(), 2);
    let swept = sessions.sweep(u64::MAX - 1, 1, &mut none());
    assert_eq!((swept.expired.len(), swept.wills.len(), swept.more), (1, 2, true));
    let swept = sessions.sweep(u64::MAX - 1, 1, &mut none());
    assert_eq!((swept.expired.len(), swept.wills.len(), sessions.detached()), (0, 0, 1), "one never expires");
}

/// What a subscriber of `will` gets.
fn published(wills: impl IntoIterator<Item = LeftWill>, to: &Attached, out: &mut Out) -> usize {
    for left in wills {
        router::publish_will(&left, 0, out).unwrap();
    }
    drain(to, out).len() / frame(Protocol::V5, 0x32, "will", &[], b"gone").len()
}

/// Guards 3.1.2.5 and MQTT-3.1.3-9: when a will is published, and when not.
#[test]
fn wills_are_published_in_time() {
    let (key, watcher) = (key("c"), key("w"));
    let watcher = Arc::new(SessionKey::new(key.tenant().clone(), watcher.user(), "w").unwrap());
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let to = sessions.open(opening(&watcher, 9, true, 0), 0, &mut none()).session;
    subscribe(&free(&watcher), &to, "will", 1);
    let to = &to;
    let open = |delay_s, expiry_s| {
        let opening = Opening { will: will(&identity, delay_s), ..opening(&key, 1, false, expiry_s) };
        sessions.open(opening, 0, &mut none())
    };
    // Without delay: at once, whether or not the session stays. Not after a goodbye.
    for expiry_s in [0, 10] {
        assert_eq!(
            published(sessions.leave(&open(0, expiry_s).session, lost(), 0, &mut none()).wills, to, &mut out),
            1
        );
        assert_eq!(
            published(sessions.leave(&open(0, expiry_s).session, Leave::default(), 0, &mut none()).wills, to, &mut out),
            0
        );
        // Ends what was away.
        let ended = sessions.open(opening(&key, 1, true, 0), 0, &mut none());
        assert_eq!(published(ended.will, to, &mut out), 0);
        assert!(sessions.leave(&ended.session, Leave::default(), 0, &mut none()).ended);
    }
    // With delay: when it is over, once.
    assert!(sessions.leave(&open(5, 10).session, lost(), 0, &mut none()).wills.is_empty());
    assert_eq!(published(sessions.sweep(4_999, 10, &mut none()).wills, to, &mut out), 0);
    assert_eq!(published(sessions.sweep(5_000, 10, &mut none()).wills, to, &mut out), 1);
    let swept = sessions.sweep(10_000, 10, &mut none());
    assert_eq!((swept.expired.len(), published(swept.wills, to, &mut out)), (1, 0));
    // The session's end comes first: then.
    assert!(sessions.leave(&open(50, 10).session, lost(), 0, &mut none()).wills.is_empty());
    assert_eq!(published(sessions.sweep(10_000, 10, &mut none()).wills, to, &mut out), 1);
    assert_eq!(published(sessions.leave(&open(50, 0).session, lost(), 0, &mut none()).wills, to, &mut out), 1);
    // The client is back before: never.
    assert!(sessions.leave(&open(5, 10).session, lost(), 0, &mut none()).wills.is_empty());
    let again = Opening { will: will(&identity, 5), ..opening(&key, 2, false, 10) };
    let back = sessions.open(again, 4_999, &mut none());
    assert!(back.resumed && back.will.is_none());
    assert!(sessions.sweep(5_000, 10, &mut none()).wills.is_empty(), "nor is the one that it brings");
    let back = sessions.open(opening(&key, 2, false, 10), 5_000, &mut none());
    assert!(sessions.leave(&back.session, lost(), 4_999, &mut none()).wills.is_empty(), "it left none this time");
    assert!(sessions.sweep(9_000, 10, &mut none()).wills.is_empty());
    // It comes back with Clean Start: the session ends, at once.
    let cleaned = sessions.open(opening(&key, 2, true, 10), 9_000, &mut none());
    assert!(sessions.leave(&cleaned.session, Leave { end: true, ..lost() }, 0, &mut none()).ended);
    assert!(sessions.leave(&open(5, 10).session, lost(), 0, &mut none()).wills.is_empty());
    let cleaned = sessions.open(opening(&key, 2, true, 0), 1_000, &mut none());
    assert_eq!(published(cleaned.will, to, &mut out), 1);
    assert!(sessions.leave(&cleaned.session, lost(), 0, &mut none()).ended);
    // Taken over: at once without delay, else not, as its session goes on; and the end of the old connection adds nothing.
    for (delay_s, expiry_s, count) in [(0, 10, 1), (5, 10, 0), (0, 0, 1), (5, 0, 1)] {
        let one = open(delay_s, expiry_s).session;
        let two = sessions.open(opening(&key, 2, false, 0), 0, &mut none());
        assert_eq!(published(two.will, to, &mut out), count, "{delay_s} {expiry_s}");
        assert!(sessions.leave(&one, lost(), 0, &mut none()).wills.is_empty());
        assert!(sessions.leave(&two.session, lost(), 0, &mut none()).wills.is_empty());
        assert!(sessions.sweep(100_000, 10, &mut none()).wills.is_empty());
    }
}

/// Guards section 5: a will needs the grant when it is left and when it is published, and a provider's leave ends when
/// the identity is replaced.
#[test]
fn a_will_needs_leave_twice() {
    let key = key("c");
    let sessions = Sessions::default();
    let rules = [
        Grant::allow(Actions::WILL, "will"),
        Grant::allow(Actions::WILL, "$SYS/#"),
        Grant::ask(Actions::WILL, "asked"),
        Grant::allow(Actions::PUBLISH, "#"),
    ];
    let identity = with(&key, &rules, NoMatch::Deny, &Limits::default());
    let denied = |identity: &Identity, topic| match identity.may_leave_will(&connect_will(0, topic)) {
        Decision::Denied(code) => Some(code.0),
        _ => None,
    };
    assert_eq!(
        (denied(&identity, "will"), denied(&identity, "other"), denied(&identity, "$SYS/x")),
        (None, Some(0x87), Some(0x87))
    );
    for (limits, code) in [
        (Limits { will_allowed: Some(0), ..Limits::default() }, 0x87),
        (Limits { qos_max: Some(0), ..Limits::default() }, 0x9B),
    ] {
        assert_eq!(denied(&with(&key, &rules, NoMatch::Deny, &limits), "will"), Some(code));
    }
    let asked = connect_will(0, "asked");
    let Decision::Ask(question) = identity.may_leave_will(&asked) else { panic!("asked") };
    let allow = gatemq_types::Verdict::allow(std::time::Duration::ZERO);
    assert!(matches!(identity.answer_will(&asked, question, &gatemq_types::Verdict::deny("no")), Decision::Denied(_)));
    let nothing = with(&key, &[], NoMatch::Deny, &Limits::default());
    for (replacement, works) in [(None, true), (Some(&identity), false), (Some(&nothing), false)] {
        let Decision::Permit(will) = identity.answer_will(&asked, question, &allow) else { panic!("allowed") };
        let one = sessions.open(Opening { will: Some(will), ..opening(&key, 1, true, 0) }, 0, &mut none()).session;
        if let Some(replacement) = replacement {
            one.replace_will_identity(replacement);
        }
        let left = sessions.leave(&one, lost(), 0, &mut none()).wills.pop().unwrap();
        assert_eq!(router::publish_will(&left, 0, &mut out()).is_ok(), works);
    }
}

/// Guards section 5: a session that comes back with other grants sends nothing of what it may not have any more, neither
/// queued nor in flight, and keeps the rest.
#[test]
fn what_may_not_be_had_any_more_is_not_sent() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let one = sessions.open(opening(&key, 1, false, 60), 0, &mut none()).session;
    for filter in ["a", "s/#", "s/open", "q", "asked"] {
        subscribe(&identity, &one, filter, 1);
    }
    let publish = |topic: &str, out: &mut Out| {
        send(&identity, &one, &frame(Protocol::V5, 0x32, topic, &[], topic.as_bytes()), out);
    };
    for topic in ["a", "s/x"] {
        publish(topic, &mut out);
    }
    drain(&one, &mut out);
    assert!(sessions.leave(&one, lost(), 0, &mut none()).stays);
    for topic in ["s/x", "s/open", "a", "asked"] {
        publish(topic, &mut out);
    }
    let capped = gatemq_types::Constraints { qos_max: QoS::AtMostOnce, ..Default::default() };
    let rules = [
        Grant::ask(Actions::SUBSCRIBE, "asked"),
        Grant { constraints: capped, ..Grant::allow(Actions::SUBSCRIBE, "q") },
        Grant::allow(Actions::SUBSCRIBE, "a"),
        Grant::allow(Actions::SUBSCRIBE, "s/open"),
    ];
    let narrower = with(&key, &rules, NoMatch::Deny, &Limits::default());
    let two = sessions.open(opening(&key, 2, false, 60), 0, &mut none()).session;
    let found = router::recheck(&narrower, &two, &mut none().changes);
    assert_eq!((found.kept, found.revoked), (3, vec![("s/#".to_owned(), ReasonCode::NOT_AUTHORIZED)]));
    assert_eq!(found.ask.iter().map(|a| &*a.filter).collect::<Vec<_>>(), ["asked"]);
    assert!(
        router::revoke(&two, "asked", &mut none().changes)
            && !router::revoke(&two, "asked", &mut none().changes)
            && !router::revoke(&one, "a", &mut none().changes)
    );
    let begun = router::begin(&two, 0, &mut out.spare);
    assert_eq!((begun.again, begun.waiting, begun.dropped), (1, 3, 3), "s/open came by two subscriptions");
    let text = String::from_utf8_lossy(&drain(&two, &mut out)).into_owned();
    assert!(!text.contains("s/x") && !text.contains("asked") && text.contains("s/open"), "{text}");
    assert_eq!(two.subscriptions(), 3);
    send(&identity, &two, &frame(Protocol::V5, 0x32, "q", &[], b"x"), &mut out);
    assert_eq!(drain(&two, &mut out)[0], 0x30, "at the QoS that it may have now");
    // Twin: with the same grants nothing changes.
    let three = sessions.open(opening(&key, 3, false, 60), 0, &mut none()).session;
    assert_eq!(router::recheck(&identity, &three, &mut none().changes).kept, 3);
    assert_eq!(router::begin(&three, 0, &mut out.spare).again, 4);
}

/// Guards MQTT-3.3.2-5 and -6: what expires while its receiver is away is not sent, and the rest says what remains.
#[test]
fn messages_expire_while_away() {
    let key = key("c");
    let (identity, sessions, mut out) = (free(&key), Sessions::default(), out());
    let one = sessions.open(opening(&key, 1, false, 60), 0, &mut none()).session;
    subscribe(&identity, &one, "a", 1);
    assert!(sessions.leave(&one, lost(), 0, &mut none()).stays);
    for seconds in [5, 10] {
        send(&identity, &one, &frame(Protocol::V5, 0x32, "a", &[2, 0, 0, 0, seconds], b"x"), &mut out);
    }
    let two = open(&sessions, opening(&key, 2, false, 60), 7_000, &mut out).session;
    let mut expected = frame(Protocol::V5, 0x32, "a", &[2, 0, 0, 0, 3], b"x");
    expected[6] = 1;
    // Taken some time later: it was bytes already.
    assert_eq!((drain(&two, &mut out), two.dropped()), (expected, 1));
}
