//! What became of messages that are to be retained.

use std::sync::Arc;

use gatemq_broker::{Readmitted, Retention};
use gatemq_types::event::{Fact, Peer};

use super::client::Client;
use crate::node::Node;
use crate::worker::hot::Hot;

/// Tells what became of one, where somebody wants to know. One that was refused is told by its limit.
pub(super) fn tell_retention(node: &Node, peer: &Arc<Peer>, topic: &str, payload_bytes: usize, retention: Retention) {
    if !node.events.traffic_wanted() {
        return;
    }
    let topic = || topic.to_owned().into();
    let fact = match retention {
        Retention::None | Retention::Refused => return,
        Retention::Stored => Fact::RetainedStored { topic: topic(), payload_bytes: payload_bytes as u64 },
        Retention::Cleared => Fact::RetainedCleared { topic: topic(), by: "client".into() },
    };
    node.events.emit(Some(peer), fact);
}

impl Client {
    /// Its provider stands for it: what was withheld of what it has retained is delivered again, as far as its grants allow it. Not
    /// when somebody has wanted the provider asked once more since it was: then that answer counts.
    pub(super) fn readmit_retained(&self, node: &Node, hot: &mut Hot, now_ms: u64) {
        let revoked = || node.revocations.find(self.revoked_before, |whose| self.is_revoked(whose)).is_some();
        if self.refresh_is_due(now_ms) || revoked() {
            return;
        }
        let changes = &mut hot.out.spare.changes;
        let Readmitted { delivered, withheld, removed } =
            self.identity.tenant().readmit_retained(&self.identity, changes);
        let count = removed.len() as u64;
        if (delivered, withheld, count) == (0, 0, 0) {
            return;
        }
        tell_removed(node, Some(&self.peer), removed, "grants");
        node.events.emit(Some(&self.peer), Fact::RetainedReadmitted { delivered, withheld, removed: count });
    }
}

/// These topics have no retained message any more, and `by` wanted that; told where somebody wants to know.
pub(crate) fn tell_removed(node: &Node, peer: Option<&Arc<Peer>>, topics: Vec<String>, by: &str) {
    if node.events.traffic_wanted() {
        for topic in topics {
            node.events.emit(peer, Fact::RetainedCleared { topic: topic.into(), by: by.to_owned().into() });
        }
    }
}
