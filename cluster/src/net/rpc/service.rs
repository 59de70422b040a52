//! The calls between nodes.

use std::net::SocketAddr;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Outcomes};
use crate::core::{Hello, NodeName, Refusal};

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Purpose {
    /// Control messages. A further one from the same process replaces it.
    Control,
    /// Publications of one lane.
    Data(u8),
    /// To see who is there.
    Probe,
}

/// The answer to a Hello.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum HelloReply {
    /// Come in; the Hello of the one who answers.
    Welcome(Hello),
    /// No; the connection is closed.
    Refused(Refusal),
}

/// A node that wants to become a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JoinAsk {
    /// Who it is.
    pub(crate) hello: Hello,
    /// Where its RPC is reached.
    pub(crate) rpc: SocketAddr,
    /// Where its gossip is reached.
    pub(crate) gossip: SocketAddr,
}

/// The answer to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum JoinReply {
    /// Come in.
    Admitted {
        /// The Hello of the one who answers.
        hello: Hello,
        /// Members and where their gossip is reached, the one who answers first. At most [`JOIN_MEMBERS_MAX`].
        members: Vec<(NodeName, SocketAddr)>,
    },
    /// No; the connection is closed.
    Refused(Refusal),
}

/// Members that are told to a joiner: it hears of the others from these.
pub(crate) const JOIN_MEMBERS_MAX: usize = 16;

/// The calls. The first one on a connection is `hello` or `join`; nothing else is served before one of them said yes.
#[tarpc::service]
pub(crate) trait Node {
    /// Who we are, and what the connection is for.
    async fn hello(hello: Hello, purpose: Purpose) -> HelloReply;
    /// May we become a member?
    async fn join(ask: JoinAsk) -> JoinReply;
    /// Messages between cores, in order.
    async fn control(messages: Vec<Bytes>) -> ();
    /// Publications, in order within a lane.
    async fn deliver(batch: Batch) -> Outcomes;
    /// Are you there?
    async fn ping() -> ();
    /// We are leaving.
    async fn goodbye() -> ();
}
