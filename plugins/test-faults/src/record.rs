//! Files that tests read: what was seen of each client.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

use gatemq_plugin_api::{Connect, Tls};
use serde_json::{Value, json};

/// A file that whole lines are appended to.
pub(crate) struct Appended {
    path: String,
    file: Mutex<File>,
}

impl Appended {
    pub(crate) fn open(path: &str) -> Result<Self, String> {
        let file = File::options().create(true).append(true).open(path).map_err(|e| format!("{path}: {e}"))?;
        Ok(Appended { path: path.to_owned(), file: Mutex::new(file) })
    }

    /// Writes, and panics when that fails: a test that reads too little must not pass.
    pub(crate) fn append(&self, write: impl FnOnce(&File) -> std::io::Result<()>) {
        let file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        if let Err(e) = write(&file) {
            panic!("{}: {e}", self.path);
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn tls(tls: &Tls) -> Value {
    json!({
        "version": tls.version,
        "cipher": tls.cipher,
        "server_name": tls.server_name,
        "alpn": tls.alpn,
        "resumed": tls.resumed,
        "verified": tls.verified,
        "path": tls.path,
        "anchor": tls.anchor.as_ref().map(|a| json!({"subject": a.subject, "spki_sha256": hex(&a.spki_sha256)})),
        "leaf_sha256": tls.leaf_sha256.map(|s| hex(&s)),
        "chain": tls.chain.iter().map(|der| hex(der.as_bytes())).collect::<Vec<_>>(),
    })
}

/// One line of JSON for a client.
pub(crate) fn line_of(connect: &Connect) -> Vec<u8> {
    let seen = json!({
        "connection": connect.connection,
        "listener": connect.listener,
        "transport": connect.transport.name(),
        "remote": connect.remote.to_string(),
        "proxied_by": connect.proxied_by.map(|a| a.to_string()),
        "protocol": connect.protocol.name(),
        "client_id": connect.client_id,
        "client_id_assigned": connect.client_id_assigned,
        "user_name": connect.user_name,
        "password_bytes": connect.password.as_ref().map(|p| p.as_bytes().len()),
        "failures": connect.failures,
        "deadline_ms": connect.deadline_ms,
        "tls": connect.tls.as_ref().map(tls),
    });
    format!("{seen}\n").into_bytes()
}
