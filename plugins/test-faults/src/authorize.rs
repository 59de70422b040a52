//! Verdicts by the last level of the topic.

use std::time::Duration;

use gatemq_plugin_api::{ReasonCode, Verdict};

use crate::fault::Fault;

/// The last level of a topic under `ask/`.
fn level_of(topic: &str) -> Option<&str> {
    topic.strip_prefix("ask/").map(|below| below.rsplit('/').next().unwrap_or(below))
}

pub(crate) fn verdict(topic: &str) -> Verdict {
    match level_of(topic).unwrap_or("") {
        "allow" => Verdict::allow(Duration::ZERO),
        "allow-ttl" => Verdict::allow(Duration::from_secs(60)),
        "deny-disconnect" => Verdict::Deny {
            code: ReasonCode::NOT_AUTHORIZED,
            reason: "denied on demand, and disconnected".into(),
            reason_string: Some("go away and stay there".into()),
            disconnect: true,
            ttl: Duration::ZERO,
        },
        "deny-aloud" => Verdict::Deny {
            code: ReasonCode::QUOTA_EXCEEDED,
            reason: "denied on demand, aloud".into(),
            reason_string: Some("enough for today".into()),
            disconnect: false,
            ttl: Duration::ZERO,
        },
        "next" => Verdict::Next,
        "panic" => commit(Fault::Panic),
        "panic-payload" => commit(Fault::PanicPayload),
        "hang" => commit(Fault::Hang),
        "loop" => commit(Fault::Loop),
        level if level.starts_with("slow-") => Verdict::Pending,
        _ => Verdict::deny("denied on demand"),
    }
}

pub(crate) async fn slow_verdict(topic: &str) -> Verdict {
    // As if somebody else had been asked.
    gatemq_plugin_api::tokio::time::sleep(Duration::from_millis(10)).await;
    match level_of(topic).unwrap_or("") {
        "slow-allow" => Verdict::allow(Duration::ZERO),
        "slow-panic" => commit(Fault::Panic),
        "slow-hang" => std::future::pending().await,
        "slow-loop" => commit(Fault::Loop),
        "slow-pending" => Verdict::Pending,
        _ => Verdict::deny("denied on demand, slowly"),
    }
}

fn commit(fault: Fault) -> Verdict {
    match fault.commit() {
        Ok(()) => Verdict::deny("the fault is over"),
        Err(why) => Verdict::deny(why),
    }
}
