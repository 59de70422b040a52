//! What other nodes subscribed, in the tenants' trees; and what of them operators want to know.

use gatemq_cluster::core::{Event, FilterKey, Interest, NodeName};
use gatemq_types::event::Fact;

use super::driver::Driver;

impl Driver {
    /// A node says what it wants, or does not any more.
    pub(super) fn route(&mut self, node: &NodeName, key: &FilterKey, interest: Option<Interest>) {
        self.kept_routes.said(node, key, interest, &mut self.ops);
        self.put_route(node, key, interest);
    }

    fn put_route(&self, node: &NodeName, key: &FilterKey, interest: Option<Interest>) {
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

impl Driver {
    /// What an operator wants to know.
    pub(super) fn tell(&mut self, event: Event) {
        let name = |node: NodeName| node.as_str().to_owned().into();
        let fact = match event {
            Event::RoutesSynced { node, filters } => Fact::RoutesSynced { member: name(node), filters },
            Event::HintsExpired { node, count, .. } => Fact::HintsExpired { member: name(node), count },
            Event::PeerMisbehaved { node, what } => Fact::NodeMisbehaved { member: name(node), what: what.into() },
            Event::ClockAhead { node, ahead_ms } => {
                let what = format!("its clock is {ahead_ms} ms ahead of ours").into();
                Fact::NodeMisbehaved { member: name(node), what }
            }
            Event::MemberRefused { node, environment, cluster } => {
                let what = format!("it is of environment {environment}, cluster {cluster}").into();
                Fact::NodeMisbehaved { member: name(node), what }
            }
        };
        self.node.events.emit(None, fact);
    }
}
