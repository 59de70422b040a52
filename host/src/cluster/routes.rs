//! What other nodes subscribed, in the tenants' trees.

use gatemq_cluster::core::{FilterKey, Interest, NodeName};

use super::driver::Driver;

impl Driver {
    pub(super) fn route(&mut self, node: &NodeName, key: &FilterKey, interest: Option<Interest>) {
        let peer = self.cluster.peer(node.as_str());
        let [live, durable] = &peer.remotes;
        let Some(interest) = interest else {
            if let Some(tenant) = self.node.tenants.get(&key.tenant) {
                tenant.unset_interest(live, &key.filter);
                tenant.unset_interest(durable, &key.filter);
            }
            return;
        };
        let Ok(tenant) = self.node.tenants.get_or_create(&key.tenant) else {
            tracing::warn!(tenant = %key.tenant.escape_debug(), "a tenant of another node has no room here");
            return;
        };
        let (is, was) = if interest.durable { (durable, live) } else { (live, durable) };
        // The new one first: in between nothing is left out.
        if let Err(e) = tenant.set_interest(is, &key.filter, interest.members) {
            tracing::warn!(filter = %key.filter.escape_debug(), ?e, "a filter of another node has no room here");
        }
        tenant.unset_interest(was, &key.filter);
    }
}
