//! More than the node can do, and its end: who is there is served, who comes is told.

use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Version};
use gatemq_tests::{PATIENCE, wait_for};

fn setup() -> Setup {
    Setup::new()
        .mqtt("plain")
        .toml("address_connections_per_s_max = 0")
        .faults("config.grants = [{ allow = [\"all\"], filter = \"#\" }]")
        .tape()
}

fn enter(broker: &Broker, id: &str) -> Option<Client> {
    let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
    client.connect(id).ok().filter(|code| *code == 0).map(|_| client)
}

/// Issue 7, item 10: above its memory the node closes whoever comes, with an event, and serves who is there; it ends when there is
/// enough again. Twin: before and after.
#[test]
fn too_much_memory_refuses_whoever_comes() {
    let mut broker = setup().toml("[overload]\nlag_ms_max = 0").start();
    let mut live = enter(&broker, "live").unwrap();
    assert_eq!(live.subscribe("a", 0), 0);
    broker.reload(|text| text.replace("lag_ms_max = 0", "lag_ms_max = 0\nmemory_bytes_max = 1"));
    let entered = broker.tape().wait_for("OverloadEntered", |e| e["event"] == "OverloadEntered");
    assert_eq!((&entered["fields"]["cause"], &entered["fields"]["max"]), (&"memory".into(), &1.into()));
    assert!(enter(&broker, "comes").is_none());
    broker.tape().wait_for("refused", |e| e["event"] == "ConnectionRefused" && e["fields"]["reason"] == "overload");
    live.publish("a", 0, b"still").unwrap();
    assert_eq!(live.message(), ("a".to_owned(), b"still".to_vec()));
    broker.reload(|text| text.replace("memory_bytes_max = 1", "memory_bytes_max = 0"));
    let left = broker.tape().wait_for("OverloadLeft", |e| e["event"] == "OverloadLeft");
    assert!(left["fields"]["refused"].as_u64().unwrap() >= 1, "{left}");
    assert!(enter(&broker, "comes").is_some());
}

/// Issue 7, item 10: a worker that comes late again and again refuses whoever comes, until it does not any more. The broker is stopped
/// and continued by the system, as one is that gets no time.
#[test]
fn a_worker_that_comes_late_refuses_whoever_comes() {
    let mut broker = setup().toml("[overload]\nlag_ms_max = 100").start();
    let pid = rustix::process::Pid::from_raw(broker.pid().cast_signed()).unwrap();
    let kill = |signal| rustix::process::kill_process(pid, signal).unwrap();
    wait_for("OverloadEntered", PATIENCE, || {
        kill(rustix::process::Signal::STOP);
        // This is the fault, not a wait for something.
        std::thread::sleep(Duration::from_millis(400));
        kill(rustix::process::Signal::CONT);
        broker.tape().find(Duration::from_millis(20), |e| e["event"] == "OverloadEntered")
    });
    let left = broker.tape().wait_for("OverloadLeft", |e| e["event"] == "OverloadLeft");
    assert!(left["fields"]["lasted_ms"].as_u64().unwrap() > 0, "{left}");
    wait_for("taken again", PATIENCE, || enter(&broker, "comes"));
}

/// Issue 7, item 10: at TERM nobody is taken any more, and clients are told to go in steps; the exit is clean. Twin: few go at once,
/// however long the spread is.
#[test]
fn who_is_there_goes_one_after_the_other() {
    let broker = setup().argument("--set").argument("node.stop_spread_ms=1500").start();
    let address = broker.address("plain");
    let mut clients: Vec<Client> = (0..400).map(|n| enter(&broker, &format!("c{n}")).unwrap()).collect();
    let began = Instant::now();
    let stopping = std::thread::spawn(move || broker.stop());
    let mut ends: Vec<Duration> = Vec::new();
    for client in &mut clients {
        assert_eq!(client.expect_goodbye(), Some(0x8B));
        ends.push(began.elapsed());
    }
    // Read in the order of the connections, which is the order in which they are told, of two workers.
    let (first, last) = (ends[0], ends[399]);
    assert!(last - first >= Duration::from_millis(100), "told all at once: {first:?} {last:?}");
    assert!(Client::tcp(address, Version::V5).is_err(), "nobody is taken any more");
    let ended = stopping.join().unwrap();
    assert_eq!(ended.code, Some(0), "{}", ended.log);

    let broker = setup().argument("--set").argument("node.stop_spread_ms=600000").start();
    let mut few: Vec<Client> = (0..20).map(|n| enter(&broker, &format!("f{n}")).unwrap()).collect();
    let ended = broker.stop();
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(few.iter_mut().all(|client| client.expect_goodbye() == Some(0x8B)));
}
