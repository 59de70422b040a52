//! Tenants under random traffic: what one does is never seen by another.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use gatemq_broker::identity::Parts;
use gatemq_broker::sessions::{Leave, Opening};
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, SessionKey, SessionLimits, Sessions,
    SubscribeAction, Tenants, TopicCache, Values, Verdicts, router,
};
use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_mqtt::{PacketLimits, Publish, write};
use gatemq_types::{Actions, Grant, Limits, NoMatch, Protocol, QoS};
use proptest::prelude::*;

struct Client {
    tenant: u8,
    identity: Identity,
    session: Attached,
    verdicts: Verdicts,
}

/// Clients with equal users and identifiers in three tenants, and what they share: grants, hasher, caches, registry.
struct Node {
    clients: Vec<Client>,
    sessions: Sessions,
    out: Out,
}

impl Node {
    fn new(topics_max: usize) -> Self {
        let (tenants, table, hasher, sessions) =
            (Tenants::new(3), GrantTable::new(8), Hasher::default(), Sessions::default());
        let grants = table.compile(&[Grant::allow(Actions::ALL, "#")]).unwrap();
        let mut clients = Vec::new();
        for (tenant, client) in (0..3).flat_map(|tenant| (0..2).map(move |client| (tenant, client))) {
            let at = tenants.get_or_create(&tenant.to_string()).unwrap();
            let key = Arc::new(SessionKey::new(at, "user", &client.to_string()).unwrap());
            let limits = Limits::default();
            let (values, no_match) = (Values::default(), NoMatch::Deny);
            let parts = Parts { key: &key, grants: &grants, values, no_match, limits: &limits };
            let identity = Identity::new(parts, &hasher).unwrap();
            let session = open(&sessions, &key, clients.len() as u32);
            clients.push(Client { tenant, identity, session, verdicts: Verdicts::new(4) });
        }
        Node { clients, sessions, out: Out::new(TopicCache::new(topics_max, 64)) }
    }

    fn subscribe(&mut self, who: usize, filter: &str) {
        let Client { identity, session, .. } = &self.clients[who];
        let action = SubscribeAction { filter: Filter::trusted(filter), qos: QoS::AtMostOnce };
        let Decision::Permit(permit) = identity.may_subscribe(action) else { panic!("allowed") };
        assert!(!router::subscribe(&permit, session, SubscribeOptions::default(), 0, &mut self.out).code.is_failure());
    }

    /// The payload is the publisher's tenant.
    fn publish(&mut self, who: usize, topic: &str) {
        let Client { tenant, identity, session, verdicts } = &mut self.clients[who];
        let mut frame = Vec::new();
        write::publish(&mut frame, Protocol::V311, 0x30, topic, &[], &[*tenant]);
        let message = Publish::read(&frame, 2, Protocol::V311, &PacketLimits::default()).unwrap();
        let action = PublishAction::new(&message, message.topic);
        let Decision::Permit(permit) = identity.may_publish(verdicts, action, 0) else { panic!("allowed") };
        router::publish(&permit, session, &message, 0, &mut self.out);
    }

    /// Payloads that wait for a client.
    fn received(&mut self, who: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while let Some(taken) = self.clients[who].session.take(0, &mut self.out.spare) {
            bytes.extend(taken);
        }
        let (mut at, mut payloads) = (0, Vec::new());
        while at < bytes.len() {
            let end = at + 2 + bytes[at + 1] as usize;
            payloads.push(bytes[end - 1]);
            at = end;
        }
        payloads
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Guards promise 8: whatever is subscribed, published and closed in any order, everyone receives what a node with
    /// only its own tenant would bring it, and nothing of another tenant.
    #[test]
    fn promise_8_tenants_never_meet(
        topics_max in prop::sample::select(vec![0usize, 2, 64]),
        steps in prop::collection::vec((0u8..8, 0usize..6, prop::sample::select(vec!["a", "a/b", "+", "a/+", "#"])), 1..60),
    ) {
        let mut node = Node::new(topics_max);
        let mut wanted = vec![0usize; 6];
        let mut filters: Vec<Vec<&str>> = vec![Vec::new(); 6];
        for (step, who, text) in steps {
            match step {
                0 => {
                    assert!(node.sessions.leave(&node.clients[who].session, Leave::default(), 0, &mut Default::default()).ended);
                    filters[who].clear();
                    // It takes no more; what it had is gone.
                    prop_assert!(node.received(who).is_empty());
                    node = replace(node, who);
                    wanted[who] = 0;
                }
                1..4 => {
                    node.subscribe(who, text);
                    if !filters[who].contains(&text) {
                        filters[who].push(text);
                    }
                }
                _ => {
                    let topic = text.replace('+', "b").replace('#', "a/b");
                    node.publish(who, &topic);
                    for (receiver, filters) in filters.iter().enumerate().filter(|(r, _)| r / 2 == who / 2) {
                        wanted[receiver] += filters.iter().filter(|f| gatemq_mqtt::topic::matches(f, &topic)).count();
                    }
                }
            }
        }
        for (who, wanted) in wanted.into_iter().enumerate() {
            let tenant = node.clients[who].tenant;
            prop_assert_eq!(node.received(who), vec![tenant; wanted], "client {}", who);
        }
    }
}

/// Connects a client again.
fn replace(mut node: Node, who: usize) -> Node {
    let key = node.clients[who].identity.key().clone();
    node.clients[who].session = open(&node.sessions, &key, who as u32);
    node
}

fn open(sessions: &Sessions, key: &Arc<SessionKey>, connection: u32) -> Attached {
    let (protocol, limits, home) = (Protocol::V311, SessionLimits::default(), Home { worker: 0, connection });
    let opening = Opening { key, protocol, limits, home, clean_start: true, expiry_s: 0, will: None };
    let opened = sessions.open(opening, 0, &mut Default::default());
    assert_eq!((opened.taken_over, opened.ended), (None, false), "equal names in other tenants take nothing over");
    opened.session
}
