//! Acknowledgements that wait until other nodes have what they acknowledge.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Weak};

use gatemq_broker::Session;
use gatemq_store::{Op, SessionId};

use crate::durable::EPOCH;
use crate::node::Node;

/// QoS 2 messages of a session that is in the store.
pub(crate) struct Incoming {
    pub(crate) session: Arc<Session>,
    /// Their packet identifiers, which the store gets no sooner than other nodes have them: a client that sends such a message again
    /// after a crash is told that it came.
    pub(crate) packet_ids: Vec<u16>,
}

/// Messages of one turn of a connection, for each of which some nodes have to answer.
pub(crate) struct Awaited {
    node: Weak<Node>,
    worker: u32,
    /// It may have gone when they have answered.
    pub(crate) connection: u32,
    number: u64,
    left: AtomicU32,
    refused: AtomicBool,
    /// Those at QoS 2, where they are to be stored.
    pub(crate) incoming: Option<Incoming>,
    /// The store has got them with what it keeps for other nodes.
    incoming_stored: AtomicBool,
}

impl Awaited {
    /// Of a connection's turn with that number, which its worker gives out once.
    pub(crate) fn new(
        node: &Arc<Node>,
        (worker, connection): (u32, u32),
        number: u64,
        incoming: Option<Incoming>,
    ) -> Arc<Self> {
        // One for whoever makes it, so that it is not over before all are counted.
        let (left, refused, incoming_stored) = (AtomicU32::new(1), AtomicBool::new(false), AtomicBool::new(false));
        let node = Arc::downgrade(node);
        Arc::new(Awaited { node, worker, connection, number, left, refused, incoming, incoming_stored })
    }

    /// One more node has to answer.
    pub(super) fn one_more(self: &Arc<Self>) -> Answer {
        self.left.fetch_add(1, Ordering::Relaxed);
        Answer(Some(self.clone()))
    }

    /// All are counted.
    pub(super) fn counted(self: &Arc<Self>) {
        self.answered();
    }

    /// How many have not answered.
    pub(super) fn left(&self) -> usize {
        self.left.load(Ordering::Acquire) as usize
    }

    /// Which of all turns of this node it is.
    pub(super) fn turn(&self) -> (u32, u64) {
        (self.worker, self.number)
    }

    /// Whether each has it, or will: else nothing of it is acknowledged.
    pub(crate) fn is_taken(&self) -> bool {
        !self.refused.load(Ordering::Acquire)
    }

    /// Whether the store has the packet identifiers.
    pub(crate) fn is_incoming_stored(&self) -> bool {
        self.incoming_stored.load(Ordering::Acquire)
    }

    /// What stores the packet identifiers.
    pub(super) fn store_incoming(&self) -> impl Iterator<Item = Op> {
        self.incoming_stored.store(true, Ordering::Release);
        let op = |session: SessionId| {
            move |packet_id: &u16| Op::PutIncoming { session, epoch: EPOCH, packet_id: *packet_id }
        };
        self.incoming.iter().flat_map(move |of| of.packet_ids.iter().map(op(SessionId(of.session.number()))))
    }

    fn answered(self: &Arc<Self>) {
        if self.left.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let Some(node) = self.node.upgrade() else { return };
        let awaited = self.clone();
        node.send(self.worker as usize, |mail| mail.forwarded.push(awaited));
    }
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

    /// What it is awaited for, where QoS 2 messages of it are to be stored.
    pub(super) fn incoming(&self) -> Option<Arc<Awaited>> {
        self.0.clone().filter(|awaited| awaited.incoming.is_some())
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
