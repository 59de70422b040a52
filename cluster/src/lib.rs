//! Nodes of one environment as one broker.
//!
//! | module | what it does |
//! |---|---|
//! | [`net`] | sockets: TLS, RPC, gossip |

pub mod net;
