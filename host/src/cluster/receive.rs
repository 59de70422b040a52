//! Messages that other nodes send, delivered on a worker.

use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use gatemq_broker::session::{Delivered, Late, Message, Way};
use gatemq_broker::{Out, Publication, SessionKey, Tenant, router};
use gatemq_cluster::core::{Forward, Input, NodeName};
use gatemq_store::Op;

use xxhash_rust::xxh3::xxh3_64;

use super::Cluster;
use super::claim::key_of;
use super::content::{Content, Header};
use super::told::Told;
use crate::worker::Worker;

/// A message that another node has sent.
pub(super) struct Sent {
    /// From which node.
    pub(super) from: Way,
    pub(super) header: Header,
    /// Its PUBLISH of MQTT 5.
    pub(super) packet: Bytes,
}

/// Some for one worker, which always has those of one node.
pub(crate) struct FromNode {
    cluster: Option<Arc<Cluster>>,
    /// In order.
    messages: Vec<Sent>,
    /// Of those at QoS 1 and 2 their numbers: the core is told when they are stored.
    numbers: Vec<(NodeName, Forward)>,
    /// What records these in the store.
    records: Vec<Op>,
}

impl FromNode {
    /// At QoS 0: nobody waits.
    pub(super) fn new(messages: Vec<Sent>) -> Self {
        FromNode { cluster: None, messages, numbers: Vec::new(), records: Vec::new() }
    }

    /// At QoS 1 and 2.
    pub(super) fn for_driver(cluster: &Arc<Cluster>) -> Self {
        FromNode { cluster: Some(cluster.clone()), ..FromNode::new(Vec::new()) }
    }

    pub(super) fn push(&mut self, sent: Sent, number: Option<(NodeName, Forward)>) {
        self.messages.push(sent);
        self.numbers.extend(number);
    }

    /// Has what it is of recorded when it is stored.
    pub(super) fn recorded(&mut self, of: impl FnOnce(&[(NodeName, Forward)]) -> Vec<Op>) {
        self.records = of(&self.numbers);
    }

    /// Delivers them; those at QoS 1 and 2 are settled when the store has what it is to have of them.
    pub(crate) async fn deliver(self, worker: &Rc<Worker>) {
        let FromNode { cluster, messages, numbers, records } = self;
        let ticket = {
            let hot = &mut *worker.hot.borrow_mut();
            for sent in &messages {
                sent.deliver(worker, &mut hot.out);
            }
            worker.submitted(hot, records)
        };
        let Some(cluster) = cluster else { return };
        worker.stored(ticket).await;
        let settled = |(from, forward)| Told::Core(Input::Settled { from, forward, stored: true });
        cluster.inbox.tell_all(numbers.into_iter().map(settled));
    }
}

/// A node's number, among the ways by which a session's messages come too.
pub(crate) fn way_of(node: &str) -> Way {
    xxh3_64(node.as_bytes()) as u32 | 1 << 31
}

impl Sent {
    /// What nobody here can have is done with: sending it again does not help.
    fn deliver(&self, worker: &Worker, out: &mut Out) {
        let Header { tenant, plain, shares, publication, late, .. } = &self.header;
        let Ok(tenant) = worker.node.tenants.get_or_create(tenant) else { return };
        if let Some((user, client_id, first, identifier)) = late {
            return self.deliver_late(worker, &tenant, (user, client_id, *first, *identifier), out);
        }
        let publication = Publication { node: self.from, number: *publication };
        let sent = router::FromNode { packet: &self.packet, plain: *plain, shares, publication };
        let routed = router::publish_from_node(&tenant, sent, &worker.node.hasher, worker.now_ms.get(), out);
        if routed.is_err() {
            tracing::debug!("a message of another node cannot be published");
        }
    }

    /// By which way it has followed a session here.
    fn way(&self) -> Way {
        // Never one of those that are this node's own to say.
        if self.header.way == 0 { self.from } else { self.header.way | 1 << 31 }
    }

    /// To a session that has come from the node that sends it, perhaps to go on.
    fn deliver_late(&self, worker: &Worker, tenant: &Arc<Tenant>, late: (&str, &str, u8, u32), out: &mut Out) {
        let (user, client_id, first, identifier) = late;
        let Ok(key) = SessionKey::new(tenant.clone(), user, client_id) else { return };
        let (publication, now_ms) = (self.header.publication, worker.now_ms.get());
        let message = || Message::of_packet(&self.packet, publication, now_ms);
        // One that is found may have ended at this moment, and another be in its place.
        while let Some(session) = worker.node.sessions.get(&key) {
            let Some(message) = message() else { return };
            let late = Late { seq: 0, first, identifier, message: Arc::new(message) };
            if router::deliver_late(&session, self.way(), late, &mut out.spare) != Delivered::Closed {
                return;
            }
            let is_there = worker.node.sessions.get(&key).is_some_and(|now| Arc::ptr_eq(&now, &session));
            if is_there {
                return;
            }
        }
        if let (Some(message), Some(cluster)) = (message(), worker.node.cluster()) {
            let late = (user.into(), client_id.into(), first, identifier);
            let content = Content::astray(tenant.clone(), message, late, self.way());
            cluster.inbox.tell(Told::Astray { key: key_of(&key), content });
        }
    }
}
