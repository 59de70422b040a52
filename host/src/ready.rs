//! The ready file: where the node listens, for clients and for other nodes, for scripts that bind port 0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

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
    listeners: &BTreeMap<String, (&'static str, SocketAddr)>,
    cluster: Option<Addresses>,
    http: Option<SocketAddr>,
) -> std::io::Result<()> {
    let listeners: serde_json::Map<String, serde_json::Value> = listeners
        .iter()
        .map(|(name, (kind, address))| {
            (name.clone(), serde_json::json!({"kind": kind, "address": address.to_string()}))
        })
        .collect();
    let mut ready = serde_json::json!({"pid": std::process::id(), "listeners": listeners});
    if let Some(Addresses { gossip, rpc }) = cluster {
        ready["cluster"] = serde_json::json!({"gossip": gossip.to_string(), "rpc": rpc.to_string()});
    }
    if let Some(http) = http {
        ready["http"] = http.to_string().into();
    }
    let text = ready.to_string();
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file)
}
