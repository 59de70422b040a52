//! What operators ask of a running node: an HTTP API with JSON on a Unix socket, whose file says who may.
//!
//! | module | what it does |
//! |---|---|
//! | [`socket`] | the socket and its file, who is at its other end |
//! | [`routes`] | which path does what, and how a refusal reads |
//! | [`explain`] | why a client may do something, or may not |

mod explain;
mod routes;
mod socket;

use std::sync::Arc;

use crate::node::Node;

pub(crate) use socket::{Socket, bind};

/// What the API is about. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Admin {
    /// Clients, sessions, denials.
    pub(crate) node: Arc<Node>,
}
