//! Other nodes of a cluster: they subscribe for their clients, and are sent what those are to have.
//!
//! A node stands in a tenant's tree as one more target. What it has to be sent is a [`Forward`] in [`Out`](crate::Out): one for a
//! message, whichever of its filters match and however many clients it has. What came from another node goes to clients of this
//! one only.

use std::fmt;
use std::sync::Arc;

use gatemq_types::QoS;

use crate::session::{Message, qos_of};
use crate::{SessionKey, Tenant};

/// Another node, as one who subscribed. It is recognised by its address in memory, so there are two for as long as it is known:
/// for filters that persistent sessions have there, and for others.
pub struct Remote {
    name: Arc<str>,
    is_durable: bool,
}

impl Remote {
    /// Of that name: for filters of clients that are there, and for those of persistent sessions.
    pub fn pair(name: &str) -> [Arc<Self>; 2] {
        let name: Arc<str> = name.into();
        [false, true].map(|is_durable| Arc::new(Remote { name: name.clone(), is_durable }))
    }

    /// Its name in the cluster.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Remote({:?})", self.name)
    }
}

pub(crate) fn address_of_node(node: &Arc<Remote>) -> usize {
    Arc::as_ptr(node) as usize
}

/// A message for other nodes.
#[derive(Clone, Debug)]
pub struct Forward {
    /// Where it was published.
    pub tenant: Arc<Tenant>,
    /// What.
    pub message: Arc<Message>,
    /// First byte of its PUBLISH as it was published: QoS and RETAIN.
    pub first: u8,
    /// Who published it; `None`: the node, for a plugin.
    pub from: Option<Arc<SessionKey>>,
    /// Nodes where clients are to have it, each once.
    pub to: Vec<Destination>,
}

impl Forward {
    /// Whether its publisher is told only when the others have it.
    pub fn is_awaited(&self) -> bool {
        qos_of(self.first) != QoS::AtMostOnce
    }
}

/// What a node is to do with a message.
#[derive(Clone, Debug)]
pub struct Destination {
    /// Which node.
    pub node: Arc<str>,
    /// A persistent session there has such a filter: should the node be away, it is kept for it.
    pub durable: bool,
    /// Deliver it to all who subscribed to it and share with nobody.
    pub plain: bool,
    /// Filters of shared subscriptions (`$share/…`): one member of each, there, is to have it.
    pub shares: Vec<Box<str>>,
}

/// The destination of a node in a list, added when it is not there.
pub(crate) fn destination<'a>(to: &'a mut Vec<Destination>, node: &Arc<Remote>) -> &'a mut Destination {
    let at = to.iter().position(|known| Arc::ptr_eq(&known.node, &node.name)).unwrap_or_else(|| {
        to.push(Destination { node: node.name.clone(), durable: false, plain: false, shares: Vec::new() });
        to.len() - 1
    });
    to[at].durable |= node.is_durable;
    &mut to[at]
}

/// Somebody of this node subscribed, or does no more.
#[derive(Clone, Debug)]
pub struct Interest {
    /// Where.
    pub tenant: Arc<Tenant>,
    /// To what, `$share/…` included.
    pub filter: String,
    /// One more; else one less.
    pub added: bool,
    /// The session is in the store: what comes while its node is away has to wait for it.
    pub durable: bool,
}
