//! What became of messages that are to be retained.

use std::sync::Arc;

use gatemq_broker::Retention;
use gatemq_types::event::{Fact, Peer};

use crate::node::Node;

/// Tells what became of one, where somebody wants to know. One that was refused is told by its limit.
pub(super) fn tell_retention(node: &Node, peer: &Arc<Peer>, topic: &str, payload_bytes: usize, retention: Retention) {
    if !node.events.traffic_wanted() {
        return;
    }
    let topic = || topic.to_owned().into();
    let fact = match retention {
        Retention::None | Retention::Refused => return,
        Retention::Stored => Fact::RetainedStored { topic: topic(), payload_bytes: payload_bytes as u64 },
        Retention::Cleared => Fact::RetainedCleared { topic: topic() },
    };
    node.events.emit(Some(peer), fact);
}
