//! Unix, which is Linux.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(crate) mod admin;
pub(crate) mod supervisor;
pub(crate) mod users_file;

/// The base file when no `--config` names another.
pub(crate) const BASE_FILE: &str = "/etc/gatemq/gatemq.toml";
/// Default of `node.data_dir`, as TOML.
pub(crate) const DATA_DIR: &str = r#""/var/lib/gatemq""#;
/// Default of `plugin_host.drop_in_dir`, as TOML.
pub(crate) const DROP_IN_DIR: &str = r#""/usr/lib/gatemq/plugins""#;
/// Default of `plugin_host.bundled_dir`, as TOML.
pub(crate) const BUNDLED_DIR: &str = r#""/usr/lib/gatemq/bundled""#;
/// What somebody does who may not use the admin socket.
pub(crate) const NOT_ALLOWED: &str = "run it as root, or as a member of the broker's group";

/// Tells when the process is told to stop.
pub(crate) struct Stop {
    term: Signal,
    int: Signal,
}

/// Tells when the process is told to read its configuration again.
pub(crate) struct Reloads(Signal);

/// From now on signals do not end the process.
///
/// # Errors
/// They cannot be received.
pub(crate) fn signals() -> io::Result<(Stop, Reloads)> {
    let stop = Stop { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
    Ok((stop, Reloads(signal(SignalKind::hangup())?)))
}

impl Stop {
    /// Until it is told.
    pub(crate) async fn told(&mut self) {
        tokio::select! { _ = self.term.recv() => {}, _ = self.int.recv() => {} }
    }
}

impl Reloads {
    /// Until it is told, again and again; false: never again. Those that come in between are one.
    pub(crate) async fn next(&mut self) -> bool {
        self.0.recv().await.is_some()
    }
}

/// The exit code of a process, or what ended it.
///
/// # Errors
/// What ended it.
pub(crate) fn exit_code(status: ExitStatus) -> Result<i32, String> {
    status.code().ok_or_else(|| format!("signal {}", status.signal().unwrap_or_default()))
}

/// Ctrl-C as a character.
const INTERRUPT: u8 = 3;

/// A terminal that does not show what is typed. Ctrl-C ends the line instead of the process, which would leave it so.
pub(crate) struct Silent(Termios);

impl Silent {
    /// It is silent until this is dropped.
    ///
    /// # Errors
    /// It is no terminal.
    pub(crate) fn begin() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT;
        tcsetattr(io::stdin(), OptionalActions::Flush, &silent)?;
        Ok(Silent(before))
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        // A terminal that has gone needs nothing restored.
        let _ = tcsetattr(io::stdin(), OptionalActions::Flush, &self.0);
    }
}

/// Who may use a file: its mode; `None` where the system has none.
pub(crate) fn mode(file: &Metadata) -> Option<u32> {
    Some(file.permissions().mode() & 0o777)
}

/// Creates a file that is not there, with a mode.
///
/// # Errors
/// It is there, or cannot be created.
pub(crate) fn create_new(file: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(mode).open(file)
}

/// What tells that a file is another one.
pub(crate) fn fingerprint(of: &Metadata) -> [u64; 4] {
    [of.ino(), of.len(), of.mtime().cast_unsigned(), of.mtime_nsec().cast_unsigned()]
}

/// A port whose last connections are not quite over can be bound.
///
/// # Errors
/// The system refuses.
pub(crate) fn bind_again(socket: &socket2::Socket) -> io::Result<()> {
    socket.set_reuse_address(true)
}

/// The system closes a connection whose peer takes nothing for so long.
///
/// # Errors
/// The system refuses.
pub(crate) fn bound_unread(tcp: &tokio::net::TcpStream, time: Duration) -> io::Result<()> {
    socket2::SockRef::from(tcp).set_tcp_user_timeout(Some(time))
}

/// Memory of the process that is in use; `None` where the system does not tell it.
pub(crate) fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    kilobytes.trim().trim_end_matches(" kB").parse::<u64>().ok()?.checked_mul(1024)
}

/// Name of this machine; empty where it has none.
pub(crate) fn host_name() -> String {
    let name =
        std::fs::read_to_string("/proc/sys/kernel/hostname").or_else(|_| std::fs::read_to_string("/etc/hostname"));
    name.unwrap_or_default().trim().to_owned()
}
