//! A worker's own part of what is counted for each tenant, so that no message writes to what workers share. Once a second, and
//! when a tenant's last client here has gone, it is added to the tenant's sums.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::sync::Arc;

use gatemq_broker::rate::{Budget, Over};
use gatemq_broker::{Tenant, Traffic};

/// What the clients of one tenant on this worker count together.
pub(crate) struct Share {
    tenant: Arc<Tenant>,
    has_rates: Cell<bool>,
    counted: RefCell<Counted>,
}

#[derive(Default)]
struct Counted {
    traffic: Traffic,
    budget: Budget,
}

impl Share {
    /// The tenant.
    pub(crate) fn tenant(&self) -> &Tenant {
        &self.tenant
    }

    /// Whether its clients together may publish only so much per second.
    #[inline]
    pub(crate) fn has_rates(&self) -> bool {
        self.has_rates.get()
    }

    /// Takes a message from what they may publish.
    pub(crate) fn take_rate(&self, bytes: u64, now_ms: u64) -> Option<Over> {
        self.tenant.take_rate(&mut self.counted.borrow_mut().budget, bytes, now_ms)
    }

    /// Counts.
    #[inline]
    pub(crate) fn count(&self, count: impl FnOnce(&mut Traffic)) {
        count(&mut self.counted.borrow_mut().traffic);
    }

    fn add_up(&self) {
        self.has_rates.set(self.tenant.has_rates());
        let traffic = std::mem::take(&mut self.counted.borrow_mut().traffic);
        if traffic != Traffic::default() {
            self.tenant.add_traffic(&traffic);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.add_up();
    }
}

/// The tenants that have clients on this worker.
#[derive(Default)]
pub(crate) struct Shares {
    by_tenant: RefCell<HashMap<u64, Weak<Share>>>,
}

impl Shares {
    /// That of a tenant.
    pub(crate) fn of(&self, tenant: &Arc<Tenant>) -> Rc<Share> {
        let mut by_tenant = self.by_tenant.borrow_mut();
        if let Some(share) = by_tenant.get(&tenant.id()).and_then(Weak::upgrade) {
            return share;
        }
        let (has_rates, counted) = (Cell::new(tenant.has_rates()), RefCell::default());
        let share = Rc::new(Share { tenant: tenant.clone(), has_rates, counted });
        by_tenant.insert(tenant.id(), Rc::downgrade(&share));
        share
    }

    /// Called once a second: what was counted is added to the tenants' sums.
    pub(crate) fn add_up(&self) {
        self.by_tenant.borrow_mut().retain(|_, share| share.upgrade().inspect(|share| share.add_up()).is_some());
    }
}
