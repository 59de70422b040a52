//! RPC between nodes: tarpc over mutual TLS.

pub(crate) mod batch;
pub(crate) mod codec;
pub(crate) mod service;

/// Bytes of the largest frame, on both ends. What is announced longer closes the connection before any of it is read.
pub const FRAME_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the largest frame before a Hello was accepted.
pub(crate) const HELLO_BYTES_MAX: usize = 16 * 1024;
