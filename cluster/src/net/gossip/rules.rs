//! Which nodes memberlist may keep. The key is the gate; this is the second lock: a key that was copied into another
//! environment by mistake opens nothing.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use memberlist::delegate::{
    AliveDelegate, ConflictDelegate, Delegate, EventDelegate, MergeDelegate, NodeDelegate, PingDelegate,
};
use memberlist::proto::{Meta, NodeState, State};
use memberlist::transport::NodeId;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

use super::GossipMember;
use crate::core::{Boot, Hello, NodeName};

/// What every node tells of itself. Fields are appended, never changed: an older node reads the beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct About {
    environment: String,
    cluster: String,
    boot: Boot,
    protocol_min: u16,
    protocol_max: u16,
    rpc: SocketAddr,
}

/// The rules, and what we tell of ourselves.
pub(super) struct Rules {
    about: About,
    encoded: Meta,
    changed: Arc<Notify>,
}

/// Why a node is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotKept {
    /// What it tells of itself, or its name, cannot be read.
    #[error("it tells nothing of itself that can be read")]
    Unreadable,
    /// Another environment.
    #[error("it is of another environment")]
    Environment,
    /// Another cluster.
    #[error("it is of another cluster")]
    Cluster,
    /// No common protocol.
    #[error("it speaks no protocol that we speak")]
    Protocol,
}

impl Rules {
    pub(super) fn new(hello: &Hello, rpc: SocketAddr, changed: Arc<Notify>) -> Result<Rules, String> {
        let about = About {
            environment: hello.environment.clone(),
            cluster: hello.cluster.clone(),
            boot: hello.boot,
            protocol_min: hello.protocol_min,
            protocol_max: hello.protocol_max,
            rpc,
        };
        let encoded = postcard::to_allocvec(&about).map_err(|e| e.to_string())?;
        let encoded = Meta::try_from(encoded).map_err(|e| e.to_string())?;
        Ok(Rules { about, encoded, changed })
    }

    fn check(&self, node: &NodeState<NodeId, SocketAddr>) -> Result<(), NotKept> {
        let theirs = about(node).ok_or(NotKept::Unreadable)?;
        NodeName::new(node.id().as_str()).map_err(|_| NotKept::Unreadable)?;
        if theirs.environment.is_empty() || theirs.environment != self.about.environment {
            return Err(NotKept::Environment);
        }
        if theirs.cluster != self.about.cluster {
            return Err(NotKept::Cluster);
        }
        let ours = &self.about;
        if theirs.protocol_min > ours.protocol_max || theirs.protocol_max < ours.protocol_min {
            return Err(NotKept::Protocol);
        }
        Ok(())
    }

    fn notify(&self) {
        self.changed.notify_one();
    }
}

fn about(node: &NodeState<NodeId, SocketAddr>) -> Option<About> {
    postcard::take_from_bytes(node.meta().as_bytes()).ok().map(|(about, _)| about)
}

/// A node as the rest of the network knows it.
pub(super) fn member(node: &NodeState<NodeId, SocketAddr>) -> Option<GossipMember> {
    let about = about(node)?;
    let name = NodeName::new(node.id().as_str()).ok()?;
    Some(GossipMember { node: name, boot: about.boot, rpc: about.rpc, gossip: *node.address() })
}

impl NodeDelegate for Rules {
    async fn node_meta(&self, _: usize) -> Meta {
        self.encoded.clone()
    }

    // Nothing of ours travels by gossip.
    async fn notify_message(&self, _: Cow<'_, [u8]>) {}
}

impl AliveDelegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;
    type Error = NotKept;

    /// Called under memberlist's write lock: nothing of memberlist may be called from here.
    async fn notify_alive(&self, peer: Arc<NodeState<NodeId, SocketAddr>>) -> Result<(), NotKept> {
        self.check(&peer)
    }
}

impl MergeDelegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;
    type Error = NotKept;

    /// One that does not belong spoils the whole state that it came with. Those that are gone are not checked: nobody is kept
    /// because of them, and they may have been of a version that is too old for us.
    async fn notify_merge(&self, peers: Arc<[NodeState<NodeId, SocketAddr>]>) -> Result<(), NotKept> {
        let is_gone = |peer: &NodeState<_, _>| matches!(peer.state(), State::Dead | State::Left);
        peers.iter().filter(|peer| !is_gone(peer)).try_for_each(|peer| self.check(peer))
    }
}

impl EventDelegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;

    async fn notify_join(&self, _: Arc<NodeState<NodeId, SocketAddr>>) {
        self.notify();
    }

    async fn notify_leave(&self, _: Arc<NodeState<NodeId, SocketAddr>>) {
        self.notify();
    }

    async fn notify_update(&self, _: Arc<NodeState<NodeId, SocketAddr>>) {
        self.notify();
    }
}

impl ConflictDelegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;

    // Whose name it is was decided at admission; memberlist keeps the one that it has.
    async fn notify_conflict(&self, _: Arc<NodeState<NodeId, SocketAddr>>, _: Arc<NodeState<NodeId, SocketAddr>>) {}
}

impl PingDelegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;

    async fn ack_payload(&self) -> Bytes {
        Bytes::new()
    }

    async fn notify_ping_complete(&self, _: Arc<NodeState<NodeId, SocketAddr>>, _: Duration, _: Bytes) {}
}

impl Delegate for Rules {
    type Id = NodeId;
    type Address = SocketAddr;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(protocol: u16) -> Rules {
        let hello = Hello {
            environment: "prod".into(),
            cluster: "east".into(),
            node: "n1".into(),
            boot: Boot(1),
            clock_ms: 0,
            protocol_min: protocol,
            protocol_max: protocol,
            version: "test".into(),
        };
        Rules::new(&hello, "127.0.0.1:1".parse().unwrap(), Arc::default()).unwrap()
    }

    /// A cluster that was upgraded remembers a node of long ago: it does not keep those out that have no protocol in common
    /// with it. One that is there does.
    #[tokio::test]
    async fn who_is_gone_keeps_nobody_out() {
        let merge = async |state| {
            let old = NodeState::new(NodeId::new("old").unwrap(), "127.0.0.1:2".parse().unwrap(), state);
            rules(3).notify_merge(Arc::new([old.with_meta(rules(1).encoded)])).await
        };
        assert_eq!(merge(State::Dead).await, Ok(()));
        assert_eq!(merge(State::Left).await, Ok(()));
        assert_eq!(merge(State::Suspect).await, Err(NotKept::Protocol));
        assert_eq!(merge(State::Alive).await, Err(NotKept::Protocol));
    }
}
