//! Starts the real broker with real plugin libraries and talks to it over real sockets.
//!
//! | module | what it gives |
//! |---|---|
//! | [`artifacts`] | the broker and the plugins, built once |
//! | [`outside`] | plugins that are built outside the workspace, sound ones and ones to refuse |
//! | [`pki`] | authorities, chains of three certificates, and wrong ones |
//! | [`broker`] | a configuration, a process, its addresses, its log |
//! | [`client`] | a raw MQTT client that may break every rule |
//! | [`tape`] | the events, as `events-json` writes them |
//!
//! What goes wrong in here is a panic with the reason: this is test code, used by tests and by `cargo xtask`.
#![allow(clippy::unwrap_used, clippy::expect_used)]

pub mod artifacts;
pub mod broker;
pub mod client;
pub mod outside;
pub mod pki;
pub mod tape;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The workspace's directory.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the workspace").to_owned()
}

/// How long a test waits for what must happen. Long enough for a busy machine; nothing is waited out that has happened.
pub const PATIENCE: Duration = Duration::from_secs(20);

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
