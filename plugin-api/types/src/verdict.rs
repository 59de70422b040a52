//! What auth providers answer.

use std::time::Duration;

use crate::{Identity, QoS, ReasonCode};

/// Answer to a CONNECT, an AUTH or a refresh. Anything but `Accept` admits nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthOutcome {
    /// The client is who this says. Boxed: it is the largest answer.
    Accept(Box<Identity>),
    /// Another round of enhanced authentication: the client gets an AUTH, and its answer comes to `exchange`. Only for a
    /// client whose CONNECT has an Authentication Method (5.0); for others it is a failure.
    Continue {
        /// Authentication Data for the client, at most 65,535 bytes; empty is none.
        data: Vec<u8>,
        /// Handed back with the client's answer. The client never sees it.
        state: u64,
    },
    /// Refused.
    Reject {
        /// Code for the CONNACK.
        code: ReasonCode,
        /// For the log and the event; the client is not told.
        reason: String,
        /// Reason String: what a 5.0 client is told besides the code, unless it wants no such. Anybody can read it: no
        /// secrets, and nothing that tells a guesser how near it was.
        reason_string: Option<String>,
        /// Wait this long before the client is told, at most the connect deadline.
        delay: Duration,
    },
    /// Another server is to be used: a refusal that says where to go. MQTT 3 has no word for it, and is told that this
    /// server is unavailable.
    Redirect {
        /// Server Reference (5.0, 4.11): `host` or `host:port`, several of them with a space between; empty: not said.
        server: String,
        /// For good (Server moved, 0x9D), or this time (Use another server, 0x9C).
        moved: bool,
    },
    /// Not my kind of client: the next provider is asked. Everybody saying so is a refusal.
    Next,
    /// No answer can be given now.
    Unavailable {
        /// When it may be worth trying again; zero is unknown.
        retry_after: Duration,
    },
}

impl AuthOutcome {
    /// Accepts as `identity`.
    pub fn accept(identity: Identity) -> Self {
        AuthOutcome::Accept(Box::new(identity))
    }

    /// Refuses with `Not authorized`.
    pub fn reject(reason: impl Into<String>) -> Self {
        let (code, delay) = (ReasonCode::NOT_AUTHORIZED, Duration::ZERO);
        AuthOutcome::Reject { code, reason: reason.into(), reason_string: None, delay }
    }

    /// Sends the client to another server, this time.
    pub fn redirect(server: impl Into<String>) -> Self {
        AuthOutcome::Redirect { server: server.into(), moved: false }
    }
}

/// Answer to an action that a grant had asked about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It may.
    Allow {
        /// How long the answer may be kept for the same action of the same session; zero: for this one only.
        ttl: Duration,
        /// Highest QoS granted to a subscription.
        qos_max: QoS,
    },
    /// It may not.
    Deny {
        /// Code for the acknowledgement.
        code: ReasonCode,
        /// For the log and the event; the client is not told.
        reason: String,
        /// Reason String: what a 5.0 client is told besides the code, as with [`AuthOutcome::Reject`], unless it wants no such or its
        /// Maximum Packet Size leaves no room. Of several filters of one packet the first that has one is told. Not told again
        /// while the answer is kept (`ttl`), nor of a message at QoS 0.
        reason_string: Option<String>,
        /// Whether the connection ends.
        disconnect: bool,
        /// How long the answer may be kept; zero: for this one only.
        ttl: Duration,
    },
    /// No opinion: denied.
    Next,
    /// Ask again with `authorize_slow`, which may wait.
    Pending,
}

impl Verdict {
    /// Allows, and lets the answer be kept for `ttl`.
    pub fn allow(ttl: Duration) -> Self {
        Verdict::Allow { ttl, qos_max: QoS::ExactlyOnce }
    }

    /// Denies this one with `Not authorized`.
    pub fn deny(reason: impl Into<String>) -> Self {
        Verdict::Deny {
            code: ReasonCode::NOT_AUTHORIZED,
            reason: reason.into(),
            reason_string: None,
            disconnect: false,
            ttl: Duration::ZERO,
        }
    }
}
