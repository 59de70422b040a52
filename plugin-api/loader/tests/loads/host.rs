//! A host without a broker: builds the libraries, opens them, and puts down what they say.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{Answer, CallFailure, Instance, Level, Library, Options, Services, Session};
use gatemq_types::service::{Request, ServiceError};
use gatemq_types::{Action, ActionKind, AuthOutcome, Connect, Identity, Protocol, QoS, Transport};

/// A fault has to show within this; a good client is given [`SOON`].
pub(crate) const SHORT: Duration = Duration::from_millis(600);
/// In this time whatever is well must have happened, also on a machine with other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(5);

pub(crate) const TEST_FAULTS: &str = "test_faults";
pub(crate) const EVENTS_JSON: &str = "events_json";

/// The library of that name, built once a process.
pub(crate) fn built(library: &str) -> PathBuf {
    static BUILT: OnceLock<Vec<PathBuf>> = OnceLock::new();
    let files = BUILT.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--message-format=json", "-p", "gatemq-test-faults", "-p", "gatemq-events-json"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let output = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).stderr(Stdio::inherit()).output().unwrap();
        assert!(output.status.success(), "the plugins cannot be built");
        let messages = output.stdout.split(|b| *b == b'\n').filter_map(|l| serde_json::from_slice(l).ok());
        messages
            .flat_map(|m: serde_json::Value| m["filenames"].as_array().cloned().unwrap_or_default())
            .filter_map(|name| name.as_str().map(PathBuf::from))
            .collect()
    });
    let name = format!("lib{library}.so");
    let found = files.iter().find(|f| f.file_name().is_some_and(|n| n == name.as_str()));
    found.unwrap_or_else(|| panic!("{name} is not among {files:?}")).clone()
}

/// Services that put down what a plugin says.
#[derive(Default)]
pub(crate) struct Recorder {
    pub(crate) lines: Mutex<Vec<(Level, String)>>,
    pub(crate) counts: Mutex<HashMap<String, u64>>,
    /// Whether requests are dropped instead of answered.
    pub(crate) drops_requests: bool,
    /// Whether only errors are to be logged.
    pub(crate) quiet: AtomicBool,
}

impl Recorder {
    pub(crate) fn counted(&self, counter: &str) -> u64 {
        self.counts.lock().unwrap().get(counter).copied().unwrap_or(0)
    }

    pub(crate) fn logged(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|(_, line)| line.contains(text)).count()
    }
}

impl Services for Recorder {
    fn log_level(&self) -> Level {
        if self.quiet.load(Ordering::Relaxed) { Level::Error } else { Level::Info }
    }
    fn log(&self, level: Level, _: &str, message: &str) {
        self.lines.lock().unwrap().push((level, message.to_owned()));
    }
    fn count(&self, counter: &str, add: u64) {
        *self.counts.lock().unwrap().entry(counter.to_owned()).or_default() += add;
    }
    fn gauge(&self, _: &str, _: i64) {}
    fn request(&self, _: Request, answer: Answer) {
        if !self.drops_requests {
            answer(Err(ServiceError::NotSupported));
        }
    }
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

pub(crate) fn connect(client_id: &str) -> Connect {
    Connect {
        connection: 7,
        listener: "tcp".into(),
        transport: Transport::Tcp,
        local: ([127, 0, 0, 1], 1883).into(),
        remote: ([192, 0, 2, 1], 4711).into(),
        proxied_by: None,
        tls: None,
        protocol: Protocol::V5,
        client_id: client_id.into(),
        client_id_assigned: false,
        user_name: None,
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

pub(crate) fn publish(topic: &str) -> Action {
    Action {
        kind: ActionKind::Publish,
        topic: topic.into(),
        share_group: None,
        qos: QoS::AtLeastOnce,
        retain: false,
        payload_bytes: 3,
        options: 0,
        user_properties: vec![("k".into(), "v".into())],
    }
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
