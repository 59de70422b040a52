//! What became of messages that are to be retained.

use std::sync::Arc;

use gatemq_broker::{Retention, Tenant};
use gatemq_types::event::{Fact, Peer};

use crate::node::Node;

/// Tells what became of one, where somebody wants to know or it was refused.
pub(super) fn tell_retention(
    node: &Node,
    peer: &Arc<Peer>,
    tenant: &Tenant,
    topic: &str,
    payload_bytes: usize,
    retention: Retention,
) {
    let fact = match retention {
        Retention::None => return,
        Retention::Stored | Retention::Cleared if !node.events.traffic_wanted() => return,
        Retention::Stored => {
            Fact::RetainedStored { topic: topic.to_owned().into(), payload_bytes: payload_bytes as u64 }
        }
        Retention::Cleared => Fact::RetainedCleared { topic: topic.to_owned().into() },
        Retention::Refused => {
            let (which, max) = match tenant.retained().0 < node.limits.retained_messages_max {
                true => ("retained_bytes_max", node.limits.retained_bytes_max),
                false => ("retained_messages_max", node.limits.retained_messages_max.into()),
            };
            Fact::LimitExceeded { which: which.into(), max, action: "the message went to nobody".into() }
        }
    };
    node.events.emit(Some(peer), fact);
}
