//! Promise 3: a plugin cannot take the broker down by accident.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::{Kind, PATIENCE};

/// Within this the next client is served, whatever the plugin does with the last one: half of them, since the loops of these
/// tests hold the machine's cores.
const SERVED: Duration = Duration::from_secs(1);
/// Within this each of them is served.
const SERVED_AT_LAST: Duration = Duration::from_secs(5);

/// The ten seconds that stopping may take in all, and some for a busy machine.
const STOPPED: Duration = Duration::from_secs(13);

/// Every fault that a client can ask `test-faults` for.
const CLIENTS: &[&str] = &[
    "fault-panic",
    "fault-panic-payload",
    "fault-hang",
    "fault-late",
    "fault-drop-panic",
    "fault-unavailable",
    "fault-next",
    "fault-reject",
    "fault-reject-success-code",
    "fault-empty-tenant",
    "fault-bad-grant",
    "fault-deny-template",
    "fault-flood",
    "fault-drop-completer",
    "fault-never",
    "fault-twice",
    "fault-accept-then-reject",
    "fault-unknown-code",
    "fault-zero-code",
    "fault-accept-nobody",
    "fault-block",
    "fault-loop",
];

/// Every fault of `authorize` and `authorize_slow`.
const TOPICS: &[&str] = &[
    "ask/panic",
    "ask/panic-payload",
    "ask/unknown",
    "ask/bad-status",
    "ask/allow-but-failed",
    "ask/slow-panic",
    "ask/slow-hang",
    "ask/slow-pending",
    "ask/slow-loop",
    "ask/hang",
    "ask/loop",
];

struct Faulty {
    broker: Broker,
    tls: Tls,
    /// How long each next client waited.
    waits: RefCell<Vec<Duration>>,
}

impl Faulty {
    fn setup(more: &str) -> (Setup, Tls) {
        let pki = Pki::new("Acme");
        let setup = Setup::new().every_listener(&pki).faults(&format!("timeout_ms = 2000\n{more}"));
        (setup, Tls::new(&pki, Some(&pki.client("tester"))))
    }

    fn start(more: &str) -> Faulty {
        let (setup, tls) = Self::setup(more);
        Faulty { broker: setup.tape().start(), tls, waits: RefCell::default() }
    }

    fn open(&self, kind: Kind) -> Client {
        self.broker.open(kind, &self.tls, Version::V5)
    }

    fn admitted(&self, kind: Kind, client_id: &str) -> Client {
        self.broker.admitted(kind, &self.tls, Version::V5, client_id)
    }

    /// On every kind of listener: from the first byte of TCP to a CONNACK, and a question answered.
    fn serves(&self, after: &str) {
        for kind in Kind::ALL {
            let started = Instant::now();
            let mut client = self.admitted(kind, "next");
            assert_eq!(client.subscribe("free", 0), 0, "after {after}");
            let took = started.elapsed();
            assert!(took < SERVED_AT_LAST, "the next client on {kind:?} after {after} waits for {took:?}");
            self.waits.borrow_mut().push(took);
        }
    }

    /// The broker stops well, and half of the next clients were served within a second.
    fn stops(self) {
        let Faulty { broker, waits, .. } = self;
        assert_eq!(broker.stop().code, Some(0));
        let mut waits = waits.take();
        waits.sort();
        assert!(waits[waits.len() / 2] < SERVED, "{waits:?}");
    }
}

/// Whatever happens to one client's `authenticate`, on any kind of listener, the next is served while it is happening and after it, within a second.
#[test]
fn promise_3_faults_in_authenticate_cost_one_client() {
    let faulty = Faulty::start("config.late_ms = 3000");
    for (fault, kind) in CLIENTS.iter().zip(Kind::ALL.into_iter().cycle()) {
        let mut client = faulty.open(kind);
        client.send(&gatemq_tests::client::connect(Version::V5, fault, None)).unwrap();
        faulty.serves(&format!("{fault} (under way)"));
        client.packet();
        faulty.serves(fault);
    }
    faulty.stops();
}

/// Whatever happens to one client's question, the next client is served meanwhile, and its question is answered.
#[test]
fn promise_3_faults_in_authorize_cost_one_question() {
    let faulty = Faulty::start("");
    for (fault, kind) in TOPICS.iter().zip(Kind::ALL.into_iter().cycle()) {
        let mut client = faulty.admitted(kind, "asking");
        client.publish(fault, 1, b"").unwrap();
        faulty.serves(fault);
        // Answered by DISCONNECT: its thread, if it has one, is known to be lost.
        assert_eq!(client.packet().first, 0xE0, "{fault}");
        assert_eq!(faulty.admitted(Kind::Mqtts, "asks").subscribe("ask/allow", 0), 0, "after {fault}");
    }
    faulty.stops();
}

/// A plugin that keeps holding the threads of its questions is fenced: told, not asked again, and everything else goes on.
#[test]
fn promise_3_a_plugin_that_holds_call_threads_is_fenced() {
    let mut faulty = Faulty::start("");
    for n in 0..4 {
        assert_eq!(faulty.admitted(Kind::Mqtts, "asks").subscribe("ask/allow", 0), 0, "after {n} threads");
        let mut client = faulty.admitted(Kind::Mqtts, "asking");
        client.publish("ask/hang", 1, b"").unwrap();
        assert_eq!(client.packet().first, 0xE0);
    }
    let started = Instant::now();
    assert_eq!(faulty.admitted(Kind::Mqtts, "asks").subscribe("ask/allow", 0), 0x83);
    assert!(started.elapsed() < SERVED_AT_LAST);
    faulty
        .broker
        .tape()
        .wait_for("PluginFenced", |e| e["event"] == "PluginFenced" && e["fields"]["plugin"] == "faults");
    assert_eq!(faulty.broker.stop().code, Some(0));
}

/// The same for the threads that its futures run on.
#[test]
fn promise_3_a_plugin_that_holds_its_runtimes_is_fenced() {
    let mut faulty = Faulty::start("");
    for n in 0..4 {
        faulty.serves(&format!("{n} runtimes"));
        let mut held: Vec<Client> = (0..2).map(|_| faulty.open(Kind::Mqtts)).collect();
        for client in &mut held {
            client.send(&gatemq_tests::client::connect(Version::V5, "fault-block", None)).unwrap();
        }
        for client in &mut held {
            assert_eq!(client.packet().body[1], 0x88);
        }
    }
    let started = Instant::now();
    assert_eq!(faulty.open(Kind::Mqtts).connect("next").unwrap(), 0x88);
    assert!(started.elapsed() < SERVED_AT_LAST);
    let refused = faulty.broker.tape().wait_for_client("ClientRefused", "next");
    assert!(refused["fields"]["reason"].as_str().unwrap().contains("fenced"), "{refused}");
    assert_eq!(faulty.broker.stop().code, Some(0));
}

/// A plugin that fails to start, or to say what it wants to see, keeps a broker that requires it from starting, with one line
/// that says so. The twin only takes its time.
#[test]
fn promise_3_a_plugin_that_does_not_start_is_told() {
    for (method, fault) in [
        ("start", "error"),
        ("start", "panic"),
        ("start", "panic_payload"),
        ("interest", "panic"),
        ("interest", "panic_payload"),
        ("interest", "hang"),
        ("interest", "loop"),
    ] {
        let (setup, _) = Faulty::setup(&format!("config.{method} = \"{fault}\""));
        let ended = setup.try_start().err().unwrap_or_else(|| panic!("it starts with {method} = {fault}"));
        assert_eq!(ended.code, Some(69), "{method} = {fault}: {}", ended.log);
        assert!(ended.log.lines().any(|line| line.contains("plugin faults")), "{method} = {fault}: {}", ended.log);
    }
    let (twin, tls) = Faulty::setup("config.start = \"slow\"\nconfig.interest = \"slow\"\nconfig.health = \"slow\"");
    Faulty { broker: twin.tape().start(), tls, waits: RefCell::default() }.serves("a slow start");
}

/// A required plugin whose start hangs, or that is never ready, keeps the listeners closed, and at last the broker from
/// starting. All at once, since each waits for the half minute that a plugin has.
#[test]
fn promise_3_a_plugin_that_is_never_ready_keeps_the_listeners_closed() {
    std::thread::scope(|all| {
        for (method, fault) in [("start", "hang"), ("health", "error"), ("health", "panic"), ("health", "hang")] {
            all.spawn(move || {
                let (setup, _) = Faulty::setup(&format!("config.{method} = \"{fault}\""));
                let ended = setup.try_start_within(3 * PATIENCE).err();
                let ended = ended.unwrap_or_else(|| panic!("{method} = {fault}: it is called ready"));
                assert_eq!(ended.code, Some(69), "{method} = {fault}: {}", ended.log);
                assert!(
                    ended.log.lines().any(|line| line.contains("plugin faults")),
                    "{method} = {fault}: {}",
                    ended.log
                );
            });
        }
    });
}

/// A collector that panics, hangs or loops costs its own events and nobody else anything; the other collector goes on.
#[test]
fn promise_3_faults_in_a_collector_cost_its_events() {
    for fault in ["panic", "panic_payload", "hang", "loop"] {
        let mut faulty = Faulty::start(&format!("config.collect = \"{fault}\""));
        for n in 0..3 {
            faulty.admitted(Kind::Mqtts, &format!("client-{n}"));
        }
        faulty.broker.tape().wait_for_client("ClientConnected", "client-2");
        faulty.serves(fault);
        assert_eq!(faulty.broker.stop().code, Some(0), "{fault}");
    }
}

/// A plugin that does not stop, or whose destructor panics, does not keep the broker from stopping in good order.
#[test]
fn promise_3_faults_in_stop_and_drop_do_not_keep_the_broker() {
    for method in ["stop", "drop"] {
        for fault in ["panic", "panic_payload", "hang", "loop"] {
            let faulty = Faulty::start(&format!("config.{method} = \"{fault}\""));
            faulty.serves(method);
            let started = Instant::now();
            let ended = faulty.broker.stop();
            assert_eq!(ended.code, Some(0), "{method} = {fault}: {}", ended.log);
            assert!(started.elapsed() < STOPPED, "{method} = {fault} takes {:?}", started.elapsed());
        }
    }
}
