//! What plugins may ask of the broker, and its answers.

use crate::{QoS, Subject};

/// Which sessions a request is about. All that is given must hold.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Selector {
    /// Tenant.
    pub tenant: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Client identifier.
    pub client_id: Option<String>,
    /// Number of one connection.
    pub connection: Option<u64>,
    /// Tag of the identity.
    pub tag: Option<String>,
    /// SHA-256 of the leaf certificate.
    pub leaf_sha256: Option<[u8; 32]>,
}

/// What becomes of the retained messages of sessions whose grants are revoked: of those that a client published, or left as its will,
/// under a tenant, user and client identifier, and with tags and a certificate, that the selector names, whether it is connected or
/// not; and of all of a connected client that it names now. What a plugin published is nobody's, and stays.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u32)]
pub enum RevokeRetained {
    /// They stay.
    #[default]
    Keep = 1,
    /// They are not delivered to those who subscribe, over restarts too, until their publisher is admitted again: until its provider
    /// accepts it, asked for this or when it connects. From then on those are delivered again that its grants of then let it
    /// publish, or leave as its will; those that they deny are removed; those that they only ask about stay withheld. A message
    /// that is published to the topic meanwhile takes its place. What is on its way to a subscriber already gets there.
    Withhold = 2,
    /// They are removed, those that the clients publish before the reply too.
    Remove = 3,
}

/// A message that a plugin publishes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Message {
    /// Tenant.
    pub tenant: String,
    /// Topic name.
    pub topic: String,
    /// Payload.
    pub payload: Vec<u8>,
    /// QoS.
    pub qos: QoS,
    /// Retain.
    pub retain: bool,
}

/// A request to the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Request {
    /// Ends connections.
    Disconnect {
        /// Which.
        selector: Selector,
        /// For the event and a 5.0 client's Reason String.
        reason: String,
    },
    /// Raises a denial.
    Deny {
        /// Whom.
        subject: Subject,
        /// For how long, in milliseconds; 0 is until it is lifted.
        ttl_ms: u64,
        /// Why.
        reason: String,
    },
    /// Lifts the denial of a subject.
    Allow {
        /// Whose.
        subject: Subject,
    },
    /// Lists denials, at most 256 a page.
    Denials {
        /// Opaque place to go on from; 0 is the beginning.
        page: u64,
    },
    /// Has grants asked for again, and subscriptions and queues re-checked.
    Revoke {
        /// Whose.
        selector: Selector,
        /// And their retained messages.
        retained: RevokeRetained,
    },
    /// Publishes a message.
    Publish(Message),
    /// Lists sessions that have a connection, at most 256 a page.
    Sessions {
        /// Which.
        selector: Selector,
        /// Opaque place to go on from; 0 is the beginning.
        page: u64,
    },
    /// Reads a value of the plugin's own small map.
    Get {
        /// Key.
        key: String,
    },
    /// Writes a value of it.
    Put {
        /// Key.
        key: String,
        /// Value, at most 64 KiB.
        value: Vec<u8>,
        /// Time to live in milliseconds; 0 is for ever.
        ttl_ms: u64,
    },
    /// Removes a value of it.
    Remove {
        /// Key.
        key: String,
    },
}

/// Why a request was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum ServiceError {
    /// This broker does not offer it (yet).
    NotSupported = 1,
    /// There is nothing like that (any more).
    NotFound = 2,
    /// The plugin may not.
    NotAllowed = 3,
    /// The request makes no sense.
    Invalid = 4,
    /// A bound is reached; try later.
    Busy = 5,
    /// The broker stops or failed.
    Unavailable = 6,
}

impl std::fmt::Display for ServiceError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            ServiceError::NotSupported => "this broker does not offer that service",
            ServiceError::NotFound => "nothing like that is there",
            ServiceError::NotAllowed => "this plugin may not do that",
            ServiceError::Invalid => "the request makes no sense",
            ServiceError::Busy => "a bound is reached; try later",
            ServiceError::Unavailable => "the broker cannot do that now",
        })
    }
}

impl std::error::Error for ServiceError {}

/// The broker's answer to a request that it carried out.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reply {
    /// How many sessions, denials or messages it concerned.
    pub count: u64,
    /// Rows of a listing, or the denial that was raised: one JSON object each.
    pub rows: Vec<String>,
    /// Where the next page begins; 0 is the end.
    pub next_page: u64,
    /// A value that was read.
    pub value: Option<Vec<u8>>,
}
