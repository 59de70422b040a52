//! Grants: the compiled list against a walk of its text, for messages and for filters.
#![no_main]

use std::sync::{Arc, OnceLock};

use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Decision, GrantTable, Hasher, Identity, PublishAction, SessionKey, SubscribeAction, Tenants, Values, Verdicts,
};
use gatemq_mqtt::topic::{self, Filter};
use gatemq_types::{Actions, Constraints, Effect, Grant, Limits, NoMatch, QoS};
use libfuzzer_sys::arbitrary::{Result, Unstructured};
use libfuzzer_sys::fuzz_target;

const USER: &str = "u";
const CLIENT_ID: &str = "a";
/// Levels; those of a rule begin with the templates.
const LEVELS: [&str; 10] = ["x${user}", "${user}", "${client_id}", "a", "b", "u", "", "$s", "+", "+"];

fn text(u: &mut Unstructured<'_>, levels: &[&str], hash: bool) -> Result<String> {
    let mut text: Vec<&str> = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        text.push(u.choose(levels)?);
    }
    if hash && u.ratio(1, 4)? {
        text.push("#");
    }
    let text = text.join("/");
    Ok(if text.is_empty() { "a".into() } else { text })
}

fn grant(u: &mut Unstructured<'_>) -> Result<Grant> {
    let effect = *u.choose(&[Effect::Allow, Effect::Deny, Effect::Ask])?;
    let actions = *u.choose(&[Actions::PUBLISH, Actions::ALL, Actions::SUBSCRIBE])?;
    let constraints = Constraints {
        qos_max: *u.choose(&[QoS::ExactlyOnce, QoS::AtLeastOnce, QoS::AtMostOnce])?,
        retain: *u.choose(&[None, Some(false), Some(true)])?,
        payload_bytes_max: *u.choose(&[0, 10])?,
        ..Constraints::default()
    };
    Ok(Grant { effect, actions, filter: text(u, &LEVELS, true)?, constraints })
}

fn expand(filter: &str) -> String {
    filter.replace("${user}", USER).replace("${client_id}", CLIENT_ID)
}

fn identity(grants: &[Grant]) -> Identity {
    let tenant = Tenants::new(1).get_or_create("t").expect("a tenant");
    let key = Arc::new(SessionKey::new(tenant, USER, CLIENT_ID).expect("a key"));
    let grants = GrantTable::new(1).compile(grants).expect("sound grants");
    let limits = Limits::default();
    let no_match = NoMatch::Deny;
    let parts = Parts { key: &key, grants: &grants, values: Values::default(), no_match, limits: &limits };
    Identity::new(parts, &Hasher::default()).expect("an identity")
}

fn effect<P>(decision: &Decision<P>) -> Effect {
    match decision {
        Decision::Permit(_) => Effect::Allow,
        Decision::Denied(_) => Effect::Deny,
        Decision::Ask(_) => Effect::Ask,
    }
}

fn message_model(grants: &[Grant], action: &PublishAction<'_>) -> Effect {
    if action.topic.starts_with('$') {
        return Effect::Deny;
    }
    let matches = |grant: &&Grant| {
        let Constraints { qos_max, retain, payload_bytes_max, .. } = grant.constraints;
        grant.actions.contains(Actions::PUBLISH)
            && action.qos <= qos_max
            && retain.is_none_or(|retain| retain == action.retain)
            && (payload_bytes_max == 0 || action.payload_bytes <= payload_bytes_max)
            && topic::matches(&expand(&grant.filter), action.topic)
    };
    grants.iter().find(matches).map_or(Effect::Deny, |grant| grant.effect)
}

/// Every topic of up to four levels over an alphabet that tells all filters of at most three levels (and `#`) apart.
fn topics() -> &'static [String] {
    static TOPICS: OnceLock<Vec<String>> = OnceLock::new();
    TOPICS.get_or_init(|| {
        let alphabet = ["a", "b", "u", "xu", "", "$s", "z"];
        let (mut all, mut longest): (Vec<String>, Vec<String>) = (Vec::new(), alphabet.map(String::from).to_vec());
        for _ in 0..4 {
            let next = longest.iter().flat_map(|t| alphabet.map(|level| format!("{t}/{level}"))).collect();
            all.append(&mut longest);
            longest = next;
        }
        all.retain(|topic| !topic.is_empty());
        all
    })
}

/// An Allow must match all that the filter matches; a Deny or an Ask need only share a topic with it.
fn filter_model(grants: &[Grant], filter: &str) -> Effect {
    let theirs: Vec<_> = topics().iter().filter(|topic| topic::matches(filter, topic)).collect();
    let matches = |grant: &&Grant| {
        let own = expand(&grant.filter);
        let mut theirs = theirs.iter();
        grant.actions.contains(Actions::SUBSCRIBE)
            && match grant.effect {
                Effect::Allow => theirs.all(|topic| topic::matches(&own, topic)),
                Effect::Deny | Effect::Ask => theirs.any(|topic| topic::matches(&own, topic)),
            }
    };
    grants.iter().find(matches).map_or(Effect::Deny, |grant| grant.effect)
}

fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut grants = Vec::new();
    for _ in 0..u.int_in_range(0..=12)? {
        grants.push(grant(u)?);
    }
    let identity = identity(&grants);
    let mut verdicts = Verdicts::new(4);
    for _ in 0..u.int_in_range(1..=8)? {
        let topic = text(u, &LEVELS[3..8], false)?;
        let qos = *u.choose(&[QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce])?;
        let action =
            PublishAction { topic: &topic, qos, retain: u.arbitrary()?, payload_bytes: u.int_in_range(9..=11)? };
        let wanted = message_model(&grants, &action);
        // Twice: the second answer is remembered.
        for _ in 0..2 {
            assert_eq!(effect(&identity.may_publish(&mut verdicts, action, 0)), wanted, "{action:?} {grants:?}");
        }
    }
    let filter = text(u, &LEVELS[3..], true)?;
    let action = SubscribeAction { filter: Filter::read(&filter, 128).expect("a filter"), qos: QoS::AtMostOnce };
    assert_eq!(effect(&identity.may_subscribe(action)), filter_model(&grants, &filter), "{filter} {grants:?}");
    Ok(())
}

fuzz_target!(|data: &[u8]| {
    // Input that ends early is not interesting.
    let _ = run(&mut Unstructured::new(data));
});
