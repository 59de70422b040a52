//! What the store promises, held from outside: semantics against a model, crashes, power cuts, damage.

#![allow(clippy::unwrap_used, clippy::expect_used)]

#[cfg(unix)]
mod crash;
mod damage;
mod model;
mod naive;
#[cfg(target_os = "linux")]
mod power;
#[cfg(unix)]
mod sealed;
mod semantics;
mod support;
