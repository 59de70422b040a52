//! Acknowledgements that wait until other nodes have what they acknowledge.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use crate::node::Node;

/// Messages of one turn of a connection, for each of which some nodes have to answer.
pub(crate) struct Awaited {
    node: Weak<Node>,
    worker: u32,
    connection: u32,
    number: u64,
    left: AtomicU32,
    refused: AtomicBool,
}

impl Awaited {
    /// Of a connection's turn with that number, which its worker gives out once.
    pub(crate) fn new(node: &Arc<Node>, worker: u32, connection: u32, number: u64) -> Arc<Self> {
        // One for whoever makes it, so that it is not over before all are counted.
        let (left, refused) = (AtomicU32::new(1), AtomicBool::new(false));
        Arc::new(Awaited { node: Arc::downgrade(node), worker, connection, number, left, refused })
    }

    /// One more node has to answer.
    pub(super) fn one_more(self: &Arc<Self>) -> Answer {
        self.left.fetch_add(1, Ordering::Relaxed);
        Answer(Some(self.clone()))
    }

    /// All are counted.
    pub(crate) fn counted(&self) {
        self.answered();
    }

    fn answered(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let Some(node) = self.node.upgrade() else { return };
        let taken = !self.refused.load(Ordering::Acquire);
        let (connection, number) = (self.connection, self.number);
        node.send(self.worker as usize, |mail| mail.forwarded.push(Forwarded { connection, number, taken }));
    }
}

/// For a worker: all nodes have answered for a turn of a connection.
pub(crate) struct Forwarded {
    /// Which connection; it may have gone.
    pub(crate) connection: u32,
    /// Which turn.
    pub(crate) number: u64,
    /// Whether each has it, or will.
    pub(crate) taken: bool,
}

/// One node's answer, to be given once. Dropped without one it is a refusal: nothing is acknowledged that nobody has.
pub(super) struct Answer(Option<Arc<Awaited>>);

impl Answer {
    /// The node has it, or will.
    pub(super) fn taken(mut self) {
        if let Some(awaited) = self.0.take() {
            awaited.answered();
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(awaited) = self.0.take() {
            awaited.refused.store(true, Ordering::Release);
            awaited.answered();
        }
    }
}
