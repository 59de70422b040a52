//! GateMQ's cluster: several nodes of one environment act as one broker, without a centre.
//!
//! [`core`] is pure: one [`core::Core`] for each process of a node, to which everything that happens is an [`core::Input`] with
//! a time, and which says what is to be done as [`core::Action`]s. It has no IO, no clock and no runtime, so that the same code
//! runs in the broker and in a simulation. [`net`] stands beside it: it admits peers with [`core::admission::decide`],
//! carries [`core::Control`] messages, and tells who is there.
//!
//! | part of the core | what it decides |
//! |---|---|
//! | [`core::admission`] | who may become a member, and why not |
//! | `interest` | which filters each node wants: one writer for each set, deltas, digests, snapshots in parts |
//! | `forwards` | when a publication of QoS 1 or 2 may be acknowledged: answered, or kept as a hint; and what came twice |
//! | `sessions` | who has a session: keepers, epochs, hand-over, wills of the dead |
//! | `sets` | denials, retained messages and forbidden nodes: last writer wins, tombstones |
//! | [`core::share`], [`core::quota`] | which node takes a message of a group; how much of a quota is ours |
//!
//! What holds, and the test that holds it, for all of it at once: the simulation in `tests/sim`, `oracle.rs` (the cluster keeps
//! its promises over a thousand seeds, and five planted faults are found). What is absent: bytes of publications and of values
//! (the host has them; the core knows sizes and numbers), any order between different nodes, and a memory of members that are
//! away over a restart of the core: a node that starts while another is away learns of its persistent sessions when that
//! returns.

pub mod core;
pub mod net;

#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;
