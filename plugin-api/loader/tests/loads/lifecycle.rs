//! Faults of start, reconfigure, health, stop and drop.

use std::sync::Arc;
use std::time::Duration;

use gatemq_plugin_loader::{CallFailure, Health, Instance, Options};
use gatemq_plugin_testkit::Recorder;
use serde_json::json;

use crate::host::{SHORT, SOON, TEST_FAULTS, accepted_soon, faults, in_own_process, options, try_start, until};

const FAULTS: [&str; 4] = ["error", "panic", "panic_payload", "hang"];

fn is(fault: &str, failure: &CallFailure) -> bool {
    match fault {
        "error" => matches!(failure, CallFailure::Failed(why) if why == "an error on demand"),
        "panic" => matches!(failure, CallFailure::Panicked(why) if why.contains("a panic on demand")),
        "panic_payload" => matches!(failure, CallFailure::Panicked(_)),
        _ => matches!(failure, CallFailure::TimedOut { .. }),
    }
}

async fn start(config: serde_json::Value) -> Result<Arc<Instance>, CallFailure> {
    let options = Options { start_timeout: SHORT, ..options() };
    try_start(TEST_FAULTS, config, Arc::default(), options).await
}

/// Promise 3: a start that fails, panics or hangs is an error of that instance; the same library starts beside it.
#[tokio::test]
async fn promise_3_a_failing_start_is_an_error() {
    for fault in FAULTS {
        let failure = start(json!({"start": fault})).await.err();
        assert!(failure.as_ref().is_some_and(|f| is(fault, f)), "{fault}: {failure:?}");
    }
    let twin = faults(json!({})).await;
    accepted_soon(&twin, "failed starts").await;
}

/// Promise 3: a start that loops for ever is cut off.
#[tokio::test]
async fn promise_3_a_looping_start_is_cut_off() {
    if !in_own_process("lifecycle::promise_3_a_looping_start_is_cut_off") {
        return;
    }
    let failure = start(json!({"start": "loop"})).await.err();
    assert!(matches!(failure, Some(CallFailure::TimedOut { .. })), "{failure:?}");
    let twin = faults(json!({})).await;
    accepted_soon(&twin, "a looping start").await;
}

/// Guards that a misspelt or ill-typed key stops the start and is named.
#[tokio::test]
async fn a_wrong_configuration_is_named() {
    for (config, wanted) in [
        (json!({"tenantt": "t"}), "tenantt: there is no such key"),
        (json!({"late_ms": "x"}), "late_ms: invalid type"),
        (json!({"start": "explode"}), "start: unknown variant"),
        (json!({"grants": [{"filter": "a"}]}), "exactly one of allow, deny and ask"),
    ] {
        match start(config.clone()).await {
            Err(CallFailure::Failed(why)) => assert!(why.contains(wanted), "{config}: {why}"),
            other => panic!("{config}: {:?}", other.err()),
        }
    }
}

/// Promise 3: a reconfiguration that goes wrong leaves the old one in force.
#[tokio::test]
async fn promise_3_a_failing_reconfiguration_changes_nothing() {
    for fault in FAULTS {
        let instance = faults(json!({"reconfigure": fault})).await;
        let failure = instance.reconfigure(json!({"health": "error"}).to_string()).await.unwrap_err();
        assert!(is(fault, &failure), "{fault}: {failure:?}");
        assert_eq!(instance.health().await, Health::Ready, "{fault}");
        accepted_soon(&instance, fault).await;
    }
    let instance = faults(json!({})).await;
    assert!(instance.reconfigure(json!({"healthh": "error"}).to_string()).await.is_err());
    assert_eq!(instance.health().await, Health::Ready);
    instance.reconfigure(json!({"health": "error"}).to_string()).await.unwrap();
    assert_eq!(instance.health().await, Health::NotReady("an error on demand".into()));
}

/// Promise 1: a plugin that cannot say how it is, is not ready.
#[tokio::test]
async fn promise_1_no_answer_to_health_is_not_ready() {
    for fault in FAULTS {
        let instance = faults(json!({"health": fault})).await;
        assert!(matches!(instance.health().await, Health::NotReady(_)), "{fault}");
        accepted_soon(&instance, fault).await;
    }
    assert_eq!(faults(json!({})).await.health().await, Health::Ready);
}

/// Promise 3: panics and hangs of `stop` and of the destructor are told, and end the instance all the same.
#[tokio::test]
async fn promise_3_a_failing_stop_ends_it_all_the_same() {
    for method in ["stop", "drop"] {
        for fault in ["panic", "panic_payload", "hang"] {
            let instance = faults(json!({method: fault})).await;
            let stopped = tokio::time::timeout(SOON, instance.stop(SHORT)).await.expect("stop has a deadline");
            let failure = stopped.expect_err("it went wrong");
            assert!(is(fault, &failure), "{method} {fault}: {failure:?}");
            let after = crate::host::ask(&instance, "sensor").await;
            assert_eq!(after, Err(CallFailure::NotThere("it was stopped")), "{method} {fault}");
        }
    }
    let instance = faults(json!({})).await;
    assert_eq!(instance.stop(SOON).await, Ok(()));
}

/// Guards that a plugin whose start came too late is stopped, not left running beside its successor.
#[tokio::test]
async fn a_start_that_comes_too_late_is_undone() {
    let recorder = Arc::new(Recorder::default());
    let options = Options { start_timeout: Duration::from_millis(20), ..options() };
    let dir = tempfile::tempdir().unwrap();
    let told = dir.path().join("dropped");
    let config = json!({"start": "slow", "dropped_file": told});
    let late = try_start(TEST_FAULTS, config, recorder, options).await;
    assert!(matches!(late, Err(CallFailure::TimedOut { .. })), "{:?}", late.err());
    until("the late instance is dropped", || told.exists()).await;
}
