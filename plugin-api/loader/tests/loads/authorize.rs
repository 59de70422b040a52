//! Questions to a plugin that answers wrongly or never.

use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Instance};
use gatemq_types::Verdict;
use serde_json::json;

use crate::host::{SOON, faults, in_own_process, publish, session};

async fn verdict(instance: &Instance, level: &str) -> &'static str {
    let verdict = instance.authorize(&session(), publish(&format!("ask/some/{level}"))).await;
    match &verdict {
        Ok(Verdict::Allow { ttl: Duration::ZERO, .. }) => "allow",
        Ok(Verdict::Allow { ttl, .. }) if *ttl == Duration::from_secs(60) => "allow for 60 s",
        Ok(Verdict::Allow { .. }) => "allow for some other time",
        Ok(Verdict::Deny { disconnect: true, .. }) => "deny and disconnect",
        Ok(Verdict::Deny { .. }) => "deny",
        Ok(Verdict::Next) => "next",
        Ok(Verdict::Pending) => "pending",
        Err(CallFailure::TimedOut { .. }) => "timed out",
        Err(CallFailure::Panicked(_)) => "panicked",
        Err(CallFailure::Failed(_)) => "failed",
        Err(CallFailure::UnknownCode(_)) => "unknown code",
        Err(_) => "not called",
    }
}

async fn allowed_soon(instance: &Instance, after: &str) {
    let began = std::time::Instant::now();
    loop {
        match verdict(instance, "allow").await {
            "allow" => return,
            other => assert!(began.elapsed() < SOON, "after {after} what is allowed gets {other}"),
        }
    }
}

/// Promise 1: only a verdict that allows, from a call that went well, allows; the next question does not notice.
#[tokio::test]
async fn promise_1_only_a_verdict_that_allows_allows() {
    let instance = faults(json!({})).await;
    for (level, wanted) in [
        ("allow", "allow"),
        ("allow-ttl", "allow for 60 s"),
        ("deny", "deny"),
        ("something-else", "deny"),
        ("deny-disconnect", "deny and disconnect"),
        ("next", "next"),
        ("panic", "panicked"),
        ("panic-payload", "panicked"),
        ("hang", "timed out"),
        ("unknown", "unknown code"),
        ("bad-status", "unknown code"),
        ("allow-but-failed", "failed"),
        ("slow-allow", "allow"),
        ("slow-deny", "deny"),
        ("slow-panic", "panicked"),
        ("slow-hang", "timed out"),
        ("slow-pending", "failed"),
    ] {
        assert_eq!(verdict(&instance, level).await, wanted, "{level}");
        allowed_soon(&instance, level).await;
    }
}

/// Promise 3: endless loops in both forms of the question are cut off.
#[tokio::test]
async fn promise_3_looping_verdicts_are_cut_off() {
    if !in_own_process("authorize::promise_3_looping_verdicts_are_cut_off") {
        return;
    }
    let instance = faults(json!({})).await;
    for level in ["loop", "slow-loop"] {
        assert_eq!(verdict(&instance, level).await, "timed out", "{level}");
        allowed_soon(&instance, level).await;
    }
}

/// Promise 3: the fourth call thread that does not come back fences the plugin, and nothing is allowed any more.
#[tokio::test]
async fn promise_3_four_hanging_questions_fence() {
    let instance = faults(json!({})).await;
    for _ in 0..4 {
        assert_eq!(verdict(&instance, "hang").await, "timed out");
    }
    let fenced = instance.authorize(&session(), publish("ask/allow")).await;
    assert_eq!(fenced, Err(CallFailure::Fenced(4)));
}
