//! What the store promises, held from outside: semantics against a model, crashes, power cuts, damage.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod crash;
mod damage;
mod model;
mod naive;
mod power;
mod semantics;
mod support;
