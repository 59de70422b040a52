//! What the plugin border costs, through a real library: `cargo xtask bench border`.
//!
//! The library is `test_faults`, from beside this executable's directory.

// A benchmark stops where something is missing, as a test does.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use divan::Bencher;
use divan::counter::ItemsCount;
use gatemq_plugin_api::abi::convert;
use gatemq_plugin_loader::{Answer, Instance, Level, Library, Options, Services, Session};
use gatemq_types::event::{Event, Fact, Peer};
use gatemq_types::service::{Request, ServiceError};
use gatemq_types::{Action, ActionKind, Anchor, Connect, Der, Identity, Protocol, QoS, Tls, Transport, Verdict};

fn main() {
    divan::main();
}

struct NoServices;
impl Services for NoServices {
    fn log_level(&self) -> Level {
        Level::Error
    }
    fn log(&self, _: Level, _: &str, _: &str) {}
    fn count(&self, _: &str, _: u64) {}
    fn gauge(&self, _: &str, _: i64) {}
    fn request(&self, _: Request, answer: Answer) {
        answer(Err(ServiceError::NotSupported));
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn plugin() -> &'static Instance {
    static PLUGIN: OnceLock<Arc<Instance>> = OnceLock::new();
    PLUGIN.get_or_init(|| {
        let executable = std::env::current_exe().unwrap();
        let beside: PathBuf = executable.ancestors().nth(2).unwrap().join("libtest_faults.so");
        let library = Library::open(&beside).unwrap_or_else(|e| panic!("{e}; build gatemq-test-faults first"));
        let start = Instance::start(library, "bench", "{}".into(), Arc::new(NoServices), Options::default());
        runtime().block_on(start).unwrap()
    })
}

fn connect() -> Connect {
    let tls = Tls {
        version: 0x0304,
        cipher: "TLS_AES_256_GCM_SHA384".into(),
        server_name: Some("localhost".into()),
        alpn: Some("mqtt".into()),
        resumed: false,
        chain: [7u8, 8, 9].map(|b| Der::new(&[b; 800])).into(),
        verified: true,
        path: vec![0, 1, 2],
        anchor: Some(Anchor { subject: "CN=Root".into(), spki_sha256: [1; 32] }),
        leaf_sha256: Some([2; 32]),
    };
    Connect {
        connection: 1,
        listener: "secure".into(),
        transport: Transport::Tls,
        local: "127.0.0.1:8883".parse().unwrap(),
        remote: "127.0.0.1:50000".parse().unwrap(),
        proxied_by: None,
        tls: Some(tls),
        protocol: Protocol::V5,
        client_id: "sensor-1".into(),
        client_id_assigned: false,
        user_name: Some("user".into()),
        password: None,
        clean_start: true,
        keep_alive_s: 60,
        session_expiry_s: 0,
        receive_max: 100,
        packet_bytes_max: 0,
        user_properties: Vec::new(),
        auth_method: None,
        auth_data: None,
        will: None,
        failures: 0,
        deadline_ms: 5000,
    }
}

fn action() -> Action {
    Action {
        kind: ActionKind::Publish,
        topic: "ask/allow".into(),
        share_group: None,
        qos: QoS::AtMostOnce,
        retain: false,
        payload_bytes: 64,
        options: 0,
        user_properties: Vec::new(),
    }
}

/// The measure for the next one: the same question, answered in the same way, through a trait object in this program.
#[divan::bench]
fn authorize_plain_trait_call(bencher: Bencher) {
    trait Authorize {
        fn authorize(&self, session: &Identity, action: &Action) -> Verdict;
    }
    struct Plain;
    impl Authorize for Plain {
        #[inline(never)]
        fn authorize(&self, _: &Identity, action: &Action) -> Verdict {
            let below = action.topic.strip_prefix("ask/").unwrap_or("");
            match below.rsplit('/').next().unwrap_or(below) {
                "allow" => Verdict::allow(std::time::Duration::ZERO),
                "next" => Verdict::Next,
                _ => Verdict::deny("denied on demand"),
            }
        }
    }
    let plain: Box<dyn Authorize> = Box::new(Plain);
    let (identity, action) = (Identity::new("t", "u"), action());
    bencher.bench_local(|| divan::black_box(&plain).authorize(divan::black_box(&identity), divan::black_box(&action)));
}

/// A question with borrowed inputs, as the plugin's call thread puts it.
#[divan::bench]
fn authorize_borrowed_call(bencher: Bencher) {
    let (plugin, action) = (plugin(), action());
    let session = Session::new(&connect(), &Identity::new("t", "u"));
    let entered = plugin.enter().unwrap();
    assert!(matches!(entered.authorize(&session, &action), Ok(Verdict::Allow { .. })));
    bencher.bench_local(|| entered.authorize(divan::black_box(&session), divan::black_box(&action)));
}

/// The same over the plugin's call thread, with its deadline.
#[divan::bench]
fn authorize_with_deadline(bencher: Bencher) {
    let (plugin, runtime) = (plugin(), runtime());
    let session = Session::new(&connect(), &Identity::new("t", "u"));
    bencher.bench_local(|| runtime.block_on(plugin.authorize(&session, action())));
}

/// A CONNECT with three certificates of 800 bytes, into the border's form and out of it.
#[divan::bench]
fn chain_of_three_certificates(bencher: Bencher) {
    let connect = connect();
    bencher.bench_local(|| convert::connect_from(&convert::connect_to(divan::black_box(&connect))));
}

/// A whole `authenticate`: over the border, onto the plugin's runtime, and back through the completer.
#[divan::bench]
fn completer_round_trip(bencher: Bencher) {
    let (plugin, runtime, connect) = (plugin(), runtime(), connect());
    assert!(runtime.block_on(plugin.authenticate(&connect)).is_ok());
    bencher.bench_local(|| runtime.block_on(plugin.authenticate(&connect)));
}

/// 256 events of a refused client, each with a chain.
#[divan::bench]
fn batch_of_256_events(bencher: Bencher) {
    let plugin = plugin();
    let peer = Arc::new(Peer {
        connection: 1,
        listener: "secure".into(),
        transport: Transport::Tls,
        remote: "127.0.0.1:50000".parse().unwrap(),
        leaf_sha256: Some([2; 32]),
        protocol: Some(Protocol::V5),
        tenant: "t".into(),
        user: "u".into(),
        client_id: "c".into(),
    });
    let fact = Fact::ClientRefused {
        stage: "authenticate".into(),
        code: 0x87,
        reason: "no".into(),
        plugin: "p".into(),
        chain: [7u8, 8, 9].map(|b| Der::new(&[b; 800])).into(),
    };
    let event =
        |sequence| Event { sequence, time_ms: 1, node: "n".into(), peer: Some(peer.clone()), fact: fact.clone() };
    let events: Vec<Event> = (0..256).map(event).collect();
    let batch: Vec<&Event> = events.iter().collect();
    bencher.counter(ItemsCount::new(256u32)).bench_local(|| plugin.collect(divan::black_box(&batch)));
}
