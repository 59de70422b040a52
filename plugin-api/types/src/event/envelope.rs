//! Who, where and when of an event.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{EventKind, Fact, Value};
use crate::{Blame, Protocol, Transport};

/// What sort of event it is. Collectors choose by class.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Class {
    /// Refusals, breaches and denials: what an operator looks at to find a bad client.
    Security = 1,
    /// Clients, sessions and subscriptions come and go.
    Lifecycle = 2,
    /// Single messages. Produced only while a collector wants them.
    Traffic = 4,
    /// The broker, its plugins, its nodes.
    System = 8,
}

impl Class {
    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Security => "security",
            Class::Lifecycle => "lifecycle",
            Class::Traffic => "traffic",
            Class::System => "system",
        }
    }

    /// The ring that its events wait in.
    pub const fn ring(self) -> Ring {
        match self {
            Class::Security => Ring::Peers,
            Class::System => Ring::Node,
            Class::Lifecycle | Class::Traffic => Ring::Rest,
        }
    }
}

/// Each collector has three bounded rings, so that a flood of one sort does not hide another.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Ring {
    /// What peers cause: class security.
    Peers = 0,
    /// What the node says of itself: class system.
    Node = 1,
    /// All else.
    Rest = 2,
}

impl Ring {
    /// All rings, by index.
    pub const ALL: [Ring; 3] = [Ring::Peers, Ring::Node, Ring::Rest];

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            Ring::Peers => "peers",
            Ring::Node => "node",
            Ring::Rest => "rest",
        }
    }
}

/// Whom an event is about; shared by all events of a connection. What is not known yet is empty.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Number of the connection on its node; 0 where the client of a session is away: then only tenant, user, client
    /// identifier and version are known; and in `EventsCoalesced` about several connections.
    pub connection: u64,
    /// Name of the listener.
    pub listener: Arc<str>,
    /// What carries it.
    pub transport: Transport,
    /// The client's address; its port is 0 in `EventsCoalesced` about several connections.
    pub remote: SocketAddr,
    /// SHA-256 of the leaf certificate that it showed.
    pub leaf_sha256: Option<[u8; 32]>,
    /// MQTT version, once CONNECT was read.
    pub protocol: Option<Protocol>,
    /// Tenant, once admitted.
    pub tenant: Arc<str>,
    /// User, once admitted (the claimed user name does not count).
    pub user: Arc<str>,
    /// Client identifier, once CONNECT was read; only claimed until the client is admitted.
    pub client_id: Arc<str>,
}

impl Peer {
    /// Whether it is about a session whose client is away: there is no connection, listener, transport, and address.
    pub fn is_away(&self) -> bool {
        self.connection == 0 && self.listener.is_empty()
    }
}

impl Fact {
    /// Whose doing it was, as [`Event::blame`].
    pub fn blame(&self) -> Blame {
        let mut blame = self.kind().blame();
        self.fields(&mut |name, value| {
            if let ("blame", Value::Text(text)) = (name, value) {
                blame = Blame::from_name(text).unwrap_or(blame);
            }
        });
        blame
    }
}

/// Something that happened.
#[derive(Clone, Debug)]
pub struct Event {
    /// Counts the events of a node that some collector wanted, from 1 on, since its start. A gap is no loss: another collector
    /// may have wanted those. What is lost is told by `EventsLost`.
    pub sequence: u64,
    /// When, in milliseconds since 1970, UTC.
    pub time_ms: u64,
    /// Name of the node.
    pub node: Arc<str>,
    /// Whom it is about, where it is about a connection.
    pub peer: Option<Arc<Peer>>,
    /// What.
    pub fact: Fact,
}

impl Event {
    /// Its kind.
    pub fn kind(&self) -> EventKind {
        self.fact.kind()
    }

    /// Whose doing it was: the fact's own field `blame` where it has one, else its kind's.
    pub fn blame(&self) -> Blame {
        self.fact.blame()
    }
}
