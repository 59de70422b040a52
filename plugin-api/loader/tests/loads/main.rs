//! Real plugin libraries in this process: what they say arrives, and whatever they do wrong costs only themselves.
//!
//! The libraries are `gatemq-test-faults`, which misbehaves on demand, and `gatemq-events-json`.

// Clippy knows functions with #[test] for tests, but not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod authenticate;
mod authorize;
mod events;
mod host;
mod lifecycle;
mod plugin;
mod refused;
mod stopped;
