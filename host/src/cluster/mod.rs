//! The cluster, as the rest of the node sees it.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@start`] | the node joins before it serves anybody |
//! | [`driver`], [`told`] | the one task that owns the core, and what it is told |
//! | [`actions`], [`routes`] | what the core wants done |
//! | [`content`], [`queue`], [`outgoing`], [`link`] | messages for other nodes, on their way |
//! | [`hints`] | those that are kept for nodes that are away |
//! | [`claim`], [`sessions`], [`state`], [`follow`], [`moved_in`] | one live session a client, its moves between nodes, and what follows it |
//! | [`wills`] | wills of clients whose node dies |
//! | [`sets`] | denials, retained messages and forbidden nodes, which all nodes have |
//! | [`quotas`] | what of a tenant's bounds is this node's |
//! | [`status`], [`operate`] | what operators see, and do |
//! | [`orders`] | what they and plugins want done at every node |
//! | [`awaited`], [`together`] | acknowledgements that wait for them, and what is stored with what they wait for |
//! | [`network`], [`backlog`], [`receive`] | what other nodes say and send |
//! | [`kept_routes`] | what persistent sessions of nodes that are away have subscribed |
//! | [`wrongs`] | what of other nodes is told, a few of each |
//! | [`records`] | what of it was committed, so that it is not twice |

mod actions;
mod awaited;
mod backlog;
mod claim;
mod content;
mod driver;
mod follow;
mod hints;
mod kept_routes;
mod link;
mod moved_in;
mod network;
mod operate;
mod orders;
mod outgoing;
mod places;
mod queue;
mod quotas;
mod receive;
mod records;
mod routes;
mod sessions;
mod sets;
mod start;
mod state;
mod status;
mod together;
mod told;
mod wills;
mod wrongs;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};

use gatemq_broker::SessionKey;
use gatemq_broker::remote::{Destination, Forward, Interest, Remote};
use gatemq_cluster::core::admission::PROTOCOL_MIN;
use gatemq_cluster::core::{Control, FilterKey, InterestChange, NodeName, NotAccepted, NotReady};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::durations::Durations;

pub(crate) use awaited::{Awaited, Incoming};
use backlog::Backlog;
use content::Content;
pub(crate) use hints::PREFIX as HINTS;
pub(crate) use orders::{Elsewhere, Order, What as Ordered};
use outgoing::Link;
use queue::{Item, Queue, What};
pub(crate) use receive::{FromNode, way_of};
pub(crate) use start::{ClusterTlsReload, NotStarted, Running, start};
use status::{Refusals, Roster};
use told::{Inbox, Told};

/// Whose values in the store marks are: no plugin has this name.
pub(crate) const MARKS: &str = "$cluster";

/// Another node.
struct Peer {
    /// As it stands in tenants' trees: for clients that are there, and for persistent sessions.
    remotes: [Arc<Remote>; 2],
    /// The protocol that is spoken with it.
    protocol: AtomicU16,
    /// Somebody sends what is in its queues.
    is_served: AtomicBool,
    /// Messages at QoS 0.
    fast: Queue,
    /// The others.
    kept: Queue,
    /// How long it took to answer batches of both.
    calls: Durations,
    /// What it has said and the driver has not taken.
    backlog: Arc<Backlog>,
}

impl Peer {
    fn new(name: &str) -> Self {
        let (fast, kept) = (Queue::default(), Queue::default());
        let (protocol, is_served) = (AtomicU16::new(PROTOCOL_MIN), AtomicBool::new(false));
        let (calls, backlog) = (Durations::default(), Arc::default());
        Peer { remotes: Remote::pair(name), protocol, is_served, fast, kept, calls, backlog }
    }
}

/// See the module.
pub(crate) struct Cluster {
    /// What the driver is told.
    inbox: Inbox,
    /// By name; those too that are away and have persistent sessions.
    peers: RwLock<HashMap<Box<str>, Arc<Peer>>>,
    /// Who subscribed, for the others: taken in the driver's next round.
    interests: Mutex<Vec<Interest>>,
    /// Messages that were not accepted, and so not acknowledged.
    refused: AtomicU64,
    /// This node.
    own: NodeName,
    environment: String,
    name: String,
    /// Who was there.
    roster: Roster,
    /// Who was not let in, and by whom this node was not.
    refusals: Refusals,
    /// Claims are numbered.
    requests: AtomicU64,
    /// Sessions that were granted and are not opened yet.
    opening: Mutex<HashMap<Arc<SessionKey>, u32>>,
    /// Whether the node has what it needs to serve.
    ready: watch::Sender<Result<(), NotReady>>,
    /// Whether wills that the store had are this node's to publish.
    has_its_wills: AtomicBool,
    /// Nodes that an operator forbade.
    forbidden: RwLock<HashSet<Box<str>>>,
    /// To the other nodes.
    link: Box<dyn Link>,
}

impl Cluster {
    fn new(own: NodeName, (environment, name): (&str, &str), link: Box<dyn Link>) -> Arc<Self> {
        Arc::new(Cluster {
            own,
            environment: environment.to_owned(),
            name: name.to_owned(),
            roster: Roster::default(),
            refusals: Refusals::default(),
            inbox: Inbox::default(),
            peers: RwLock::default(),
            interests: Mutex::default(),
            refused: AtomicU64::new(0),
            requests: AtomicU64::new(1),
            opening: Mutex::default(),
            ready: watch::Sender::new(Err(NotReady::Joining)),
            has_its_wills: AtomicBool::new(false),
            forbidden: RwLock::default(),
            link,
        })
    }

    /// Sends messages to the nodes that are to have them. Never waits; any worker.
    pub(crate) fn forward(&self, forwards: Vec<Forward>, awaited: Option<&Arc<Awaited>>) {
        let mut told = Vec::new();
        for mut forward in forwards {
            let destinations = std::mem::take(&mut forward.to);
            let is_fast = !forward.is_awaited();
            let forward = Arc::new(forward);
            for Destination { node, durable, plain, shares } in destinations {
                let content = Content::new(&forward, plain, shares);
                if is_fast {
                    if let Some(peer) = self.peers.read().get(&*node) {
                        peer.fast.put(Item { number: None, what: What::New(content) });
                    }
                } else {
                    let answer = awaited.map(|awaited| awaited.one_more());
                    told.push(Told::Forward { to: node, content, durable, answer });
                }
            }
        }
        // Before they are told: the last one to answer is known as such.
        if let Some(awaited) = awaited {
            awaited.counted();
        }
        self.inbox.tell_all(told);
    }

    /// Tells the others who subscribed. Never waits; any worker.
    pub(crate) fn interests(&self, interests: Vec<Interest>) {
        self.interests.lock().extend(interests);
        self.inbox.wake();
    }

    /// Sessions ended. Never waits; any worker.
    pub(crate) fn ended(&self, keys: Vec<Arc<SessionKey>>) {
        self.inbox.tell_all(keys.into_iter().map(Told::Settle));
    }

    /// Who subscribed since the last time.
    fn take_interests(&self) -> Vec<InterestChange> {
        let interests = std::mem::take(&mut *self.interests.lock());
        let change = |of: Interest| InterestChange {
            key: FilterKey::new(of.tenant.name(), &of.filter),
            durable: of.durable,
            came: of.added,
        };
        interests.into_iter().map(change).collect()
    }

    /// A node; made where it is not known yet.
    fn peer(self: &Arc<Self>, name: &str) -> Arc<Peer> {
        if let Some(peer) = self.peers.read().get(name) {
            return peer.clone();
        }
        let mut peers = self.peers.write();
        let new = || Arc::new(Peer::new(name));
        peers.entry(name.into()).or_insert_with(new).clone()
    }

    /// The protocol that is spoken with a node.
    fn protocol(&self, node: &NodeName) -> u16 {
        self.peers.read().get(node.as_str()).map_or(PROTOCOL_MIN, |peer| peer.protocol.load(Ordering::Relaxed))
    }

    /// Begins to send what is in a node's queues, if nobody does. In the cluster's runtime.
    fn serve(self: &Arc<Self>, node: &NodeName, protocol: u16) {
        let peer = self.peer(node.as_str());
        peer.protocol.store(protocol, Ordering::Relaxed);
        if !peer.is_served.swap(true, Ordering::Relaxed) {
            outgoing::start(self, &peer, node);
        }
    }

    /// Puts a message at QoS 1 or 2 into a node's queue.
    fn put(&self, to: &str, item: Item) {
        if let Some(peer) = self.peers.read().get(to) {
            peer.kept.put(item);
        }
    }

    fn send_control(&self, to: &NodeName, control: &Control) {
        self.link.control(to, control, self.protocol(to));
    }

    fn not_accepted(&self, to: &NodeName, why: NotAccepted) {
        if self.refused.fetch_add(1, Ordering::Relaxed).is_multiple_of(1000) {
            tracing::warn!(
                node = to.as_str(),
                ?why,
                "messages for a node cannot be kept, so they are not acknowledged"
            );
        }
    }

    /// The worker that has a node's messages.
    fn worker_of(&self, node: &str, workers: usize) -> usize {
        node.bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into())) % workers.max(1)
    }
}
