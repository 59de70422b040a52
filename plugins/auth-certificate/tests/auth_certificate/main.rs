//! The real library in this process, called as the broker calls it, with real certificates.

// Clippy knows functions with #[test] for tests, but not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bench;
mod names;
mod revokes;
mod starts;
