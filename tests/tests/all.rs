//! One test binary with a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod refused;
mod tidy;
