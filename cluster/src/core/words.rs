//! The words of the cluster: sessions, filters, publications and what is kept of them. Plain data.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::clock::{Epoch, Stamp};
use super::member::Boot;

/// Whose session: another user with the same client identifier has another one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SessionKey {
    /// Tenant.
    pub tenant: Box<str>,
    /// User.
    pub user: Box<str>,
    /// Client identifier.
    pub client_id: Box<str>,
}

impl SessionKey {
    /// From its three names.
    pub fn new(tenant: &str, user: &str, client_id: &str) -> Self {
        SessionKey { tenant: tenant.into(), user: user.into(), client_id: client_id.into() }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tenant.len() + self.user.len() + self.client_id.len() + 16
    }
}

/// Escaped, as names of clients are shown.
impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/{:?}/{:?}", self.tenant, self.user, self.client_id)
    }
}

/// A filter of a tenant, `$share/name/` included.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct FilterKey {
    /// Tenant.
    pub tenant: Box<str>,
    /// Filter as the client wrote it.
    pub filter: Box<str>,
}

impl FilterKey {
    /// From its two parts.
    pub fn new(tenant: &str, filter: &str) -> Self {
        FilterKey { tenant: tenant.into(), filter: filter.into() }
    }

    /// Whether it is a shared subscription's: only of those the number of members travels.
    pub fn is_shared(&self) -> bool {
        self.filter.starts_with("$share/")
    }

    pub(crate) fn bytes(&self) -> usize {
        self.tenant.len() + self.filter.len() + 16
    }
}

/// What a node wants of a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Interest {
    /// Whether a persistent session of it has the filter: what is for it is kept while the node is away.
    pub durable: bool,
    /// Of a shared subscription: how many of its members are there (connected, or persistent). 0 of a node that is away, and of
    /// every filter that is not shared.
    pub members: u32,
}

/// A subscription of the host's that came or went.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct InterestChange {
    /// What of.
    pub key: FilterKey,
    /// Whether it is a persistent session's.
    pub durable: bool,
    /// Whether it came; else it went. What went must have come with the same `durable`.
    pub came: bool,
}

/// Which forward: given by its origin for one receiver, counted from 1 in each process of the origin.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Forward {
    /// Process of the origin.
    pub boot: Boot,
    /// Number.
    pub seq: u64,
}

/// A client's will and how long after the death of its node it is due.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Will {
    /// Will delay, or the session's expiry if that is earlier, in milliseconds.
    pub delay_ms: u64,
    /// The will as the host writes it.
    pub bytes: Vec<u8>,
}

/// A session that a node says is its own.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owned {
    /// Whose.
    pub key: SessionKey,
    /// Since which epoch.
    pub epoch: Epoch,
}

/// A will that a node gives into keeping.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WillKept {
    /// Whose.
    pub key: SessionKey,
    /// The session's epoch.
    pub epoch: Epoch,
    /// The will; `None` takes it back.
    pub will: Option<Will>,
}

/// Which of the sets that every node has whole.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Set {
    /// Denials: key and value as the host writes them.
    Denials,
    /// Retained messages: key of tenant and topic, value with publisher and tags, as the host writes them.
    Retained,
    /// What operators said of nodes (`gatemq cluster forbid`).
    Nodes,
}

impl Set {
    /// All of them.
    pub const ALL: [Set; 3] = [Set::Denials, Set::Retained, Set::Nodes];
}

/// How long a node was away, for those that it meets: who was away for longer than tombstones are kept may have what was
/// removed meanwhile. Milliseconds since 1970.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Standing {
    /// Tombstones from before this are forgotten.
    pub horizon_ms: u64,
    /// When it was last in contact with another member.
    pub contact_ms: u64,
    /// When it last ran, before a long rest; now, if it had none.
    pub ran_ms: u64,
}

/// An entry of a set without its value.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Mark {
    /// Who wrote it last, and when.
    pub stamp: Stamp,
    /// When it ends by itself, in milliseconds since 1970; 0: never.
    pub until_ms: u64,
    /// Whether it is a tombstone: the key was removed.
    pub removed: bool,
}

/// An entry of a set.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Key.
    pub key: Box<[u8]>,
    /// Who, when and until when.
    pub mark: Mark,
    /// Value; empty of a tombstone.
    pub value: Vec<u8>,
}

/// Why a claim got no session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum ClaimRefusal {
    /// Not every member has registered with the keeper, or it did not answer: CONNACK 0x88, in MQTT 3 code 3. The client tries
    /// again.
    NotSettled,
    /// The owner lives and has not handed over in time: CONNACK 0x89, in MQTT 3 code 3. Never session present 0.
    HandOverUnfinished,
    /// Somebody else claims the same session at this moment: CONNACK 0x89, in MQTT 3 code 3.
    Contested,
    /// More claims wait than this node keeps: CONNACK 0x97, in MQTT 3 code 3.
    Full,
}
