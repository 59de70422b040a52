//! What the driver is told, from any thread.

use std::sync::Arc;

use bytes::Bytes;
use gatemq_broker::SessionKey;
use gatemq_broker::changes::SessionNumber;
use gatemq_cluster::core::{ClaimRefusal, Forward, Input, NodeName, SessionKey as Key};
use parking_lot::Mutex;
use tokio::sync::{Notify, oneshot};

use super::awaited::Answer;
use super::backlog::Permit;
use super::content::{Content, Header};
use super::driver::Driver;

/// One thing that it is told.
pub(super) enum Told {
    /// For the core.
    Core(Input),
    /// A control message of another node, for the core.
    Received {
        /// What.
        input: Input,
        /// Its room among those of its node.
        permit: Permit,
    },
    /// A message at QoS 1 or 2 for a node.
    Forward {
        /// Which node.
        to: Arc<str>,
        /// What.
        content: Content,
        /// A persistent session is to have it.
        durable: bool,
        /// Who waits.
        answer: Option<Answer>,
    },
    /// A message that follows a session to where it lives.
    Follow {
        /// Whose, which of its sessions here, and its number there.
        of: (Key, SessionNumber, u64),
        /// Which node.
        to: NodeName,
        /// What.
        content: Content,
    },
    /// One that followed a session here, where it is not.
    Astray {
        /// Whose.
        key: Key,
        /// What.
        content: Content,
    },
    /// Another node's message at QoS 1 or 2.
    Arrived {
        /// From whom.
        from: NodeName,
        /// Its number.
        forward: Forward,
        /// The lowest that may still come.
        low: u64,
        /// What.
        sent: (Header, Bytes),
        /// Told when it is committed here; dropped when it could not be.
        answer: oneshot::Sender<()>,
    },
    /// A client wants its session.
    Claim {
        /// Of the claim.
        request: u64,
        /// Whose.
        key: Key,
        /// Who waits.
        answer: oneshot::Sender<Result<(), ClaimRefusal>>,
    },
    /// The will of a session of that key may be another one.
    Will(Arc<SessionKey>),
    /// A session of that key may be gone.
    Settle(Arc<SessionKey>),
    /// A question.
    Ask(Box<dyn FnOnce(&mut Driver) + Send>),
}

/// In order. Bounded by what it is about: messages within what their publishers may have unacknowledged and what nodes may have
/// unanswered; one question and one claim a connection; changes of sets within a few milliseconds; what other nodes say by its [`Permit`].
#[derive(Default)]
pub(super) struct Inbox {
    told: Mutex<Vec<Told>>,
    wake: Notify,
}

impl Inbox {
    /// Never waits.
    pub(super) fn tell(&self, told: Told) {
        self.tell_all([told]);
    }

    /// Several, with one wake.
    pub(super) fn tell_all(&self, all: impl IntoIterator<Item = Told>) {
        let mut told = self.told.lock();
        let was_empty = told.is_empty();
        told.extend(all);
        let wake = was_empty && !told.is_empty();
        drop(told);
        if wake {
            self.wake.notify_one();
        }
    }

    /// There is something to do, though nothing was told.
    pub(super) fn wake(&self) {
        self.wake.notify_one();
    }

    /// Everything that was told since; empty after a false alarm.
    pub(super) fn take(&self, into: &mut Vec<Told>) {
        std::mem::swap(&mut *self.told.lock(), into);
    }

    /// Until something is told.
    pub(super) async fn told(&self) {
        self.wake.notified().await;
    }
}
