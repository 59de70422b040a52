//! Clients of a plugin that answers wrongly, late, twice or never.

use std::sync::Arc;

use gatemq_plugin_loader::{CallFailure, Level, Options};
use gatemq_plugin_testkit::{Answered, Recorder};
use gatemq_types::{AuthOutcome, ReasonCode};
use serde_json::json;

use crate::host::{SHORT, SOON, TEST_FAULTS, accepted_soon, ask, faults, in_own_process, options, try_start, until};

/// What a client gets, in one word.
fn word(outcome: &Result<AuthOutcome, CallFailure>) -> &'static str {
    match outcome {
        Ok(AuthOutcome::Accept(_)) => "accept",
        Ok(AuthOutcome::Continue { .. }) => "continue",
        Ok(AuthOutcome::Reject { .. }) => "reject",
        Ok(AuthOutcome::Redirect { .. }) => "redirect",
        Ok(AuthOutcome::Next) => "next",
        Ok(AuthOutcome::Unavailable { .. }) => "unavailable",
        Err(CallFailure::TimedOut { .. }) => "timed out",
        Err(CallFailure::Panicked(_)) => "panicked",
        Err(CallFailure::Failed(_)) => "failed",
        Err(CallFailure::UnknownCode(_)) => "unknown code",
        Err(CallFailure::Busy { .. }) => "busy",
        Err(CallFailure::Fenced(_)) => "fenced",
        Err(CallFailure::NotThere(_)) => "not there",
        // Of a plugin over its generations.
        Err(_) => "other",
    }
}

/// Promises 1 and 3: whatever is not an answer admits nobody, and the next client does not notice.
#[tokio::test]
async fn promise_1_only_an_acceptance_accepts() {
    let instance = faults(json!({})).await;
    accepted_soon(&instance, "the start").await;
    for (client, wanted) in [
        ("fault-panic", "panicked"),
        ("fault-panic-payload", "panicked"),
        ("fault-hang", "timed out"),
        ("fault-late", "timed out"),
        ("fault-drop-panic", "panicked"),
        ("fault-unavailable", "unavailable"),
        ("fault-next", "next"),
        ("fault-reject", "reject"),
        ("fault-reject-success-code", "reject"),
        ("fault-drop-completer", "failed"),
        ("fault-never", "timed out"),
        ("fault-unknown-code", "unknown code"),
        ("fault-zero-code", "unknown code"),
        ("fault-accept-nobody", "unknown code"),
    ] {
        let outcome = ask(&instance, client).await;
        assert_eq!(word(&outcome), wanted, "{client}: {outcome:?}");
        accepted_soon(&instance, client).await;
    }
}

/// Guards `Connect::deadline_ms`: a plugin is told its own deadline, whatever the caller wrote there.
#[tokio::test]
async fn a_plugin_is_told_its_deadline() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("seen.jsonl");
    let instance = faults(json!({"record_file": file})).await;
    accepted_soon(&instance, "c").await;
    let seen: serde_json::Value = serde_json::from_str(std::fs::read_to_string(file).unwrap().trim()).unwrap();
    assert_eq!(seen["deadline_ms"], json!(SHORT.as_millis() as u64));
}

/// Promise 1: a rejection with a code of success is a rejection.
#[tokio::test]
async fn promise_1_a_rejection_has_a_failing_code() {
    let instance = faults(json!({})).await;
    for (client, wanted) in [
        ("fault-reject", ReasonCode::BAD_USER_NAME_OR_PASSWORD),
        ("fault-reject-success-code", ReasonCode::NOT_AUTHORIZED),
    ] {
        let outcome = ask(&instance, client).await;
        assert!(matches!(outcome, Ok(AuthOutcome::Reject { code, .. }) if code == wanted), "{client}: {outcome:?}");
    }
}

/// Promise 1: the first answer counts; a second one at once, and a third from another thread, reach nobody: not even the
/// client whose call has the same slot by then.
#[tokio::test]
async fn promise_1_only_the_first_answer_counts() {
    let one_at_a_time = Options { calls_max: 1, ..options() };
    let instance = try_start(TEST_FAULTS, json!({}), Arc::default(), one_at_a_time).await.unwrap();
    for (client, wanted) in [("fault-twice", "reject"), ("fault-accept-then-reject", "accept")] {
        let outcome = ask(&instance, client).await;
        assert_eq!(word(&outcome), wanted, "{client}: {outcome:?}");
        // Nobody answers this one; the third answer to the one before comes meanwhile.
        let outcome = ask(&instance, "fault-never").await;
        assert_eq!(word(&outcome), "timed out", "the third answer to {client} reached another: {outcome:?}");
    }
    accepted_soon(&instance, "answers to nobody").await;
}

/// Promises 1 and 3: so it is with each round of enhanced authentication.
#[tokio::test]
async fn promise_1_only_an_acceptance_accepts_after_an_exchange() {
    let instance = faults(json!({})).await;
    let mut connect = crate::host::connect("sensor");
    connect.auth_method = Some("TEST".into());
    for (word, wanted) in [
        ("accept", "accept"),
        ("continue", "continue"),
        ("reject", "reject"),
        ("redirect b", "redirect"),
        ("next", "next"),
        ("unavailable", "unavailable"),
        ("panic", "panicked"),
        ("hang", "timed out"),
    ] {
        let outcome = instance.exchange(&connect, word.as_bytes(), 4, false).await;
        assert_eq!(self::word(&outcome), wanted, "{word}: {outcome:?}");
    }
    let continued = instance.exchange(&connect, b"continue", 4, true).await;
    assert_eq!(continued, Ok(AuthOutcome::Continue { data: b"round 5".to_vec(), state: 5 }));
    let Ok(AuthOutcome::Accept(identity)) = instance.exchange(&connect, b"accept", 4, false).await else { panic!() };
    assert_eq!((&identity.user[..], &identity.auth_data[..]), ("sensor", &b"after 4"[..]));
}

/// Promise 1: a method that a plugin does not offer never reaches its `authenticate`; one that it offers does.
#[tokio::test]
async fn promise_1_a_method_must_be_offered() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("seen");
    let instance = faults(json!({"record_file": record})).await;
    let mut connect = crate::host::connect("sensor");
    connect.auth_data = Some(gatemq_types::Secret::new(b"accept".to_vec()));
    for (method, wanted, lines) in [("OTHER", "next", 0), ("TEST", "accept", 1)] {
        connect.auth_method = Some(method.into());
        assert_eq!(word(&instance.authenticate(&connect).await), wanted, "{method}");
        assert_eq!(std::fs::read_to_string(&record).unwrap().lines().count(), lines, "{method}");
    }
}

/// Promise 3: code that blocks or loops is cut off, and takes neither the other clients nor the other instance with it.
#[tokio::test]
async fn promise_3_blocked_and_looping_futures_are_cut_off() {
    if !in_own_process("authenticate::promise_3_blocked_and_looping_futures_are_cut_off") {
        return;
    }
    let (instance, other) = (faults(json!({})).await, faults(json!({})).await);
    for client in ["fault-block", "fault-loop", "fault-block-2", "fault-loop-2", "fault-block-3"] {
        let outcome = ask(&instance, client).await;
        assert_eq!(word(&outcome), "timed out", "{client}: {outcome:?}");
        accepted_soon(&instance, client).await;
    }
    accepted_soon(&other, "faults of another instance").await;
}

/// Promise 3: a plugin that never gives its threads back is fenced, says so, and admits nobody; an instance of the same
/// file goes on.
#[tokio::test]
async fn promise_3_a_plugin_that_keeps_its_threads_is_fenced() {
    let (instance, other) = (faults(json!({})).await, faults(json!({})).await);
    let began = std::time::Instant::now();
    loop {
        let blocked = ask(&instance, "fault-block").await;
        assert!(blocked.is_err(), "{blocked:?}");
        if matches!(&blocked, Err(CallFailure::Failed(why)) if why.contains("fenced")) {
            break;
        }
        assert!(began.elapsed() < SOON * 4, "it is never fenced: {blocked:?}");
    }
    let outcome = ask(&instance, "sensor").await;
    assert!(outcome.is_err(), "{outcome:?}");
    assert!(matches!(instance.health().await, gatemq_plugin_loader::Health::NotReady(why) if why.contains("fenced")));
    accepted_soon(&other, "another instance was fenced").await;
}

/// Guards the memory of a plugin whose futures hang: a future that nobody waits for is dropped (and the CONNECT with its
/// password), also if it is never woken.
#[tokio::test]
async fn a_hanging_future_is_dropped_when_its_caller_has_left() {
    let recorder = Arc::new(Recorder::default());
    let instance = try_start(TEST_FAULTS, json!({}), recorder.clone(), options()).await.unwrap();
    assert_eq!(word(&ask(&instance, "fault-hang").await), "timed out");
    until("the future is dropped", || recorder.counted("hang_dropped") == 1).await;
}

/// Promise 3: tasks in the background that panic, with payloads that panic, cost the plugin none of its threads.
#[tokio::test]
async fn promise_3_panicking_tasks_cost_no_threads() {
    let recorder = Arc::new(Recorder::default());
    let instance = try_start(TEST_FAULTS, json!({}), recorder.clone(), options()).await.unwrap();
    for n in 1..=4 {
        assert_eq!(word(&ask(&instance, "fault-spawn-panic").await), "accept", "{n}");
        until("the panic is logged", || recorder.mentioned("a payload's panic on demand") == n).await;
    }
    accepted_soon(&instance, "panicking tasks").await;
    assert_eq!(recorder.mentioned("a new one takes over"), 0);
}

/// Promise 6: calls under way are bounded, the refusal says so, and places become free again.
#[tokio::test]
async fn promise_6_calls_under_way_are_bounded() {
    let two = Options { calls_max: 2, ..options() };
    let instance = try_start(TEST_FAULTS, json!({}), Arc::default(), two).await.unwrap();
    let never = || ask(&instance, "fault-never");
    let (a, b, c) = tokio::join!(never(), never(), ask(&instance, "sensor"));
    assert_eq!((word(&a), word(&b), word(&c)), ("timed out", "timed out", "busy"));
    accepted_soon(&instance, "all places were taken").await;
}

/// Guards the identity on its way here, and what the broker is left to refuse: names and grants that make no sense.
#[tokio::test]
async fn an_identity_arrives_as_it_was_said() {
    let config =
        json!({"tenant": "acme", "grants": [{"allow": ["publish"], "filter": "a/${client_id}", "qos_max": 1}]});
    let instance = faults(config).await;
    let identity = accepted_soon(&instance, "the start").await;
    assert_eq!((identity.tenant.as_str(), identity.user.as_str()), ("acme", "sensor"));
    assert_eq!(identity.grants.len(), 1);
    assert_eq!(identity.grants[0].filter, "a/${client_id}");
    let said = async |client| match ask(&instance, client).await {
        Ok(AuthOutcome::Accept(identity)) => *identity,
        other => panic!("{client}: {other:?}"),
    };
    assert_eq!(said("fault-empty-tenant").await.tenant, "");
    assert_eq!(said("fault-bad-grant").await.grants[0].filter, "a/#/b");
    assert_eq!(said("fault-deny-template").await.grants[0].filter, "x/${attr.missing}");
}

/// Promises 3 and 6: a flood of log lines and requests delays no client; every request comes to an end, also where the
/// host drops it.
#[tokio::test]
async fn promise_6_a_flood_delays_nobody() {
    for drops_requests in [false, true] {
        let recorder = Arc::new(Recorder::answering(move |_| drops_requests.then_some(Answered::Dropped)));
        let instance = try_start(TEST_FAULTS, json!({}), recorder.clone(), options()).await.unwrap();
        assert_eq!(word(&ask(&instance, "fault-flood").await), "accept");
        accepted_soon(&instance, "a flood").await;
        until("every request ends", || recorder.counted("flood_replies") == 20_000).await;
        assert_eq!(recorder.mentioned("flood"), 20_000);
    }
}

/// Guards that a plugin's log follows the host's level also after its lines were once not wanted.
#[tokio::test]
async fn the_log_level_may_change() {
    let recorder = Arc::new(Recorder::default());
    recorder.set_level(Level::Error);
    let instance = try_start(TEST_FAULTS, json!({}), recorder.clone(), options()).await.unwrap();
    for (floods, wanted) in [(1, 0), (2, 20_000)] {
        assert_eq!(word(&ask(&instance, "fault-flood").await), "accept");
        until("the flood is over", || recorder.counted("flood_replies") == floods * 20_000).await;
        assert_eq!(recorder.mentioned("flood"), wanted);
        recorder.set_level(Level::Info);
    }
}

/// Promise 2: what `authenticate` saw of a client is what the host knew, certificates byte for byte.
#[tokio::test]
async fn promise_2_the_chain_arrives_whole() {
    let dir = tempfile::tempdir().unwrap();
    let record = dir.path().join("seen");
    let instance = faults(json!({"record_file": record})).await;
    let mut connect = crate::host::connect("sensor");
    let ders: Vec<Vec<u8>> = vec![(0..=255).collect(), Vec::new(), vec![0; 70_000]];
    connect.transport = gatemq_types::Transport::SecureWebSocket;
    connect.tls = Some(gatemq_types::Tls {
        version: 0x0304,
        cipher: "TLS13_AES_128_GCM_SHA256".into(),
        server_name: Some("broker.test".into()),
        alpn: None,
        resumed: true,
        chain: ders.iter().map(|der| gatemq_types::Der::new(der)).collect(),
        verified: true,
        path: vec![0, 2],
        anchor: Some(gatemq_types::Anchor { subject: "CN=Root".into(), spki_sha256: [7; 32] }),
        leaf_sha256: Some([9; 32]),
    });
    let outcome = instance.authenticate(&connect).await;
    assert_eq!(word(&outcome), "accept", "{outcome:?} within {SHORT:?}");
    let seen: serde_json::Value = serde_json::from_slice(&std::fs::read(&record).unwrap()).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    assert_eq!(
        seen["tls"],
        json!({
            "version": 0x0304, "cipher": "TLS13_AES_128_GCM_SHA256", "server_name": "broker.test", "alpn": null,
            "resumed": true, "verified": true, "path": [0, 2],
            "anchor": {"subject": "CN=Root", "spki_sha256": hex(&[7; 32])}, "leaf_sha256": hex(&[9; 32]),
            "chain": ders.iter().map(|der| hex(der)).collect::<Vec<_>>(),
        })
    );
    assert_eq!((&seen["transport"], &seen["remote"]), (&json!("wss"), &json!("192.0.2.1:4711")));
}
