//! The ready file: where the node listens, for clients and for other nodes, for scripts that bind port 0.

use std::net::SocketAddr;
use std::path::Path;

use crate::listeners::Bound;

/// Where other nodes find this one.
#[derive(Clone, Copy)]
pub(crate) struct Addresses {
    /// For gossip.
    pub(crate) gossip: SocketAddr,
    /// For RPC, which is what `cluster.seeds` of others name.
    pub(crate) rpc: SocketAddr,
}

/// Writes it whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(
    file: &Path,
    listeners: &Bound,
    cluster: Option<Addresses>,
    http: Option<SocketAddr>,
) -> std::io::Result<()> {
    let mut ready = serde_json::json!({"pid": std::process::id(), "listeners": told(listeners)});
    if let Some(Addresses { gossip, rpc }) = cluster {
        ready["cluster"] = serde_json::json!({"gossip": gossip.to_string(), "rpc": rpc.to_string()});
    }
    if let Some(http) = http {
        ready["http"] = http.to_string().into();
    }
    put(file, &ready)
}

/// Writes it again, after a reload has changed the listeners.
///
/// # Errors
/// It cannot be read or written.
pub(crate) fn renew(file: &Path, listeners: &Bound) -> std::io::Result<()> {
    let mut ready: serde_json::Value = serde_json::from_slice(&std::fs::read(file)?)?;
    ready["listeners"] = told(listeners);
    put(file, &ready)
}

fn told(listeners: &Bound) -> serde_json::Value {
    let of = |(name, (kind, address)): (&String, &(&str, SocketAddr))| {
        (name.clone(), serde_json::json!({"kind": kind, "address": address.to_string()}))
    };
    serde_json::Value::Object(listeners.iter().map(of).collect())
}

fn put(file: &Path, ready: &serde_json::Value) -> std::io::Result<()> {
    let text = ready.to_string();
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file)
}
