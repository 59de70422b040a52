//! Tests of retained messages, from PUBLISH to SUBSCRIBE.

use std::sync::Arc;

use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_types::{Actions, Constraints, Grant, Limits, NoMatch, Protocol, ReasonCode};

use super::testing::{drain, frame, publish, send};
use super::{Out, Subscribed};
use crate::identity::testing::{free, key, with};
use crate::session::testing::HOME;
use crate::{
    Attached, Decision, Identity, RetainedLimits, Retention, SessionKey, SessionLimits, SubscribeAction, Tenants,
    TopicCache, router,
};

fn out() -> Out {
    Out::new(TopicCache::new(8, 64))
}

fn session(identity: &Identity, protocol: Protocol) -> Attached {
    Attached::alone(identity.key().clone(), protocol, SessionLimits::default(), HOME)
}

fn subscribe(
    identity: &Identity,
    session: &Attached,
    filter: &str,
    options: u8,
    now_ms: u64,
    out: &mut Out,
) -> Subscribed {
    let options = SubscribeOptions::read(options, Protocol::V5).unwrap();
    let action = SubscribeAction { filter: Filter::trusted(filter), qos: options.qos() };
    match identity.may_subscribe(action) {
        Decision::Permit(permit) => router::subscribe(&permit, session, options, now_ms, out),
        other => panic!("{other:?}"),
    }
}

fn retain(identity: &Identity, from: &Attached, first: u8, topic: &str, payload: &[u8], out: &mut Out) -> Retention {
    send(identity, from, &frame(from.protocol(), first, topic, &[], payload), out).retention
}

/// Guards 3.3.1.3: the last retained message of each matching topic comes at SUBSCRIBE with RETAIN set, in the receiver's
/// version, at the lower QoS; one without RETAIN changes nothing, one without payload clears and is not kept.
#[test]
fn the_last_one_comes_at_subscribe() {
    for (from, to) in [(Protocol::V5, Protocol::V311), (Protocol::V311, Protocol::V5), (Protocol::V31, Protocol::V31)] {
        let identity = free(&key("c"));
        let (publisher, mut out) = (session(&identity, from), out());
        assert_eq!(retain(&identity, &publisher, 0x31, "ret/a", b"old", &mut out), Retention::Stored);
        assert_eq!(retain(&identity, &publisher, 0x35, "ret/a", b"new", &mut out), Retention::Stored);
        assert_eq!(retain(&identity, &publisher, 0x30, "ret/a", b"no", &mut out), Retention::None);
        assert_eq!(retain(&identity, &publisher, 0x30, "ret/a", b"", &mut out), Retention::None);
        retain(&identity, &publisher, 0x31, "ret/b/c", b"x", &mut out);
        assert_eq!(retain(&identity, &publisher, 0x31, "ret/b/c", b"", &mut out), Retention::Cleared);
        assert_eq!(retain(&identity, &publisher, 0x31, "ret/none", b"", &mut out), Retention::Cleared);
        assert_eq!(identity.tenant().retained(), (1, 8));
        for filter in ["ret/#", "ret/+", "+/a", "#", "ret/a"] {
            for qos in 0..3 {
                let receiver = session(&identity, to);
                let subscribed = subscribe(&identity, &receiver, filter, qos, 0, &mut out);
                assert_eq!((subscribed.code.0, subscribed.retained, subscribed.dropped), (qos, 1, 0));
                let mut want = frame(to, 0x31 | qos << 1, "ret/a", &[], b"new");
                if qos > 0 {
                    want[10] = 1;
                }
                assert_eq!(drain(&receiver, &mut out), want);
            }
        }
        let receiver = session(&identity, to);
        for filter in ["ret", "ret/b/#", "+", "ret/a/+"] {
            assert_eq!(subscribe(&identity, &receiver, filter, 0, 0, &mut out).retained, 0, "{filter}");
        }
    }
}

/// Guards MQTT-3.3.1-9 to -11: Retain Handling, where the subscription is new and where it was there.
#[test]
fn retain_handling() {
    let identity = free(&key("c"));
    let (from, mut out) = (session(&identity, Protocol::V5), out());
    retain(&identity, &from, 0x31, "a", b"x", &mut out);
    for (handling, new, again) in [(0, 1, 1), (1, 1, 0), (2, 0, 0)] {
        let receiver = session(&identity, Protocol::V5);
        let mut count = || subscribe(&identity, &receiver, "a", handling << 4, 0, &mut out).retained;
        assert_eq!((count(), count()), (new, again), "{handling}");
    }
    // Another's subscription to the same filter does not make it an old one.
    let other = session(&identity, Protocol::V5);
    assert_eq!(subscribe(&identity, &other, "a", 1 << 4, 0, &mut out).retained, 1);
}

/// Guards No Local for what is retained, and that a refused or shared (4.8.2) subscription brings nothing.
#[test]
fn what_brings_nothing() {
    let key = key("c");
    let rules = [Grant {
        constraints: Constraints { share_groups: vec!["*".into()], ..Constraints::default() },
        ..Grant::allow(Actions::ALL, "#")
    }];
    let limits = Limits { subscriptions_max: Some(2), ..Limits::default() };
    let identity = with(&key, &rules, NoMatch::Deny, &limits);
    let other = Arc::new(SessionKey::new(key.tenant().clone(), "user", "other").unwrap());
    let other = free(&other);
    let mut out = out();
    let (one, two) = (session(&identity, Protocol::V5), session(&other, Protocol::V5));
    retain(&identity, &one, 0x31, "a", b"x", &mut out);
    let again = session(&identity, Protocol::V5);
    assert_eq!(subscribe(&identity, &again, "a", 0b100, 0, &mut out).retained, 0, "its own, from another connection");
    assert_eq!(subscribe(&other, &two, "a", 0b100, 0, &mut out).retained, 1);
    assert_eq!(subscribe(&identity, &again, "$share/g/a", 0, 0, &mut out), Subscribed::failed(ReasonCode::SUCCESS));
    let full = Subscribed { session_is_full: true, ..Subscribed::failed(ReasonCode::QUOTA_EXCEEDED) };
    assert_eq!(subscribe(&identity, &again, "#", 0, 0, &mut out), full);
    assert_eq!(drain(&again, &mut out), []);
    assert_eq!(subscribe(&identity, &again, "a", 0, 0, &mut out).retained, 1, "twin: without No Local");
}

/// Guards the tenant's bound: what is too much goes to nobody, is said, and is counted; clearing makes room.
#[test]
fn beyond_the_bound_it_is_refused() {
    let tenants = Tenants::with_retained(2, RetainedLimits { messages_max: 1, bytes_max: 100 });
    let key = Arc::new(SessionKey::new(tenants.get_or_create("t").unwrap(), "user", "c").unwrap());
    let identity = free(&key);
    let (one, mut out) = (session(&identity, Protocol::V5), out());
    subscribe(&identity, &one, "#", 0, 0, &mut out);
    assert_eq!(retain(&identity, &one, 0x31, "a", b"x", &mut out), Retention::Stored);
    drain(&one, &mut out);
    assert_eq!(retain(&identity, &one, 0x31, "b", b"x", &mut out), Retention::Refused);
    assert_eq!((drain(&one, &mut out), out.retained_refused), (vec![], 1));
    assert_eq!(publish(&identity, &one, "b", &mut out).delivered, 1, "twin: not retained");
    retain(&identity, &one, 0x31, "a", b"", &mut out);
    assert_eq!(retain(&identity, &one, 0x31, "b", b"x", &mut out), Retention::Stored);
    assert!(tenants.get_or_create("u").is_ok());
    router::close(one.session(), 0, &mut Vec::new(), &mut Default::default());
    drop((identity, one, out, key));
    assert!(tenants.get_or_create("v").is_ok(), "u made room");
    assert_eq!(tenants.get("t").map(|t| t.retained().0), Some(1), "who retains something stays");
}

/// Guards section 12's goal and the bounds: 20,000 retained messages pass a queue that holds 10, in chunks, before what is
/// published later; the queue's own bound still holds for that.
#[test]
fn a_burst_passes_whatever_the_queue() {
    const COUNT: u32 = 20_000;
    let identity = free(&key("c"));
    let (from, mut out) = (session(&identity, Protocol::V311), out());
    for n in 0..COUNT {
        retain(&identity, &from, 0x33, &format!("ret/{n:05}"), b"r", &mut out);
    }
    for qos in [0, 1] {
        let limits = SessionLimits { queue_messages_max: 10, inflight_max: u16::MAX, ..SessionLimits::default() };
        let to = Attached::alone(identity.key().clone(), Protocol::V311, limits, HOME);
        let subscribed = subscribe(&identity, &to, "ret/#", qos, 0, &mut out);
        assert_eq!((subscribed.retained, subscribed.dropped), (COUNT, 0));
        let live: Vec<_> = (0..12).map(|_| publish(&identity, &from, "ret/00000", &mut out).delivered).collect();
        assert_eq!(live.iter().sum::<u32>(), 10, "the bound of what is not retained");
        let mut all = Vec::new();
        while let Some(bytes) = to.take(0, &mut out.spare) {
            assert!(bytes.len() <= 64 << 10);
            all.extend_from_slice(&bytes);
        }
        let packet = 14 + 2 * usize::from(qos > 0);
        assert_eq!(all.len(), COUNT as usize * packet + 10 * 14);
        assert!(all[..COUNT as usize * packet].chunks(packet).all(|p| p[0] == 0x31 | qos << 1));
        assert!(all[COUNT as usize * packet..].chunks(14).all(|p| p[0] == 0x30), "later is later");
        router::close(to.session(), 0, &mut Vec::new(), &mut Default::default());
    }
}

/// Guards the bound on retained messages that wait: who subscribes again and again and reads nothing gets no more than
/// one whole store, and holds no payload that the tenant gave up.
#[test]
fn waiting_retained_messages_are_bounded_and_hold_nothing() {
    let tenants = Tenants::with_retained(1, RetainedLimits { messages_max: 3, bytes_max: 1 << 20 });
    let key = Arc::new(SessionKey::new(tenants.get_or_create("t").unwrap(), "user", "c").unwrap());
    let identity = free(&key);
    let (from, mut out) = (session(&identity, Protocol::V311), out());
    for topic in ["a", "b", "c"] {
        retain(&identity, &from, 0x31, topic, &[1; 60_000], &mut out);
    }
    let to = session(&identity, Protocol::V311);
    let mut counts = Vec::new();
    for _ in 0..4 {
        let subscribed = subscribe(&identity, &to, "#", 0, 0, &mut out);
        counts.push((subscribed.retained, subscribed.dropped, to.waiting()));
    }
    assert_eq!(counts, [(3, 0, 2), (1, 2, 3), (0, 3, 3), (0, 3, 3)]);
    assert_eq!(to.dropped(), 8);
    // What was replaced comes as what replaced it, once; what was cleared does not come.
    for topic in ["a", "b", "c"] {
        retain(&identity, &from, 0x31, topic, b"", &mut out);
    }
    let got = drain(&to, &mut out);
    assert_eq!(got.len(), 60_007 + 3 * 5, "what was bytes already, and the three that cleared");
}

/// Guards MQTT-3.3.2-6 for what is retained: the time that remains, and nothing when it is over.
#[test]
fn remaining_time_is_told() {
    let identity = free(&key("c"));
    let (from, mut out) = (session(&identity, Protocol::V5), out());
    send(&identity, &from, &frame(Protocol::V5, 0x31, "a", &[2, 0, 0, 0, 10], b"x"), &mut out);
    for (now_ms, remains) in [(0, Some(10)), (7_500, Some(3)), (9_999, Some(1)), (10_000, None)] {
        let to = session(&identity, Protocol::V5);
        subscribe(&identity, &to, "a", 0, now_ms, &mut out);
        let want = remains.map(|s| frame(Protocol::V5, 0x31, "a", &[2, 0, 0, 0, s], b"x")).unwrap_or_default();
        assert_eq!(drain(&to, &mut out), want);
    }
    // It waits, and expires meanwhile.
    let to = session(&identity, Protocol::V5);
    let large = [0; 70_000];
    send(&identity, &from, &frame(Protocol::V5, 0x30, "b", &[], &large), &mut out);
    subscribe(&identity, &to, "b", 0, 0, &mut out);
    send(&identity, &from, &frame(Protocol::V5, 0x30, "b", &[], &large), &mut out);
    assert_eq!(subscribe(&identity, &to, "a", 0, 0, &mut out).retained, 1);
    assert!(to.take(10_000, &mut out.spare).is_some());
    assert_eq!((to.take(10_000, &mut out.spare), to.dropped()), (None, 1));
}

/// Guards promise 8: what one tenant retains never reaches another.
#[test]
fn promise_8_retained_messages_stay_in_their_tenant() {
    let tenants = Tenants::new(2);
    let [a, b] = ["a", "b"]
        .map(|name| free(&Arc::new(SessionKey::new(tenants.get_or_create(name).unwrap(), "user", "client").unwrap())));
    let (from, mut out) = (session(&a, Protocol::V5), out());
    retain(&a, &from, 0x31, "t", b"x", &mut out);
    let (to, twin) = (session(&b, Protocol::V5), session(&a, Protocol::V5));
    assert_eq!(subscribe(&b, &to, "#", 0, 0, &mut out).retained, 0);
    assert_eq!(subscribe(&a, &twin, "#", 0, 0, &mut out).retained, 1);
}

/// Guards wills that are retained (MQTT-3.1.2-17).
#[test]
fn a_will_is_retained() {
    use gatemq_mqtt::packet::connect;
    let identity = free(&key("c"));
    let will = connect::Will {
        topic: "w".into(),
        qos: gatemq_types::QoS::AtLeastOnce,
        retain: true,
        delay_s: 0,
        properties: vec![1, 1],
        payload: b"x".to_vec(),
    };
    let Decision::Permit(will) = identity.may_leave_will(&will) else { panic!("allowed") };
    let (one, mut out) = (session(&identity, Protocol::V311), out());
    let left = crate::LeftWill { will: Box::new(will), session: one.session().clone() };
    assert_eq!(router::publish_will(&left, 0, &mut out).map(|routed| routed.retention), Ok(Retention::Stored));
    let to = session(&identity, Protocol::V5);
    subscribe(&identity, &to, "w", 0, 0, &mut out);
    assert_eq!(drain(&to, &mut out), frame(Protocol::V5, 0x31, "w", &[1, 1], b"x"));
}
