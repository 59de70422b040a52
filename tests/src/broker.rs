//! The real broker as a process of its own: configuration, addresses, log, end.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Seek, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::artifacts::Artifacts;
use crate::client::{Client, Tls, Version};
use crate::pki::Pki;
use crate::tape::Tape;
use crate::{Kind, PATIENCE, wait_for};

/// A token that [`Setup::http`] makes known.
pub const TOKEN: &str = "a-token-of-the-tests-0123456789abcdef";
/// What `test-faults` was shown, a JSON line a client.
pub const RECORD: &str = "seen.json";

/// A broker to start: its files are in a directory of its own, its listeners on free ports.
pub struct Setup {
    directory: TempDir,
    name: String,
    /// What runs the broker, such as `ip netns exec NAME`; empty: nothing but we.
    runner: Vec<String>,
    text: String,
    log_level: String,
    arguments: Vec<String>,
    environment: Vec<(String, PathBuf)>,
    tape: bool,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            directory: tempfile::tempdir().expect("a directory"),
            name: "node-1".into(),
            runner: Vec::new(),
            text: String::new(),
            log_level: "info".into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            tape: false,
        }
    }
}

impl Setup {
    /// Nothing but node and directories.
    pub fn new() -> Setup {
        Setup::default()
    }

    /// The broker's directory, removed when it ends.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Under this name; the default is `node-1`.
    pub fn name(mut self, name: &str) -> Setup {
        self.name = name.into();
        self
    }

    /// Run by this command, which becomes the broker, as `ip netns exec NAME` does.
    pub fn runner(mut self, runner: &[&str]) -> Setup {
        self.runner = runner.iter().map(|part| (*part).to_owned()).collect();
        self
    }

    /// With this text in the configuration file.
    pub fn toml(mut self, text: &str) -> Setup {
        self.text.push_str(text);
        self.text.push('\n');
        self
    }

    /// Without this text, which its configuration file had.
    ///
    /// # Panics
    /// When it had not.
    pub fn without(mut self, text: &str) -> Setup {
        assert!(self.text.contains(text), "{text:?} is not in\n{}", self.text);
        self.text = self.text.replace(text, "");
        self
    }

    /// With a listener without TLS.
    pub fn mqtt(self, name: &str) -> Setup {
        self.toml(&format!("[listeners.{name}]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\""))
    }

    /// With a listener with TLS whose server and whose clients are `pki`'s. `client_auth` as in the configuration;
    /// `more` goes into its `tls` table.
    pub fn mqtts(self, name: &str, pki: &Pki, client_auth: &str, more: &str) -> Setup {
        self.secure(Kind::Mqtts, name, pki, client_auth, more)
    }

    /// With a listener of this kind, whose clients need no certificate. It is named like its kind.
    pub fn listener(self, kind: Kind, pki: &Pki) -> Setup {
        self.listener_named(kind.name(), kind, pki)
    }

    /// As [`Setup::listener`], with a name of its own.
    pub fn listener_named(self, name: &str, kind: Kind, pki: &Pki) -> Setup {
        match kind.has_tls() {
            true => self.secure(kind, name, pki, "optional", ""),
            false => self.toml(&format!("[listeners.{name}]\nkind = {:?}\nbind = \"127.0.0.1:0\"", kind.name())),
        }
    }

    /// With a listener of each kind, as [`Setup::listener`] makes them.
    pub fn every_listener(self, pki: &Pki) -> Setup {
        Kind::ALL.iter().fold(self, |setup, kind| setup.listener(*kind, pki))
    }

    /// As [`Setup::mqtts`], of kind `mqtts` or `wss`.
    pub fn secure(self, kind: Kind, name: &str, pki: &Pki, client_auth: &str, more: &str) -> Setup {
        let server = pki.server().write(self.directory(), &format!("{name}-server"));
        let root = pki.write_root(self.directory());
        let mut text = format!(
            "[listeners.{name}]\nkind = {:?}\nbind = \"127.0.0.1:0\"\n[listeners.{name}.tls]\n\
             certificate_file = {:?}\nprivate_key_file = {:?}\nclient_auth = {client_auth:?}\n",
            kind.name(),
            server.certificate,
            server.key
        );
        if client_auth != "none" {
            let _ = writeln!(text, "client_ca_file = {root:?}");
        }
        self.toml(&text).toml(more)
    }

    /// With the API over HTTP, for whoever has [`TOKEN`], which is `operator`'s; `more` goes into its table.
    pub fn http(self, more: &str) -> Setup {
        let file = self.directory().join("tokens");
        std::fs::write(&file, format!("operator {TOKEN}\n")).expect("the token file");
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
        self.toml(&format!("[http]\nbind = \"127.0.0.1:0\"\ntoken_file = {file:?}\n{more}"))
    }

    /// With a plugin: `library` is a file; `more` goes into its table.
    pub fn plugin(self, name: &str, library: &Path, more: &str) -> Setup {
        self.toml(&format!("[plugins.{name}]\nlibrary = {library:?}\n{more}"))
    }

    /// With two tenants, `one` and `two`, whose clients may do everything. Each has a listener of every kind of its own, named
    /// `TENANT-KIND`, and whoever gives a user name is that user.
    pub fn two_tenants(mut self, pki: &Pki) -> Setup {
        for tenant in ["one", "two"] {
            for kind in Kind::ALL {
                let name = format!("{tenant}-{}", kind.name());
                self = self.listener_named(&name, kind, pki);
                self = self.toml(&format!("[listeners.{name}.auth]\nchain = [{tenant:?}]"));
            }
            let config =
                format!("config.tenant = {tenant:?}\nconfig.grants = [{{ allow = [\"all\"], filter = \"#\" }}]");
            self = self.plugin(tenant, &Artifacts::get().plugin("test-faults"), &config);
        }
        self
    }

    /// With `auth-certificate` under the name `fleet`, configured by [`fleet_config`].
    pub fn fleet(self, pki: &Pki) -> Setup {
        let config = fleet_config(&pki.write_root(self.directory()));
        self.plugin("fleet", &Artifacts::get().plugin("auth-certificate"), &config)
    }

    /// With `test-faults` under the name `faults`, whose clients are of tenant `test`; `more` goes into its table. What it is
    /// shown of a client is there for [`Broker::seen`].
    pub fn faults(self, more: &str) -> Setup {
        let record = format!("config.record_file = {:?}\n{more}", self.directory().join(RECORD));
        self.plugin("faults", &Artifacts::get().plugin("test-faults"), &record)
    }

    /// With `events-json`, so that [`Broker::tape`] has something to read.
    pub fn tape(self) -> Setup {
        self.tape_of("")
    }

    /// As [`Setup::tape`], traffic included.
    pub fn tape_with_traffic(self) -> Setup {
        self.tape_of("\nconfig.classes = [\"security\", \"lifecycle\", \"traffic\", \"system\"]")
    }

    fn tape_of(mut self, more: &str) -> Setup {
        self.tape = true;
        let config = format!("config.file = {:?}\nconfig.chain = \"pem\"{more}", self.tape_file());
        self.plugin("tape", &Artifacts::get().plugin("events-json"), &config)
    }

    /// With this `log.level`.
    pub fn log(mut self, level: &str) -> Setup {
        self.log_level = level.into();
        self
    }

    /// With this argument on the command line.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.into());
        self
    }

    /// With this variable in its environment.
    pub fn environment(mut self, name: &str, value: &Path) -> Setup {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Where the broker keeps what outlives it.
    pub fn data_directory(&self) -> PathBuf {
        self.directory().join("data")
    }

    fn tape_file(&self) -> PathBuf {
        self.directory().join("events.json")
    }

    /// Starts it and waits until its listeners are open.
    ///
    /// # Panics
    /// When it ends instead.
    pub fn start(self) -> Broker {
        self.try_start().unwrap_or_else(|ended| panic!("the broker does not start: {ended:?}"))
    }

    /// Starts it and waits until its listeners are open.
    ///
    /// # Errors
    /// It ended instead.
    ///
    /// # Panics
    /// When it does neither within [`PATIENCE`].
    pub fn try_start(self) -> Result<Broker, Ended> {
        self.try_start_within(PATIENCE)
    }

    /// As [`Setup::try_start`], for a broker that takes its time.
    ///
    /// # Errors
    /// It ended instead.
    ///
    /// # Panics
    /// When it does neither within `patience`.
    pub fn try_start_within(self, patience: Duration) -> Result<Broker, Ended> {
        let ready_file = self.directory().join("ready.json");
        // That of a broker that was killed.
        let _ = std::fs::remove_file(&ready_file);
        let mut process = self.spawn("run", &ready_file);
        let mut ready = None;
        let ended = wait_for("the broker is ready, or ends", patience, || {
            // Asked before the file is looked for: whoever wrote it and ended is seen as ready first.
            let ended = process.child.try_wait().expect("the process is ours");
            ready = std::fs::read(&ready_file).ok();
            if ready.is_some() { Some(None) } else { ended.map(Some) }
        });
        match (ready, ended) {
            (Some(ready), _) => Ok(Broker::new(self, process, &ready)),
            (None, ended) => Err(process.ended(ended)),
        }
    }

    /// Runs `gatemq check` with this configuration.
    pub fn check(self) -> Ended {
        let mut process = self.spawn("check", &self.directory().join("ready.json"));
        let status = process.wait(PATIENCE);
        process.ended(status)
    }

    fn spawn(&self, command: &str, ready_file: &Path) -> Process {
        let config = self.directory().join("gatemq.toml");
        let nothing = self.directory().join("nothing-in-here");
        std::fs::create_dir_all(&nothing).expect("a directory");
        let head = format!(
            "[node]\nname = {:?}\ndata_dir = {:?}\nworkers = 2\nready_file = {ready_file:?}\n\
             [log]\nlevel = {:?}\n[plugin_host]\ndrop_in_dir = {nothing:?}\nbundled_dir = {nothing:?}\n\
             owner_checked = false\n",
            self.name,
            self.data_directory(),
            self.log_level,
        );
        std::fs::write(&config, head + &self.text).expect("the configuration is written");
        let program = Artifacts::get().broker();
        let mut broker = match &*self.runner {
            [] => Command::new(program),
            [runner, arguments @ ..] => {
                let mut runner = Command::new(runner);
                runner.args(arguments).arg(program);
                runner
            }
        };
        broker.arg(command).arg("--config").arg(&config).args(&self.arguments);
        broker.envs(self.environment.iter().map(|(name, value)| (name, value)));
        Process::spawn(&mut broker)
    }
}

/// Configuration of `auth-certificate` under which clients whose anchor is in `root` become users of tenant `acme`, named by
/// their common name, who may do all below `devices/` and their name, and subscribe to all of `devices/`.
pub fn fleet_config(root: &Path) -> String {
    format!(
        r##"config.anchors = {{ acme = {root:?} }}
config.rules = [
    {{ common_name = "*", grants = [
        {{ allow = ["all"], filter = "devices/${{cert.cn}}/#" }},
        {{ allow = ["subscribe", "unsubscribe"], filter = "devices/#" }},
    ] }},
]"##
    )
}

/// How a broker ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// All that it said on standard error.
    pub log: String,
}

/// A running broker. Killed when dropped.
pub struct Broker {
    process: Process,
    listeners: Value,
    http: Value,
    tape: Option<Tape>,
    setup: Setup,
}

impl Broker {
    fn new(setup: Setup, process: Process, ready: &[u8]) -> Broker {
        let ready: Value = serde_json::from_slice(ready).expect("the ready file is JSON");
        assert_eq!(ready["pid"], process.child.id(), "the ready file is of another process");
        let tape = setup.tape.then(|| Tape::new(setup.tape_file()));
        Broker { listeners: ready["listeners"].clone(), http: ready["http"].clone(), tape, process, setup }
    }

    /// Where it serves its API over HTTP.
    ///
    /// # Panics
    /// When it does not.
    pub fn http_address(&self) -> SocketAddr {
        self.http.as_str().and_then(|at| at.parse().ok()).expect("[http] is configured")
    }

    /// The address of a listener.
    ///
    /// # Panics
    /// When there is none of this name.
    pub fn address(&self, listener: &str) -> SocketAddr {
        let address = self.listeners[listener]["address"].as_str();
        address.and_then(|a| a.parse().ok()).unwrap_or_else(|| panic!("no listener {listener} in {}", self.listeners))
    }

    /// Connects to the listener of this kind, which [`Setup::listener`] has named, up to where MQTT begins.
    ///
    /// # Panics
    /// When it does not come so far.
    pub fn open(&self, kind: Kind, tls: &Tls, version: Version) -> Client {
        let client = Client::open(self.address(kind.name()), kind, tls, version);
        client.unwrap_or_else(|e| panic!("{}: {e}", kind.name()))
    }

    /// As [`Broker::open`], and says CONNECT: the client if it is admitted, otherwise the CONNACK's code.
    ///
    /// # Panics
    /// When there is no CONNACK.
    ///
    /// # Errors
    /// The code.
    pub fn try_admitted(&self, kind: Kind, tls: &Tls, version: Version, client_id: &str) -> Result<Client, u8> {
        let mut client = self.open(kind, tls, version);
        match client.connect(client_id).unwrap_or_else(|e| panic!("{client_id} on {}: CONNECT: {e}", kind.name())) {
            0 => Ok(client),
            code => Err(code),
        }
    }

    /// As [`Broker::try_admitted`], for who is.
    ///
    /// # Panics
    /// When it is not.
    pub fn admitted(&self, kind: Kind, tls: &Tls, version: Version, client_id: &str) -> Client {
        let admitted = self.try_admitted(kind, tls, version, client_id);
        admitted.unwrap_or_else(|code| panic!("{client_id} is refused on {}: CONNACK {code:#04x}", kind.name()))
    }

    /// Its events.
    ///
    /// # Panics
    /// When it was set up without [`Setup::tape`].
    pub fn tape(&mut self) -> &mut Tape {
        self.tape.as_mut().expect("set up with tape()")
    }

    /// What `test-faults` was shown of a client, the last time that it came.
    ///
    /// # Panics
    /// When it was shown nothing of it.
    pub fn seen(&self, client_id: &str) -> Value {
        let text = std::fs::read_to_string(self.directory().join(RECORD)).expect("set up with faults()");
        let seen = text.lines().rev().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let mut seen = seen.filter(|client| client["client_id"] == client_id);
        seen.next().unwrap_or_else(|| panic!("nothing of {client_id} in\n{text}"))
    }

    /// Its directory.
    pub fn directory(&self) -> &Path {
        self.setup.directory()
    }

    /// Runs `gatemq` with these arguments, for this broker: its answer, as JSON.
    ///
    /// # Panics
    /// When it is not done.
    pub fn command(&self, arguments: &[&str]) -> Value {
        self.command_with(arguments, "")
    }

    /// As [`Self::command`], with this on its standard input.
    ///
    /// # Panics
    /// When it is not done.
    pub fn command_with(&self, arguments: &[&str], input: &str) -> Value {
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("a file");
        let mut gatemq = Command::new(Artifacts::get().broker());
        gatemq.args(arguments).arg("--json").arg("--config").arg(self.directory().join("gatemq.toml")).stdin(file);
        let output = gatemq.output().unwrap_or_else(|e| panic!("{gatemq:?}: {e}"));
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// As [`Self::command`], of one that is not done: its exit code, and what it says.
    ///
    /// # Panics
    /// When it is done.
    pub fn fails(&self, arguments: &[&str]) -> (Option<i32>, String) {
        let mut gatemq = Command::new(Artifacts::get().broker());
        gatemq.args(arguments).arg("--config").arg(self.directory().join("gatemq.toml"));
        let output = gatemq.output().unwrap_or_else(|e| panic!("{gatemq:?}: {e}"));
        assert!(!output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    /// Looks again where its listeners are, after a reload that has changed them.
    ///
    /// # Panics
    /// When its ready file cannot be read.
    pub fn look_again(&mut self) {
        let ready = std::fs::read(self.directory().join("ready.json")).expect("its ready file");
        let ready: Value = serde_json::from_slice(&ready).expect("the ready file is JSON");
        self.listeners = ready["listeners"].clone();
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.child.id()
    }

    /// Memory that it has in use, in bytes (resident set).
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_bytes(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its memory");
        let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
        kilobytes * 1024
    }

    /// All that it has said on standard error.
    pub fn log(&self) -> String {
        self.process.log.text()
    }

    /// Waits for a line on standard error.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`].
    pub fn wait_for_log(&self, what: &str, is: impl Fn(&str) -> bool) -> String {
        self.process.log.wait_for(&is).unwrap_or_else(|| panic!("no line: {what}; the log is:\n{}", self.log()))
    }

    /// Whether it still runs.
    pub fn is_running(&mut self) -> bool {
        self.process.child.try_wait().expect("the process is ours").is_none()
    }

    /// Changes its configuration, which it reads at a [reload](Broker::reload).
    ///
    /// # Panics
    /// When the file cannot be read or written.
    pub fn configure(&self, change: impl FnOnce(&str) -> String) {
        let file = self.directory().join("gatemq.toml");
        let text = std::fs::read_to_string(&file).expect("its configuration");
        std::fs::write(&file, change(&text)).expect("its configuration is written");
    }

    /// Has it read its configuration again (SIGHUP), which `change` has changed first. Returns at once.
    ///
    /// # Panics
    /// As [`Broker::configure`].
    pub fn reload(&self, change: impl FnOnce(&str) -> String) {
        self.configure(change);
        self.process.signal(Signal::HUP);
    }

    /// Sends SIGTERM and waits for the end.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn stop(self) -> Ended {
        self.stop_to_start_again().0
    }

    /// As [`Broker::stop`], and what is needed to start it again where it was.
    ///
    /// # Panics
    /// When it does not end within [`PATIENCE`].
    pub fn stop_to_start_again(mut self) -> (Ended, Setup) {
        self.process.signal(Signal::TERM);
        let status = self.process.wait(PATIENCE);
        (self.process.ended(status), self.setup)
    }

    /// Kills it with SIGKILL, at once: what is needed to start it again where it was.
    ///
    /// # Panics
    /// When it had ended before.
    pub fn kill(mut self) -> Setup {
        assert!(self.is_running(), "it has ended by itself; its log is:\n{}", self.log());
        self.process.signal(Signal::KILL);
        self.process.wait(PATIENCE);
        self.setup
    }
}

struct Process {
    child: Child,
    log: Arc<Log>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    fn spawn(command: &mut Command) -> Process {
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap_or_else(|e| panic!("{command:?}: {e}"));
        let stderr = child.stderr.take().expect("piped");
        let log = Arc::new(Log::default());
        let reader = std::thread::spawn({
            let log = log.clone();
            move || log.follow(BufReader::new(stderr))
        });
        Process { child, log, reader: Some(reader) }
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process id");
        let _ = kill_process(pid, signal);
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let log = self.log.clone();
        let what = "the broker ends";
        let deadline = Instant::now() + patience;
        wait_for(what, patience * 2, || {
            assert!(Instant::now() < deadline, "{what}: not within {patience:?}; its log:\n{}", log.text());
            self.child.try_wait().expect("the process is ours").map(Some)
        })
    }

    fn ended(&mut self, status: Option<ExitStatus>) -> Ended {
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
        Ended { code: status.and_then(|s| s.code()), log: self.log.text() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let ended = self.child.try_wait();
            eprintln!("the broker ({ended:?}) has said:\n{}", self.log.text());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[derive(Default)]
struct Log {
    lines: Mutex<(Vec<String>, bool)>,
    more: Condvar,
}

impl Log {
    fn follow(&self, stderr: impl BufRead) {
        for line in stderr.lines().map_while(Result::ok) {
            self.lines.lock().unwrap().0.push(line);
            self.more.notify_all();
        }
        self.lines.lock().unwrap().1 = true;
        self.more.notify_all();
    }

    fn text(&self) -> String {
        self.lines.lock().unwrap().0.join("\n")
    }

    fn wait_for(&self, is: &dyn Fn(&str) -> bool) -> Option<String> {
        let deadline = Instant::now() + PATIENCE;
        let (mut lines, mut seen) = (self.lines.lock().unwrap(), 0);
        loop {
            if let Some(line) = lines.0[seen..].iter().find(|line| is(line)) {
                return Some(line.clone());
            }
            seen = lines.0.len();
            let left = deadline.saturating_duration_since(Instant::now());
            if lines.1 || left.is_zero() {
                return None;
            }
            lines = self.more.wait_timeout(lines, left).unwrap().0;
        }
    }
}
