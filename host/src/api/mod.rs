//! What operators ask of a running node: an HTTP API with JSON on a Unix socket, whose file says who may, and, where it is configured,
//! on a port, for whoever has a token or a certificate.
//!
//! | module | what it does |
//! |---|---|
//! | [`socket`] | the socket and its file, who is at its other end |
//! | [`http`] | the port, with its authentication and its bounds |
//! | [`caller`] | who asks |
//! | [`routes`] | which path does what, and how a refusal reads |
//! | [`cluster`] | other nodes |
//! | [`desk`] | clients, kicks, denials |
//! | [`plugins`] | plugins and their reload, the configuration's reload |
//! | [`explain`] | why a client may do something, or may not |
//! | [`client`] | one client in full |
//! | [`events`] | events as they happen, and who caused most of them |
//! | [`metrics`], [`health`] | for monitoring |
//! | [`openapi`] | the API, described |
//! | [`console`] | a page for people |

mod away;
mod caller;
mod client;
mod cluster;
mod console;
mod desk;
mod events;
pub(crate) mod explain;
mod health;
pub(crate) mod http;
mod metrics;
mod openapi;
mod plugins;
mod routes;
mod socket;

use std::sync::Arc;

use crate::admin::{Asker, By, Desk};
use crate::listeners::Listeners;
use crate::node::Node;
use crate::reload::Reload;

pub(crate) use health::Serving;
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
    /// The listeners of clients.
    listeners: Arc<Listeners>,
    serving: Serving,
}

impl Api {
    /// Of a node, its desk, its plugins and its configuration, and its listeners.
    pub(crate) fn new(
        node: &Arc<Node>,
        desk: &Arc<Desk>,
        reload: &Arc<Reload>,
        listeners: Arc<Listeners>,
        serving: Serving,
    ) -> Self {
        let asker = Asker::new(By::Operator);
        Api { node: node.clone(), desk: desk.clone(), asker, reload: reload.clone(), listeners, serving }
    }
}
