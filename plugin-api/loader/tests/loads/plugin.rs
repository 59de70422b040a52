//! A plugin over its generations: bounds, breaker, veto, replacement.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{
    BreakerChange, BreakerOptions, BreakerState, CallFailure, Health, Lane, Options, Pinned, Plugin, Policy,
};
use gatemq_types::{AuthOutcome, Secret, Verdict};
use serde_json::json;

use crate::host::{SHORT, SOON, connect, faults, options, publish, session, until};

type Changes = Arc<Mutex<Vec<(Lane, BreakerChange)>>>;

fn policy() -> Policy {
    Policy { options: options(), ..Policy::default() }
}

/// Test-faults under this policy.
async fn plugin(config: serde_json::Value, policy: Policy) -> (Arc<Plugin>, Changes) {
    let changes = Changes::default();
    let told = changes.clone();
    let plugin = Plugin::new("under-test", policy, move |lane, change| told.lock().unwrap().push((lane, change)));
    let (number, before) = plugin.replace(faults(config).await, policy);
    assert!(number == 1 && before.is_none());
    (plugin, changes)
}

/// A client of address 192.0.2.`n`.
async fn ask_from(plugin: &Arc<Plugin>, n: u8, client_id: &str) -> Result<AuthOutcome, CallFailure> {
    let mut connect = connect(client_id);
    connect.remote = (Ipv4Addr::new(192, 0, 2, n), 4711).into();
    plugin.authenticate(&connect).await.map(|(outcome, _)| outcome)
}

fn is_accepted(outcome: &Result<AuthOutcome, CallFailure>) -> bool {
    matches!(outcome, Ok(AuthOutcome::Accept(_)))
}

async fn is_allowed(plugin: &Arc<Plugin>) -> bool {
    let verdict = plugin.authorize(&session(), publish("ask/allow")).await;
    matches!(verdict, Ok(Verdict::Allow { .. }))
}

/// Promise 3: a plugin that keeps failing is not called any more, until a call that is tried succeeds; who is admitted does not
/// suffer from what strangers make it fail at.
#[tokio::test]
async fn promise_3_a_plugin_that_keeps_failing_is_left_alone() {
    let breaker = BreakerOptions { calls: 4, failed_percent: 50, open: Duration::from_millis(300) };
    let (plugin, changes) = plugin(json!({}), Policy { breaker, ..policy() }).await;
    for client in ["sensor", "fault-panic", "sensor", "fault-unavailable"] {
        // Each from another address.
        let n = client.len() as u8;
        assert_eq!(is_accepted(&ask_from(&plugin, n, client).await), client == "sensor");
    }
    let opened = Instant::now();
    let refused = ask_from(&plugin, 9, "sensor").await;
    assert!(matches!(refused, Err(CallFailure::BreakerOpen { .. })), "{refused:?}");
    assert!(is_allowed(&plugin).await, "an admitted client");
    assert_eq!(plugin.status().breakers, [BreakerState::Open, BreakerState::Closed]);
    until("it is tried again", || opened.elapsed() > breaker.open).await;
    assert!(!is_accepted(&ask_from(&plugin, 10, "fault-panic").await));
    let refused = ask_from(&plugin, 9, "sensor").await;
    assert!(matches!(refused, Err(CallFailure::BreakerOpen { .. })), "the try failed: {refused:?}");
    let opened = Instant::now();
    until("it is tried again", || opened.elapsed() > breaker.open).await;
    // Who leaves decides nothing.
    let left = tokio::time::timeout(Duration::from_millis(20), ask_from(&plugin, 9, "fault-hang")).await;
    assert!(left.is_err());
    assert!(is_accepted(&ask_from(&plugin, 9, "sensor").await), "the next one is tried");
    assert!(is_accepted(&ask_from(&plugin, 9, "sensor").await));
    let changes = changes.lock().unwrap();
    let opened = |failed, calls| (Lane::Strangers, BreakerChange::Opened { failed, calls, open: breaker.open });
    assert_eq!(*changes, [opened(2, 4), opened(1, 1), (Lane::Strangers, BreakerChange::Closed)]);
    let counts = plugin.status().counts;
    assert_eq!((counts.calls, counts.failures, counts.refused), (8, 3, 2), "{counts:?}");
}

/// Guards against a stranger who would shut everybody out: from one address it cannot open the breaker.
#[tokio::test]
async fn one_address_cannot_open_the_breaker() {
    let (plugin, changes) = plugin(json!({}), policy()).await;
    for _ in 0..50 {
        assert!(!is_accepted(&ask_from(&plugin, 1, "fault-panic").await));
    }
    assert!(is_accepted(&ask_from(&plugin, 2, "sensor").await));
    assert!(changes.lock().unwrap().is_empty());
}

/// Promise 6: strangers cannot use up the calls that are kept for clients who are admitted; when theirs are used up they are
/// told that it is busy.
#[tokio::test]
async fn promise_6_strangers_leave_calls_for_the_admitted() {
    let options = Options { calls_max: 8, timeout: SOON, ..options() };
    let (plugin, _) = plugin(json!({}), Policy { options, ..policy() }).await;
    let mut hanging = tokio::task::JoinSet::new();
    for n in 0..6 {
        let plugin = plugin.clone();
        hanging.spawn(async move { ask_from(&plugin, n, "fault-hang").await });
    }
    until("six calls are under way", || plugin.status().in_flight == 6).await;
    assert_eq!(ask_from(&plugin, 9, "sensor").await, Err(CallFailure::Busy { calls_max: 6 }));
    assert!(is_allowed(&plugin).await);
    hanging.shutdown().await;
    assert!(is_accepted(&ask_from(&plugin, 9, "sensor").await), "who left takes no place");
    assert_eq!(plugin.status().in_flight, 0);
}

/// Promise 6: of one address only some calls are made at a time; the others wait their turn, those of other addresses do not.
#[tokio::test]
async fn promise_6_an_address_waits_its_turn() {
    let options = Options { timeout: SOON, ..options() };
    let policy = Policy { address_calls_max: 2, options, ..policy() };
    let (plugin, _) = plugin(json!({"late_ms": 100}), policy).await;
    let ask_all = |n: u8, clients: usize| {
        let plugin = plugin.clone();
        let mut asking = tokio::task::JoinSet::new();
        for _ in 0..clients {
            let plugin = plugin.clone();
            asking.spawn(async move { ask_from(&plugin, n, "fault-late").await });
        }
        asking.join_all()
    };
    let began = Instant::now();
    let (many, few) = tokio::join!(ask_all(1, 6), async {
        let few = ask_all(2, 2).await;
        (few, began.elapsed())
    });
    assert!(many.iter().chain(&few.0).all(is_accepted), "{many:?} {few:?}");
    assert!(began.elapsed() >= Duration::from_millis(300), "two at a time");
    assert!(few.1 < began.elapsed(), "another address does not wait for them");
    let impatient = Policy { options: Options { timeout: SHORT, ..options }, ..policy };
    plugin.replace(faults(json!({})).await, impatient);
    let hang = || {
        let plugin = plugin.clone();
        tokio::spawn(async move { ask_from(&plugin, 1, "fault-hang").await })
    };
    let held = [hang(), hang()];
    until("both are under way", || plugin.status().in_flight == 2).await;
    // Their places are free only after their own deadline, so this one may just come in before its own.
    let waited = ask_from(&plugin, 1, "sensor").await;
    assert!(matches!(waited, Err(CallFailure::AddressBusy { calls_max: 2 })) || is_accepted(&waited), "{waited:?}");
    for held in held {
        assert!(matches!(held.await.unwrap(), Err(CallFailure::TimedOut { .. })));
    }
    assert!(is_accepted(&ask_from(&plugin, 1, "sensor").await));
}

/// Promise 1: a plugin with a veto admits nobody, whatever it says; its denials and its silence count as those of any other.
#[tokio::test]
async fn promise_1_a_veto_only_denies() {
    let (plugin, _) = plugin(json!({}), Policy { veto: true, ..policy() }).await;
    for client in ["sensor", "fault-twice", "fault-continue"] {
        let outcome = ask_from(&plugin, 1, client).await;
        let is_denied = matches!(outcome, Err(CallFailure::Failed(_)) | Ok(AuthOutcome::Reject { .. }));
        assert!(is_denied, "{client}: {outcome:?}");
    }
    assert!(matches!(ask_from(&plugin, 1, "fault-next").await, Ok(AuthOutcome::Next)));
    assert!(matches!(ask_from(&plugin, 1, "fault-reject").await, Ok(AuthOutcome::Reject { .. })));
}

/// Promise 1: a plugin that has not started, or says that it does not work, admits nobody; when it works again it does.
#[tokio::test]
async fn promise_1_a_plugin_that_is_not_ready_admits_nobody() {
    let plugin = Plugin::new("under-test", policy(), |_, _| {});
    plugin.missing("its file is gone");
    let missing = Err(CallFailure::NotReady("its file is gone".into()));
    assert_eq!(ask_from(&plugin, 1, "sensor").await, missing);
    let instance = faults(json!({})).await;
    plugin.replace(instance.clone(), policy());
    assert!(is_accepted(&ask_from(&plugin, 1, "sensor").await));
    for (fault, is_ready) in [("error", false), ("ok", true)] {
        instance.reconfigure(json!({"health": fault}).to_string()).await.unwrap();
        let (_, now) = plugin.ask_health().await.unwrap();
        assert_eq!((now == Health::Ready, plugin.not_ready().is_none()), (is_ready, is_ready));
        assert_eq!(is_accepted(&ask_from(&plugin, 1, "sensor").await), is_ready);
    }
}

/// Begins an exchange.
async fn begin(plugin: &Arc<Plugin>) -> Pinned {
    let mut connect = connect("exchanging");
    (connect.auth_method, connect.auth_data) = (Some("TEST".into()), Some(Secret::new(b"continue".to_vec())));
    let (outcome, pinned) = plugin.authenticate(&connect).await.unwrap();
    assert!(matches!(outcome, AuthOutcome::Continue { .. }), "{outcome:?}");
    pinned
}

async fn tenant_of_exchange(pinned: &Pinned) -> String {
    let mut connect = connect("exchanging");
    connect.auth_method = Some("TEST".into());
    match pinned.exchange(&connect, b"accept", 1, false).await {
        Ok(AuthOutcome::Accept(identity)) => identity.tenant,
        other => panic!("{other:?}"),
    }
}

/// Guards the replacement: new calls go to the new generation at once, what the old one has begun it ends, and it is stopped
/// after that; a breaker that was open is not the new one's.
#[tokio::test]
async fn a_generation_ends_what_it_began() {
    let breaker = BreakerOptions { calls: 1, failed_percent: 1, open: Duration::from_secs(3600) };
    let policy = Policy { breaker, options: Options { timeout: SOON, ..options() }, ..policy() };
    let (plugin, changes) = plugin(json!({"tenant": "old", "late_ms": 200}), policy).await;
    let pinned = begin(&plugin).await;
    let late = {
        let plugin = plugin.clone();
        tokio::spawn(async move { ask_from(&plugin, 1, "fault-late").await })
    };
    until("the late call is under way", || plugin.status().in_flight == 1).await;
    assert!(!is_accepted(&ask_from(&plugin, 2, "fault-panic").await));
    assert_eq!(plugin.status().breakers[0], BreakerState::Open);
    let (number, before) = plugin.replace(faults(json!({"tenant": "new"})).await, policy);
    let before = before.unwrap();
    assert_eq!((number, before.generation().number(), plugin.status().generation), (2, 1, 2));
    assert_eq!(changes.lock().unwrap().last(), Some(&(Lane::Strangers, BreakerChange::Closed)));
    match ask_from(&plugin, 1, "sensor").await {
        Ok(AuthOutcome::Accept(identity)) => assert_eq!(identity.tenant, "new"),
        other => panic!("{other:?}"),
    }
    assert!(is_allowed(&plugin).await, "a session that the old one has admitted");
    assert!(!before.drained(Instant::now()).await, "a call and an exchange are under way");
    match late.await.unwrap() {
        Ok(AuthOutcome::Accept(identity)) => assert_eq!(identity.tenant, "old"),
        other => panic!("{other:?}"),
    }
    assert!(!before.drained(Instant::now()).await, "an exchange is under way");
    assert_eq!(tenant_of_exchange(&pinned).await, "old");
    drop(pinned);
    assert!(before.drained(Instant::now()).await);
    assert_eq!(before.stop(SOON).await, Ok(()));
    assert_eq!(tenant_of_exchange(&begin(&plugin).await).await, "new", "the twin");
}
