//! The compiled grant matcher against a naive model: rules expanded to text and walked one by one.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Decision, GrantTable, Hasher, Identity, PublishAction, SessionKey, SubscribeAction, Tenants, Values, Verdicts,
};
use gatemq_mqtt::topic::{self, Filter};
use gatemq_types::{Actions, Constraints, Effect, Grant, Limits, NoMatch, QoS};
use proptest::prelude::*;

const USER: &str = "u";
const CLIENT_ID: &str = "a";

fn identity(grants: &[Grant], no_match: NoMatch) -> Identity {
    let tenant = Tenants::new(1).get_or_create("t").unwrap();
    let key = Arc::new(SessionKey::new(tenant, USER, CLIENT_ID).unwrap());
    let grants = GrantTable::new(1).compile(grants).unwrap();
    let limits = Limits::default();
    let parts = Parts { key: &key, grants: &grants, values: Values::default(), no_match, limits: &limits };
    Identity::new(parts, &Hasher::default()).unwrap()
}

/// What a decision says, without what it carries.
fn effect<P>(decision: &Decision<P>) -> Effect {
    match decision {
        Decision::Permit(_) => Effect::Allow,
        Decision::Denied(_) => Effect::Deny,
        Decision::Ask(_) => Effect::Ask,
    }
}

/// A rule's filter as text; `None`: it names a value that this client does not have.
fn expand(filter: &str) -> Option<String> {
    let text = filter.replace("${user}", USER).replace("${client_id}", CLIENT_ID);
    (!text.contains("${")).then_some(text)
}

/// Section 5's walk of a message, word by word.
fn model(grants: &[Grant], action: &PublishAction<'_>, no_match: Effect) -> Effect {
    if action.topic.starts_with('$') {
        return Effect::Deny;
    }
    let matches = |grant: &&Grant| {
        let Constraints { qos_max, retain, payload_bytes_max, .. } = grant.constraints;
        grant.actions.contains(Actions::PUBLISH)
            && action.qos <= qos_max
            && retain.is_none_or(|retain| retain == action.retain)
            && (payload_bytes_max == 0 || action.payload_bytes <= payload_bytes_max)
            && expand(&grant.filter).is_some_and(|filter| topic::matches(&filter, action.topic))
    };
    grants.iter().find(matches).map_or(no_match, |grant| grant.effect)
}

fn levels(level: impl Strategy<Value = &'static str>, hash: bool) -> impl Strategy<Value = String> {
    let end = if hash { prop_oneof![3 => Just(""), 1 => Just("/#")].boxed() } else { Just("").boxed() };
    (prop::collection::vec(level, 1..4), end).prop_map(|(levels, end)| levels.join("/") + end)
}

fn topic_name() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "u", "xu", "", "$s"]);
    levels(level, false).prop_filter("a topic is not empty", |topic| !topic.is_empty())
}

fn topic_filter() -> impl Strategy<Value = String> {
    let level = prop::sample::select(vec!["a", "b", "u", "xu", "", "$s", "+", "+"]);
    prop_oneof![9 => levels(level, true), 1 => Just("#".to_string())].prop_filter("not empty", |f| !f.is_empty())
}

fn grant_filter(allow: bool) -> impl Strategy<Value = String> {
    let mut texts = vec!["a", "b", "xu", "", "$s", "+", "+", "${user}", "${client_id}", "x${user}"];
    if allow {
        texts.push("${attr.none}");
    }
    prop_oneof![9 => levels(prop::sample::select(texts), true), 1 => Just("#".to_string())]
        .prop_filter("not empty", |f| !f.is_empty())
}

fn constraints() -> impl Strategy<Value = Constraints> {
    let qos = prop::sample::select(vec![QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce, QoS::ExactlyOnce]);
    let retain = prop::sample::select(vec![None, None, Some(false), Some(true)]);
    let size = prop::sample::select(vec![0, 0, 0, 10]);
    (qos, retain, size).prop_map(|(qos_max, retain, payload_bytes_max)| Constraints {
        qos_max,
        retain,
        payload_bytes_max,
        ..Constraints::default()
    })
}

fn grant() -> impl Strategy<Value = Grant> {
    let effect = prop::sample::select(vec![Effect::Allow, Effect::Deny, Effect::Ask]);
    let actions = prop::sample::select(vec![Actions::PUBLISH, Actions::ALL, Actions::SUBSCRIBE]);
    (effect, actions, constraints()).prop_flat_map(|(effect, actions, constraints)| {
        grant_filter(effect == Effect::Allow).prop_map(move |filter| Grant {
            effect,
            actions,
            filter,
            constraints: constraints.clone(),
        })
    })
}

/// Every topic of up to four levels over an alphabet that tells all filters of the strategies apart.
fn topics() -> Vec<String> {
    let alphabet = ["a", "b", "u", "xu", "", "$s", "z"];
    let mut all = Vec::new();
    let mut longest: Vec<String> = alphabet.iter().map(ToString::to_string).collect();
    for _ in 0..4 {
        let next = longest.iter().flat_map(|t| alphabet.map(|level| format!("{t}/{level}"))).collect();
        all.append(&mut longest);
        longest = next;
    }
    all.retain(|topic| !topic.is_empty());
    all
}

fn subscribes(identity: &Identity, filter: &str) -> Effect {
    let action = SubscribeAction { filter: Filter::read(filter, 128).unwrap(), qos: QoS::AtMostOnce };
    effect(&identity.may_subscribe(action))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Guards section 5's "the first that matches decides" against an index that forgets order, constraints or `$`, and
    /// against a cache that remembers too much: every message is decided twice, with one cache for all.
    #[test]
    fn publish_decides_as_a_walk_would(
        grants in prop::collection::vec(grant(), 0..24),
        messages in prop::collection::vec((topic_name(), 0u8..3, any::<bool>(), 9u32..12), 1..12),
    ) {
        for (no_match, unmatched) in [(NoMatch::Deny, Effect::Deny), (NoMatch::Ask, Effect::Ask)] {
            let identity = identity(&grants, no_match);
            let mut verdicts = Verdicts::new(4);
            for (topic, qos, retain, payload_bytes) in messages.iter().chain(&messages) {
                let qos = QoS::from_bits(*qos).unwrap();
                let action = PublishAction { topic, qos, retain: *retain, payload_bytes: *payload_bytes };
                let decided = effect(&identity.may_publish(&mut verdicts, action, 0));
                prop_assert_eq!(decided, model(&grants, &action, unmatched), "{:?}", action);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Guards covering and overlapping against their definitions, topic by topic: an Allow allows exactly the filters
    /// whose every topic it matches, a Deny refuses exactly those that share a topic with it.
    #[test]
    fn covers_and_overlaps_are_what_they_say(
        pairs in prop::collection::vec((grant_filter(false), topic_filter()), 1..24),
    ) {
        let topics = topics();
        for (rule, filter) in pairs {
            let expanded = expand(&rule).unwrap();
            let theirs: Vec<_> = topics.iter().filter(|t| topic::matches(&filter, t)).collect();
            let covered = theirs.iter().all(|t| topic::matches(&expanded, t));
            let overlapping = theirs.iter().any(|t| topic::matches(&expanded, t));
            let allow = identity(&[Grant::allow(Actions::SUBSCRIBE, rule.clone())], NoMatch::Deny);
            prop_assert_eq!(subscribes(&allow, &filter) == Effect::Allow, covered, "{} covers {}", rule, filter);
            for (refuse, wanted, no_match) in
                [(Grant::deny as fn(_, String) -> _, Effect::Deny, NoMatch::Ask), (Grant::ask, Effect::Ask, NoMatch::Deny)]
            {
                let identity = identity(&[refuse(Actions::SUBSCRIBE, rule.clone())], no_match);
                prop_assert_eq!(subscribes(&identity, &filter) == wanted, overlapping, "{} and {}", rule, filter);
            }
        }
    }
}
