//! Tests of shared subscriptions (4.8.2).

use std::sync::Arc;

use gatemq_mqtt::kind;
use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, Protocol, ReasonCode};

use super::testing::{drain, frame, publish, send, subscribe, unsubscribe};
use crate::identity::testing::{key, with};
use crate::session::Ack;
use crate::sessions::{Leave, Opening};
use crate::{Attached, Home, Identity, Out, SessionKey, SessionLimits, Sessions, Tenants, TopicCache, router};

fn out() -> Out {
    Out::new(TopicCache::new(8, 64))
}

fn identity(key: &Arc<SessionKey>) -> Identity {
    let groups = Constraints { share_groups: vec!["*".into()], ..Constraints::default() };
    let rules = [Grant { constraints: groups, ..Grant::allow(Actions::ALL, "#") }];
    with(key, &rules, NoMatch::Deny, &Limits::default())
}

fn member(identity: &Identity, n: u32, limits: SessionLimits) -> Attached {
    let home = Home { worker: 0, connection: n };
    Attached::alone(identity.key().clone(), Protocol::V5, limits, home)
}

fn message(identity: &Identity, from: &Attached, qos: u8, n: u8, out: &mut Out) -> super::Routed {
    send(identity, from, &frame(from.protocol(), 0x30 | qos << 1, "t", &[], &[n]), out)
}

/// Payloads of what a session has, one byte each.
fn payloads(session: &Attached, out: &mut Out) -> Vec<u8> {
    let bytes = drain(session, out);
    let mut rest = &bytes[..];
    let mut payloads = Vec::new();
    while let [_, len, more @ ..] = rest {
        let (body, next) = more.split_at(usize::from(*len));
        payloads.extend(body.last());
        rest = next;
    }
    payloads
}

fn acknowledge(session: &Attached, packet_id: u16, out: &mut Out) {
    let ack = Ack { kind: kind::PUBACK, packet_id, reason: ReasonCode::SUCCESS };
    assert_eq!(session.settle(&[ack], 0, &mut Vec::new(), &mut out.spare), 0);
}

/// Guards 4.8.2: one member each, in turn, at the QoS of each (MQTT-4.8.2-3); groups of another name or filter, and plain
/// subscriptions, get their own copy; who leaves is not counted on.
#[test]
fn one_member_each_in_turn() {
    let identity = identity(&key("c"));
    let mut out = out();
    let limits = SessionLimits::default();
    let members: Vec<_> = (0..3).map(|n| member(&identity, n, limits)).collect();
    for (n, one) in (0..).zip(&members) {
        assert_eq!(subscribe(&identity, one, "$share/g/t", n), n);
        assert_eq!(subscribe(&identity, one, "$share/g/t", n), n, "replaced");
        assert_eq!(one.subscriptions(), 1);
    }
    let [other, third, plain] = [10, 11, 12].map(|n| member(&identity, n, limits));
    subscribe(&identity, &other, "$share/h/t", 0);
    subscribe(&identity, &third, "$share/g/+", 0);
    subscribe(&identity, &plain, "t", 0);
    for n in 0..6 {
        assert_eq!(message(&identity, &plain, 2, n, &mut out).delivered, 4);
    }
    assert_eq!(out.armed.len(), 6, "each told once");
    for (n, one) in (0..).zip(&members) {
        let bytes = drain(one, &mut out);
        assert_eq!((bytes[0], bytes[bytes.len() - 1] - 3), (0x30 | n << 1, n), "the first of two, and the second");
    }
    for all in [&other, &third, &plain] {
        assert_eq!(payloads(all, &mut out), [0, 1, 2, 3, 4, 5]);
    }
    assert_eq!(unsubscribe(&identity, &members[0], "$share/g/t"), 0);
    assert_eq!(unsubscribe(&identity, &members[0], "$share/g/t"), 0x11);
    router::close(members[1].session(), 0, &mut Vec::new(), &mut Default::default());
    for n in 0..4 {
        message(&identity, &plain, 0, n, &mut out);
    }
    assert_eq!(payloads(&members[2], &mut out), [1, 4, 0, 1, 2, 3], "what the one that ended had not acknowledged too");
    for one in [&members[2], &other, &third, &plain] {
        router::close(one.session(), 0, &mut Vec::new(), &mut Default::default());
    }
    assert!(identity.tenant().tree.read().is_empty());
}

/// Guards promise 6 among members: one that never reads and never acknowledges holds back what it was sent, within its
/// window and its output, and nothing that others could have; at every QoS.
#[test]
fn who_never_reads_takes_nothing_from_the_others() {
    for qos in [0, 1, 2] {
        let identity = identity(&key("c"));
        let mut out = out();
        let limits = SessionLimits { inflight_max: 2, ..SessionLimits::default() };
        let (silent, reads) = (member(&identity, 1, limits), member(&identity, 2, limits));
        for one in [&silent, &reads] {
            subscribe(&identity, one, "$share/g/t", qos);
        }
        let from = member(&identity, 3, limits);
        // Large ones, so that its output is full at QoS 0 too.
        let payload = [7; 30_000];
        let send = |out: &mut Out| {
            let sent = send(&identity, &from, &frame(Protocol::V5, 0x30 | qos << 1, "t", &[], &payload), out);
            assert_eq!((sent.delivered, sent.dropped), (1, 0));
        };
        // A burst that nobody reads: what exceeds both waits for whoever comes first.
        for _ in 0..20 {
            send(&mut out);
        }
        let mut got = 0;
        while let Some(bytes) = reads.take(0, &mut out.spare) {
            for packet_id in 1..=2 {
                let ack = |kind| Ack { kind, packet_id, reason: ReasonCode::SUCCESS };
                let kinds = [&[][..], &[kind::PUBACK], &[kind::PUBREC, kind::PUBCOMP]][usize::from(qos)];
                let acks: Vec<_> = kinds.iter().map(|kind| ack(*kind)).collect();
                reads.settle(&acks, 0, &mut Vec::new(), &mut out.spare);
            }
            got += bytes.len() / payload.len();
        }
        assert_eq!(got, 18, "all but two, at QoS {qos}");
        for _ in 0..20 {
            send(&mut out);
            let bytes = reads.take(0, &mut out.spare).expect("it is there at once");
            assert_eq!(bytes.len() / payload.len(), 1);
            for kind in [kind::PUBACK, kind::PUBREC, kind::PUBCOMP] {
                for packet_id in 1..=2 {
                    let ack = Ack { kind, packet_id, reason: ReasonCode::SUCCESS };
                    reads.settle(&[ack], 0, &mut Vec::new(), &mut out.spare);
                }
            }
        }
        assert_eq!(drain(&silent, &mut out).len() / payload.len(), 2);
    }
}

fn open(sessions: &Sessions, identity: &Identity, connection: u32, clean_start: bool, out: &mut Out) -> Attached {
    let home = Home { worker: 0, connection };
    let limits = SessionLimits { inflight_max: 3, ..SessionLimits::default() };
    let key = identity.key();
    let opening = Opening { key, protocol: Protocol::V5, limits, home, clean_start, expiry_s: 60, will: None };
    let opened = sessions.open(opening, 0, &mut Default::default());
    out.armed.extend(opened.armed);
    if opened.resumed {
        router::begin(&opened.session, 0, &mut out.spare);
    }
    opened.session
}

/// Guards section 7: members that are away get nothing while another is connected; when none is, QoS 1 and 2 wait for the
/// first that comes back and QoS 0 for nobody.
#[test]
fn who_is_away_gets_what_nobody_else_could() {
    let tenants = Tenants::new(1);
    let tenant = tenants.get_or_create("t").unwrap();
    let of = |id: &str| identity(&Arc::new(SessionKey::new(tenant.clone(), "user", id).unwrap()));
    let (one, two) = (of("one"), of("two"));
    let (sessions, mut out) = (Sessions::default(), out());
    let [first, second] = [(&one, 1), (&two, 2)].map(|(identity, n)| {
        let session = open(&sessions, identity, n, false, &mut out);
        subscribe(identity, &session, "$share/g/t", 2);
        session
    });
    let from = member(&one, 9, SessionLimits::default());
    assert!(sessions.leave(&first, Leave::default(), 0, &mut Default::default()).stays);
    for n in 0..3 {
        assert_eq!(message(&one, &from, 1, n, &mut out).delivered, 1);
    }
    assert_eq!(payloads(&second, &mut out), [0, 1, 2]);
    assert_eq!(first.waiting(), 0);
    assert!(sessions.leave(&second, Leave::default(), 0, &mut Default::default()).stays);
    for (qos, n, reached) in [(1, 3, 1), (0, 4, 0), (2, 5, 1), (0, 6, 0)] {
        assert_eq!(message(&one, &from, qos, n, &mut out).delivered, reached);
    }
    let first = open(&sessions, &one, 1, false, &mut out);
    assert_eq!(payloads(&first, &mut out), [3, 5]);
    let second = open(&sessions, &two, 2, false, &mut out);
    assert_eq!(payloads(&second, &mut out), [0, 1, 2], "what it had been sent stays with it");
}

/// Guards MQTT-4.8.2-4 to -6: when a session ends, its QoS 1 messages go to another member, in order and before what came
/// later, and its connection is named; QoS 2 does not, and what the client refused goes to nobody.
#[test]
fn when_a_session_ends_qos_1_moves() {
    for ends in ["takeover", "leave", "expiry"] {
        let tenants = Tenants::new(1);
        let tenant = tenants.get_or_create("t").unwrap();
        let of = |id: &str| identity(&Arc::new(SessionKey::new(tenant.clone(), "user", id).unwrap()));
        let (one, two) = (of("one"), of("two"));
        let (sessions, mut out) = (Sessions::default(), out());
        let first = open(&sessions, &one, 1, false, &mut out);
        subscribe(&one, &first, "$share/g/t", 2);
        let from = member(&one, 9, SessionLimits::default());
        for (qos, n) in [(1, 1), (2, 2), (1, 3), (1, 4), (1, 5)] {
            message(&one, &from, qos, n, &mut out);
        }
        assert_eq!(payloads(&first, &mut out), [1, 2, 3], "its window");
        let refused = Ack { kind: kind::PUBACK, packet_id: 3, reason: ReasonCode::QUOTA_EXCEEDED };
        first.settle(&[refused], 0, &mut Vec::new(), &mut out.spare);
        assert_eq!(payloads(&first, &mut out), [4]);
        let second = open(&sessions, &two, 2, false, &mut out);
        subscribe(&two, &second, "$share/g/t", 1);
        assert_eq!(payloads(&second, &mut out), [5], "what was not sent goes to who has room");
        acknowledge(&second, 1, &mut out);
        let armed = match ends {
            "takeover" => sessions.open(opening_clean(&one), 0, &mut Default::default()).armed,
            "leave" => {
                sessions.leave(&first, Leave { end: true, ..Leave::default() }, 0, &mut Default::default()).armed
            }
            _ => {
                assert!(
                    sessions.leave(&first, Leave::default(), 0, &mut Default::default()).armed.is_empty(),
                    "it may come back"
                );
                assert_eq!(payloads(&second, &mut out), []);
                sessions.sweep(60_000, 10, &mut Default::default()).armed
            }
        };
        assert_eq!(armed, [Home { worker: 0, connection: 2 }], "{ends}");
        let bytes = drain(&second, &mut out);
        assert!(bytes.chunks(9).all(|packet| packet[0] == 0x32), "not sent to it before");
        assert_eq!(bytes.chunks(9).map(|packet| packet[8]).collect::<Vec<_>>(), [1, 4], "{ends}");
    }
}

fn opening_clean(identity: &Identity) -> Opening<'_> {
    let (limits, home) = (SessionLimits::default(), Home { worker: 0, connection: 5 });
    let key = identity.key();
    Opening { key, protocol: Protocol::V5, limits, home, clean_start: true, expiry_s: 0, will: None }
}

/// Guards the bounds of what waits in a group: messages, bytes, and the time of each; beyond them it is dropped and
/// counted, and what leaves makes room.
#[test]
fn what_waits_is_bounded() {
    for (queue_messages_max, queue_bytes_max) in [(3, 1 << 20), (1 << 20, 3 * 2 + 1)] {
        let identity = identity(&key("c"));
        let mut out = out();
        let limits = SessionLimits { inflight_max: 1, queue_messages_max, queue_bytes_max, ..SessionLimits::default() };
        let one = member(&identity, 1, limits);
        subscribe(&identity, &one, "$share/g/t", 1);
        let from = member(&identity, 2, limits);
        let reached = |n, out: &mut Out| message(&identity, &from, 1, n, out).delivered;
        let all: Vec<_> = (0..6).map(|n| reached(n, &mut out)).collect();
        assert_eq!((all, out.dropped), (vec![1, 1, 1, 1, 0, 0], 2));
        assert_eq!(identity.tenant().usage().queue_bytes, 6);
        assert_eq!(payloads(&one, &mut out), [0]);
        acknowledge(&one, 1, &mut out);
        assert_eq!((reached(9, &mut out), reached(10, &mut out)), (1, 0));
        for n in [1, 2, 3, 9] {
            assert_eq!(payloads(&one, &mut out), [n]);
            acknowledge(&one, 1, &mut out);
        }
        let expiring = frame(Protocol::V5, 0x32, "t", &[2, 0, 0, 0, 10], b"x");
        for _ in 0..2 {
            send(&identity, &from, &expiring, &mut out);
        }
        drain(&one, &mut out);
        let ack = Ack { kind: kind::PUBACK, packet_id: 1, reason: ReasonCode::SUCCESS };
        one.settle(&[ack], 10_000, &mut Vec::new(), &mut out.spare);
        assert_eq!((one.take(10_000, &mut out.spare), one.dropped()), (None, 1), "its time is over");
        assert_eq!(identity.tenant().usage().queue_bytes, 0);
    }
}

/// Guards 3.1.2.11.4: a member that takes only small packets is passed over, and what none of them takes is dropped and not
/// waited with.
#[test]
fn who_takes_small_packets_is_passed_over() {
    let identity = identity(&key("c"));
    let mut out = out();
    let small = member(&identity, 1, SessionLimits { packet_bytes_max: 20, ..SessionLimits::default() });
    let any = member(&identity, 2, SessionLimits::default());
    subscribe(&identity, &small, "$share/g/t", 0);
    subscribe(&identity, &any, "$share/g/t", 0);
    let from = member(&identity, 3, SessionLimits::default());
    let large = frame(Protocol::V5, 0x30, "t", &[], &[1; 30]);
    for _ in 0..4 {
        assert_eq!(send(&identity, &from, &large, &mut out).delivered, 1);
    }
    assert_eq!(drain(&any, &mut out).len(), 4 * large.len());
    router::close(any.session(), 0, &mut Vec::new(), &mut Default::default());
    assert_eq!((send(&identity, &from, &large, &mut out).dropped, small.waiting()), (1, 0));
    assert_eq!(publish(&identity, &from, "t", &mut out).delivered, 1, "twin: a small one");
}

/// Guards section 5: a member whose grants do not name the group any more is no member when it comes back.
#[test]
fn a_group_that_is_not_granted_any_more_is_left() {
    let key = key("c");
    let (before, sessions, mut out) = (identity(&key), Sessions::default(), out());
    let one = open(&sessions, &before, 1, false, &mut out);
    subscribe(&before, &one, "$share/g/t", 1);
    subscribe(&before, &one, "$share/h/t", 1);
    assert!(sessions.leave(&one, Leave::default(), 0, &mut Default::default()).stays);
    let groups = Constraints { share_groups: vec!["h".into()], ..Constraints::default() };
    let rules = [Grant { constraints: groups, ..Grant::allow(Actions::ALL, "#") }];
    let now = with(&key, &rules, NoMatch::Deny, &Limits::default());
    let again = sessions
        .open(Opening { clean_start: false, expiry_s: 60, ..opening_clean(&now) }, 0, &mut Default::default())
        .session;
    let found = router::recheck(&now, &again, &mut Default::default());
    assert_eq!((found.kept, found.revoked), (1, vec![("$share/g/t".into(), ReasonCode::NOT_AUTHORIZED)]));
    router::begin(&again, 0, &mut out.spare);
    assert_eq!(publish(&now, &again, "t", &mut out).delivered, 1);
}
