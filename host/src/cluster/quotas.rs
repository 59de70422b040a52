//! A tenant's quotas, split over the nodes by their share of its sessions: [`gatemq_cluster::core::quota`] says how.

use std::collections::HashMap;

use gatemq_broker::{Share, Tenant};
use gatemq_cluster::core::{Input, quota};

use super::driver::Driver;

/// How often sessions are counted, in milliseconds.
pub(super) const COUNT_MS: u64 = 1_000;

/// What the core was told last of the sessions of each tenant that has some; bounded as tenants are.
#[derive(Default)]
pub(super) struct Counts {
    told: HashMap<Box<str>, u64>,
    next_ms: u64,
}

impl Driver {
    /// Sessions of the tenants of which there are more or fewer than a second ago; `None`: none, or it is not time.
    pub(super) fn count_sessions(&mut self, now_ms: u64) -> Option<Input> {
        if now_ms < self.counts.next_ms {
            return None;
        }
        self.counts.next_ms = now_ms + COUNT_MS;
        self.count_nodes();
        let (told, tenants) = (&mut self.counts.told, &self.node.tenants);
        let gone = told.extract_if(|tenant, _| tenants.get(tenant).is_none());
        let mut changed: Vec<(Box<str>, u64)> = gone.map(|(tenant, _)| (tenant, 0)).collect();
        let is_other = |tenant: &Tenant| told.get(tenant.name()).copied().unwrap_or(0) != tenant.usage().sessions;
        changed.extend(tenants.filter(is_other).iter().map(|tenant| (tenant.name().into(), tenant.usage().sessions)));
        for (tenant, count) in &changed {
            match count {
                0 => told.remove(tenant),
                _ => told.insert(tenant.clone(), *count),
            };
        }
        (!changed.is_empty()).then_some(Input::Sessions(changed))
    }

    /// A tenant that comes into use has the share of a node among so many.
    pub(super) fn count_nodes(&self) {
        self.node.tenants.set_nodes(self.core.members().count() as u64 + 1);
    }

    /// From now on the tenant may have so much here.
    pub(super) fn share(&self, tenant: &str, share: quota::Share) {
        let quota::Share { numerator, denominator } = share;
        self.node.tenants.set_share(tenant, Share { numerator, denominator });
    }
}
