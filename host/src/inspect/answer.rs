//! Outcomes and verdicts in JSON, and in a line.

use gatemq_types::{AuthOutcome, Exclusive, Expiry, Identity, NoMatch, Verdict};
use serde_json::{Value, json};

use crate::api::explain::grant;

/// An outcome's name.
pub(super) fn word(outcome: &AuthOutcome) -> &'static str {
    match outcome {
        AuthOutcome::Accept(_) => "accept",
        AuthOutcome::Continue { .. } => "continue",
        AuthOutcome::Reject { .. } => "reject",
        AuthOutcome::Redirect { .. } => "redirect",
        AuthOutcome::Next => "next",
        AuthOutcome::Unavailable { .. } => "unavailable",
    }
}

/// An outcome with everything in it.
pub(super) fn outcome(outcome: &AuthOutcome) -> Value {
    let mut told = match outcome {
        AuthOutcome::Accept(identity) => json!({ "identity": self::identity(identity) }),
        AuthOutcome::Continue { data, state } => json!({ "data_bytes": data.len(), "state": state }),
        AuthOutcome::Reject { code, reason, reason_string, delay } => json!({
            "code": code.0, "reason": reason, "reason_string": reason_string, "delay_ms": delay.as_millis() as u64,
        }),
        AuthOutcome::Redirect { server, moved } => json!({ "server": server, "moved": moved }),
        AuthOutcome::Next => json!({}),
        AuthOutcome::Unavailable { retry_after } => json!({ "retry_after_ms": retry_after.as_millis() as u64 }),
    };
    told["outcome"] = word(outcome).into();
    told
}

fn identity(identity: &Identity) -> Value {
    json!({
        "tenant": identity.tenant,
        "user": identity.user,
        "client_id": identity.client_id,
        "attributes": identity.attributes,
        "grants": identity.grants.iter().enumerate().map(|(n, rule)| grant(n, rule)).collect::<Vec<_>>(),
        "no_match": if identity.no_match == NoMatch::Ask { "ask" } else { "deny" },
        "valid_until_ms": identity.valid_until_ms,
        "on_expiry": if identity.on_expiry == Expiry::Refresh { "refresh" } else { "disconnect" },
        "exclusive": match identity.exclusive {
            Exclusive::No => "no",
            Exclusive::User => "user",
            Exclusive::Certificate => "certificate",
        },
        "tags": identity.tags,
    })
}

/// A verdict with everything in it.
pub(super) fn verdict(verdict: &Verdict) -> Value {
    match verdict {
        Verdict::Allow { ttl, qos_max } => {
            json!({ "verdict": "allow", "ttl_ms": ttl.as_millis() as u64, "qos_max": qos_max.bits() })
        }
        Verdict::Deny { code, reason, reason_string, disconnect, ttl } => json!({
            "verdict": "deny", "code": code.0, "reason": reason, "reason_string": reason_string, "disconnect": disconnect,
            "ttl_ms": ttl.as_millis() as u64,
        }),
        Verdict::Next => json!({ "verdict": "deny", "reason": "the plugin has no opinion (Next)" }),
        Verdict::Pending => json!({ "verdict": "deny", "reason": "the plugin says Pending in the end" }),
    }
}
