//! The desk of a node without workers: what operators may, and how much may be asked at a time.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};

use gatemq_types::Subject;
use gatemq_types::service::{Reply, Request, ServiceError};

use super::asker::WAITING_MAX;
use super::*;
use crate::denials::testing::node;

fn ask(desk: &Arc<Desk>, asker: &Arc<Asker>, request: Request) -> Receiver<Outcome> {
    let (sender, receiver) = sync_channel(1);
    desk.request(asker, request, Box::new(move |outcome| drop(sender.try_send(outcome))));
    receiver
}

fn answer(desk: &Arc<Desk>, asker: &Arc<Asker>, request: Request) -> Outcome {
    ask(desk, asker, request).recv().unwrap_or(Err(ServiceError::Unavailable))
}

fn deny(subject: Subject) -> Request {
    Request::Deny { subject, ttl_ms: 0, reason: "why".into() }
}

fn user(user: &str) -> Subject {
    Subject::User { tenant: "t".into(), user: user.into() }
}

/// Promise 7: an operator may deny whom it knows by name alone, networks and authorities, as many as allowed; it lifts what
/// anybody raised, and a plugin may none of that.
#[test]
fn promise_7_what_operators_may_and_plugins_may_not() {
    let (desk, node) = (Desk::new(), node());
    desk.begin(&node).unwrap();
    let (operator, plugin) = (Asker::new(By::Operator), Asker::new(By::Plugin("guard".into())));
    let network = Subject::Address { address: [10, 1, 2, 3].into(), bits: 8 };
    for subject in [network.clone(), Subject::Issuer([1; 32])] {
        assert_eq!(answer(&desk, &plugin, deny(subject.clone())), Err(ServiceError::NotAllowed));
        assert_eq!(answer(&desk, &operator, deny(subject)).unwrap().count, 1);
    }
    assert_eq!(answer(&desk, &operator, deny(user("a"))), Err(ServiceError::Busy), "as many as allowed");
    assert_eq!(answer(&desk, &plugin, Request::Allow { subject: network.clone() }), Err(ServiceError::NotAllowed));
    assert_eq!(answer(&desk, &operator, Request::Allow { subject: network }).unwrap().count, 1);
    assert_eq!(answer(&desk, &plugin, deny(user("a"))), Err(ServiceError::NotFound), "nobody has seen it");
    assert_eq!(answer(&desk, &operator, deny(user("a"))).unwrap().count, 1);
    let key = gatemq_broker::SessionKey::new(node.tenants.get_or_create("t").unwrap(), "b", "c").unwrap();
    node.denials.note_left(&key, None, crate::clock::now_ms());
    assert_eq!(answer(&desk, &plugin, deny(user("b"))).unwrap().count, 1, "twin: it was here");
    let Reply { rows, next_page, .. } = answer(&desk, &plugin, Request::Denials { page: 0 }).unwrap();
    assert_eq!((rows.len(), next_page), (3, 0));
    assert!(rows[2].contains(r#""raised_by":"plugin guard""#), "{}", rows[2]);
    assert_eq!(answer(&desk, &operator, Request::Allow { subject: user("b") }).unwrap().count, 1);
    desk.stop();
    assert_eq!(answer(&desk, &operator, deny(user("z"))), Err(ServiceError::Unavailable));
}

/// Promise 6: who has asked as much as it may is answered at once, others are not held up, and the end tells everybody.
#[test]
fn promise_6_requests_under_way_are_bounded() {
    let desk = Desk::new();
    let (one, two) = (Asker::new(By::Plugin("one".into())), Asker::new(By::Plugin("two".into())));
    let get = || Request::Get { key: "k".into() };
    // It has not begun: nothing is answered.
    let waiting: Vec<_> = (0..WAITING_MAX).map(|_| ask(&desk, &one, get())).collect();
    assert_eq!(answer(&desk, &one, get()), Err(ServiceError::Busy));
    let others = ask(&desk, &two, get());
    desk.begin(&node()).unwrap();
    assert!(waiting.into_iter().all(|receiver| receiver.recv() == Ok(Err(ServiceError::NotFound))));
    assert_eq!(others.recv(), Ok(Err(ServiceError::NotFound)));
    assert_eq!(answer(&desk, &one, get()), Err(ServiceError::NotFound), "twin");
    desk.stop();
}

/// Promise 6: what a plugin keeps is bounded by number, and what is over makes room.
#[test]
fn promise_6_keys_are_bounded() {
    let (values, by, mut ops) = (Values::default(), By::Plugin("one".into()), Vec::new());
    let mut put = |key: String, ttl_ms, now_ms| values.put(&by, key, vec![1], ttl_ms, now_ms, &mut ops);
    assert!((0..4096).all(|n| put(format!("{n}"), 10, 0).is_ok()));
    assert_eq!(put("more".into(), 0, 0), Err(ServiceError::Busy));
    assert!(put("7".into(), 10, 0).is_ok(), "twin: a replacement");
    let mut ended = Vec::new();
    values.expire(10, 4000, &mut ended);
    values.expire(10, 4000, &mut ended);
    assert_eq!((ended.len(), put("more".into(), 0, 11).is_ok()), (4096, true));
}
