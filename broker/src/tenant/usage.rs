//! What a tenant may have, and what it has.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::TenantRates;
use crate::rate::What;
use crate::retained::RetainedLimits;

/// Bounds of one tenant. What comes when one is reached is refused with a [`TenantLimit`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantLimits {
    /// Connections, from [`Tenant::connect`](crate::Tenant::connect) to the end of what it returned.
    pub connections_max: u64,
    /// Sessions, those that are away included. Checked where one is made by
    /// [`Sessions::try_open`](crate::Sessions::try_open).
    pub sessions_max: u64,
    /// Subscriptions of all its sessions. Beyond them a SUBACK says 0x97.
    pub subscriptions_max: u64,
    /// Bytes of topics, properties and payloads that wait in the queues of its sessions and shared subscriptions; a
    /// message that waits in several counts in each. Beyond them messages are dropped and counted.
    pub queue_bytes_max: u64,
    /// What its clients publish per second ([`Tenant::take_rate`](crate::Tenant::take_rate)).
    pub rates: TenantRates,
    /// What it retains. Beyond that a PUBLISH is answered with 0x97.
    pub retained: RetainedLimits,
}

impl Default for TenantLimits {
    /// Retained messages as [`RetainedLimits::default`]; nothing else is bounded.
    fn default() -> Self {
        let (connections_max, sessions_max, subscriptions_max, queue_bytes_max) =
            (u64::MAX, u64::MAX, u64::MAX, u64::MAX);
        let (rates, retained) = (TenantRates::default(), RetainedLimits::default());
        TenantLimits { connections_max, sessions_max, subscriptions_max, queue_bytes_max, rates, retained }
    }
}

/// This node's share of a bound: `numerator` of `denominator` parts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// This node's.
    pub numerator: u64,
    /// All; at least 1.
    pub denominator: u64,
}

impl Share {
    /// At least 1 where the bound is not 0, and no bound where there is none.
    fn of(self, max: u64) -> u64 {
        if max == u64::MAX {
            return max;
        }
        let share = u128::from(max) * u128::from(self.numerator) / u128::from(self.denominator.max(1));
        u64::try_from(share).unwrap_or(u64::MAX).max(u64::from(max > 0))
    }
}

impl TenantLimits {
    /// With a share of each bound of what clients of one node have.
    pub(super) fn split(&self, share: Share) -> TenantLimits {
        let of = |max| share.of(max);
        let TenantRates { messages_per_s_max, bytes_per_s_max } = self.rates;
        TenantLimits {
            connections_max: of(self.connections_max),
            sessions_max: of(self.sessions_max),
            subscriptions_max: of(self.subscriptions_max),
            queue_bytes_max: of(self.queue_bytes_max),
            rates: TenantRates { messages_per_s_max: of(messages_per_s_max), bytes_per_s_max: of(bytes_per_s_max) },
            retained: self.retained,
        }
    }
}

/// A bound of [`TenantLimits`] that was reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TenantLimit {
    /// `connections_max`.
    Connections,
    /// `sessions_max`.
    Sessions,
    /// `subscriptions_max`.
    Subscriptions,
    /// `queue_bytes_max`.
    QueueBytes,
    /// `rates.messages_per_s_max`.
    MessagesPerS,
    /// `rates.bytes_per_s_max`.
    BytesPerS,
    /// `retained.messages_max`.
    RetainedMessages,
    /// `retained.bytes_max`.
    RetainedBytes,
}

impl TenantLimit {
    /// All of them.
    pub const ALL: [TenantLimit; 8] = [
        TenantLimit::Connections,
        TenantLimit::Sessions,
        TenantLimit::Subscriptions,
        TenantLimit::QueueBytes,
        TenantLimit::MessagesPerS,
        TenantLimit::BytesPerS,
        TenantLimit::RetainedMessages,
        TenantLimit::RetainedBytes,
    ];

    /// Its name, as in events and keys.
    pub const fn name(self) -> &'static str {
        match self {
            TenantLimit::Connections => "tenant_connections_max",
            TenantLimit::Sessions => "tenant_sessions_max",
            TenantLimit::Subscriptions => "tenant_subscriptions_max",
            TenantLimit::QueueBytes => "tenant_queue_bytes_max",
            TenantLimit::MessagesPerS => "tenant_messages_per_s_max",
            TenantLimit::BytesPerS => "tenant_bytes_per_s_max",
            TenantLimit::RetainedMessages => "tenant_retained_messages_max",
            TenantLimit::RetainedBytes => "tenant_retained_bytes_max",
        }
    }

    /// Its value.
    pub const fn of(self, limits: &TenantLimits) -> u64 {
        match self {
            TenantLimit::Connections => limits.connections_max,
            TenantLimit::Sessions => limits.sessions_max,
            TenantLimit::Subscriptions => limits.subscriptions_max,
            TenantLimit::QueueBytes => limits.queue_bytes_max,
            TenantLimit::MessagesPerS => limits.rates.messages_per_s_max,
            TenantLimit::BytesPerS => limits.rates.bytes_per_s_max,
            TenantLimit::RetainedMessages => limits.retained.messages_max as u64,
            TenantLimit::RetainedBytes => limits.retained.bytes_max,
        }
    }
}

impl From<What> for TenantLimit {
    fn from(what: What) -> Self {
        match what {
            What::Messages => TenantLimit::MessagesPerS,
            What::Bytes => TenantLimit::BytesPerS,
        }
    }
}

impl fmt::Display for TenantLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl std::error::Error for TenantLimit {}

/// What a tenant has now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TenantUsage {
    /// Connections.
    pub connections: u64,
    /// Sessions.
    pub sessions: u64,
    /// Subscriptions.
    pub subscriptions: u64,
    /// Bytes that wait.
    pub queue_bytes: u64,
    /// Retained messages.
    pub retained_messages: u64,
    /// Bytes of retained messages.
    pub retained_bytes: u64,
}

/// A limit that was not reached for this long is told again when it is, in milliseconds.
pub const EPISODE_MS: u64 = 10_000;

/// A count and its bound. Whoever takes too much at the same time as others may be refused where one of them had fitted;
/// the bound is never exceeded.
#[derive(Debug)]
pub(crate) struct Counter {
    count: AtomicU64,
    max: AtomicU64,
}

impl Default for Counter {
    fn default() -> Self {
        Counter { count: AtomicU64::new(0), max: AtomicU64::new(u64::MAX) }
    }
}

impl Counter {
    /// False: there is no room.
    #[must_use]
    pub(crate) fn take(&self, n: u64) -> bool {
        let fits = self.count.fetch_add(n, Ordering::Relaxed).saturating_add(n) <= self.max.load(Ordering::Relaxed);
        if !fits {
            self.give(n);
        }
        fits
    }

    /// Whatever the bound is.
    pub(crate) fn take_anyway(&self, n: u64) {
        self.count.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn give(&self, n: u64) {
        self.count.fetch_sub(n, Ordering::Relaxed);
    }

    pub(super) fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    pub(super) fn set_max(&self, max: u64) {
        self.max.store(max, Ordering::Relaxed);
    }
}

/// The counters of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) connections: Counter,
    pub(crate) sessions: Counter,
    pub(crate) subscriptions: Counter,
    pub(crate) queue_bytes: Counter,
    refusals: [Refusals; TenantLimit::ALL.len()],
}

/// How often a limit was reached.
#[derive(Debug, Default)]
struct Refusals {
    count: AtomicU64,
    last_ms: AtomicU64,
}

impl Usage {
    /// Counts that a limit was reached. True at the beginning of an episode: for [`EPISODE_MS`] it was not.
    pub(super) fn reached(&self, limit: TenantLimit, now_ms: u64) -> bool {
        let refusals = &self.refusals[limit as usize];
        refusals.count.fetch_add(1, Ordering::Relaxed);
        let last_ms = refusals.last_ms.swap(now_ms, Ordering::Relaxed);
        last_ms == 0 || now_ms.saturating_sub(last_ms) >= EPISODE_MS
    }

    pub(super) fn times_reached(&self, limit: TenantLimit) -> u64 {
        self.refusals[limit as usize].count.load(Ordering::Relaxed)
    }
}

/// Counts of a tenant's messages, bytes and packets since it came into use on this node.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Traffic {
    /// Packets of admitted clients, whatever their type.
    pub packets_received: u64,
    /// Messages that clients published, and that were routed.
    pub messages_received: u64,
    /// Messages given to receivers: sent, or waiting for them.
    pub messages_sent: u64,
    /// Messages that receivers did not get: too large, or their queue was full.
    pub messages_dropped: u64,
    /// Bytes of MQTT from admitted clients.
    pub bytes_received: u64,
    /// Bytes of MQTT to them.
    pub bytes_sent: u64,
}

impl Traffic {
    const fn each(&self) -> [u64; 6] {
        let Traffic {
            packets_received,
            messages_received,
            messages_sent,
            messages_dropped,
            bytes_received,
            bytes_sent,
        } = *self;
        [packets_received, messages_received, messages_sent, messages_dropped, bytes_received, bytes_sent]
    }
}

/// The sum of what workers counted, each by itself.
#[derive(Debug, Default)]
pub(super) struct TrafficSum([AtomicU64; 6]);

impl TrafficSum {
    pub(super) fn add(&self, traffic: &Traffic) {
        for (sum, n) in self.0.iter().zip(traffic.each()) {
            sum.fetch_add(n, Ordering::Relaxed);
        }
    }

    pub(super) fn get(&self) -> Traffic {
        let [packets_received, messages_received, messages_sent, messages_dropped, bytes_received, bytes_sent] =
            [0, 1, 2, 3, 4, 5].map(|at: usize| self.0[at].load(Ordering::Relaxed));
        Traffic { packets_received, messages_received, messages_sent, messages_dropped, bytes_received, bytes_sent }
    }
}

/// A connection of a tenant; dropping it gives its place back.
#[derive(Debug)]
pub struct TenantConnection(pub(super) Arc<Usage>);

impl Drop for TenantConnection {
    fn drop(&mut self) {
        self.0.connections.give(1);
    }
}

/// Bytes that wait somewhere, counted by the tenant too; dropping it gives them back.
#[derive(Debug)]
pub(crate) struct QueueBytes {
    usage: Arc<Usage>,
    bytes: usize,
}

impl QueueBytes {
    pub(crate) fn new(usage: &Arc<Usage>) -> Self {
        QueueBytes { usage: usage.clone(), bytes: 0 }
    }

    pub(crate) fn get(&self) -> usize {
        self.bytes
    }

    /// False: the tenant has as many as it may.
    #[must_use]
    pub(crate) fn take(&mut self, n: usize) -> bool {
        let taken = self.usage.queue_bytes.take(n as u64);
        self.bytes += if taken { n } else { 0 };
        taken
    }

    /// Whatever the tenant may have: for what it had already.
    pub(crate) fn take_anyway(&mut self, n: usize) {
        self.usage.queue_bytes.take_anyway(n as u64);
        self.bytes += n;
    }

    pub(crate) fn give(&mut self, n: usize) {
        self.usage.queue_bytes.give(n as u64);
        self.bytes -= n;
    }
}

impl Drop for QueueBytes {
    fn drop(&mut self) {
        self.usage.queue_bytes.give(self.bytes as u64);
    }
}
