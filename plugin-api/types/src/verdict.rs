//! What auth providers answer.

use std::time::Duration;

use crate::{Identity, QoS, ReasonCode};

/// Answer to a CONNECT, an AUTH or a refresh. Anything but `Accept` and `Continue` admits nobody.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum AuthOutcome {
    /// The client is who this says. Boxed: it is the largest answer.
    Accept(Box<Identity>),
    /// Another round of enhanced authentication (5.0).
    Continue {
        /// Authentication Data for the client.
        data: Vec<u8>,
        /// Handed back with the client's answer.
        state: u64,
    },
    /// Refused.
    Reject {
        /// Code for the CONNACK.
        code: ReasonCode,
        /// For the log and the event. May be sent to a 5.0 client as Reason String: keep secrets out of it.
        reason: String,
        /// Wait this long before the client is told, at most the connect deadline.
        delay: Duration,
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
        AuthOutcome::Reject { code: ReasonCode::NOT_AUTHORIZED, reason: reason.into(), delay: Duration::ZERO }
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
        /// For the log and the event. May be sent to a 5.0 client as Reason String: keep secrets out of it.
        reason: String,
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
            disconnect: false,
            ttl: Duration::ZERO,
        }
    }
}
