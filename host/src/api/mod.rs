//! What operators ask of a running node: an HTTP API with JSON on a Unix socket, whose file says who may.
//!
//! | module | what it does |
//! |---|---|
//! | [`socket`] | the socket and its file, who is at its other end |
//! | [`routes`] | which path does what, and how a refusal reads |
//! | [`desk`] | clients, kicks, denials |
//! | [`plugins`] | plugins and their reload, the configuration's reload |
//! | [`explain`] | why a client may do something, or may not |

mod desk;
pub(crate) mod explain;
mod plugins;
mod routes;
mod socket;

use std::sync::Arc;

use crate::admin::{Asker, By, Desk};
use crate::node::Node;
use crate::reload::Reload;

pub(crate) use socket::{Socket, bind};

/// What the API is about. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Api {
    /// Clients, sessions, denials.
    node: Arc<Node>,
    /// What is asked of it is the operator's.
    desk: Arc<Desk>,
    asker: Arc<Asker>,
    reload: Arc<Reload>,
}

impl Api {
    /// Of a node, its desk, its plugins and its configuration.
    pub(crate) fn new(node: &Arc<Node>, desk: &Arc<Desk>, reload: &Arc<Reload>) -> Self {
        Api { node: node.clone(), desk: desk.clone(), asker: Asker::new(By::Operator), reload: reload.clone() }
    }
}
