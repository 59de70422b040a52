//! The ready file: where the node listens, for scripts that bind port 0.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;

/// Writes it whole or not at all.
///
/// # Errors
/// It cannot be written.
pub(crate) fn write(
    file: &Path,
    listeners: &BTreeMap<String, (&'static str, SocketAddr)>,
    http: Option<SocketAddr>,
) -> std::io::Result<()> {
    let listeners: serde_json::Map<String, serde_json::Value> = listeners
        .iter()
        .map(|(name, (kind, address))| {
            (name.clone(), serde_json::json!({"kind": kind, "address": address.to_string()}))
        })
        .collect();
    let text =
        serde_json::json!({"pid": std::process::id(), "listeners": listeners, "http": http.map(|at| at.to_string())})
            .to_string();
    let beside = file.with_extension("new");
    std::fs::write(&beside, text)?;
    std::fs::rename(&beside, file)
}
