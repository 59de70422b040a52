//! What goes to other nodes of the cluster, and what comes from them.

use std::rc::Rc;
use std::sync::Arc;

use gatemq_broker::Session;
use gatemq_store::Op;

use super::Worker;
use super::hot::Hot;
use crate::cluster::{Awaited, FromNode, Incoming};

impl Worker {
    /// Hands over what was published for other nodes. Returns under what the connection is told when all that is at QoS 1 or 2 has been
    /// taken; `None`: nothing is. `publisher`: the connection, and its session.
    pub(crate) fn forward(&self, hot: &mut Hot, publisher: Option<(u32, &Arc<Session>)>) -> Option<Arc<Awaited>> {
        let forwards = std::mem::take(&mut hot.out.forwards);
        let cluster = self.node.cluster()?;
        let publisher = publisher.filter(|_| forwards.iter().any(|forward| forward.is_awaited()));
        let awaited = publisher.map(|(connection, session)| {
            self.forwarded.set(self.forwarded.get() + 1);
            let packet_ids = hot.out.spare.changes.take_received(session.number());
            let incoming = (!packet_ids.is_empty()).then(|| {
                session.forwards(&packet_ids);
                Incoming { session: session.clone(), packet_ids }
            });
            Awaited::new(&self.node, (self.id, connection), self.forwarded.get(), incoming)
        });
        cluster.forward(forwards, awaited.as_ref());
        awaited
    }

    /// After a turn: what nobody waits for goes out, and who subscribed is told.
    pub(super) fn tell_cluster(&self, hot: &mut Hot) {
        hot.out.forwards.append(&mut hot.out.spare.changes.take_handed());
        if !hot.out.forwards.is_empty() {
            self.forward(hot, None);
        }
        if hot.out.spare.changes.have_interests()
            && let Some(cluster) = self.node.cluster()
        {
            cluster.interests(hot.out.spare.changes.take_interests());
            cluster.ended(hot.out.spare.changes.take_ended());
        }
    }

    /// Other nodes have answered.
    pub(super) fn forwarded(&self, answers: impl Iterator<Item = Arc<Awaited>>) {
        for awaited in answers {
            let ticket = self.received(&awaited);
            self.with(awaited.connection, |connection| connection.forwarded(self, &awaited, ticket));
        }
    }

    /// Packet identifiers of QoS 2 messages are stored, unless they are: the client, which may have another connection now, is told
    /// from now on that they came. Of those that somebody could not take they are free: the client sends those again. Returns the
    /// batch that they are in.
    fn received(&self, awaited: &Awaited) -> Option<u64> {
        let Incoming { session, packet_ids } = awaited.incoming.as_ref()?;
        session.forwarded(packet_ids, awaited.is_taken());
        if !awaited.is_taken() || awaited.is_incoming_stored() {
            return None;
        }
        let hot = &mut *self.hot.borrow_mut();
        hot.out.spare.changes.received(session.number(), packet_ids);
        Some(self.submit(hot))
    }

    /// Other nodes have sent messages: they are delivered here, and answered when the store has what it is to have of them.
    pub(super) fn from_nodes(self: &Rc<Self>, sent: impl Iterator<Item = FromNode>) {
        for sent in sent {
            let worker = self.clone();
            // In their order. A task of its own: a panic ends it and not the worker.
            tokio::task::spawn_local(async move { sent.deliver(&worker).await });
        }
    }

    /// Submits what has changed up to now and, if anything has, these beside it; returns the number of its batch, for
    /// [`Self::stored`].
    pub(crate) fn submitted(&self, hot: &mut Hot, beside: Vec<Op>) -> u64 {
        if !hot.out.spare.changes.is_empty() {
            self.commits.borrow_mut().beside(beside);
        }
        let ticket = self.submit(hot);
        self.deliver_armed(hot);
        ticket
    }
}
