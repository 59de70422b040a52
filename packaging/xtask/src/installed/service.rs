//! The installed unit without systemd: its commands are run as it says, by its user, and the broker is told that it is watched.

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use gatemq_tests::PATIENCE;
use serde_json::Value;
use tempfile::TempDir;

use super::check;
use super::root::Root;
use crate::install::{said, succeeds};

/// The unit.
pub(super) const UNIT: &str = "/usr/lib/systemd/system/gatemq.service";
/// Where the roots see the directory of the test.
const SHARED: &str = "/mnt";
/// Most exposure that `systemd-analyze security` may find, in tenths.
const EXPOSURE_MAX: &str = "20";

/// A running broker.
pub(super) struct Service<'a> {
    root: &'a Root,
    unit: Unit,
    process: Child,
    notify: UnixDatagram,
    /// Its log, its socket for us and the file that says where it listens are in here.
    shared: TempDir,
    /// Where it listens.
    pub(super) address: SocketAddr,
    /// From the first command to ready.
    pub(super) started_in: Duration,
}

/// A unit's file.
struct Unit(String);

impl Unit {
    fn values(&self, key: &str) -> Vec<&str> {
        self.0.lines().filter_map(|line| line.split_once('=')).filter(|(k, _)| *k == key).map(|(_, v)| v).collect()
    }

    /// A command, as it is run for its user: without capabilities and without a way to get some.
    fn command(&self, root: &Root, line: &str, shared: &Path) -> Result<Command, String> {
        let of = |key: &str| self.values(key).first().copied().unwrap_or_default().to_owned();
        let (user, group) = (format!("--reuid={}", of("User")), format!("--regid={}", of("Group")));
        let rights = ["--init-groups", "--no-new-privs", "--inh-caps=-all", "--bounding-set=-all"];
        let script = format!("umask {}; exec {line}", of("UMask"));
        let program = [&["setpriv", &user, &group][..], &rights, &["sh", "-c", &script]].concat();
        let mut command = root.command(&program, &[(shared, Path::new(SHARED))])?;
        // So that a broker of this machine is not in its way; everything else is as installed.
        command.env("GATEMQ_LISTENERS__LOCAL__BIND", "127.0.0.1:0");
        command.env("GATEMQ_NODE__READY_FILE", format!("{SHARED}/ready.json"));
        Ok(command)
    }
}

/// What systemd itself says of the unit: it can be read, and it is locked up.
pub(super) fn verify(root: &Root) -> Result<String, String> {
    root.run(&["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", UNIT])?;
    let threshold = format!("--threshold={EXPOSURE_MAX}");
    let said = root.run(&["systemd-analyze", "security", "--no-pager", "--offline=true", &threshold, UNIT])?;
    Ok(said.lines().last().unwrap_or_default().trim_start_matches("→ ").to_owned())
}

impl<'a> Service<'a> {
    /// Starts it, and waits until it says that it is ready.
    pub(super) fn start(root: &'a Root) -> Result<Service<'a>, String> {
        let unit = fs::read_to_string(root.path(UNIT)).map(Unit).map_err(|e| format!("{UNIT}: {e}"))?;
        let shared = tempfile::tempdir().map_err(|e| e.to_string())?;
        let path = shared.path().join("notify");
        let notify = UnixDatagram::bind(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        notify.set_read_timeout(Some(PATIENCE)).map_err(|e| e.to_string())?;
        // The broker's user is another one.
        for open in [shared.path(), &path] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o777)).map_err(|e| e.to_string())?;
        }
        let began = Instant::now();
        for line in unit.values("ExecStartPre") {
            succeeds(&mut unit.command(root, line, shared.path())?)?;
        }
        let [line] = unit.values("ExecStart")[..] else { return Err(format!("{UNIT}: not one ExecStart")) };
        let log = File::create(shared.path().join("log")).map_err(|e| e.to_string())?;
        let mut command = unit.command(root, line, shared.path())?;
        command.env("NOTIFY_SOCKET", format!("{SHARED}/notify")).env("WATCHDOG_USEC", "500000");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        let process = command.spawn().map_err(|e| format!("{command:?}: {e}"))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut service = Service { root, unit, process, notify, shared, address: nowhere, started_in: Duration::ZERO };
        service.told("READY=1")?;
        service.started_in = began.elapsed();
        service.address = service.bound()?;
        Ok(service)
    }

    fn bound(&self) -> Result<SocketAddr, String> {
        let file = self.shared.path().join("ready.json");
        let ready = fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        let ready: Value = serde_json::from_str(&ready).map_err(|e| e.to_string())?;
        let address = ready["listeners"]["local"]["address"].as_str().and_then(|address| address.parse().ok());
        address.ok_or_else(|| format!("the listener `local` is not there: {ready}"))
    }

    /// Waits until the service manager is told this.
    pub(super) fn told(&self, wanted: &str) -> Result<(), String> {
        let (mut buffer, deadline) = ([0; 4096], Instant::now() + PATIENCE);
        while Instant::now() < deadline {
            let read =
                self.notify.recv(&mut buffer).map_err(|e| format!("{wanted} is not told ({e}):\n{}", self.log()))?;
            if String::from_utf8_lossy(&buffer[..read]).lines().any(|line| line == wanted) {
                return Ok(());
            }
        }
        Err(format!("{wanted} is not told in time:\n{}", self.log()))
    }

    /// What it logged.
    pub(super) fn log(&self) -> String {
        fs::read_to_string(self.shared.path().join("log")).unwrap_or_default()
    }

    /// Reloads it as the unit says.
    pub(super) fn reload(&self) -> Result<(), String> {
        for line in self.unit.values("ExecReload") {
            let mut command = self.unit.command(self.root, line, self.shared.path())?;
            said(command.env("MAINPID", self.process.id().to_string()))?;
        }
        self.told("RELOADING=1").and_then(|()| self.told("READY=1"))
    }

    /// Stops it as systemd does.
    pub(super) fn stop(mut self) -> Result<(), String> {
        succeeds(Command::new("kill").args(["-s", "TERM", &self.process.id().to_string()]))?;
        self.told("STOPPING=1")?;
        let status = self.process.wait().map_err(|e| e.to_string())?;
        check(status.success(), || format!("it ends with {status}:\n{}", self.log()))
    }
}

impl Drop for Service<'_> {
    fn drop(&mut self) {
        // Of one that has ended there is nothing to kill.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
