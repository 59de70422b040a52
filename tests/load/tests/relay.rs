//! The generator against the relays, on real sockets: what the benchmark's ratios rest on.

// clippy.toml frees tests of this rule, but not the functions that they share.
#![allow(clippy::unwrap_used)]

use std::net::SocketAddr;
use std::path::Path;
use std::thread;

use clap::Parser;
use serde_json::Value;

use gatemq_load::relay::{ListenTls, serve_epoll, serve_naive, serve_tokio, server_config};
use gatemq_load::{certs, cli::Cli, net, scenario};

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Starts a relay in a thread that lives as long as the test's process.
fn relay(serve: impl FnOnce(std::net::TcpListener) + Send + 'static) -> SocketAddr {
    let listener = net::listen("127.0.0.1:0".parse().unwrap()).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || serve(listener));
    addr
}

fn tokio_relay(options: Option<ListenTls>) -> SocketAddr {
    relay(move |l| {
        let ws = options.as_ref().is_some_and(|o| o.ws);
        let tls = options.and_then(|o| server_config(&o).unwrap());
        let _ = tokio::task::LocalSet::new().block_on(&runtime(), serve_tokio(l, tls, ws));
    })
}

/// Runs the generator for a second; its line, or its error as text.
fn load(addr: SocketAddr, args: &str) -> Result<Value, String> {
    let common = format!("gatemq-load --addr {addr} --secs 1 --warmup 0.1 {args}");
    let cli = Cli::try_parse_from(common.split_whitespace()).unwrap();
    let line = tokio::task::LocalSet::new().block_on(&runtime(), scenario::run(&cli));
    line.map(|l| l.unwrap()).map_err(|e| e.to_string())
}

/// All is delivered that was published `fan` times, but for what is on its way at the end; nothing is lost.
#[track_caller]
fn flows(addr: SocketAddr, args: &str, fan: f64, window: f64) {
    let line = load(addr, args).unwrap();
    let number = |name: &str| line[name].as_f64().unwrap();
    assert!(number("delivered") > 0.0 && number("lost") == 0.0, "{line}");
    let missing = (number("published") * fan - number("delivered")).abs();
    assert!(missing <= window, "{missing} of {line}");
    assert!(line["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{line}");
}

/// The batched relay, which brokers are held to, serves every scenario that the benchmark gives it.
#[test]
fn batched_relay_serves_its_scenarios() {
    let addr = tokio_relay(None);
    flows(addr, "pairs --pairs 3", 1.0, 3.0 * 16.0);
    flows(addr, "--v5 pairs --pairs 3 --qos 1 --window 1", 1.0, 3.0);
    flows(addr, "fanin --pubs 5", 1.0, 5.0 * 16.0);
    // No read takes a whole one of these: what is left of it must be kept.
    flows(addr, "pairs --pairs 2 --size 200000 --window 4", 1.0, 2.0 * 4.0);
    flows(addr, "--sources 1 fanout --subs 20", 20.0, 20.0 * 16.0);
    let line = load(addr, "connect --concurrency 2").unwrap();
    assert!(line["connects"].as_u64().unwrap() > 0 && line["errors"] == 0, "{line}");
}

/// The relay's WebSocket carries the same, also over TLS.
#[test]
fn batched_relay_speaks_websocket() {
    let addr: SocketAddr = "127.0.0.1:0".parse().unwrap();
    let ws = ListenTls { addr, cert: None, key: None, ca: None, ws: true };
    let plain = tokio_relay(Some(ws));
    flows(plain, "--ws /mqtt pairs --pairs 3", 1.0, 3.0 * 16.0);
    flows(plain, "--ws /mqtt --v5 fanout --subs 20 --qos 1", 20.0, 20.0 * 16.0);
    // A frame larger than any read.
    flows(plain, "--ws /mqtt pairs --pairs 2 --size 200000 --window 4", 1.0, 2.0 * 4.0);
    let dir = tempfile::tempdir().unwrap();
    certs::write(dir.path()).unwrap();
    let tls = tokio_relay(Some(ListenTls { ca: None, ws: true, ..files(dir.path()) }));
    flows(tls, "--tls --ws /mqtt pairs --pairs 2", 1.0, 2.0 * 16.0);
}

/// The other two relays, which say what batching and the runtime cost.
#[test]
fn epoll_and_naive_relays_deliver() {
    let epoll = relay(|l| serve_epoll(l).unwrap());
    flows(epoll, "pairs --pairs 3 --qos 1", 1.0, 3.0 * 16.0);
    flows(epoll, "fanout --subs 20", 20.0, 20.0 * 16.0);
    flows(epoll, "pairs --pairs 2 --size 200000 --window 4", 1.0, 2.0 * 4.0);
    let naive = relay(|l| runtime().block_on(serve_naive(l)).unwrap());
    flows(naive, "pairs --pairs 3", 1.0, 3.0 * 16.0);
    flows(naive, "fanin --pubs 5", 1.0, 5.0 * 16.0);
    flows(naive, "pairs --pairs 2 --size 200000 --window 4", 1.0, 2.0 * 4.0);
}

/// Open loop keeps its rate whatever the relay could do.
#[test]
fn open_loop_keeps_its_rate() {
    let line = load(tokio_relay(None), "pairs --pairs 2 --rate 500").unwrap();
    let published = line["published_per_s"].as_f64().unwrap();
    assert!((400.0..600.0).contains(&published), "{line}");
}

fn files(dir: &Path) -> ListenTls {
    let file = |name: &str| Some(dir.join(name));
    ListenTls {
        addr: "127.0.0.1:0".parse().unwrap(),
        cert: file("server.crt"),
        key: file("server.key"),
        ca: file("ca.crt"),
        ws: false,
    }
}

/// Mutual TLS with the certificates of `certs`; without the client's it fails, so that nothing else is measured by
/// that name.
#[test]
fn mutual_tls_needs_the_certificate() {
    let dir = tempfile::tempdir().unwrap();
    certs::write(dir.path()).unwrap();
    let addr = tokio_relay(Some(files(dir.path())));
    let (cert, key) = (dir.path().join("client.crt"), dir.path().join("client.key"));
    let pair = format!("--cert {} --key {}", cert.display(), key.display());
    flows(addr, &format!("--tls {pair} pairs --pairs 2"), 1.0, 2.0 * 16.0);
    assert!(load(addr, &format!("--tls {pair} connect --concurrency 1")).is_ok());
    assert!(load(addr, "--tls pairs --pairs 2").is_err());
    assert!(load(addr, "--tls connect --concurrency 1").is_err());
}

/// A broker that is not there is an error, not a line of zeros.
#[test]
fn absent_broker_is_an_error() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    drop(listener);
    assert!(load(addr, "connect").is_err());
    assert!(load(addr, "pairs").is_err());
}
