//! Denials of this node: looked at where a peer first shows what can be denied, and for everybody who is there when one is
//! raised.
//!
//! | module | what it does |
//! |---|---|
//! | [`known`] | what is kept of a client to find it by |
//! | `look` | accept, PROXY header, handshake, CONNECT, and whoever is there |
//!
//! **No race.** A denial is in the set before connections are scanned, on their own workers. A connection looks at the set in the
//! same turn of its worker in which the scan can find it from then on (`connection::begin`), so one of the two sees the other.

mod known;
mod look;

pub(crate) use known::{Known, proven};
pub(crate) use look::{refuses_address, refuses_certificate, refuses_connected, refuses_name, withholds_will};

use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use gatemq_broker::denials::{Held, Proven, Recent};
use gatemq_broker::{Denials, SessionKey};

use crate::listen::Network;

/// Who raised what operators raise. Nobody else's begins like it: plugins' are `plugin NAME`.
pub(crate) const OPERATOR: &str = "operator";

/// See the module.
pub(crate) struct NodeDenials {
    /// All that are in force.
    pub(crate) set: Denials,
    /// Certificates, keys and clients that were here lately.
    recent: Recent,
    /// Networks of the proxies of all listeners.
    proxies: ArcSwap<Vec<Network>>,
}

/// What is noted in [`NodeDenials::recent`].
#[derive(Hash)]
pub(crate) enum Seen<'a> {
    /// SHA-256 of a leaf whose key was proven.
    Leaf(&'a [u8; 32]),
    /// SHA-256 of such a key.
    Key(&'a [u8; 32]),
    /// A user that had a session.
    User(&'a str, &'a str),
    /// A client that had one.
    Client(&'a str, &'a str, &'a str),
}

impl NodeDenials {
    /// None yet; at most `per_raiser_max` of each who raises some.
    pub(crate) fn new(per_raiser_max: usize) -> Self {
        NodeDenials { set: Denials::new(per_raiser_max), recent: Recent::default(), proxies: ArcSwap::default() }
    }

    /// Sets the networks that no plugin may deny.
    pub(crate) fn spare_proxies(&self, proxies: Vec<Network>) {
        self.proxies.store(Arc::new(proxies));
    }

    /// Whether `ip` is a proxy's of any listener.
    pub(crate) fn is_proxy(&self, ip: IpAddr) -> bool {
        self.proxies.load().iter().any(|network| network.contains(ip))
    }

    /// Whether this was here in the last hour.
    pub(crate) fn was_here(&self, seen: &Seen<'_>, now_ms: u64) -> bool {
        self.recent.holds(seen, now_ms)
    }

    /// Notes a certificate whose key was proven.
    pub(crate) fn note_proven(&self, proven: &Proven, now_ms: u64) {
        self.recent.note(&Seen::Leaf(&proven.leaf), now_ms);
        self.recent.note(&Seen::Key(&proven.key), now_ms);
    }

    /// Notes a client that leaves: as long as it is connected the connections are looked at.
    pub(crate) fn note_left(&self, key: &SessionKey, proven: Option<&Proven>, now_ms: u64) {
        let (tenant, user) = (key.tenant().name(), key.user());
        self.recent.note(&Seen::User(tenant, user), now_ms);
        self.recent.note(&Seen::Client(tenant, user, key.client_id()), now_ms);
        if let Some(proven) = proven {
            self.note_proven(proven, now_ms);
        }
    }
}

/// Whether a denial ends connections that are there. One that a plugin raised for an address does not: behind a NAT they are
/// somebody else's.
pub(crate) fn ends_connections(held: &Held) -> bool {
    held.denial.raised_by == OPERATOR
}

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
