//! A tenant's quotas, split over the nodes by their share of its sessions: [`gatemq_cluster::core::quota`] says how.

use std::collections::HashMap;

use gatemq_broker::Part;
use gatemq_cluster::core::Input;
use gatemq_cluster::core::quota::Share;

use super::driver::Driver;

/// How often sessions are counted, in milliseconds.
pub(super) const COUNT_MS: u64 = 1_000;

/// What the core was told last of each tenant's sessions; bounded as tenants are.
#[derive(Default)]
pub(super) struct Counts {
    told: HashMap<Box<str>, u64>,
    next_ms: u64,
}

impl Driver {
    /// Sessions of tenants of which there are more or fewer than a second ago; `None`: none, or it is not time.
    pub(super) fn count_sessions(&mut self, now_ms: u64) -> Option<Input> {
        if now_ms < self.counts.next_ms {
            return None;
        }
        self.counts.next_ms = now_ms + COUNT_MS;
        self.count_nodes();
        let mut now: HashMap<Box<str>, u64> = HashMap::new();
        for tenant in self.node.tenants.filter(|_| true) {
            now.insert(tenant.name().into(), tenant.usage().sessions);
        }
        let before = &self.counts.told;
        let gone = before.iter().filter(|(tenant, count)| **count > 0 && !now.contains_key(*tenant));
        let mut changed: Vec<_> = gone.map(|(tenant, _)| (tenant.clone(), 0)).collect();
        let new = now.iter().filter(|(tenant, count)| before.get(*tenant).copied().unwrap_or(0) != **count);
        changed.extend(new.map(|(tenant, count)| (tenant.clone(), *count)));
        self.counts.told = now;
        (!changed.is_empty()).then_some(Input::Sessions(changed))
    }

    /// A tenant that comes into use has the part of a node among so many.
    pub(super) fn count_nodes(&self) {
        self.node.tenants.set_nodes(self.core.members().count() as u64 + 1);
    }

    /// From now on the tenant may have so much here.
    pub(super) fn share(&self, tenant: &str, share: Share) {
        let Share { numerator: of, denominator: parts } = share;
        self.node.tenants.set_part(tenant, Part { of, parts });
    }
}
