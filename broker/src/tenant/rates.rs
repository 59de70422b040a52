//! What all clients of a tenant may publish per second on this node.

use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Tenant;
use crate::rate::{Budget, Over, Rates};

/// Messages and bytes per second; `u64::MAX` is no limit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TenantRates {
    /// Messages.
    pub messages_per_s_max: u64,
    /// Bytes of packets.
    pub bytes_per_s_max: u64,
}

impl Default for TenantRates {
    /// No limit.
    fn default() -> Self {
        TenantRates { messages_per_s_max: u64::MAX, bytes_per_s_max: u64::MAX }
    }
}

/// The rates that its workers take slices of.
#[derive(Debug, Default)]
pub(super) struct Shared {
    is_limited: AtomicBool,
    rates: Mutex<Option<Rates>>,
}

impl Shared {
    pub(super) fn set(&self, rates: TenantRates) {
        let max = |n: u64| Some(n).filter(|n| *n < u64::MAX);
        let mut held = self.rates.lock();
        // From the beginning of time: it is full.
        let new = Rates::new(max(rates.messages_per_s_max), max(rates.bytes_per_s_max), 0);
        *held = new.map(|new| new.instead_of(held.as_ref()));
        self.is_limited.store(held.is_some(), Ordering::Relaxed);
    }
}

impl Tenant {
    /// Whether its clients together may publish only so much per second.
    pub fn has_rates(&self) -> bool {
        self.rates.is_limited.load(Ordering::Relaxed)
    }

    /// Takes a message of that many bytes from a worker's budget, and from the tenant what that owes.
    pub fn take_rate(&self, budget: &mut Budget, bytes: u64, now_ms: u64) -> Option<Over> {
        if budget.take(bytes) {
            return None;
        }
        self.rates.rates.lock().as_mut()?.refill(budget, now_ms)
    }
}
