//! GateMQ's cluster: several nodes of one environment act as one broker.
//!
//! [`core`] is pure: what a node decides, from messages and time. [`net`] stands beside it and carries its messages.

pub mod core;
pub mod net;

#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
