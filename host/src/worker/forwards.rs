//! What goes to other nodes of the cluster, and what comes from them.

use std::rc::Rc;

use gatemq_store::Op;

use super::Worker;
use super::hot::Hot;
use crate::cluster::{Awaited, Forwarded, FromNode};

impl Worker {
    /// Hands over what was published for other nodes. Returns the number under which the connection is told when all that is at
    /// QoS 1 or 2 has been taken; 0: nothing is.
    pub(crate) fn forward(&self, hot: &mut Hot, connection: Option<u32>) -> u64 {
        let forwards = std::mem::take(&mut hot.out.forwards);
        let Some(cluster) = self.node.cluster() else { return 0 };
        let awaited = connection.filter(|_| forwards.iter().any(|forward| forward.is_awaited())).map(|connection| {
            self.forwarded.set(self.forwarded.get() + 1);
            (self.forwarded.get(), Awaited::new(&self.node, self.id, connection, self.forwarded.get()))
        });
        cluster.forward(forwards, awaited.as_ref().map(|(_, awaited)| awaited));
        match awaited {
            Some((number, awaited)) => {
                awaited.counted();
                number
            }
            None => 0,
        }
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
    pub(super) fn forwarded(&self, answers: impl Iterator<Item = Forwarded>) {
        for Forwarded { connection, number, taken } in answers {
            self.with(connection, |connection| connection.forwarded(self, number, taken));
        }
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
