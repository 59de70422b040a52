//! What all workers share.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use gatemq_broker::changes::{Changes, RetainedChanges};
use gatemq_broker::heard::COUNTED_BITS;
use gatemq_broker::remote::Interest;
use gatemq_broker::{GrantTable, Hasher, Home, Publication, Sessions, Tenant, TenantLimit, Tenants};

use gatemq_store::{Store, StoreError, StoredSession};
use gatemq_types::event::{Fact, Peer};
use tokio::sync::Notify;
use xxhash_rust::xxh3::xxh3_64;

use crate::clock;
use crate::cluster::{Cluster, way_of};
use crate::config::{self, Limits};
use crate::denials::NodeDenials;
use crate::durable;
use crate::durations::Timings;
use crate::events::Events;
use crate::exclusive::Places;
use crate::overload::Overload;
use crate::revocations::Revocations;
use crate::worker::Worker;
use crate::worker::inbox::{Inbox, Mail};

/// Tenants of a node.
const TENANTS_MAX: usize = 100_000;
/// Rule lists that identities share.
const GRANT_LISTS_MAX: usize = 100_000;

/// What a store gave back that others of a cluster have to know.
pub(crate) struct Recovered {
    /// What sessions subscribed.
    pub(crate) interests: Vec<Interest>,
    /// Queues of what is kept for other nodes.
    pub(crate) hints: Vec<StoredSession>,
}

/// See the module.
pub(crate) struct Node {
    /// What clients may have.
    pub(crate) limits: Limits,
    /// Seconds between two publications below `$SYS/`; 0: never.
    pub(crate) sys_interval_s: u32,
    /// Namespaces.
    pub(crate) tenants: Tenants,
    /// Who is there.
    pub(crate) sessions: Sessions,
    /// What survives a restart; `None`: nothing does.
    pub(crate) store: Option<Box<dyn Store>>,
    /// Says that the store has failed: nothing is acknowledged any more, and the node is to end.
    pub(crate) failed: Notify,
    /// Changes of retained messages, in their order.
    pub(crate) retained_changes: RetainedChanges,
    /// Compiled rule lists.
    pub(crate) grants: GrantTable,
    /// The node's hasher.
    pub(crate) hasher: Hasher,
    /// Who is kept out.
    pub(crate) denials: NodeDenials,
    /// Who is there whose identity is exclusive.
    pub(crate) places: Arc<Places>,
    /// Whose identity was revoked.
    pub(crate) revocations: Revocations,
    /// Whether there is too much to do.
    pub(crate) overload: Overload,
    /// Over how long clients are told to go when the node stops.
    pub(crate) stop_spread: Duration,
    /// Events.
    pub(crate) events: Arc<Events>,
    /// How long things took.
    pub(crate) timings: Timings,
    /// Whether it is in a cluster.
    pub(crate) is_clustered: bool,
    /// When it began, in milliseconds since 1970: in a cluster what tells its processes apart.
    pub(crate) boot_ms: u64,
    cluster: OnceLock<Arc<Cluster>>,
    inboxes: Vec<OnceLock<Inbox>>,
    loads: Vec<AtomicUsize>,
    connections: AtomicU64,
}

impl Node {
    /// With that many workers.
    pub(crate) fn new(
        settings: &config::Node,
        limits: Limits,
        denials_max: usize,
        is_clustered: bool,
        events: Arc<Events>,
        store: Option<Box<dyn Store>>,
    ) -> Arc<Self> {
        let workers = settings.workers;
        Arc::new(Node {
            tenants: Tenants::with_limits(TENANTS_MAX, limits.of_tenant()),
            sys_interval_s: settings.sys_interval_s,
            sessions: Sessions::new(limits.sessions_detached_max as usize),
            store,
            failed: Notify::new(),
            retained_changes: RetainedChanges::default(),
            limits,
            grants: GrantTable::new(GRANT_LISTS_MAX),
            hasher: Hasher::default(),
            denials: NodeDenials::new(denials_max),
            places: Arc::default(),
            revocations: Revocations::default(),
            overload: Overload::default(),
            stop_spread: Duration::from_millis(settings.stop_spread_ms),
            events,
            timings: Timings::default(),
            is_clustered,
            boot_ms: clock::now_ms(),
            cluster: OnceLock::new(),
            inboxes: (0..workers).map(|_| OnceLock::new()).collect(),
            loads: (0..workers).map(|_| AtomicUsize::new(0)).collect(),
            connections: AtomicU64::new(0),
        })
    }

    /// The cluster, once the node has begun to join it.
    pub(crate) fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.cluster.get()
    }

    /// It has begun to; once.
    pub(crate) fn set_cluster(&self, cluster: Arc<Cluster>) {
        // A second one would be a mistake of the start sequence: the first stays.
        let _ = self.cluster.set(cluster);
    }

    /// Where a worker notes what must survive a restart.
    pub(crate) fn changes(&self) -> Changes {
        let mut changes = match &self.store {
            Some(_) => Changes::kept(self.retained_changes.clone(), self.sessions.numbers()),
            None => Changes::default(),
        };
        if self.is_clustered {
            changes.note_interests();
        }
        changes
    }

    /// From where on a worker numbers publications in a cluster: no other worker, node or process does from the same number.
    pub(crate) fn publications(&self, worker: u32) -> Option<Publication> {
        let node = self.events.node();
        let number = xxh3_64(format!("{node}/{}/{worker}", self.boot_ms).as_bytes()) << COUNTED_BITS;
        self.is_clustered.then(|| Publication { node: way_of(node), number })
    }

    /// Takes back what the store has, before the first client comes. Returns what its cluster has to know.
    ///
    /// # Errors
    /// The store cannot be read, or is damaged.
    pub(crate) fn recover(&self) -> Result<Recovered, StoreError> {
        let mut interests = Changes::default();
        if self.is_clustered {
            interests.note_interests();
        }
        let hints = match &self.store {
            Some(store) => durable::recover(self, &**store, &mut interests, clock::now_ms())?,
            None => Vec::new(),
        };
        Ok(Recovered { interests: interests.take_interests(), hints })
    }

    /// A tenant has as much as it may: counted each time, told once an episode.
    pub(crate) fn tell_exceeded(&self, peer: &Arc<Peer>, tenant: &Tenant, limit: TenantLimit, now_ms: u64) {
        if !tenant.reached(limit, now_ms) {
            return;
        }
        let (which, max, actual) = (limit.name().into(), limit.of(&tenant.limits()), tenant.used(limit));
        let action = if limit == TenantLimit::QueueBytes { "dropped" } else { "refused" }.into();
        self.events.emit(Some(peer), Fact::LimitExceeded { which, max, actual, action });
    }

    /// The store has failed: whoever waits for it is never answered.
    pub(crate) fn store_failed(&self, error: &StoreError) {
        self.events.emit(None, Fact::StoreFailed { error: error.to_string().into() });
        self.failed.notify_one();
    }

    /// How many workers there are.
    pub(crate) fn workers(&self) -> usize {
        self.inboxes.len()
    }

    /// Opens a worker's inbox, once.
    pub(crate) fn open_inbox(&self, worker: u32, inbox: Inbox) {
        if let Some(slot) = self.inboxes.get(worker as usize) {
            // A second one would be a mistake of the start sequence: the first stays.
            let _ = slot.set(inbox);
        }
    }

    /// Puts something into a worker's inbox. A worker that has not begun gets nothing: nobody knows of it yet.
    pub(crate) fn send(&self, worker: usize, put: impl FnOnce(&mut Mail)) {
        if let Some(inbox) = self.inboxes.get(worker).and_then(OnceLock::get) {
            inbox.send(put);
        }
    }

    /// Has a worker do something between two turns; `None`: it has ended.
    pub(crate) async fn on_worker<T: Send + 'static>(
        &self,
        worker: u32,
        f: impl FnOnce(&Worker) -> T + Send + 'static,
    ) -> Option<T> {
        let (tell, told) = tokio::sync::oneshot::channel();
        // Whoever asked may have gone.
        let ask = Box::new(move |worker: &Worker| drop(tell.send(f(worker))));
        self.send(worker as usize, |mail| mail.asks.push(ask));
        told.await.ok()
    }

    /// Takes a worker's mail.
    pub(crate) fn receive(&self, worker: u32, into: &mut Mail) {
        if let Some(inbox) = self.inboxes.get(worker as usize).and_then(OnceLock::get) {
            inbox.receive(into);
        }
    }

    /// Has whoever writes for an ended session look at it.
    pub(crate) fn session_ended(&self, home: Home) {
        self.send(home.worker as usize, |mail| mail.ended.push(home.connection));
    }

    /// A number for a connection, from 1 on.
    pub(crate) fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The worker with the fewest connections gets one more: of several, `own` if it is among them.
    pub(crate) fn least_loaded(&self, own: u32) -> u32 {
        let loads = (0..).zip(&self.loads).map(|(worker, load)| (load.load(Ordering::Relaxed), worker != own, worker));
        let worker = loads.min().map_or(own, |(.., worker)| worker);
        if let Some(load) = self.loads.get(worker as usize) {
            load.fetch_add(1, Ordering::Relaxed);
        }
        worker
    }

    /// A worker's connection has ended.
    pub(crate) fn unload(&self, worker: u32) {
        if let Some(load) = self.loads.get(worker as usize) {
            load.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// Connections of all workers.
    pub(crate) fn load(&self) -> usize {
        self.loads.iter().map(|l| l.load(Ordering::Relaxed)).sum()
    }
}
