//! Rows of listings: one JSON object each. What peers said is escaped by JSON.

use gatemq_broker::denials::{Effect, Held};
use gatemq_types::Subject;
use gatemq_types::event::Peer;
use serde_json::{Value, json};

/// As hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `{"kind": "address", "address": …, "bits": …}`, or `certificate`, `key` and `issuer` with `sha256`, `user` and `client` with
/// their names.
fn subject(subject: &Subject) -> Value {
    match subject {
        Subject::Address { address, bits } => json!({"kind": "address", "address": address.to_string(), "bits": bits}),
        Subject::Certificate(hash) => json!({"kind": "certificate", "sha256": hex(hash)}),
        Subject::Key(hash) => json!({"kind": "key", "sha256": hex(hash)}),
        Subject::Issuer(hash) => json!({"kind": "issuer", "sha256": hex(hash)}),
        Subject::User { tenant, user } => json!({"kind": "user", "tenant": tenant, "user": user}),
        Subject::Client { tenant, user, client_id } => {
            json!({"kind": "client", "tenant": tenant, "user": user, "client_id": client_id})
        }
    }
}

/// Name of what a denial does.
pub(super) fn action(effect: Effect) -> &'static str {
    match effect {
        Effect::Refuse => "refuse",
        Effect::Slow { .. } => "slow",
    }
}

/// `subject`, `action` (`refuse`, or `slow` with `connections_per_s`), `until_ms` (0: until it is lifted), `reason`, `raised_by`.
pub(super) fn denial(held: &Held) -> String {
    let mut row = json!({
        "subject": subject(&held.denial.subject),
        "action": action(held.effect),
        "until_ms": held.denial.until_ms,
        "reason": held.denial.reason,
        "raised_by": held.denial.raised_by,
    });
    if let Effect::Slow { per_s } = held.effect {
        row["connections_per_s"] = per_s.into();
    }
    row.to_string()
}

/// `connection`, `tenant`, `user`, `client_id`, `listener`, `transport`, `protocol`, `remote`, `connected_ms` (since 1970),
/// `leaf_sha256`.
pub(super) fn session(peer: &Peer, connected_ms: u64) -> String {
    json!({
        "connection": peer.connection,
        "tenant": &*peer.tenant,
        "user": &*peer.user,
        "client_id": &*peer.client_id,
        "listener": &*peer.listener,
        "transport": peer.transport.name(),
        "protocol": peer.protocol.map(gatemq_types::Protocol::name),
        "remote": peer.remote.to_string(),
        "connected_ms": connected_ms,
        "leaf_sha256": peer.leaf_sha256.map(|hash| hex(&hash)),
    })
    .to_string()
}
