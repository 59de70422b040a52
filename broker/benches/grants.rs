//! What a decision costs: rules walked (4, 50, 64), and remembered.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use divan::{Bencher, black_box};
use gatemq_broker::identity::Parts;
use gatemq_broker::{Decision, GrantTable, Hasher, Identity, PublishAction, SessionKey, Tenants, Values, Verdicts};
use gatemq_types::{Actions, Grant, Limits, NoMatch, QoS};

fn main() {
    divan::main();
}

const TOPIC: &str = "plant/7/line/12/temperature";

fn identity(grants: &[Grant]) -> Identity {
    let tenant = Tenants::new(1).get_or_create("t").expect("a tenant");
    let key = Arc::new(SessionKey::new(tenant, "user", "c1").expect("a key"));
    let grants = GrantTable::new(1).compile(grants).expect("compiles");
    let limits = Limits::default();
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    let parts = Parts { key: &key, grants: &grants, values, no_match, limits: &limits };
    Identity::new(parts, &Hasher::default()).expect("an identity")
}

fn decide(bencher: Bencher, grants: &[Grant], slots: usize) {
    let identity = identity(grants);
    let mut verdicts = Verdicts::new(slots);
    let action = PublishAction { topic: TOPIC, qos: QoS::AtMostOnce, retain: false, payload_bytes: 64 };
    bencher.bench_local(|| {
        let decision = identity.may_publish(&mut verdicts, black_box(action), 0);
        black_box(matches!(decision, Decision::Permit(_)))
    });
}

/// Rules that differ in their first level; the last one allows.
#[divan::bench(args = [4, 50, 64])]
fn walked_first_levels_differ(bencher: Bencher, rules: usize) {
    let mut grants: Vec<_> =
        (1..rules).map(|i| Grant::deny(Actions::PUBLISH, format!("secret{i}/${{client_id}}/#"))).collect();
    grants.push(Grant::allow(Actions::PUBLISH, "#"));
    decide(bencher, &grants, 0);
}

/// Rules that share their first levels with the topic; the last one allows.
#[divan::bench(args = [4, 50, 64])]
fn walked_first_levels_shared(bencher: Bencher, rules: usize) {
    let mut grants: Vec<_> = (1..rules)
        .map(|i| Grant::deny(Actions::PUBLISH, format!("plant/+/line/{}/alarm/${{user}}", 100 + i)))
        .collect();
    grants.push(Grant::allow(Actions::PUBLISH, "plant/+/line/+/temperature"));
    decide(bencher, &grants, 0);
}

#[divan::bench]
fn remembered(bencher: Bencher) {
    decide(bencher, &[Grant::allow(Actions::PUBLISH, "#")], 64);
}
