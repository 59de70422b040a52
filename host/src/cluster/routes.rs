//! What other nodes subscribed, in the tenants' trees; and what of them operators want to know.

use gatemq_cluster::core::{Event, FilterKey, Interest, NodeName};
use gatemq_types::event::Fact;

use super::driver::Driver;
use crate::clock;

impl Driver {
    /// A node says what it wants, or does not any more.
    pub(super) fn route(&mut self, node: &NodeName, key: &FilterKey, interest: Option<Interest>) {
        self.kept_routes.said(node, key, interest, &mut self.ops);
        self.put_route(node, key, interest);
    }

    fn put_route(&mut self, node: &NodeName, key: &FilterKey, interest: Option<Interest>) {
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
            return self.tell_no_room(node, key, "a tenant of another node has no room here");
        };
        let (is, was) = if interest.durable { (durable, live) } else { (live, durable) };
        // The new one first: in between nothing is left out.
        let is_there = tenant.set_interest(is, &key.filter, interest.members);
        tenant.unset_interest(was, &key.filter);
        if is_there.is_err() {
            self.tell_no_room(node, key, "a filter of another node has no room here");
        }
    }

    fn tell_no_room(&mut self, node: &NodeName, FilterKey { tenant, filter }: &FilterKey, what: &str) {
        if let Some(what) = self.wrongs.note(node, what, clock::now_ms()) {
            let (tenant, filter) = (tenant.escape_debug(), filter.escape_debug());
            tracing::warn!(node = node.as_str(), %tenant, %filter, "{what}");
        }
    }

    /// Something that another node does wrong, a few times.
    fn misbehaved(&mut self, node: &NodeName, what: impl Into<String>) {
        if let Some(what) = self.wrongs.note(node, what, clock::now_ms()) {
            let member = node.as_str().to_owned().into();
            self.node.events.emit(None, Fact::NodeMisbehaved { member, what: what.into() });
        }
    }
}

impl Driver {
    /// What an operator wants to know.
    pub(super) fn tell(&mut self, event: Event) {
        let name = |node: NodeName| node.as_str().to_owned().into();
        let fact = match event {
            Event::RoutesSynced { node, filters } => Fact::RoutesSynced { member: name(node), filters },
            Event::HintsExpired { node, count, .. } => Fact::HintsExpired { member: name(node), count },
            Event::PeerMisbehaved { node, what } => return self.misbehaved(&node, what),
            Event::ClockAhead { node, ahead_ms } => {
                return self.misbehaved(&node, format!("its clock is {ahead_ms} ms ahead of ours"));
            }
            Event::MemberRefused { node, environment, cluster } => {
                return self.misbehaved(&node, format!("it is of environment {environment}, cluster {cluster}"));
            }
        };
        self.node.events.emit(None, fact);
    }
}
