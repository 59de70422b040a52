//! What a delivery costs: targets from the cache and from the tree, a message to one receiver and to a thousand.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use divan::counter::ItemsCount;
use divan::{Bencher, black_box};
use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, PublishPermit, SessionKey,
    SessionLimits, SubscribeAction, Tenants, TopicCache, Values, Verdicts, router,
};
use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_mqtt::{PacketLimits, Publish, write};
use gatemq_types::{Actions, Grant, Limits, NoMatch, Protocol, QoS};

fn main() {
    divan::main();
}

fn identity() -> Identity {
    let tenant = Tenants::new(1).get_or_create("t").expect("a tenant");
    let key = Arc::new(SessionKey::new(tenant, "user", "c1").expect("a key"));
    let grants = GrantTable::new(1).compile(&[Grant::allow(Actions::ALL, "#")]).expect("compiles");
    let limits = Limits::default();
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    let parts = Parts { key: &key, grants: &grants, values, no_match, limits: &limits };
    Identity::new(parts, &Hasher::default()).expect("an identity")
}

fn session(identity: &Identity, connection: u32) -> Attached {
    let home = Home { worker: 0, connection };
    Attached::alone(identity.key().clone(), Protocol::V311, SessionLimits::default(), home)
}

fn subscribe(identity: &Identity, session: &Attached, filter: &str, out: &mut Out) {
    let action = SubscribeAction { filter: Filter::trusted(filter), qos: QoS::AtMostOnce };
    if let Decision::Permit(permit) = identity.may_subscribe(action) {
        assert!(!router::subscribe(&permit, session, SubscribeOptions::default(), 0, out).code.is_failure());
    }
}

fn permit<'a>(identity: &'a Identity, topic: &'a str) -> PublishPermit<'a> {
    let action = PublishAction { topic, qos: QoS::AtMostOnce, retain: false, payload_bytes: 0 };
    match identity.may_publish(&mut Verdicts::new(0), action, 0) {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

const SIDE: usize = 183;

/// 100,467 wildcard filters of which three match each topic of three levels below `w`, in 99 sessions.
fn large(identity: &Identity) -> Vec<Attached> {
    let mut out = Out::new(TopicCache::new(0, 0));
    let sessions: Vec<_> = (0..99).map(|n| session(identity, n)).collect();
    for (n, pair) in (0..SIDE * SIDE).enumerate() {
        let (a, b) = (pair / SIDE, pair % SIDE);
        for (kind, filter) in
            [format!("w/{a}/+/{b}"), format!("w/{a}/{b}/#"), format!("w/+/{a}/{b}")].iter().enumerate()
        {
            subscribe(identity, &sessions[n % 33 * 3 + kind], filter, &mut out);
        }
    }
    sessions
}

fn topics() -> Vec<String> {
    let spread = (1..10_001usize).map(|n| n.wrapping_mul(2_654_435_761));
    spread.map(|h| format!("w/{}/{}/{}", h % SIDE, h / SIDE % SIDE, h / SIDE / SIDE % SIDE)).collect()
}

/// 0 entries: the tree is walked each time.
#[divan::bench(args = [0, 16_384], sample_size = 10_000)]
fn targets_among_100_000_filters(bencher: Bencher, entries: usize) {
    let identity = identity();
    let _sessions = large(&identity);
    let topics = topics();
    let mut cache = TopicCache::new(entries, 1 << 20);
    for topic in &topics {
        cache.targets(&permit(&identity, topic));
    }
    let mut n = 0;
    bencher.bench_local(|| {
        n = (n + 1) % topics.len();
        black_box(cache.targets(&permit(&identity, &topics[n])).len())
    });
}

/// One topic, found in the cache.
#[divan::bench(sample_size = 1000)]
fn targets_remembered(bencher: Bencher) {
    let identity = identity();
    let mut out = Out::new(TopicCache::new(0, 0));
    subscribe(&identity, &session(&identity, 0), "plant/+/line/+/temperature", &mut out);
    let permit = permit(&identity, "plant/7/line/12/temperature");
    let mut cache = TopicCache::new(16, 16);
    bencher.bench_local(|| black_box(cache.targets(black_box(&permit))).len());
}

/// With the messages taken after every sixteenth.
#[divan::bench(args = [1, 1000], sample_size = 160)]
fn publish_to(bencher: Bencher, receivers: u32) {
    let identity = identity();
    let sessions: Vec<_> = (0..receivers).map(|n| session(&identity, n)).collect();
    let mut out = Out::new(TopicCache::new(16, 1 << 20));
    for session in &sessions {
        subscribe(&identity, session, "plant/+/line/+/temperature", &mut out);
    }
    let topic = "plant/7/line/12/temperature";
    let mut frame = Vec::new();
    write::publish(&mut frame, Protocol::V311, 0x30, topic, &[], &[0; 64]);
    let Ok(message) = Publish::read(&frame, 2, Protocol::V311, &PacketLimits::default()) else { return };
    let permit = permit(&identity, topic);
    let from = session(&identity, receivers);
    let mut n = 0;
    bencher.counter(ItemsCount::new(receivers)).bench_local(|| {
        router::publish(&permit, &from, black_box(&message), 0, &mut out);
        n += 1;
        if n % 16 == 0 {
            out.armed.clear();
            for session in &sessions {
                if let Some(bytes) = session.take(0, &mut out.spare) {
                    out.spare.put(bytes);
                }
            }
        }
    });
}
