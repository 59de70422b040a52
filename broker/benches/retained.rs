//! What retained messages cost at SUBSCRIBE, each.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use divan::Bencher;
use divan::counter::ItemsCount;
use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, SessionKey, SessionLimits,
    SubscribeAction, Tenants, TopicCache, Values, Verdicts, router,
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

fn attached(identity: &Identity, protocol: Protocol, connection: u32) -> Attached {
    let home = Home { worker: 0, connection };
    Attached::alone(identity.key().clone(), protocol, SessionLimits::default(), home)
}

/// 10,000 retained messages of 64 bytes at one SUBSCRIBE, all bytes taken.
#[divan::bench(args = [3, 5], sample_count = 50)]
fn retained_at_subscribe(bencher: Bencher, level: u8) {
    const COUNT: usize = 10_000;
    let identity = identity();
    let mut out = Out::new(TopicCache::new(16, 16));
    let from = attached(&identity, Protocol::V311, 0);
    for n in 0..COUNT {
        let (topic, mut frame) = (format!("ret/{n}"), Vec::new());
        write::publish(&mut frame, Protocol::V311, 0x31, &topic, &[], &[0; 64]);
        let Ok(message) = Publish::read(&frame, 2, Protocol::V311, &PacketLimits::default()) else { return };
        let action = PublishAction { topic: &topic, qos: QoS::AtMostOnce, retain: true, payload_bytes: 64 };
        let Decision::Permit(permit) = identity.may_publish(&mut Verdicts::new(0), action, 0) else { return };
        router::publish(&permit, &from, &message, 0, &mut out);
    }
    let protocol = if level == 5 { Protocol::V5 } else { Protocol::V311 };
    let to = attached(&identity, protocol, 1);
    bencher.counter(ItemsCount::new(COUNT)).bench_local(|| {
        let action = SubscribeAction { filter: Filter::trusted("ret/#"), qos: QoS::AtMostOnce };
        let Decision::Permit(permit) = identity.may_subscribe(action) else { return };
        let subscribed = router::subscribe(&permit, &to, SubscribeOptions::default(), 0, &mut out);
        assert_eq!(subscribed.retained as usize, COUNT);
        let mut bytes = 0;
        while let Some(taken) = to.take(0, &mut out.spare) {
            bytes += taken.len();
            out.spare.put(taken);
        }
        assert!(bytes > COUNT * 70);
    });
}
