//! A host without a broker, as the testkit has it, with short deadlines.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, Instance, Library, Options, Session};
use gatemq_plugin_testkit::Recorder;
pub(crate) use gatemq_plugin_testkit::{connect, publish};
use gatemq_types::{AuthOutcome, Identity};

/// A fault has to show within this; a good client is given [`SOON`].
pub(crate) const SHORT: Duration = Duration::from_millis(600);
/// In this time whatever is well must have happened, also on a machine with other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) const TEST_FAULTS: &str = "test_faults";
pub(crate) const EVENTS_JSON: &str = "events_json";

/// The library of that name.
pub(crate) fn built(library: &str) -> PathBuf {
    let package = format!("gatemq-{}", library.replace('_', "-"));
    gatemq_plugin_testkit::build(Path::new(env!("CARGO_MANIFEST_DIR")), &package)
}

/// Options with a timeout that shows a hanging plugin soon.
pub(crate) fn options() -> Options {
    Options { timeout: SHORT, start_timeout: SOON, ..Options::default() }
}

pub(crate) async fn try_start(
    library: &str,
    config: serde_json::Value,
    services: Arc<Recorder>,
    options: Options,
) -> Result<Arc<Instance>, CallFailure> {
    let library = Library::open(&built(library)).unwrap();
    Instance::start(library, "under-test", config.to_string(), services, options).await
}

/// Test-faults with this configuration.
pub(crate) async fn faults(config: serde_json::Value) -> Arc<Instance> {
    try_start(TEST_FAULTS, config, Arc::default(), options()).await.unwrap()
}

pub(crate) async fn ask(instance: &Instance, client_id: &str) -> Result<AuthOutcome, CallFailure> {
    instance.authenticate(&connect(client_id)).await
}

/// Waits until an ordinary client is accepted.
pub(crate) async fn accepted_soon(instance: &Instance, after: &str) -> Identity {
    let began = Instant::now();
    loop {
        match ask(instance, "sensor").await {
            Ok(AuthOutcome::Accept(identity)) => return *identity,
            other => assert!(began.elapsed() < SOON, "after {after} an ordinary client gets {other:?}"),
        }
    }
}

pub(crate) fn session() -> Arc<Session> {
    Session::new(&connect("sensor"), &Identity::new("test", "sensor"))
}

/// Waits for something that happens on another thread.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the caller should go on: endless loops end with their process, so a test that starts some has one of its own.
pub(crate) fn in_own_process(test: &str) -> bool {
    const MARK: &str = "LOADS_OWN_PROCESS";
    let is_mine = |name: &str| std::env::var_os(name).is_some();
    // cargo-nextest gives every test a process.
    if is_mine("NEXTEST") || is_mine(MARK) {
        return true;
    }
    let this = std::env::current_exe().unwrap();
    let status = Command::new(this).args(["--exact", test, "--nocapture"]).env(MARK, "1").status().unwrap();
    assert!(status.success(), "{test} failed in its own process");
    false
}

/// Compiles C.
pub(crate) fn cc(source: &str, to: &Path, options: &[&str]) {
    let from = to.with_extension("c");
    std::fs::write(&from, source).unwrap();
    let status = Command::new("cc").args(options).arg("-o").arg(to).arg(&from).status().unwrap();
    assert!(status.success(), "cc {options:?}");
}
