//! Runs a plugin's library as the broker does, without a broker: for tests of plugins.
//!
//! A test loads the real `.so`, through the same code as the broker and under the same deadlines. It shows the plugin clients,
//! with real certificate chains where they have some, and looks at the answers, at what the plugin asked of its host, and at
//! its log. In the plugin's `Cargo.toml`:
//!
//! ```toml
//! [dev-dependencies]
//! gatemq-plugin-testkit = { path = "…/plugin-api/testkit" }
//! serde_json = "1"
//! ```
//!
//! and in `tests/answers.rs`:
//!
//! ```no_run
//! use gatemq_plugin_testkit::{AuthOutcome, Authority, FaultSuite, TestHost, build, connect, connect_as};
//! use serde_json::json;
//!
//! #[test]
//! fn who_is_known_is_admitted() {
//!     // Cargo does not build a library for a test that only loads it.
//!     let host = TestHost::new(build!());
//!     // The table [plugins.NAME.config].
//!     let plugin = host.start(json!({ "tenant": "home" })).unwrap();
//!     let outcome = plugin.authenticate(&connect_as("sensor-1", "ada", "secret")).unwrap();
//!     assert!(matches!(outcome, AuthOutcome::Accept(identity) if identity.user == "ada"));
//!     // A client with a certificate: its chain as the listener got it, verified by this authority.
//!     let authority = Authority::new("Acme");
//!     let with_certificate = authority.client("sensor-1").shown_by(connect("sensor-1"));
//!     assert_eq!(plugin.authenticate(&with_certificate), Ok(AuthOutcome::Next));
//!     // A password is in no log.
//!     assert_eq!(plugin.recorder().mentioned("secret"), 0);
//! }
//!
//! #[test]
//! fn it_bears_whatever_comes() {
//!     let suite = FaultSuite::new(build!(), json!({ "tenant": "home" }));
//!     suite.client(connect_as("sensor-1", "ada", "secret")).client(connect("stranger")).run().assert_passed();
//! }
//! # fn main() {}
//! ```
//!
//! | | |
//! |---|---|
//! | [`build!`] | the path of your library, built |
//! | [`TestHost`], [`Started`], [`Record`] | load it, start it, call it; the calls and their answers, in order |
//! | [`Recorder`] | what the plugin logged, counted and asked for; how its requests are answered |
//! | [`connect()`], [`session`], [`publish`], [`subscribe`] | clients and what they want |
//! | [`Authority`], [`Chain`] | certificate chains |
//! | [`events`] | events for a collector |
//! | [`FaultSuite`] | cancelled calls, 10,000 calls at once, reconfiguration under load, odd input, a stop while calls run |
//!
//! What goes wrong in here, and is not the plugin's doing, is a panic with the reason: this is test code. `Started` blocks the
//! thread that calls it; in async tests use [`Started::instance`].

/// The README for authors: its code compiles, or the documentation tests fail.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}

mod certificates;
mod client;
pub mod events;
mod host;
mod library;
mod recorder;
mod suite;

pub use certificates::{Authority, Chain, rcgen};
pub use client::{connect, connect_as, publish, session, subscribe};
pub use gatemq_plugin_loader::{CallFailure, Health, Info, Instance, Interest, Level, Options, Session};
pub use gatemq_types::event::{Event, EventKind, Fact, Peer};
pub use gatemq_types::service::{Reply, Request, Selector, ServiceError};
pub use gatemq_types::{
    Action, ActionKind, Actions, Anchor, AuthOutcome, Connect, Der, Effect, Exclusive, Grant, Identity, Protocol, QoS,
    ReasonCode, Secret, Subject, Tls, Transport, Verdict, Will,
};
pub use host::{Record, Started, TestHost};
pub use library::build;
pub use recorder::{Answered, Recorder};
pub use suite::{Counts, FaultSuite, Report, Step};
