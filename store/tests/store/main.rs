//! What the store promises, held from outside: semantics against a model, crashes, power cuts, damage.

mod crash;
mod damage;
mod model;
mod naive;
mod power;
mod semantics;
mod support;
