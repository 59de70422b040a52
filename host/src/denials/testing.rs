//! A node without workers, and peers.

use std::net::SocketAddr;
use std::sync::Arc;

use gatemq_types::Transport;
use gatemq_types::event::Peer;

use crate::config::{self, Sources};
use crate::events::Events;
use crate::node::Node;

/// A node that nothing is kept for and nobody connects to, with two denials for each raiser. Proxies are in 10.0.0.0/8.
pub(crate) fn node() -> Arc<Node> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("gatemq.toml");
    std::fs::write(&file, "[listeners.l]\nkind = 'mqtt'\nbind = '127.0.0.1:0'\n").unwrap();
    let config = config::load(&Sources { file: Some(file), ..Sources::default() }).unwrap();
    let settings = config::Node { workers: 0, ..config.node };
    let node = Node::new(&settings, config.limits, 2, false, Events::new("node"), None);
    node.denials.spare_proxies(vec!["10.0.0.0/8".parse().unwrap()]);
    node
}

/// Somebody at this address.
pub(crate) fn peer(ip: &str, tenant: &str) -> Peer {
    Peer {
        connection: 1,
        listener: "l".into(),
        transport: Transport::Tcp,
        remote: SocketAddr::new(ip.parse().unwrap(), 4711),
        leaf_sha256: None,
        protocol: None,
        tenant: tenant.into(),
        user: "user".into(),
        client_id: "client".into(),
    }
}
