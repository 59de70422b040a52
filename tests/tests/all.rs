//! One test binary with a module a subject.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod door;
mod promise_1;
mod promise_2;
mod promise_3;
mod refused;
mod road;
mod tidy;
