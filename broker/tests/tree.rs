//! The tree of subscriptions against a naive model: a list of filters, each compared with each topic.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use gatemq_broker::tree::{Place, Subscription, Target, Tree};
use gatemq_broker::{Attached, Home, Session, SessionKey, SessionLimits, Tenants};
use gatemq_mqtt::topic;
use gatemq_types::{Protocol, QoS};
use proptest::prelude::*;

const SESSIONS: usize = 40;

fn sessions() -> Vec<Arc<Session>> {
    let tenant = Tenants::new(1).get_or_create("t").unwrap();
    let key = Arc::new(SessionKey::new(tenant, "u", "c").unwrap());
    let session = |connection| {
        let home = Home { worker: 0, connection };
        Attached::alone(key.clone(), Protocol::V5, SessionLimits::default(), home).session().clone()
    };
    (0..SESSIONS as u32).map(session).collect()
}

fn subscription(session: &Arc<Session>, qos: QoS) -> Subscription {
    Subscription { session: session.clone(), qos, no_local: false, retain_as_published: false, identifier: 0 }
}

fn text(levels: Vec<&'static str>) -> String {
    levels.join("/")
}

fn filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c", "", "$s", "+", "+"]);
    let end = prop_oneof![3 => Just(""), 1 => Just("/#")];
    let long = (prop::collection::vec(level, 1..5), end).prop_map(|(levels, end)| text(levels) + end);
    prop_oneof![9 => long, 1 => Just("#".to_string())].prop_filter("not empty", |f| !f.is_empty())
}

fn name() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "c", "", "$s", "z"]);
    prop::collection::vec(level, 1..6).prop_map(text).prop_filter("not empty", |t| !t.is_empty())
}

/// Subscribe or unsubscribe, which session, at which QoS.
type Step = (bool, usize, u8, String);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = |filter: BoxedStrategy<String>| (prop::bool::weighted(0.7), 0..SESSIONS, 0u8..3, filter);
    let spread = prop::collection::vec(step(filter().boxed()), 0..60);
    // Many sessions at few filters: the index by session.
    let few = prop::sample::select(vec!["a".to_string(), "+/#".to_string()]);
    let crowded = prop::collection::vec(step(few.boxed()), 0..300);
    prop_oneof![spread, crowded]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    /// Guards routing: after any sequence of changes each topic reaches exactly the subscriptions whose filters match, at
    /// their last QoS, and nothing is left when all are gone.
    #[test]
    fn collects_what_matches(steps in steps(), topics in prop::collection::vec(name(), 1..12)) {
        let sessions = sessions();
        let mut tree = Tree::default();
        let mut model: Vec<(String, usize, QoS, Place)> = Vec::new();
        for (subscribe, who, qos, filter) in steps {
            let qos = QoS::from_bits(qos).unwrap();
            let known = model.iter().position(|(f, s, ..)| *f == filter && *s == who);
            if subscribe {
                let (place, new) = tree.subscribe(&filter, subscription(&sessions[who], qos)).unwrap();
                prop_assert_eq!(new, known.is_none());
                if let Some(at) = known {
                    model.swap_remove(at);
                }
                model.push((filter, who, qos, place));
            } else {
                let place = tree.find(&filter);
                let had = place.is_some_and(|place| tree.unsubscribe(place, &sessions[who]));
                prop_assert_eq!(had, known.is_some());
                if let Some(at) = known {
                    model.swap_remove(at);
                }
            }
        }
        for name in &topics {
            let mut found = Vec::new();
            tree.collect(name, &mut Vec::new(), &mut found);
            let number = |s: &Arc<Session>| sessions.iter().position(|known| Arc::ptr_eq(known, s)).unwrap();
            let mut found: Vec<_> = found
                .iter()
                .map(|target| match target {
                    Target::Session(found) => (number(&found.session), found.qos),
                    Target::Group(_) | Target::Node(_) => panic!("nothing is shared"),
                })
                .collect();
            let matching = model.iter().filter(|(filter, ..)| topic::matches(filter, name));
            let mut wanted: Vec<_> = matching.map(|(_, who, qos, _)| (*who, *qos)).collect();
            found.sort();
            wanted.sort();
            prop_assert_eq!(found, wanted, "{}", name);
        }
        for (filter, who, _, place) in model {
            prop_assert_eq!(tree.filter(place), filter);
            prop_assert!(tree.unsubscribe(place, &sessions[who]));
        }
        prop_assert!(tree.is_empty());
    }
}
