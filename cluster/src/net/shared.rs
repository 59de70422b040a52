//! What all tasks of the network share.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::gossip::Membership;
use super::handler::{Handler, RefusedSide, RefusedWhy};
use super::join::Sought;
use super::link;
use super::peers::Peer;
use super::peers::Peers;
use super::report::Reporter;
use super::rpc::service::Purpose;
use super::tls::{Tls, TlsPeer};
use super::{Clock, Settings};
use crate::core::admission::decide;
use crate::core::{Admitted, Boot, Hello, Member, NodeName, Refusal, SpiffeId};

/// A process that is asked whether it is still there answers in this time, or is not.
const PROBE_DEADLINE: Duration = Duration::from_secs(1);

/// Where we are.
pub(super) struct Addresses {
    /// Where our RPC is reached.
    pub(super) rpc: SocketAddr,
    /// Where our gossip is reached.
    pub(super) gossip: SocketAddr,
    /// Where both are bound.
    #[cfg(test)]
    pub(super) bound: (SocketAddr, SocketAddr),
}

/// See the module.
pub(super) struct Shared {
    pub(super) settings: Settings,
    /// Where our RPC is reached.
    pub(super) rpc: SocketAddr,
    /// Where our gossip is reached.
    pub(super) gossip: SocketAddr,
    /// Where both are bound, for tests whose relays stand between.
    #[cfg(test)]
    pub(super) bound: (SocketAddr, SocketAddr),
    pub(super) tls: Tls,
    pub(super) handler: Arc<dyn Handler>,
    pub(super) reporter: Arc<Reporter>,
    pub(super) membership: Arc<dyn Membership>,
    pub(super) peers: Peers,
    pub(super) connections: Connections,
    /// Ends everything.
    pub(super) cancel: CancellationToken,
    pub(super) leaving: AtomicBool,
    /// Processes that were admitted in the place of one that gossip still believes alive. No more than peers.
    successors: Mutex<HashMap<NodeName, Boot>>,
    /// Processes that said goodbye. One a node.
    pub(super) departed: Mutex<HashMap<NodeName, Boot>>,
    /// Control connections that peers made to us, by their number.
    pub(super) incoming: Mutex<HashMap<u64, (NodeName, Boot)>>,
    pub(super) sought: Sought,
    /// Held while the peers are made those of gossip.
    pub(super) reconciling: tokio::sync::Mutex<()>,
}

impl Shared {
    pub(super) fn new(
        settings: Settings,
        addresses: Addresses,
        tls: Tls,
        handler: Arc<dyn Handler>,
        reporter: Arc<Reporter>,
        membership: Arc<dyn Membership>,
    ) -> Self {
        Shared {
            settings,
            rpc: addresses.rpc,
            gossip: addresses.gossip,
            #[cfg(test)]
            bound: addresses.bound,
            tls,
            handler,
            reporter,
            membership,
            peers: Peers::default(),
            connections: Connections::default(),
            cancel: CancellationToken::new(),
            leaving: AtomicBool::new(false),
            successors: Mutex::default(),
            departed: Mutex::default(),
            incoming: Mutex::default(),
            sought: Sought::default(),
            reconciling: tokio::sync::Mutex::default(),
        }
    }

    /// What we say of ourselves, now.
    pub(super) fn hello(&self) -> Hello {
        self.settings.hello()
    }

    pub(super) fn now_ms(&self) -> u64 {
        let Clock(clock) = &self.settings.clock;
        clock()
    }

    /// Decides about a Hello. `alive` are the members whose names are taken.
    pub(super) fn decide(&self, theirs: &Hello, who: &SpiffeId, alive: &[Member]) -> Result<Admitted, Refusal> {
        let forbidden = |node: &NodeName| self.handler.is_forbidden(node);
        decide(&self.hello(), theirs, who, alive, &forbidden, self.now_ms())
    }

    /// Decides about a node that asks to come in. A name whose process no longer answers is free, even while gossip has not
    /// noticed: so a node that crashed is back at once.
    pub(super) async fn admit(&self, theirs: &Hello, who: &SpiffeId) -> Result<Admitted, Refusal> {
        let admitted = self.decide(theirs, who, &[])?;
        if self.leaving.load(Ordering::Relaxed) {
            return Err(Refusal::Leaving { ours: self.settings.node.to_string() });
        }
        let Some(peer) = self.peers.get(&admitted.node).filter(|peer| peer.boot != admitted.boot) else {
            self.successors.lock().remove(&admitted.node);
            return Ok(admitted);
        };
        let is_successor = self.successors.lock().get(&admitted.node) == Some(&admitted.boot);
        if is_successor || !self.answers(&peer.node, peer.boot, peer.rpc).await {
            self.successors.lock().insert(admitted.node.clone(), admitted.boot);
            return Ok(admitted);
        }
        Err(Refusal::NodeNameTaken { node: theirs.node.clone(), alive: peer.boot, asking: theirs.boot })
    }

    /// Whether this process of a node answers.
    async fn answers(&self, node: &NodeName, boot: Boot, rpc: SocketAddr) -> bool {
        let asked = tokio::time::timeout(PROBE_DEADLINE, link::dial(self, rpc, Purpose::Probe));
        matches!(asked.await, Ok(Ok(link)) if link.admitted.node == *node && link.admitted.boot == boot)
    }

    /// Whether a peer has a control connection to us: then it has heard of us.
    pub(super) fn comes(&self, peer: &Peer) -> bool {
        self.incoming.lock().values().any(|(node, boot)| *node == peer.node && *boot == peer.boot)
    }

    pub(super) fn refused(&self, side: RefusedSide, address: SocketAddr, who: Option<SpiffeId>, why: RefusedWhy) {
        self.reporter.refused(side, address, who, why);
    }

    /// Closes connections with peers whose certificates are valid no longer.
    pub(super) fn verify_connections(&self) {
        for open in self.connections.all() {
            if let Err(e) = self.tls.verify_again(&open.peer) {
                let who = Some(open.peer.identity.clone());
                self.refused(RefusedSide::ByUs, open.address, who, RefusedWhy::Tls(e.to_string()));
                open.cancel.cancel();
            }
        }
    }
}

/// An open connection, in either direction.
#[derive(Clone)]
pub(super) struct Open {
    pub(super) peer: TlsPeer,
    pub(super) address: SocketAddr,
    pub(super) cancel: CancellationToken,
}

/// All open connections whose handshake is done.
#[derive(Default)]
pub(super) struct Connections {
    open: Mutex<HashMap<u64, Open>>,
    next: AtomicU64,
}

impl Connections {
    /// Adds one. Numbers only go up.
    pub(super) fn add(&self, open: Open) -> u64 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(id, open);
        id
    }

    pub(super) fn remove(&self, id: u64) {
        self.open.lock().remove(&id);
    }

    pub(super) fn all(&self) -> Vec<Open> {
        self.open.lock().values().cloned().collect()
    }

    /// Closes those with this node.
    pub(super) fn close(&self, node: &NodeName) {
        self.all().iter().filter(|open| open.peer.identity.node == *node).for_each(|open| open.cancel.cancel());
    }
}
