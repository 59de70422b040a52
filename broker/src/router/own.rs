//! Tests of what only one receiver's packet has: Subscription Identifiers (3.3.2.3.8) and Topic Aliases (3.3.2.3.4).

use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_types::{Protocol, ReasonCode};

use super::testing::{drain, frame, publish, send, subscribe};
use crate::identity::testing::{free, key};
use crate::session::Ack;
use crate::sessions::{Leave, Opening};
use crate::{Attached, Decision, Home, Identity, Out, SessionLimits, Sessions, SubscribeAction, TopicCache, router};

const HOME: Home = Home { worker: 0, connection: 1 };

fn out() -> Out {
    Out::new(TopicCache::new(8, 64))
}

fn session(identity: &Identity, protocol: Protocol, limits: SessionLimits) -> Attached {
    Attached::alone(identity.key().clone(), protocol, limits, HOME)
}

fn identified(identity: &Identity, session: &Attached, filter: &str, options: u8, id: u32, out: &mut Out) -> u32 {
    let options = SubscribeOptions::read(options, Protocol::V5).unwrap();
    let action = SubscribeAction { filter: Filter::trusted(filter), qos: options.qos() };
    let Decision::Permit(permit) = identity.may_subscribe(action) else { panic!("allowed") };
    let subscribed = router::subscribe_with_identifier(&permit, session, options, id, 0, out);
    assert!(!subscribed.code.is_failure());
    subscribed.retained
}

/// The packet that a receiver gets of `properties`, with packet identifier `id`.
fn packet(first: u8, topic: &str, properties: &[u8], payload: &[u8], id: u8) -> Vec<u8> {
    let mut packet = frame(Protocol::V5, first, topic, properties, payload);
    if first & 6 != 0 {
        let head = 2 + packet[1..].iter().take_while(|byte| **byte & 0x80 != 0).count();
        packet[head + 2 + topic.len() + 1] = id;
    }
    packet
}

/// Guards MQTT-3.3.4-3 and -5: each copy has the identifier of its subscription, before what the publisher sent, at every
/// QoS and size; a replacement replaces it; others get the bytes without.
#[test]
fn each_copy_has_the_identifier_of_its_subscription() {
    let identity = free(&key("c"));
    let user = [38, 0, 1, b'k', 0, 1, b'v'];
    for qos in 0..3 {
        for payload in [&b"x"[..], &[7; 130], &[7; 20_000]] {
            let mut out = out();
            let limits = SessionLimits::default();
            let one = session(&identity, Protocol::V5, limits);
            let (plain, three) = (session(&identity, Protocol::V5, limits), session(&identity, Protocol::V311, limits));
            identified(&identity, &one, "t", qos, 7, &mut out);
            identified(&identity, &one, "#", qos, 268_435_455, &mut out);
            identified(&identity, &one, "+", qos, 5, &mut out);
            identified(&identity, &one, "+", qos, 300, &mut out);
            subscribe(&identity, &plain, "t", qos);
            identified(&identity, &three, "t", qos, 9, &mut out);
            let first = 0x30 | qos << 1;
            send(&identity, &plain, &frame(Protocol::V5, first, "t", &user, payload), &mut out);
            let got = drain(&one, &mut out);
            let want = |id: &[u8], n| packet(first, "t", &[id, &user].concat(), payload, n);
            let ids = [&[11, 7][..], &[11, 0xFF, 0xFF, 0xFF, 0x7F], &[11, 0xAC, 2]];
            assert_eq!(got.len(), ids.iter().map(|id| want(id, 1).len()).sum::<usize>());
            let mut rest = &got[..];
            let mut seen = Vec::new();
            for n in 1..=3 {
                let at = ids.iter().position(|id| rest.starts_with(&want(id, n))).expect("one of them");
                rest = &rest[want(ids[at], n).len()..];
                seen.push(at);
            }
            seen.sort_unstable();
            assert_eq!(seen, [0, 1, 2]);
            assert_eq!(drain(&plain, &mut out), packet(first, "t", &user, payload, 1));
            let drained = drain(&three, &mut out);
            assert!(drained.ends_with(payload) && drained.len() < packet(first, "t", &[], payload, 1).len());
            for one in [one, plain, three] {
                router::close(one.session(), 0, &mut Vec::new(), &mut Default::default());
            }
        }
    }
}

/// Guards that an identifier stays with a message that waits, is sent again, is retained, is a will's, or came by a shared
/// subscription; and the size that the receiver takes, with it.
#[test]
fn it_stays_with_what_waits() {
    let key = key("c");
    let identity = free(&key);
    let (sessions, mut out) = (Sessions::default(), out());
    let limits = SessionLimits { inflight_max: 1, packet_bytes_max: 12, ..SessionLimits::default() };
    let open = |protocol| {
        let opening = Opening { key: &key, protocol, limits, home: HOME, clean_start: false, expiry_s: 60, will: None };
        sessions.open(opening, 0, &mut Default::default()).session
    };
    let one = open(Protocol::V5);
    let from = session(&identity, Protocol::V5, SessionLimits::default());
    send(&identity, &from, &frame(Protocol::V5, 0x31, "r", &[], b"r"), &mut out);
    assert_eq!(identified(&identity, &one, "+", 1, 7, &mut out), 1);
    assert_eq!(drain(&one, &mut out), packet(0x31, "r", &[11, 7], b"r", 0));
    for n in 0..3 {
        send(&identity, &from, &frame(Protocol::V5, 0x32, "t", &[], &[n]), &mut out);
    }
    assert_eq!(drain(&one, &mut out), packet(0x32, "t", &[11, 7], &[0], 1));
    // 9 bytes of payload are 12 without the identifier.
    send(&identity, &from, &frame(Protocol::V5, 0x30, "t", &[], &[1; 5]), &mut out);
    assert!(sessions.leave(&one, Leave::default(), 0, &mut Default::default()).stays);
    let one = open(Protocol::V5);
    router::begin(&one, 0, &mut out.spare);
    assert_eq!(drain(&one, &mut out), packet(0x3A, "t", &[11, 7], &[0], 1), "again");
    let puback = Ack { kind: gatemq_mqtt::kind::PUBACK, packet_id: 1, reason: ReasonCode::SUCCESS };
    one.settle(&[puback], 0, &mut Vec::new(), &mut out.spare);
    assert_eq!(drain(&one, &mut out), packet(0x32, "t", &[11, 7], &[1], 1), "it had waited");
    assert!(sessions.leave(&one, Leave::default(), 0, &mut Default::default()).stays);
    let three = open(Protocol::V311);
    router::begin(&three, 0, &mut out.spare);
    assert_eq!(drain(&three, &mut out), [0x3A, 6, 0, 1, b't', 0, 1, 1], "MQTT 3 has none");
}

/// Guards MQTT-3.1.2-24 with an identifier: the packet as it would be sent counts.
#[test]
fn the_identifier_counts() {
    let identity = free(&key("c"));
    let mut out = out();
    let limits = SessionLimits { packet_bytes_max: 12, ..SessionLimits::default() };
    let (with, without) = (session(&identity, Protocol::V5, limits), session(&identity, Protocol::V5, limits));
    identified(&identity, &with, "t", 0, 7, &mut out);
    subscribe(&identity, &without, "t", 0);
    for (payload, with_gets, without_gets) in [(4, 12, 10), (5, 0, 11), (6, 0, 12), (7, 0, 0)] {
        send(&identity, &without, &frame(Protocol::V5, 0x30, "t", &[], &vec![1; payload]), &mut out);
        assert_eq!((drain(&with, &mut out).len(), drain(&without, &mut out).len()), (with_gets, without_gets));
    }
    assert_eq!((with.dropped(), without.dropped()), (3, 1));
}

fn aliased(max: u16) -> SessionLimits {
    SessionLimits { topic_alias_max: max, inflight_max: 1, ..SessionLimits::default() }
}

/// Guards 3.3.2.3.4: the first packet of a topic teaches its alias, the next have it alone; no more aliases than allowed,
/// none for short topics, none for who allows none; and each connection begins anew (MQTT-3.3.2-7).
#[test]
fn a_topic_is_sent_once() {
    let key = key("c");
    let identity = free(&key);
    let (sessions, mut out) = (Sessions::default(), out());
    let open = |limits| {
        let opening = Opening {
            key: &key,
            protocol: Protocol::V5,
            limits,
            home: HOME,
            clean_start: false,
            expiry_s: 60,
            will: None,
        };
        sessions.open(opening, 0, &mut Default::default()).session
    };
    let one = open(aliased(2));
    let plain = session(&identity, Protocol::V5, SessionLimits::default());
    let three = session(&identity, Protocol::V311, aliased(2));
    identified(&identity, &one, "#", 1, 0, &mut out);
    for other in [&plain, &three] {
        subscribe(&identity, other, "#", 0);
    }
    let topics = ["topic/1", "topic/1", "t", "topic/2", "topic/3", "topic/2", "topic/3"];
    for topic in topics {
        publish(&identity, &plain, topic, &mut out);
    }
    let want = [
        packet(0x30, "topic/1", &[35, 0, 1], b"x", 0),
        packet(0x30, "", &[35, 0, 1], b"x", 0),
        packet(0x30, "t", &[], b"x", 0),
        packet(0x30, "topic/2", &[35, 0, 2], b"x", 0),
        packet(0x30, "topic/3", &[], b"x", 0),
        packet(0x30, "", &[35, 0, 2], b"x", 0),
        packet(0x30, "topic/3", &[], b"x", 0),
    ];
    assert_eq!(drain(&one, &mut out), want.concat());
    let plainly: Vec<_> = topics.iter().flat_map(|topic| packet(0x30, topic, &[], b"x", 0)).collect();
    assert_eq!(drain(&plain, &mut out), plainly);
    assert_eq!(drain(&three, &mut out).len(), plainly.len() - topics.len(), "MQTT 3 has no properties");
    // One in flight and two that wait, for the next connection.
    for n in 0..3 {
        send(&identity, &plain, &frame(Protocol::V5, 0x32, "topic/2", &[1, 1], &[n]), &mut out);
    }
    assert!(sessions.leave(&one, Leave::default(), 0, &mut Default::default()).stays);
    let one = open(aliased(1));
    router::begin(&one, 0, &mut out.spare);
    assert_eq!(drain(&one, &mut out), packet(0x3A, "topic/2", &[35, 0, 1, 1, 1], &[0], 1));
    identified(&identity, &one, "#", 1, 9, &mut out);
    send(&identity, &plain, &frame(Protocol::V5, 0x32, "topic/2", &[], &[3]), &mut out);
    for (n, own) in [(1, &[35, 0, 1, 1, 1][..]), (2, &[35, 0, 1, 1, 1]), (3, &[11, 9, 35, 0, 1])] {
        let puback = Ack { kind: gatemq_mqtt::kind::PUBACK, packet_id: 1, reason: ReasonCode::SUCCESS };
        one.settle(&[puback], 0, &mut Vec::new(), &mut out.spare);
        assert_eq!(drain(&one, &mut out), packet(0x32, "", own, &[n], 1));
    }
    assert!(sessions.leave(&one, Leave::default(), 0, &mut Default::default()).stays);
    let one = open(aliased(0));
    router::begin(&one, 0, &mut out.spare);
    assert_eq!(drain(&one, &mut out), packet(0x3A, "topic/2", &[11, 9], &[3], 1));
}

/// Guards the bounds of aliases (32 topics, 8 KiB of them) and the client's packet size: an alias that does not fit is not
/// taught, and the message is sent without.
#[test]
fn aliases_are_bounded() {
    let identity = free(&key("c"));
    let mut out = out();
    let one = session(&identity, Protocol::V5, aliased(u16::MAX));
    subscribe(&identity, &one, "#", 0);
    let long = "x".repeat(5000);
    let mut topics: Vec<String> = vec![format!("{long}/1"), format!("{long}/2")];
    topics.extend((0..40).map(|n| format!("topic/{n}")));
    let mut count = 0;
    for topic in topics.iter().chain(&topics) {
        publish(&identity, &one, topic, &mut out);
        count += usize::from(drain(&one, &mut out).len() < topic.len() + 6);
    }
    assert_eq!(count, 32, "one of the long ones, and the first of the others");
    let one = session(&identity, Protocol::V5, SessionLimits { packet_bytes_max: 14, ..aliased(5) });
    subscribe(&identity, &one, "#", 0);
    publish(&identity, &one, "topic/1", &mut out);
    assert_eq!(drain(&one, &mut out), packet(0x30, "topic/1", &[], b"x", 0), "16 bytes with an alias");
    publish(&identity, &one, "topi/", &mut out);
    publish(&identity, &one, "topi/", &mut out);
    let twice = [packet(0x30, "topi/", &[35, 0, 1], b"x", 0), packet(0x30, "", &[35, 0, 1], b"x", 0)];
    assert_eq!(drain(&one, &mut out), twice.concat());
}
