//! Quotas of a tenant, split over the live nodes by their share of its sessions.
//!
//! A node may use `limit * numerator / denominator`, rounded down, but at least 1. With the counts of all nodes known, the
//! shares of one tenant add up to the limit, so the overshoot is at most 1 for each node; while counts travel (about a second,
//! [`Settings::share_ms`](super::Settings::share_ms)), or during a partition, each side uses what it took to be its own, so that
//! the sum is at most the limit times the number of sides that do not hear each other.

use std::collections::{BTreeMap, BTreeSet};

use super::action::Action;
use super::control::Control;
use super::members::Members;
use super::name::NodeName;

/// A part of a whole: `numerator` of `denominator`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Share {
    /// At least 1.
    pub numerator: u64,
    /// At least `numerator`.
    pub denominator: u64,
}

/// Tenants that one message takes.
const TENANTS_PER_MESSAGE: usize = 2_000;

/// Counts of sessions of all live nodes, by tenant.
#[derive(Default)]
pub(crate) struct Quotas {
    own: BTreeMap<Box<str>, u64>,
    theirs: BTreeMap<NodeName, BTreeMap<Box<str>, u64>>,
    /// Of which the others do not know yet.
    unsaid: BTreeSet<Box<str>>,
    /// Of which a count has changed since the shares were last given.
    stale: BTreeSet<Box<str>>,
    /// How many nodes the shares were given for.
    nodes: usize,
    next_ms: u64,
}

impl Quotas {
    pub(crate) fn count(&mut self, counts: Vec<(Box<str>, u64)>) {
        for (tenant, count) in counts {
            self.unsaid.insert(tenant.clone());
            self.stale.insert(tenant.clone());
            self.own.insert(tenant, count);
        }
    }

    pub(crate) fn received(&mut self, from: &NodeName, all: bool, counts: Vec<(Box<str>, u64)>) {
        let theirs = self.theirs.entry(from.clone()).or_default();
        if all {
            self.stale.extend(std::mem::take(theirs).into_keys());
        }
        for (tenant, count) in counts {
            self.stale.insert(tenant.clone());
            match count {
                0 => theirs.remove(&tenant),
                _ => theirs.insert(tenant, count),
            };
        }
    }

    pub(crate) fn lost(&mut self, node: &NodeName) {
        // Its clients come to the others: they are not to wait until one of them is here.
        self.stale.extend(self.theirs.remove(node).unwrap_or_default().into_keys());
    }

    /// Everything, for a node that has just come.
    pub(crate) fn tell(&self, to: &NodeName, out: &mut Vec<Action>) {
        let all: Vec<_> = self.own.iter().map(|(tenant, count)| (tenant.clone(), *count)).collect();
        if all.is_empty() {
            out.push(Action::Send { to: to.clone(), control: Control::Sessions { all: true, counts: all } });
            return;
        }
        for (n, part) in all.chunks(TENANTS_PER_MESSAGE).enumerate() {
            out.push(Action::Send {
                to: to.clone(),
                control: Control::Sessions { all: n == 0, counts: part.to_vec() },
            });
        }
    }

    pub(crate) fn due_ms(&self, members: &Members) -> u64 {
        let at_rest = self.unsaid.is_empty() && self.stale.is_empty() && self.nodes == members.count();
        if at_rest { u64::MAX } else { self.next_ms }
    }

    /// Says what the others do not know and gives the shares anew, at most once in `share_ms`.
    pub(crate) fn tick(&mut self, members: &Members, out: &mut Vec<Action>) {
        if members.now_ms < self.due_ms(members) {
            return;
        }
        self.next_ms = members.now_ms + members.settings.share_ms;
        let unsaid = std::mem::take(&mut self.unsaid);
        let counts: Vec<_> = unsaid.into_iter().map(|t| (t.clone(), self.own.get(&t).copied().unwrap_or(0))).collect();
        for part in counts.chunks(TENANTS_PER_MESSAGE) {
            members.tell_all(&Control::Sessions { all: false, counts: part.to_vec() }, out);
        }
        let mut stale = std::mem::take(&mut self.stale);
        if self.nodes != members.count() {
            self.nodes = members.count();
            stale.extend(self.own.keys().cloned());
        }
        for tenant in stale {
            let share = self.share(&tenant);
            // A tenant without sessions here is forgotten once everybody was told so.
            if self.own.get(&tenant) == Some(&0) {
                self.own.remove(&tenant);
            }
            out.push(Action::Share { tenant, share });
        }
    }

    /// One more than the sessions there are, on each side: a node without any may admit the first.
    fn share(&self, tenant: &str) -> Share {
        let own = self.own.get(tenant).copied().unwrap_or(0);
        let theirs = self.theirs.values().filter_map(|counts| counts.get(tenant));
        let sum = theirs.fold(own, |sum, count| sum.saturating_add(*count));
        let nodes = self.nodes.max(1) as u64;
        Share { numerator: own.saturating_add(1), denominator: sum.saturating_add(nodes) }
    }
}
