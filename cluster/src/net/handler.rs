//! What the network tells the host.

use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::gossip::gate::GossipRefusal;
use super::rpc::batch::{Batch, Outcomes};
use crate::core::{Boot, Lost, Member, NodeName, Refusal, SpiffeId};

/// Told what happens, from the network's own threads. Calls about one peer come one after another, in the order in which it
/// happened. No call may wait or take long: put it into a queue of your own.
pub trait Handler: Send + Sync + 'static {
    /// A peer is live: gossip says so, and it answers RPC. Also when a suspected one answers again.
    fn peer_up(&self, member: Member);

    /// The control link to a peer broke, or it does not answer. Gossip has not given it up.
    fn peer_suspected(&self, node: &NodeName, boot: Boot);

    /// A peer is a member no more. The network goes on trying to reach it.
    fn peer_lost(&self, node: &NodeName, boot: Boot, how: Lost);

    /// The control channel between a peer and us was replaced, in either direction: what was under way may be lost. Told
    /// before anything of the new one.
    fn link_reset(&self, node: &NodeName);

    /// A control message of a peer that was told up. In the order in which it was sent.
    ///
    /// # Errors
    /// It is none of a member's, and why: its connection is closed, and told as refused.
    fn control(&self, from: &NodeName, boot: Boot, message: Bytes) -> Result<(), String>;

    /// Until there is room for control messages of a peer: no more are taken from it before. Also when it is gone.
    fn room(&self, from: &NodeName) -> BoxFuture<'static, ()>;

    /// Publications of a peer that was told up; those of one lane in the order in which they were sent. The future gives one
    /// outcome a message and may be dropped when the peer waits no longer; what the call began goes on.
    fn deliver(&self, from: &NodeName, boot: Boot, lane: u8, batch: Batch) -> BoxFuture<'static, Outcomes>;

    /// Somebody was refused, by us or by them. Limited to a few for each address and reason in ten seconds.
    fn refused(&self, refused: Refused);

    /// The first attempt to join is over, and every member that answers was told up.
    fn joined(&self, joined: Joined);

    /// Whether an operator forbade this node.
    fn is_forbidden(&self, node: &NodeName) -> bool;
}

/// How the first attempt to join ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Joined {
    /// A member admitted us.
    Admitted {
        /// Which.
        by: NodeName,
    },
    /// There are no seeds but ourselves, or none answered: we go on alone and keep trying.
    Alone {
        /// What each seed that was tried said.
        unreachable: Vec<(String, String)>,
    },
    /// A seed refused us and none admitted us. We keep trying; whether to go on or to exit is the host's to decide.
    Refused {
        /// Each refusal, with its seed.
        reasons: Vec<(String, RefusedWhy)>,
    },
}

/// A refusal, for a log line, a counter and an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Who refused whom.
    pub side: RefusedSide,
    /// The other side's address.
    pub address: SocketAddr,
    /// Who it is by its verified certificate, if it got that far.
    pub who: Option<SpiffeId>,
    /// Why.
    pub why: RefusedWhy,
    /// How many of the same address and reason were not told since the last one.
    pub untold: u64,
}

/// Who refused whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedSide {
    /// We refused the other side.
    ByUs,
    /// The other side refused us.
    ByThem,
}

/// Why somebody was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RefusedWhy {
    /// By its Hello.
    #[error("{0}")]
    Hello(Refusal),
    /// By its certificate, or in the handshake before there was one.
    #[error("{0}")]
    Tls(String),
    /// At the gossip port.
    #[error("{0}")]
    Gossip(GossipRefusal),
    /// It broke the RPC's rules: a frame too long, a call before its Hello, no answer in time.
    #[error("{0}")]
    Rpc(String),
}

impl RefusedWhy {
    /// A short name that does not change with what is in it: for counters.
    pub fn code(&self) -> &'static str {
        match self {
            RefusedWhy::Hello(refusal) => match refusal {
                Refusal::EnvironmentEmpty { .. } => "environment_empty",
                Refusal::EnvironmentDiffers { .. } => "environment_differs",
                Refusal::ClusterDiffers { .. } => "cluster_differs",
                Refusal::NameInvalid { .. } => "name_invalid",
                Refusal::CertificateDiffers { .. } => "certificate_differs",
                Refusal::ProtocolUnsupported { .. } => "protocol_unsupported",
                Refusal::ClockSkew { .. } => "clock_skew",
                Refusal::NodeNameTaken { .. } => "node_name_taken",
                Refusal::Forbidden { .. } => "forbidden",
                Refusal::Leaving { .. } => "leaving",
            },
            RefusedWhy::Tls(_) => "tls",
            RefusedWhy::Gossip(refusal) => match refusal {
                GossipRefusal::Network => "gossip_network",
                GossipRefusal::Label => "gossip_label",
                GossipRefusal::Plaintext => "gossip_plaintext",
                GossipRefusal::Key => "gossip_key",
                GossipRefusal::Length => "gossip_length",
                GossipRefusal::Unanswered => "gossip_unanswered",
                GossipRefusal::Busy => "gossip_busy",
            },
            RefusedWhy::Rpc(_) => "rpc",
        }
    }
}
