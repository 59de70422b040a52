//! All that a GateMQ plugin depends on.
//!
//! A plugin is a `cdylib` with a type that implements [`Plugin`] and one or both of [`AuthProvider`] and
//! [`EventCollector`], exported with [`export_plugin!`]. Start with the [guide].
//!
//! ```no_run
//! use gatemq_plugin_api::prelude::*;
//!
//! struct AdmitAll;
//!
//! impl Plugin for AdmitAll {
//!     type Config = NoConfig;
//!     fn start(_: NoConfig, _: Host) -> Result<Self, StartError> {
//!         Ok(AdmitAll)
//!     }
//! }
//!
//! impl AuthProvider for AdmitAll {
//!     async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
//!         let grants = [Grant::allow(Actions::ALL, "home/${client_id}/#")];
//!         AuthOutcome::accept(Identity::new("home", &connect.client_id).with_grants(grants))
//!     }
//! }
//!
//! export_plugin!(AdmitAll: auth);
//! # fn main() {}
//! ```

#[doc(hidden)]
pub mod abi;
pub mod certificate;
pub mod config;
pub mod guide;
pub mod prelude;
mod sdk;

pub use certificate::Certificate;
pub use gatemq_types::event::{Class, EventKind};
pub use gatemq_types::service;
pub use gatemq_types::{
    Action as ActionRecord, ActionKind, Actions, Anchor, AuthOutcome, Blame, Connect, Constraints, Der, Effect,
    Exclusive, Expiry, Grant, Identity, Limits, NoMatch, Protocol, QoS, ReasonCode, Secret, Subject, Tls, Transport,
    UserProperty, Verdict, Will,
};
pub use sdk::{
    Action, AuthExchange, AuthProvider, Event, EventCollector, Fields, Health, Host, Interest, Plugin,
    ReconfigureError, Session, StartError, Value,
};
pub use {serde, tokio, tracing};
