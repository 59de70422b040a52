//! The fault suite finds what it is there for, in a plugin that misbehaves on demand, and nothing in one that does not.
// Clippy knows functions with #[test] for tests, but not their helpers.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use gatemq_plugin_testkit::{
    Authority, Counts, FaultSuite, Options, Report, TestHost, build, connect, publish, subscribe,
};
use serde_json::{Value, json};

const FEW: Counts = Counts { calls: 100, cancelled: 100, reconfigurations: 8, stops: 2 };

fn test_faults() -> PathBuf {
    build(Path::new(env!("CARGO_MANIFEST_DIR")), "gatemq-test-faults")
}

/// A timeout that shows what hangs soon.
fn options() -> Options {
    Options { timeout: Duration::from_secs(2), start_timeout: Duration::from_secs(5), ..Options::default() }
}

fn suite(config: Value) -> FaultSuite {
    FaultSuite::new(test_faults(), config).options(options()).counts(FEW)
}

/// The steps that did not pass, and all that was found.
fn failed(report: &Report) -> (Vec<&'static str>, String) {
    let failed = report.steps.iter().filter(|step| !step.problems.is_empty());
    (failed.map(|step| step.name).collect(), report.to_string())
}

/// Guards the suite itself: each fault is found in the step that is there for it; the twin without it passes.
#[test]
fn each_fault_is_found() {
    let twin = suite(json!({})).client(connect("sensor")).client(connect("fault-reject")).client(connect("fault-next"));
    let actions = ["ask/allow", "ask/deny", "ask/slow-allow"].map(publish);
    let twin = actions.into_iter().fold(twin, FaultSuite::action).other_config(json!({"tenant": "test", "late_ms": 7}));
    twin.run().assert_passed();
    for (config, steps, says) in [
        (json!({"collect": "panic"}), &["odd input", "calls at once"][..], "a panic on demand"),
        (json!({"reconfigure": "panic"}), &["reconfigured under load"], "a panic on demand"),
        (json!({"reconfigure": "error"}), &["reconfigured under load"], "refused: an error on demand"),
        (json!({"interest": "panic"}), &["asked in peace"], "interest"),
        (json!({"drop": "panic"}), &["asked in peace"], "stop: panicked"),
        (json!({"stop": "hang"}), &["asked in peace"], "stop: no answer"),
        (json!({"start": "panic"}), &["asked in peace"], "does not start"),
    ] {
        let report = suite(config.clone()).client(connect("sensor")).run();
        let (found, text) = failed(&report);
        assert!(steps.iter().all(|step| found.contains(step)) && text.contains(says), "{config}\n{text}");
    }
}

/// Guards what the suite says of single clients and actions: a fault that some of them meet is found among the others.
#[test]
fn a_fault_of_one_client_is_found() {
    for (client, says) in [
        ("fault-panic", "in peace: panicked: a panic on demand"),
        ("fault-never", "no answer within"),
        ("fault-unknown-code", "unknown number 77"),
        ("fault-empty-tenant", "empty tenant"),
        ("fault-spawn-panic", "panicked: "),
    ] {
        let (found, text) = failed(&suite(json!({})).client(connect("sensor")).client(connect(client)).run());
        assert!(!found.is_empty() && text.contains(says), "{client}\n{text}");
    }
    let asked = suite(json!({})).client(connect("sensor")).action(publish("ask/slow-panic"));
    let (found, text) = failed(&asked.run());
    assert!(!found.is_empty() && text.contains("publish ask/slow-panic"), "{text}");
}

/// Guards the chains that tests show: a plugin sees them as it would from a listener, and those of another authority not so.
#[test]
fn a_chain_is_what_a_listener_makes_of_it() {
    let plugin = TestHost::new(test_faults()).with_options(options());
    let directory = std::env::temp_dir().join(format!("gatemq-testkit-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let record = directory.join("seen");
    let plugin = plugin.start(json!({ "record_file": record })).unwrap();
    let authority = Authority::new("Acme");
    let chain = authority.client("sensor-1");
    assert!(plugin.authenticate(&chain.shown_by(connect("sensor-1"))).is_ok());
    let seen: Value = serde_json::from_str(std::fs::read_to_string(&record).unwrap().trim()).unwrap();
    let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
    let shown: Vec<String> = chain.certificates.iter().map(|der| hex(der.as_bytes())).collect();
    let tls = &seen["tls"];
    assert_eq!((&tls["chain"], &tls["verified"], &tls["path"]), (&json!(shown), &json!(true), &json!([0, 1])));
    assert_eq!(tls["anchor"]["spki_sha256"], json!(hex(&authority.anchor().spki_sha256)));
    assert_ne!(authority.anchor().spki_sha256, Authority::new("Acme").anchor().spki_sha256);
    drop(plugin);
    std::fs::remove_dir_all(&directory).unwrap();
}

/// Guards what a test may look at: actions are asked as the broker does it, events are taken, what the plugin counts is put down.
#[test]
fn a_plugin_is_called_as_by_the_broker() {
    use gatemq_plugin_testkit::{AuthOutcome, EventKind, Verdict, events, session};
    let plugin = TestHost::new(test_faults()).with_options(options()).start(json!({})).unwrap();
    let client = connect("sensor");
    let Ok(AuthOutcome::Accept(identity)) = plugin.authenticate(&client) else { panic!("it accepts everybody") };
    let session = session(&client, &identity);
    for (action, allowed) in
        [(publish("ask/allow"), true), (subscribe("ask/slow-allow"), true), (publish("ask/deny"), false)]
    {
        let verdict = plugin.authorize(&session, action).unwrap();
        assert_eq!(matches!(verdict, Verdict::Allow { .. }), allowed, "{verdict:?}");
    }
    // Each call is put down, with the event that a broker would raise for it.
    assert!(plugin.authenticate(&connect("fault-panic")).is_err());
    let records = plugin.records();
    let of = |n: usize| (records[n].call, records[n].about.as_str(), records[n].event);
    assert_eq!(of(0), ("authenticate", "sensor", None));
    assert_eq!(of(3), ("authorize", "publish ask/deny", None));
    assert_eq!(of(4), ("authenticate", "fault-panic", Some(EventKind::PluginPanicked)));
    assert!(records[3].answer.starts_with("Deny"), "{:?}", records[3]);
    let of_every_kind = events::every_kind(1, &client, "why", 3, &[]);
    assert_eq!(of_every_kind.len(), EventKind::ALL.len());
    plugin.collect(&of_every_kind).unwrap();
    assert!(matches!(plugin.authenticate(&connect("fault-flood")), Ok(AuthOutcome::Accept(_))));
    assert_eq!(plugin.recorder().wait_counted("flood_replies", 20_000, Duration::from_secs(60)), 20_000);
    plugin.stop().unwrap();
}
