//! Collectors: events as they arrive, and faults.

use std::sync::Arc;

use gatemq_plugin_loader::{CallFailure, Health, Interest};
use gatemq_plugin_testkit::Recorder;
use gatemq_types::event::{Class, Event, EventKind, Fact, Peer};
use gatemq_types::{Der, Protocol, Transport};
use serde_json::{Value, json};

use crate::host::{EVENTS_JSON, TEST_FAULTS, faults, options, try_start};

const ALL_BUT_TRAFFIC: u32 = Class::Security as u32 | Class::Lifecycle as u32 | Class::System as u32;

fn event(sequence: u64, peer: bool, fact: Fact) -> Event {
    let peer = peer.then(|| {
        Arc::new(Peer {
            connection: 5,
            listener: "tls".into(),
            transport: Transport::Tls,
            remote: ([192, 0, 2, 1], 4711).into(),
            leaf_sha256: Some([0xab; 32]),
            protocol: Some(Protocol::V311),
            tenant: "acme".into(),
            user: "u\n\"".into(),
            client_id: "c\u{1b}[2J".into(),
        })
    });
    Event { sequence, time_ms: 951_782_400_007, node: "n1".into(), peer, fact }
}

fn connected(chain: &[&[u8]]) -> Fact {
    Fact::ClientConnected {
        plugin: "gate".into(),
        keep_alive_s: 60,
        clean_start: true,
        chain: chain.iter().map(|der| Der::new(der)).collect(),
        anchor: "CN=Root".into(),
    }
}

fn disconnected() -> Fact {
    Fact::ClientDisconnected {
        reason: "quota".into(),
        code: 0x97,
        blame: "limit".into(),
        connected_ms: 1,
        packets_received: 2,
        messages_published: 3,
    }
}

/// Guards events-json as it is loaded: every event of a batch is a line that says what the event said.
#[tokio::test]
async fn events_json_writes_what_happened() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.json");
    let recorder = Arc::new(Recorder::default());
    let config = json!({"file": file, "tenants": ["acme"], "kinds": ["MessageReceived"], "chain": "sha256"});
    let instance = try_start(EVENTS_JSON, config, recorder.clone(), options()).await.unwrap();
    assert_eq!(instance.info().roles(), "events");
    let wanted = Interest {
        classes: ALL_BUT_TRAFFIC,
        kinds: vec![EventKind::MessageReceived.number()],
        tenants: vec!["acme".into()],
    };
    assert_eq!(instance.interest().await, Ok(wanted));

    let events = [
        event(1, false, Fact::NodeStopping { reason: "told to".into() }),
        event(2, true, connected(&[b"abc", b""])),
        event(3, true, connected(&[])),
        event(4, true, disconnected()),
    ];
    instance.collect(&events.iter().collect::<Vec<_>>()).unwrap();
    instance.collect(&[]).unwrap();
    let written = std::fs::read_to_string(&file).unwrap();
    let lines: Vec<Value> = written.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        json!({"time": "2000-02-29T00:00:00.007Z", "time_ms": 951_782_400_007u64, "node": "n1", "sequence": 1,
            "event": "NodeStopping", "number": 1202, "class": "system", "blame": "self", "fields": {"reason": "told to"}})
    );
    let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(lines[1]["fields"]["chain"][0], digest);
    assert_eq!(lines[1]["fields"]["chain"].as_array().map(Vec::len), Some(2));
    assert_eq!(lines[2]["fields"]["chain"], json!([]));
    assert_eq!((&lines[1]["user"], &lines[1]["client_id"]), (&json!("u\n\""), &json!("c\u{1b}[2J")));
    assert_eq!((&lines[1]["protocol"], &lines[1]["transport"]), (&json!("3.1.1"), &json!("mqtts")));
    assert_eq!(lines[3]["blame"], "limit");
    assert_eq!(recorder.counted("events_written"), 4);
    assert_eq!(instance.health().await, Health::Ready);
    assert_eq!(instance.stop(crate::host::SOON).await, Ok(()));
}

/// Guards the start of events-json: a path that cannot work is an error that says what to do; one that can, works.
#[tokio::test]
async fn events_json_refuses_a_path_that_cannot_work() {
    let dir = tempfile::tempdir().unwrap();
    let start = async |file: &std::path::Path| {
        let started = try_start(EVENTS_JSON, json!({"file": file}), Arc::default(), options()).await;
        started.map(|_| ()).map_err(|e| e.to_string())
    };
    assert!(start(dir.path()).await.unwrap_err().contains("is a directory"));
    assert!(start(&dir.path().join("no/e")).await.unwrap_err().contains("does not exist; create it"));
    assert_eq!(start(&dir.path().join("e")).await, Ok(()));
}

/// Promise 3: panics of a collector are told, and the next batch is collected.
#[tokio::test]
async fn promise_3_a_panicking_collector_is_contained() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("names");
    let event = event(1, true, connected(&[]));
    for fault in ["panic", "panic_payload", "error", "slow", "ok"] {
        let instance = faults(json!({"collect": fault, "events_file": file})).await;
        for _ in 0..2 {
            let collected = instance.collect(&[&event]);
            assert_eq!(matches!(collected, Err(CallFailure::Panicked(_))), fault.starts_with("panic"), "{collected:?}");
        }
    }
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "ClientConnected\n".repeat(10));
}

/// Promise 3: a collector that cannot say what it wants is told apart from one that wants nothing.
#[tokio::test]
async fn promise_3_a_failing_interest_is_an_error() {
    for fault in ["panic", "panic_payload", "hang"] {
        let instance = try_start(TEST_FAULTS, json!({"interest": fault}), Arc::default(), options()).await.unwrap();
        assert!(instance.interest().await.is_err(), "{fault}");
    }
    let wanted = faults(json!({})).await.interest().await;
    assert_eq!(wanted.map(|i| i.classes), Ok(ALL_BUT_TRAFFIC));
}
