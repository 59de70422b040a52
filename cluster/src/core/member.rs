//! Members: nodes that were admitted.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::admission::Admitted;
use super::name::{Name, NodeName};

/// Which process of a node: a number that is larger at each start (the clock at the start, in milliseconds, if nothing better
/// is there).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Boot(pub u64);

/// A node that was admitted, as one process of it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Its environment.
    pub environment: Name,
    /// Its cluster.
    pub cluster: Name,
    /// Its name.
    pub node: NodeName,
    /// Which of its processes.
    pub boot: Boot,
    /// The protocol that is spoken with it.
    pub protocol: u16,
    /// Its build, for people.
    pub version: String,
    /// Where its RPC is reached.
    pub rpc: SocketAddr,
    /// Where its gossip is reached.
    pub gossip: SocketAddr,
}

impl Member {
    /// An admitted node with the addresses that it advertises.
    pub fn new(admitted: Admitted, rpc: SocketAddr, gossip: SocketAddr) -> Self {
        let Admitted { environment, cluster, node, boot, protocol, version } = admitted;
        Member { environment, cluster, node, boot, protocol, version, rpc, gossip }
    }
}
