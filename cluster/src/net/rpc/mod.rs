//! RPC between nodes: tarpc over mutual TLS.
//!
//! | module | what it does |
//! |---|---|
//! | [`service`] | the calls |
//! | [`codec`] | frames: lengths, heads and raw tails, all bounded |
//! | [`batch`] | publications, built and read in place |
//!
//! The client's end is [`super::link`], the server's [`super::serve`]. Each node makes connections of its own to each
//! peer, so one side of a connection only asks and the other only answers.

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod service;

/// Bytes of the largest frame, on both ends. What is announced longer closes the connection before any of it is read.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the largest frame before a Hello was accepted.
pub(crate) const HELLO_BYTES_MAX: usize = 16 * 1024;
/// Calls of a connection that are under way, on both ends: further ones wait with the sender, then in the network.
pub(crate) const WINDOW: usize = 32;
/// Bytes that wait for the socket before a connection takes no further message.
pub(crate) const WRITE_BYTES_FULL: usize = 128 * 1024;
/// Bytes that are read before a frame's length is known; then as many as it has. More would be copied for nothing.
pub(crate) const READ_BYTES: usize = 16 * 1024;
