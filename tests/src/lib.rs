//! Starts the real broker with real plugin libraries and talks to it over real sockets.
//!
//! | module | what it gives |
//! |---|---|
//! | [`artifacts`] | the broker and the plugins, built once |
//! | [`network`] | namespaces with links that can be cut |
//! | [`outside`] | plugins that are built outside the workspace, sound ones and ones to refuse |
//! | [`pki`] | authorities, chains of three certificates, and wrong ones |
//! | [`broker`] | a configuration, a process, its addresses, its log |
//! | [`cluster`] | nodes of one cluster, or of two, each at an address of its own |
//! | [`http`] | a server that plugins ask, which may answer anything |
//! | [`clock`] | a broker whose clock is wrong |
//! | [`client`] | a raw MQTT client that may break every rule |
//! | [`peer`] | somebody at the ports for nodes who is none, and what goes over them, on record |
//! | [`power`] | what a power cut leaves of a directory |
//! | [`session`] | what it needs to have one: CONNECT with everything, acknowledgements by hand |
//! | [`properties`] | CONNECT and AUTH with properties of MQTT 5 |
//! | [`web`] | a script that asks the API over HTTP |
//! | [`websocket`] | frames for it, right ones and wrong ones |
//! | [`requests`] | what a plugin asks of the broker, on demand |
//! | [`tape`] | the events, as `events-json` writes them |
//!
//! What goes wrong in here is a panic with the reason: this is test code, used by tests and by `cargo xtask`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod artifacts;
pub mod broker;
pub mod client;
pub mod clock;
pub mod cluster;
pub mod http;
pub mod network;
pub mod outside;
pub mod peer;
pub mod pki;
pub mod power;
pub mod properties;
pub mod requests;
pub mod session;
pub mod tape;
pub mod web;
pub mod websocket;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A kind of listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// MQTT over TCP.
    Mqtt,
    /// … over TLS.
    Mqtts,
    /// … over WebSocket.
    Ws,
    /// … over WebSocket and TLS.
    Wss,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 4] = [Kind::Mqtt, Kind::Mqtts, Kind::Ws, Kind::Wss];

    /// Its name in the configuration and in events.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Mqtt => "mqtt",
            Kind::Mqtts => "mqtts",
            Kind::Ws => "ws",
            Kind::Wss => "wss",
        }
    }

    /// Whether it speaks TLS.
    pub fn has_tls(self) -> bool {
        matches!(self, Kind::Mqtts | Kind::Wss)
    }

    /// Whether it speaks WebSocket.
    pub fn is_web(self) -> bool {
        matches!(self, Kind::Ws | Kind::Wss)
    }
}

/// Does it for each of these at the same time: most of what tests do is wait.
///
/// # Panics
/// When one of them does.
pub fn at_once<T: Sync>(of: &[T], run: impl Fn(&T) + Sync) {
    std::thread::scope(|all| {
        for one in of {
            all.spawn(|| run(one));
        }
    });
}

/// The workspace's directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// How long a test waits for what must happen. Long enough for a busy machine; nothing is waited out that has happened.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// How much of something that takes long: `cargo xtask test --long` asks for many cases of each property, and for `long` of this.
pub fn short_or_long<T>(short: T, long: T) -> T {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse::<u64>().ok());
    if cases.is_some_and(|cases| cases >= 10_000) { long } else { short }
}

/// Asks `look` until it has an answer.
///
/// # Panics
/// After `patience`, with `what` was waited for.
pub fn wait_for<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
