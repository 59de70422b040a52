//! Exclusive identities: of a user or a certificate one connection may be live, and the newest is.
//!
//! Whoever is admitted takes the place in one step, under the lock, and learns who had it; so of many that come at once, on whatever
//! workers, each but the last is told by the next. A connection that is told looks for itself whether it still has the place, as it
//! does with its session: its number may be another's meanwhile. One entry a connection with such an identity, gone with it.
//!
//! In a cluster the other nodes are told who has taken it, by `cluster/places.rs`, and no CONNACK waits for that. Newest is there
//! whoever has the highest stamp: the time in milliseconds, but always above what its node has heard of before (a hybrid logical
//! clock, Kulkarni et al. 2014), so that who comes to another node after it was told is newer whatever the clocks say. Of two
//! with the same stamp the node with the higher name has it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use gatemq_broker::{Home, SessionKey};
use gatemq_cluster::core::AHEAD_MS_MAX;
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{Connect, Exclusive};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::node::Node;

/// Of what one connection may be live.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(crate) struct Place {
    tenant: Box<str>,
    of: Of,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
enum Of {
    User(Box<str>),
    /// SHA-256 of the leaf.
    Certificate([u8; 32]),
}

impl Place {
    /// What an identity asks for, if it asks for any.
    ///
    /// # Errors
    /// There is no certificate by which it could be exclusive.
    pub(crate) fn of(exclusive: Exclusive, key: &SessionKey, connect: &Connect) -> Result<Option<Place>, String> {
        let of = match exclusive {
            Exclusive::No => return Ok(None),
            Exclusive::User => Of::User(key.user().into()),
            Exclusive::Certificate => {
                let proven = connect.tls.as_ref().filter(|tls| tls.verified);
                let leaf = proven.and_then(|tls| tls.leaf_sha256);
                Of::Certificate(leaf.ok_or("it is exclusive by certificate, and the client has proven none")?)
            }
        };
        Ok(Some(Place { tenant: key.tenant().name().into(), of }))
    }

    fn name(&self) -> &'static str {
        match self.of {
            Of::User(_) => "user",
            Of::Certificate(_) => "certificate",
        }
    }
}

/// The connections that have a place.
#[derive(Default)]
pub(crate) struct Places(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    holders: HashMap<Place, Holder>,
    /// The highest stamp that was given or heard of.
    stamp: u64,
}

struct Holder {
    peer: Arc<Peer>,
    home: Home,
    stamp: u64,
}

/// Who has a place, as other nodes are told.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) struct Claim {
    place: Place,
    stamp: u64,
    /// Number of the connection on its node.
    connection: u64,
    user: String,
    client_id: String,
    remote: SocketAddr,
}

impl Claim {
    /// Why no node that behaves says this. A time that is still to come, further than clocks are apart, would have the place for good, and
    /// a stamp that everybody took over would be above all that come after it; and no name is longer than MQTT lets it be.
    pub(crate) fn wrong(&self, now_ms: u64) -> Option<&'static str> {
        let is_long = |name: &str| name.len() > usize::from(u16::MAX);
        if self.stamp > now_ms.saturating_add(AHEAD_MS_MAX) {
            return Some("it says that an exclusive identity is taken at a time that is still to come");
        }
        (is_long(&self.user) || is_long(&self.client_id))
            .then_some("it says that a client is taken over by one with too long a name")
    }

    fn new(place: &Place, Holder { peer, stamp, .. }: &Holder) -> Self {
        Claim {
            place: place.clone(),
            stamp: *stamp,
            connection: peer.connection,
            user: peer.user.to_string(),
            client_id: peer.client_id.to_string(),
            remote: peer.remote,
        }
    }

    /// Whoever had its place is told to look, and everybody is told of it, unless it is the same client.
    fn take_from(&self, node: &Node, before: &Holder, by_node: &str) {
        let old = &before.peer;
        if (&*old.user, &*old.client_id) != (&*self.user, &*self.client_id) {
            let fact = Fact::IdentityTakenOver {
                exclusive: self.place.name().into(),
                by_connection: self.connection,
                by_client_id: self.client_id.clone().into(),
                by_remote: self.remote.to_string().into(),
                by_node: by_node.to_owned().into(),
            };
            node.events.emit(Some(old), fact);
        }
        node.session_ended(before.home);
    }
}

impl Places {
    /// Another node's claim: who has the place here loses it. Returns the claim of who has it here and is newer.
    pub(crate) fn heard(&self, node: &Node, (from, own): (&str, &str), claim: &Claim) -> Option<Claim> {
        let mut inner = self.0.lock();
        inner.stamp = inner.stamp.max(claim.stamp);
        let here = inner.holders.get(&claim.place)?;
        if (here.stamp, own) > (claim.stamp, from) {
            return Some(Claim::new(&claim.place, here));
        }
        let before = inner.holders.remove(&claim.place)?;
        drop(inner);
        claim.take_from(node, &before, from);
        None
    }

    /// All that are had here.
    pub(crate) fn claims(&self) -> Vec<Claim> {
        self.0.lock().holders.iter().map(|(place, holder)| Claim::new(place, holder)).collect()
    }
}

/// A connection's place, until another takes it or this is dropped.
pub(crate) struct Held {
    places: Arc<Places>,
    place: Place,
    /// Number of the connection, unique on the node.
    connection: u64,
}

impl Held {
    /// Takes the place of a connection: of whoever has it here, at once, and at other nodes when they hear of it.
    pub(crate) fn take(node: &Node, place: Place, peer: &Arc<Peer>, home: Home) -> Held {
        let (before, claim) = {
            let inner = &mut *node.places.0.lock();
            inner.stamp = inner.stamp.saturating_add(1).max(clock::now_ms());
            let holder = Holder { peer: peer.clone(), home, stamp: inner.stamp };
            let claim = Claim::new(&place, &holder);
            (inner.holders.insert(place.clone(), holder), claim)
        };
        if let Some(before) = before {
            claim.take_from(node, &before, "");
        }
        if let Some(cluster) = node.cluster() {
            cluster.claim_place(claim);
        }
        Held { places: node.places.clone(), place, connection: peer.connection }
    }

    /// Whether another connection has taken it.
    pub(crate) fn is_lost(&self) -> bool {
        self.places.0.lock().holders.get(&self.place).is_none_or(|holder| holder.peer.connection != self.connection)
    }

    /// What it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let holders = &mut self.places.0.lock().holders;
        if holders.get(&self.place).is_some_and(|holder| holder.peer.connection == self.connection) {
            holders.remove(&self.place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the order of those who take a place against a node whose clock, or will, is wrong: what is as far ahead as no clock may be
    /// is left aside. Twin: what two nodes' clocks explain counts. And events against names that no client has.
    #[test]
    fn a_claim_that_makes_no_sense_is_left_aside() {
        let place = Place { tenant: "t".into(), of: Of::User("u".into()) };
        let claim = |stamp| Claim {
            place: place.clone(),
            stamp,
            connection: 1,
            user: String::new(),
            client_id: "c".into(),
            remote: ([127, 0, 0, 1], 1).into(),
        };
        let now_ms = 1_000_000_000_000;
        let is_wrong = |claim: Claim| claim.wrong(now_ms).is_some();
        assert!(!is_wrong(claim(now_ms + 2_000)) && !is_wrong(claim(0)));
        assert!(is_wrong(claim(now_ms + AHEAD_MS_MAX + 1)) && is_wrong(claim(u64::MAX)));
        let named = |bytes| Claim { client_id: "c".repeat(bytes), ..claim(0) };
        assert!(!is_wrong(named(65_535)) && is_wrong(named(65_536)));
    }
}
