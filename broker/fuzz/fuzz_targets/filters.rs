//! Topic filters: the matcher and the tree of subscriptions against a naive model.
#![no_main]

use std::sync::Arc;

use gatemq_broker::tree::{Subscription, Target, Tree};
use gatemq_broker::{Attached, Home, Session, SessionKey, SessionLimits, Tenants};
use gatemq_mqtt::topic::{self, Filter};
use gatemq_types::{Protocol, QoS};
use libfuzzer_sys::fuzz_target;

const LEVELS_MAX: u16 = 128;

/// The input as text over an alphabet in which everything that matters is frequent; a line is a filter or a name.
fn lines(data: &[u8]) -> Vec<String> {
    let text: String =
        data.iter().map(|byte| ['a', 'b', '/', '/', '+', '#', '$', '\n'][usize::from(byte & 7)]).collect();
    text.split('\n').map(str::to_owned).collect()
}

/// 4.7 word by word, level by level.
fn naive(filter: &[&str], topic: &[&str], first: bool) -> bool {
    match (filter, topic) {
        ([], []) => true,
        (["#"], topic) => !(first && topic.first().is_some_and(|level| level.starts_with('$'))),
        (["+", filter @ ..], [level, topic @ ..]) => !(first && level.starts_with('$')) && naive(filter, topic, false),
        ([own, filter @ ..], [level, topic @ ..]) => own == level && naive(filter, topic, false),
        _ => false,
    }
}

fn model(filter: &str, topic: &str) -> bool {
    let (filter, topic): (Vec<_>, Vec<_>) = (filter.split('/').collect(), topic.split('/').collect());
    naive(&filter, &topic, true)
}

fn session() -> Arc<Session> {
    let tenant = Tenants::new(1).get_or_create("t").expect("a tenant");
    let key = Arc::new(SessionKey::new(tenant, "u", "c").expect("a key"));
    let home = Home { worker: 0, connection: 0 };
    Attached::alone(key, Protocol::V5, SessionLimits::default(), home).session().clone()
}

fuzz_target!(|data: &[u8]| {
    let lines = lines(data);
    let names: Vec<&str> = lines.iter().filter_map(|line| topic::name(line.as_bytes(), LEVELS_MAX).ok()).collect();
    let mut filters: Vec<&str> =
        lines.iter().filter_map(|line| Filter::read(line, LEVELS_MAX).ok()).map(|filter| filter.filter).collect();
    filters.sort_unstable();
    filters.dedup();
    let mut tree = Tree::default();
    let mut subscribed = Vec::new();
    for filter in filters {
        let session = session();
        let subscription = Subscription {
            session: session.clone(),
            qos: QoS::AtMostOnce,
            no_local: false,
            retain_as_published: false,
            identifier: 0,
        };
        let (place, new) = tree.subscribe(filter, subscription).expect("few levels");
        assert!(new);
        subscribed.push((filter, session, place));
    }
    for name in names {
        let mut found = Vec::new();
        tree.collect(name, &mut Vec::new(), &mut found);
        for (filter, session, _) in &subscribed {
            let wanted = model(filter, name);
            assert_eq!(topic::matches(filter, name), wanted, "{filter} {name}");
            let is_its = |target: &&Target| matches!(target, Target::Session(of) if Arc::ptr_eq(&of.session, session));
            let hits = found.iter().filter(is_its).count();
            assert_eq!(hits, usize::from(wanted), "tree: {filter} {name}");
        }
    }
    for (filter, session, place) in subscribed {
        assert_eq!(tree.filter(place), filter);
        assert!(tree.unsubscribe(place, &session));
    }
    assert!(tree.is_empty());
});
