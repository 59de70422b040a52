//! A peer's process: started on its core, waited for, and always stopped.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// Time for a peer to accept connections.
const START_MAX: Duration = Duration::from_secs(20);
/// Time for a peer to end after SIGTERM, and for its port to be free; then it is killed.
const STOP_MAX: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);
/// Bytes of a peer's log that are shown.
const LOG_SHOWN: usize = 300;

/// A peer that accepts connections. Dropping it kills it.
pub(super) struct Running {
    child: Child,
    port: u16,
    log: PathBuf,
}

/// `command`, pinned to cores, by comma.
pub(super) fn pinned(command: &Command, cores: &str) -> Command {
    let mut c = Command::new("taskset");
    // taskset becomes the program, so its process id is the program's.
    c.arg("-c").arg(cores).arg(command.get_program()).args(command.get_args());
    c.stdin(Stdio::null());
    c
}

fn accepts(port: u16) -> bool {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    TcpStream::connect_timeout(&addr, Duration::from_secs(1)).is_ok()
}

/// Starts `command` and waits until `port` accepts; what it prints goes to `log`.
pub(super) fn start(command: Command, cores: &str, port: u16, log: &Path) -> io::Result<Running> {
    if accepts(port) {
        return Err(io::Error::other(format!("port {port} is in use already")));
    }
    let out = File::create(log)?;
    let mut command = pinned(&command, cores);
    command.stdout(out.try_clone()?).stderr(out);
    let child = command.spawn().map_err(|e| io::Error::other(format!("taskset: {e}")))?;
    let mut running = Running { child, port, log: log.into() };
    let start = Instant::now();
    while !accepts(port) {
        if let Some(status) = running.child.try_wait()? {
            return Err(io::Error::other(format!("the peer ended, {status}: {}", running.last_words())));
        }
        if start.elapsed() > START_MAX {
            return Err(io::Error::other(format!("port {port} never opened: {}", running.last_words())));
        }
        sleep(LOOK);
    }
    Ok(running)
}

/// The child's exit, if it comes within `patience`.
pub(super) fn wait(child: &mut Child, patience: Duration) -> io::Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > patience {
            return Ok(None);
        }
        sleep(LOOK);
    }
}

impl Running {
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Stops it, waits until its port is free, and returns the end of what it printed.
    pub(super) fn stop(mut self) -> String {
        if let Ok(None) = self.child.try_wait()
            && let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
        {
            kill_process(pid, Signal::TERM).ok();
            wait(&mut self.child, STOP_MAX).ok();
        }
        self.kill();
        let start = Instant::now();
        while accepts(self.port) && start.elapsed() < STOP_MAX {
            sleep(LOOK);
        }
        self.last_words()
    }

    fn kill(&mut self) {
        // Both fail only when it has ended and was waited for.
        self.child.kill().ok();
        self.child.wait().ok();
    }

    fn last_words(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        log[log.len().saturating_sub(LOG_SHOWN)..].trim_ascii().escape_ascii().to_string()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.kill();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    /// A peer that ends instead of listening is reported with what it said, and not waited for.
    #[test]
    fn early_end_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut c = Command::new("sh");
        c.args(["-c", "echo no such thing; exit 3"]);
        let e = start(c, "0", free_port(), &dir.path().join("log")).err().unwrap().to_string();
        assert!(e.contains("exit status: 3") && e.contains("no such thing"), "{e}");
    }

    /// A stranger's server on the port is not measured in place of the peer.
    #[test]
    fn taken_port_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let l = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = l.local_addr().unwrap().port();
        let e = start(Command::new("true"), "0", port, &dir.path().join("log")).err().unwrap();
        assert!(e.to_string().contains("in use"), "{e}");
    }
}
