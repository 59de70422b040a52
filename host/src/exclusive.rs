//! Exclusive identities: of a user or a certificate one connection may be live, and the newest is.
//!
//! Whoever is admitted takes the place in one step, under the lock, and learns who had it; so of many that come at once, on whatever
//! workers, each but the last is told by the next. A connection that is told looks for itself whether it still has the place, as it
//! does with its session: its number may be another's meanwhile. One entry a connection with such an identity, gone with it.

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_broker::{Home, SessionKey};
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{Connect, Exclusive};
use parking_lot::Mutex;

use crate::node::Node;

/// Of what one connection may be live.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Place {
    tenant: Box<str>,
    of: Of,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
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
pub(crate) struct Places(Mutex<HashMap<Place, Holder>>);

struct Holder {
    peer: Arc<Peer>,
    home: Home,
}

/// A connection's place, until another takes it or this is dropped.
pub(crate) struct Held {
    places: Arc<Places>,
    place: Place,
    /// Number of the connection, unique on the node.
    connection: u64,
}

impl Held {
    /// Takes the place of a connection. Whoever had it is told to look, and everybody is told of it, unless it is the same client.
    pub(crate) fn take(node: &Node, place: Place, peer: &Arc<Peer>, home: Home) -> Held {
        let holder = Holder { peer: peer.clone(), home };
        let before = node.places.0.lock().insert(place.clone(), holder);
        if let Some(before) = before {
            let old = &before.peer;
            if (&old.user, &old.client_id) != (&peer.user, &peer.client_id) {
                let fact = Fact::IdentityTakenOver {
                    exclusive: place.name().into(),
                    by_connection: peer.connection,
                    by_client_id: peer.client_id.to_string().into(),
                    by_remote: peer.remote.to_string().into(),
                };
                node.events.emit(Some(old), fact);
            }
            node.session_ended(before.home);
        }
        Held { places: node.places.clone(), place, connection: peer.connection }
    }

    /// Whether another connection has taken it.
    pub(crate) fn is_lost(&self) -> bool {
        self.places.0.lock().get(&self.place).is_none_or(|holder| holder.peer.connection != self.connection)
    }

    /// What it is.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut places = self.places.0.lock();
        if places.get(&self.place).is_some_and(|holder| holder.peer.connection == self.connection) {
            places.remove(&self.place);
        }
    }
}
