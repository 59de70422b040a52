//! A host without a broker, and a users file.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argon2::{Argon2, Params, PasswordHasher};
use gatemq_plugin_testkit::{
    AuthOutcome, CallFailure, Connect, Identity, Instance, Level, Options, Recorder, Request, TestHost, build, connect,
    connect_as,
};
use serde_json::json;

/// In this time whatever is well must have happened, also on a machine with other things to do.
pub(crate) const SOON: Duration = Duration::from_secs(20);

/// A hash that costs next to nothing.
pub(crate) fn hash(password: &str) -> String {
    hash_costing(password, 64, 1)
}

pub(crate) fn hash_costing(password: &str, kib: u32, passes: u32) -> String {
    let argon2 = Argon2::from(Params::new(kib, passes, 1, None).unwrap());
    argon2.hash_password(password.as_bytes()).unwrap().to_string()
}

/// A users file and, once it is started, the plugin that reads it.
pub(crate) struct Bench {
    dir: tempfile::TempDir,
    pub(crate) recorder: Arc<Recorder>,
}

impl Bench {
    /// With a users file that says this.
    pub(crate) fn new(users: &str) -> Self {
        let bench = Bench { dir: tempfile::tempdir().unwrap(), recorder: Arc::default() };
        bench.write(users);
        bench
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.dir.path().join("users.toml")
    }

    /// Replaces the file in one step, as `gatemq passwd` does.
    pub(crate) fn write(&self, users: &str) {
        let new = self.dir.path().join("new");
        std::fs::write(&new, users).unwrap();
        std::fs::set_permissions(&new, Permissions::from_mode(0o640)).unwrap();
        std::fs::rename(&new, self.file()).unwrap();
    }

    /// The configuration with these keys besides `users_file` and `tenant`.
    pub(crate) fn config(&self, more: serde_json::Value) -> String {
        let mut config = json!({"users_file": self.file(), "tenant": "acme"});
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config.to_string()
    }

    pub(crate) async fn try_start(&self, more: serde_json::Value) -> Result<Arc<Instance>, CallFailure> {
        let options = Options { timeout: SOON, start_timeout: SOON, ..Options::default() };
        let library = TestHost::new(build!()).load().unwrap();
        Instance::start(library, "people", self.config(more), self.recorder.clone(), options).await
    }

    pub(crate) async fn start(&self) -> Arc<Instance> {
        self.try_start(json!({})).await.unwrap()
    }

    pub(crate) fn counted(&self, counter: &str) -> u64 {
        self.recorder.counted(counter)
    }

    /// How many lines of that level hold `text`.
    pub(crate) fn logged(&self, level: Level, text: &str) -> usize {
        self.recorder.logged(level, text)
    }

    /// How many lines hold `text`.
    pub(crate) fn mentioned(&self, text: &str) -> usize {
        self.recorder.mentioned(text)
    }

    /// Users whose grants the broker was told to ask for again.
    pub(crate) fn revoked(&self) -> Vec<String> {
        let user = |request: &Request| match request {
            Request::Revoke { selector, .. } => selector.user.clone(),
            _ => None,
        };
        self.recorder.requests().iter().filter_map(user).collect()
    }
}

/// A client with user name and password.
pub(crate) fn client(user: &str, password: &str) -> Connect {
    connect_as("c-1", user, password)
}

/// A client without either.
pub(crate) fn nobody() -> Connect {
    connect("c-1")
}

/// The answer to a client.
pub(crate) async fn ask(instance: &Instance, connect: &Connect) -> AuthOutcome {
    instance.authenticate(connect).await.expect("an answer")
}

pub(crate) async fn accepted(instance: &Instance, connect: &Connect) -> Identity {
    match ask(instance, connect).await {
        AuthOutcome::Accept(identity) => *identity,
        other => panic!("{:?} gets {other:?}", connect.user_name),
    }
}

/// Code and reason of a refusal.
pub(crate) async fn refused(instance: &Instance, connect: &Connect) -> (u8, String) {
    match ask(instance, connect).await {
        AuthOutcome::Reject { code, reason, delay, .. } => {
            assert_eq!(delay, Duration::ZERO);
            (code.0, reason)
        }
        other => panic!("{:?} gets {other:?}", connect.user_name),
    }
}

/// Waits until the client is accepted, or is not.
pub(crate) async fn until_accepted(instance: &Instance, connect: &Connect, wanted: bool) {
    let began = Instant::now();
    while matches!(ask(instance, connect).await, AuthOutcome::Accept(_)) != wanted {
        assert!(began.elapsed() < SOON, "{:?}: accepted is not {wanted}", connect.user_name);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits for something that happens on another thread.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < SOON, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
