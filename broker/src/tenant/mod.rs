//! Tenants: namespaces of topics and client identifiers. Nothing crosses from one to another.

mod generations;
mod rates;
mod usage;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use crate::Hasher;
use crate::remote::Remote;
use crate::retained::{Retained, RetainedLimits};
use crate::tree::{Tree, TreeError};
use generations::Generations;
pub use rates::TenantRates;
use usage::TrafficSum;
pub use usage::{EPISODE_MS, Share, TenantConnection, TenantLimit, TenantLimits, TenantUsage, Traffic};
pub(crate) use usage::{QueueBytes, Usage};

/// Longest name of a tenant, in bytes.
pub const TENANT_BYTES_MAX: usize = 256;

/// A namespace. A permit names one, and only its tree is asked.
pub struct Tenant {
    id: u64,
    name: Box<str>,
    pub(crate) tree: RwLock<Tree>,
    /// Taken before `tree` where both are.
    pub(crate) retained: RwLock<Retained>,
    pub(crate) generations: Generations,
    pub(crate) usage: Arc<Usage>,
    rates: rates::Shared,
    traffic: TrafficSum,
    /// What it may have in the whole cluster, and how much of that here.
    limits: RwLock<(TenantLimits, Share)>,
}

impl Tenant {
    /// Number of the tenant on this node; never used again while the node runs.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many retained messages it has, and the bytes of their topics, properties and payloads.
    pub fn retained(&self) -> (u32, u64) {
        let retained = self.retained.read();
        (retained.messages(), retained.bytes())
    }

    /// What it may have.
    pub fn limits(&self) -> TenantLimits {
        self.limits.read().0
    }

    /// From now on it may have this node's share of this. What it has beyond that stays.
    pub fn set_limits(&self, limits: TenantLimits) {
        let mut held = self.limits.write();
        held.0 = limits;
        self.apply(*held);
    }

    fn set_share(&self, share: Share) {
        let mut held = self.limits.write();
        held.1 = share;
        self.apply(*held);
    }

    fn apply(&self, (limits, share): (TenantLimits, Share)) {
        let limits = limits.split(share);
        let Usage { connections, sessions, subscriptions, queue_bytes, .. } = &*self.usage;
        connections.set_max(limits.connections_max);
        sessions.set_max(limits.sessions_max);
        subscriptions.set_max(limits.subscriptions_max);
        queue_bytes.set_max(limits.queue_bytes_max);
        self.rates.set(limits.rates);
    }

    /// What it has.
    pub fn usage(&self) -> TenantUsage {
        let (messages, bytes) = self.retained();
        TenantUsage {
            connections: self.usage.connections.count(),
            sessions: self.usage.sessions.count(),
            subscriptions: self.usage.subscriptions.count(),
            queue_bytes: self.usage.queue_bytes.count(),
            retained_messages: messages.into(),
            retained_bytes: bytes,
        }
    }

    /// What it has of that; for a rate and what else is not counted, its bound.
    pub fn used(&self, limit: TenantLimit) -> u64 {
        let usage = self.usage();
        match limit {
            TenantLimit::Connections => usage.connections,
            TenantLimit::Sessions => usage.sessions,
            TenantLimit::Subscriptions => usage.subscriptions,
            TenantLimit::QueueBytes => usage.queue_bytes,
            TenantLimit::RetainedMessages => usage.retained_messages,
            TenantLimit::RetainedBytes => usage.retained_bytes,
            TenantLimit::MessagesPerS | TenantLimit::BytesPerS => limit.of(&self.limits()),
        }
    }

    /// Counts that a limit was reached. True at the beginning of an episode: for [`EPISODE_MS`] it was not.
    pub fn reached(&self, limit: TenantLimit, now_ms: u64) -> bool {
        self.usage.reached(limit, now_ms)
    }

    /// How often a limit was reached since the tenant came into use.
    pub fn times_reached(&self, limit: TenantLimit) -> u64 {
        self.usage.times_reached(limit)
    }

    /// Adds what a worker counted.
    pub fn add_traffic(&self, traffic: &Traffic) {
        self.traffic.add(traffic);
    }

    /// What its clients sent and got, as far as workers have told.
    pub fn traffic(&self) -> Traffic {
        self.traffic.get()
    }

    /// Whether anyone subscribed to something below `$SYS/`.
    pub fn wants_sys(&self) -> bool {
        self.tree.read().find("$SYS").is_some()
    }

    /// One connection more, for as long as the result is kept.
    ///
    /// # Errors
    /// [`TenantLimit::Connections`].
    pub fn connect(&self) -> Result<TenantConnection, TenantLimit> {
        match self.usage.connections.take(1) {
            true => Ok(TenantConnection(self.usage.clone())),
            false => Err(TenantLimit::Connections),
        }
    }

    /// Clients of another node subscribed to `filter` (`$share/…` included, with that many members there; 0: all are away).
    ///
    /// # Errors
    /// The filter is too deep, or the tree too large: that node's clients do not get what this one's publish.
    pub fn set_interest(&self, node: &Arc<Remote>, filter: &str, members: u32) -> Result<(), TreeError> {
        let mut tree = self.tree.write();
        tree.set_node(filter, node, members, &self.usage)?;
        self.generations.bump(filter);
        Ok(())
    }

    /// None of that node's does any more.
    pub fn unset_interest(&self, node: &Arc<Remote>, filter: &str) {
        self.tree.write().unset_node(filter, node);
        self.generations.bump(filter);
    }

    fn is_empty(&self) -> bool {
        self.retained.read().messages() == 0 && self.tree.read().is_empty()
    }
}

impl fmt::Debug for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tenant({:?})", self.name)
    }
}

/// Why there is no tenant of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TenantError {
    /// The name is empty.
    NameEmpty,
    /// The name is longer than [`TENANT_BYTES_MAX`].
    NameTooLong,
    /// As many tenants as allowed are in use.
    TooMany,
}

impl fmt::Display for TenantError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            TenantError::NameEmpty => "the tenant's name is empty",
            TenantError::NameTooLong => "the tenant's name is longer than 256 bytes",
            TenantError::TooMany => "as many tenants as allowed are in use",
        })
    }
}

impl std::error::Error for TenantError {}

/// The tenants of a node, made when they are first named. Bounded: when full, those are dropped that nobody uses and that
/// retain nothing.
pub struct Tenants {
    tenants_max: usize,
    limits: TenantLimits,
    /// How many nodes share a tenant's bounds.
    nodes: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    by_name: HashMap<Box<str>, Arc<Tenant>, Hasher>,
    /// Where it is not an equal one: as many as nodes of the cluster have tenants.
    shares: HashMap<Box<str>, Share, Hasher>,
    last_id: u64,
}

impl Tenants {
    /// None yet, and never more than `tenants_max`.
    pub fn new(tenants_max: usize) -> Self {
        Tenants::with_retained(tenants_max, RetainedLimits::default())
    }

    /// As [`Self::new`], with bounds for what each tenant retains.
    pub fn with_retained(tenants_max: usize, retained_limits: RetainedLimits) -> Self {
        Tenants::with_limits(tenants_max, TenantLimits { retained: retained_limits, ..TenantLimits::default() })
    }

    /// As [`Self::new`], with bounds for what each tenant has, unless it is given others
    /// ([`Tenant::set_limits`]).
    pub fn with_limits(tenants_max: usize, limits: TenantLimits) -> Self {
        Tenants { tenants_max, limits, nodes: AtomicU64::new(1), inner: Mutex::default() }
    }

    /// So many nodes share the bounds of a tenant that is nowhere in use.
    pub fn set_nodes(&self, nodes: u64) {
        self.nodes.store(nodes.max(1), Ordering::Relaxed);
    }

    /// From now on a tenant may have that share of its bounds here, the other nodes having the rest; but for what it retains, which every
    /// node has. [`Tenant::limits`] stays the whole. Kept for tenants that are not in use here.
    pub fn set_share(&self, name: &str, share: Share) {
        let inner = &mut *self.inner.lock();
        if share == (Share { numerator: 1, denominator: self.nodes.load(Ordering::Relaxed) }) {
            inner.shares.remove(name);
        } else {
            inner.shares.insert(name.into(), share);
        }
        if let Some(tenant) = inner.by_name.get(name) {
            tenant.set_share(share);
        }
    }

    /// The tenant of that name, made if there is none.
    pub fn get_or_create(&self, name: &str) -> Result<Arc<Tenant>, TenantError> {
        if name.is_empty() {
            return Err(TenantError::NameEmpty);
        }
        if name.len() > TENANT_BYTES_MAX {
            return Err(TenantError::NameTooLong);
        }
        let mut inner = self.inner.lock();
        if let Some(tenant) = inner.by_name.get(name) {
            return Ok(tenant.clone());
        }
        if inner.by_name.len() >= self.tenants_max {
            // Under this lock nobody can begin to use a tenant that only the table holds.
            inner.by_name.retain(|_, tenant| Arc::strong_count(tenant) > 1 || !tenant.is_empty());
            if inner.by_name.len() >= self.tenants_max {
                return Err(TenantError::TooMany);
            }
        }
        inner.last_id += 1;
        let id = inner.last_id;
        let equal = || Share { numerator: 1, denominator: self.nodes.load(Ordering::Relaxed) };
        let share = inner.shares.get(name).copied().unwrap_or_else(equal);
        let tenant = Arc::new(Tenant {
            id,
            name: name.into(),
            tree: RwLock::default(),
            retained: RwLock::default(),
            generations: Generations::default(),
            usage: Arc::default(),
            rates: rates::Shared::default(),
            traffic: TrafficSum::default(),
            limits: RwLock::new((self.limits, share)),
        });
        tenant.apply((self.limits, share));
        inner.by_name.insert(name.into(), tenant.clone());
        Ok(tenant)
    }

    /// All of them that are wanted, in no order.
    pub fn filter(&self, wanted: impl Fn(&Tenant) -> bool) -> Vec<Arc<Tenant>> {
        self.inner.lock().by_name.values().filter(|tenant| wanted(tenant)).cloned().collect()
    }

    /// The tenant of that name, if there is one.
    pub fn get(&self, name: &str) -> Option<Arc<Tenant>> {
        self.inner.lock().by_name.get(name).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound: a full table drops what nobody uses, and refuses when all are used.
    #[test]
    fn full_drops_the_unused_and_then_refuses() {
        let tenants = Tenants::new(2);
        let a = tenants.get_or_create("a").unwrap();
        assert_eq!(tenants.get_or_create("a").unwrap().id(), a.id());
        drop(tenants.get_or_create("b").unwrap());
        let c = tenants.get_or_create("c").unwrap();
        assert!(tenants.get("b").is_none(), "unused, so it made room");
        assert_eq!(tenants.get_or_create("d").unwrap_err(), TenantError::TooMany);
        let old = c.id();
        drop(c);
        tenants.get_or_create("d").unwrap();
        drop(a);
        assert_ne!(tenants.get_or_create("c").unwrap().id(), old, "ids are not used again");
        assert_eq!(tenants.get_or_create("").unwrap_err(), TenantError::NameEmpty);
        assert_eq!(tenants.get_or_create(&"x".repeat(257)).unwrap_err(), TenantError::NameTooLong);
    }
}
