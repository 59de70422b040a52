//! What can be changed, and what comes of it.

use std::sync::Arc;

use gatemq_types::{Denial, Subject};

use crate::{Delivery, KeptValue, Message, Record, Retained, StoreError, Subscription};

/// Number of a session: chosen by the broker, from [`Recovery::next_session`](crate::Recovery::next_session) on, never
/// given out twice. A session that is deleted and made again is another one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct SessionId(pub u64);

/// Number of an ownership of a session: of a node, not of a connection. What carries an older one is fenced.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Epoch(pub u64);

/// Number of an entry in a session's queue: given out by the broker, from 1 on, in the order of delivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Seq(pub u64);

/// Bounds of a queue, checked when something is appended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// Entries.
    pub messages_max: u32,
    /// Bytes of topics, properties and payloads.
    pub bytes_max: u64,
}

/// One more entry for a queue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Append {
    /// Whose queue.
    pub session: SessionId,
    /// Who appends.
    pub epoch: Epoch,
    /// Its place. It may come later than higher ones; it stands before them then.
    pub seq: Seq,
    /// The message. The same `Arc` in several appends of one batch is stored once.
    pub message: Arc<Message>,
    /// What differs from receiver to receiver.
    pub delivery: Delivery,
    /// Bounds, if it is to be refused when one is reached.
    pub limit: Option<Limit>,
}

/// One change.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Op {
    /// An entry for a queue. Idempotent on session and sequence number.
    Append(Append),
    /// All entries up to and with this one are done with.
    AckUpTo {
        /// Whose queue.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// The last one.
        seq: Seq,
    },
    /// One entry is done with: acknowledged, expired, dropped or never to be appended. It may come before its append, which
    /// then stores nothing.
    AckOne {
        /// Whose queue.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// Which.
        seq: Seq,
    },
    /// A session is new, or its record changes. The record's epoch must not be older than the stored one; a newer one
    /// fences what carries the one before. One with a lower version than the stored one is not stored: several workers write
    /// it, and their batches come in any order.
    PutSession {
        /// Which.
        session: SessionId,
        /// Its record.
        record: Record,
    },
    /// A session ends, with everything that belongs to it.
    DeleteSession {
        /// Which.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
    },
    /// A session becomes the one of a node, if its epoch is still the expected one (else [`StoreError::Conflict`]).
    Claim {
        /// Which.
        session: SessionId,
        /// The epoch that it had.
        expected: Epoch,
        /// The node that has it from then on.
        node: u64,
    },
    /// A session subscribes, or a subscription changes.
    PutSubscription {
        /// Which session.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// The subscription; one filter has one.
        subscription: Subscription,
    },
    /// A session unsubscribes. There need not be such a subscription.
    DeleteSubscription {
        /// Which session.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// The filter as it was subscribed, `$share/…` included.
        filter: Box<str>,
    },
    /// The receiver has the message of an entry (PUBREC), so only its number is kept, until it is done with. It may come
    /// before its append, which then stores nothing, and behind its acknowledgement, and then changes nothing.
    Release {
        /// Whose queue.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// Which.
        seq: Seq,
        /// What has a lower one was released earlier.
        order: u64,
    },
    /// A QoS 2 message with this identifier came from the client.
    PutIncoming {
        /// Which session.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// Packet identifier.
        packet_id: u16,
    },
    /// The client has released a QoS 2 message.
    DeleteIncoming {
        /// Which session.
        session: SessionId,
        /// Who says so.
        epoch: Epoch,
        /// Packet identifier.
        packet_id: u16,
    },
    /// A topic of a tenant has a retained message.
    PutRetained {
        /// The tenant.
        tenant: Box<str>,
        /// The message; its topic is where it stands.
        retained: Retained,
    },
    /// A topic of a tenant has none any more. There need not be one.
    DeleteRetained {
        /// The tenant.
        tenant: Box<str>,
        /// The topic.
        topic: Box<str>,
    },
    /// Someone is kept out. Of one subject there is one denial of each who raised one.
    PutDenial(Denial),
    /// A denial ends. There need not be one.
    DeleteDenial {
        /// Whose.
        subject: Subject,
        /// Who had raised it.
        raised_by: Box<str>,
    },
    /// A plugin keeps a value.
    PutValue {
        /// The plugin.
        owner: Box<str>,
        /// Its name of it.
        key: Box<str>,
        /// The value.
        value: KeptValue,
    },
    /// A plugin's value goes. There need not be one.
    DeleteValue {
        /// The plugin.
        owner: Box<str>,
        /// Its name of it.
        key: Box<str>,
    },
}

/// Changes that are stored together: after a crash either all of those that were not refused are there, or none.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// In this order.
    pub ops: Vec<Op>,
}

/// What became of one operation.
pub type OpResult = Result<Outcome, StoreError>;

/// What became of an operation that was not refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It is stored.
    Done,
    /// It had been done before, so nothing had to be changed: an entry that is there or was done with, a record that is newer.
    Repeated,
    /// The session is its node's, with this epoch.
    Claimed(Epoch),
}

impl Batch {
    /// One that holds these operations.
    pub fn of(ops: impl IntoIterator<Item = Op>) -> Self {
        Batch { ops: ops.into_iter().collect() }
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// About how many bytes it brings, its operations at 64 each.
    pub(crate) fn bytes(&self) -> usize {
        self.ops.iter().map(|op| 64 + op.bytes()).sum()
    }
}

impl Op {
    fn bytes(&self) -> usize {
        match self {
            Op::Append(append) => append.message.len(),
            Op::PutRetained { retained, .. } => retained.message.len(),
            Op::PutSession { record, .. } => record.will.as_ref().map_or(0, |will| will.message.len()),
            Op::PutSubscription { subscription, .. } => subscription.filter.len(),
            Op::PutValue { value, .. } => value.bytes.len(),
            _ => 0,
        }
    }
}
