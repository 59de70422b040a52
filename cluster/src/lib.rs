//! Nodes of one environment as one broker.

pub mod core;
pub mod net;
