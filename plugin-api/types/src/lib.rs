//! The words that GateMQ's crates and its plugins share: plain data, no IO, no clock.
//!
//! | module | what it says |
//! |---|---|
//! | [`protocol`] | versions of MQTT, QoS |
//! | [`reason`] | reason codes of MQTT 5.0, and what they are in MQTT 3 |
//! | [`blame`], [`close`] | whose fault it was, and the one list of why connections end |
//! | [`connect`] | what is known of a client that asks to be admitted, its certificates included |
//! | [`identity`], [`grant`], [`limits`] | what an auth provider says of a client |
//! | [`action`], [`verdict`] | what a client wants to do, and the answer |
//! | [`denial`] | who is kept out |
//! | [`event`] | the one table of events |
//!
//! Its only dependency is `zeroize`, which wipes passwords.

pub mod action;
pub mod blame;
pub mod close;
pub mod connect;
pub mod denial;
pub mod event;
pub mod grant;
pub mod identity;
pub mod limits;
pub mod protocol;
pub mod reason;
pub mod service;
pub mod verdict;

pub use action::{Action, ActionKind};
pub use blame::Blame;
pub use close::CloseReason;
pub use connect::{Anchor, Connect, Der, Secret, Tls, Transport, UserProperty, Will};
pub use denial::{Denial, Subject};
pub use grant::{Actions, Constraints, Effect, Grant};
pub use identity::{Exclusive, Expiry, Identity, NoMatch};
pub use limits::Limits;
pub use protocol::{Protocol, QoS};
pub use reason::ReasonCode;
pub use verdict::{AuthOutcome, Verdict};
