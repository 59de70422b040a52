//! The real library in this process, called as the broker calls it.

// Clippy knows functions with #[test] for tests, but not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod admits;
mod bench;
mod reloads;
mod starts;
