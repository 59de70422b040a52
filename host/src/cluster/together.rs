//! What is kept for other nodes of QoS 2 messages goes into the store in one batch with their packet identifiers: after a crash the
//! client's attempt to send them again finds both, or neither and nobody has got them from here.
//!
//! Messages of one turn may be for several nodes. What is to be kept for some waits until the others have answered or it is to be kept
//! for them too, which is within `ack_wait_ms`; so the batch is the last thing before the acknowledgement.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use gatemq_cluster::core::{Forward, NodeName};
use gatemq_store::Op;

use super::awaited::Awaited;
use super::driver::Driver;

/// By turn. Bounded by what clients may have unacknowledged.
#[derive(Default)]
pub(super) struct Together(HashMap<(u32, u64), Kept>);

/// What of a turn is to be kept.
#[derive(Default)]
struct Kept {
    ops: Vec<Op>,
    stored: Vec<(NodeName, Forward)>,
    /// The host's numbers of those whose nodes have not answered meanwhile.
    unanswered: HashSet<u64>,
}

impl Driver {
    /// `op` keeps the message with that number.
    pub(super) fn keep_together(&mut self, awaited: &Arc<Awaited>, id: u64, of: (NodeName, Forward), op: Op) {
        let kept = self.together.0.entry(awaited.turn()).or_default();
        kept.ops.push(op);
        kept.stored.push(of);
        kept.unanswered.insert(id);
        self.commit_together(awaited);
    }

    /// The node of the message with that number has answered, or it was refused.
    pub(super) fn answered_together(&mut self, awaited: &Arc<Awaited>, id: u64) {
        if let Some(kept) = self.together.0.get_mut(&awaited.turn()) {
            kept.unanswered.remove(&id);
            self.commit_together(awaited);
        }
    }

    /// Commits what is kept of a turn, if nothing else of it is to come.
    fn commit_together(&mut self, awaited: &Arc<Awaited>) {
        let waits = |kept: &Kept| awaited.is_taken() && awaited.left() > kept.unanswered.len();
        let of = awaited.turn();
        if self.together.0.get(&of).is_none_or(waits) {
            return;
        }
        let Some(Kept { ops, stored, unanswered }) = self.together.0.remove(&of) else { return };
        self.ops.extend(ops);
        self.stored.extend(stored);
        // Where all have answered after all, their worker stores them.
        if awaited.is_taken() && !unanswered.is_empty() {
            self.ops.extend(awaited.store_incoming());
        }
    }
}
