//! The cluster as operators see it.

use std::collections::{BTreeMap, BTreeSet};

use gatemq_cluster::core::{Member, NodeName, NotReady};
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use super::Cluster;
use crate::clock;
use crate::durations::Durations;

/// A node as it was last heard of.
struct Seen {
    state: &'static str,
    since_ms: u64,
    version: String,
    protocol: u16,
    address: String,
}

/// Every node that was a member since the start.
#[derive(Default)]
pub(super) struct Roster(RwLock<BTreeMap<String, Seen>>);

impl Roster {
    pub(super) fn up(&self, member: &Member) {
        let (version, address) = (member.version.clone(), member.rpc.to_string());
        let seen = Seen { state: "up", since_ms: clock::now_ms(), version, protocol: member.protocol, address };
        self.0.write().insert(member.node.as_str().to_owned(), seen);
    }

    pub(super) fn is_now(&self, node: &NodeName, state: &'static str) {
        if let Some(seen) = self.0.write().get_mut(node.as_str()) {
            (seen.state, seen.since_ms) = (state, clock::now_ms());
        }
    }
}

impl Roster {
    /// Those that have not said goodbye.
    pub(super) fn nodes(&self) -> BTreeSet<NodeName> {
        let seen = self.0.read();
        seen.iter().filter(|(_, seen)| seen.state != "left").filter_map(|(name, _)| NodeName::new(name).ok()).collect()
    }
}

/// How often nodes were refused, by side and code: as many rows as there are codes.
#[derive(Default)]
pub(super) struct Refusals(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Refusals {
    pub(super) fn count(&self, side: &'static str, code: &'static str, times: u64) {
        *self.0.lock().entry((side, code)).or_default() += times;
    }

    fn rows(&self) -> Vec<Value> {
        let counts = self.0.lock();
        counts.iter().map(|((side, code), times)| json!({ "side": side, "code": code, "count": times })).collect()
    }
}

impl Cluster {
    /// Whether the node has what it needs of the others to serve.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.borrow().is_ok()
    }

    /// What is said of how long each member took to answer, by its name.
    pub(crate) fn with_calls<T>(&self, say: impl Fn(&str, &Durations) -> T) -> Vec<T> {
        self.peers.read().iter().map(|(name, peer)| say(name.as_ref(), &peer.calls)).collect()
    }

    /// As JSON: this node's readiness, and a row a member.
    pub(crate) fn status(&self) -> Value {
        let ready = match &*self.ready.borrow() {
            Ok(()) => None,
            Err(NotReady::Joining) => Some("it has not joined yet".to_owned()),
            Err(NotReady::Routes { of }) => Some(format!("it lacks the routes of {of}")),
            Err(NotReady::Sets { set }) => Some(format!("it lacks {set:?} of the others").to_lowercase()),
        };
        let peers = self.peers.read();
        let rows: Vec<Value> = self
            .roster
            .0
            .read()
            .iter()
            .map(|(name, seen)| {
                let dropped = peers.get(name.as_str()).map_or(0, |peer| peer.fast.dropped());
                json!({
                    "name": name,
                    "state": seen.state,
                    "since_ms": seen.since_ms,
                    "version": seen.version,
                    "protocol": seen.protocol,
                    "address": seen.address,
                    "dropped": dropped,
                })
            })
            .collect();
        json!({
            "environment": self.environment,
            "cluster": self.name,
            "ready": ready.is_none(),
            "lacks": ready,
            "not_acknowledged": self.refused.load(std::sync::atomic::Ordering::Relaxed),
            "refusals": self.refusals.rows(),
            "forbidden": self.forbidden.read().iter().map(|node| node.to_string()).collect::<Vec<_>>(),
            "rows": rows,
        })
    }
}
