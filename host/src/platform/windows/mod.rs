//! Windows. Compiled, and run under Wine alone (README.md). What std and safe crates do not offer is refused, or told to be unknown.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::MetadataExt;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::signal::windows::{
    CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown,
};

pub(crate) mod admin;
pub(crate) mod supervisor;
pub(crate) mod users_file;

// Where only administrators write: below ProgramData everybody may create what is not there yet.
/// The base file when no `--config` names another.
pub(crate) const BASE_FILE: &str = r"C:\Program Files\GateMQ\gatemq.toml";
/// Default of `node.data_dir`, as TOML.
pub(crate) const DATA_DIR: &str = r"'C:\Program Files\GateMQ\data'";
/// Default of `plugin_host.drop_in_dir`, as TOML.
pub(crate) const DROP_IN_DIR: &str = r"'C:\Program Files\GateMQ\plugins'";
/// Default of `plugin_host.bundled_dir`, as TOML.
pub(crate) const BUNDLED_DIR: &str = r"'C:\Program Files\GateMQ\bundled'";
/// What somebody does who may not use the admin pipe.
pub(crate) const NOT_ALLOWED: &str = "run it as the broker's user, or as an administrator";

/// Tells when the process is told to stop. Windows ends it some seconds after the console or the machine does.
pub(crate) struct Stop {
    c: CtrlC,
    r#break: CtrlBreak,
    close: CtrlClose,
    shutdown: CtrlShutdown,
}

/// Tells when the process is told to read its configuration again: never, `gatemq reload` does that.
pub(crate) struct Reloads(());

/// From now on these do not end the process.
///
/// # Errors
/// They cannot be received.
pub(crate) fn signals() -> io::Result<(Stop, Reloads)> {
    let stop = Stop { c: ctrl_c()?, r#break: ctrl_break()?, close: ctrl_close()?, shutdown: ctrl_shutdown()? };
    Ok((stop, Reloads(())))
}

impl Stop {
    /// Until it is told.
    pub(crate) async fn told(&mut self) {
        tokio::select! {
            _ = self.c.recv() => {}
            _ = self.r#break.recv() => {}
            _ = self.close.recv() => {}
            _ = self.shutdown.recv() => {}
        }
    }
}

impl Reloads {
    /// Never again.
    pub(crate) async fn next(&mut self) -> bool {
        false
    }
}

/// The exit code of a process, or what ended it.
///
/// # Errors
/// The exception that ended it: codes of programs are of a byte here as elsewhere.
pub(crate) fn exit_code(status: ExitStatus) -> Result<i32, String> {
    match status.code().unwrap_or_default() {
        code @ 0..=255 => Ok(code),
        exception => Err(format!("exception {exception:#010x}")),
    }
}

/// A terminal that does not show what is typed, which std cannot make.
pub(crate) struct Silent(());

impl Silent {
    /// Refused, rather than showing a password.
    ///
    /// # Errors
    /// Always.
    pub(crate) fn begin() -> io::Result<Self> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "it would show what is typed; give the password by a file or a pipe",
        ))
    }
}

/// Who may use a file is in its access control list, which std cannot read.
pub(crate) fn mode(_: &Metadata) -> Option<u32> {
    None
}

/// Creates a file that is not there; who may use it is inherited from its directory.
///
/// # Errors
/// It is there, or cannot be created.
pub(crate) fn create_new(file: &Path, _: u32) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).open(file)
}

/// What tells that a file is another one.
pub(crate) fn fingerprint(of: &Metadata) -> [u64; 4] {
    [of.creation_time(), of.file_size(), of.last_write_time(), of.file_attributes().into()]
}

/// So it is anyway; what is called so here (SO_REUSEADDR) would let another process take a port that is in use.
///
/// # Errors
/// None.
pub(crate) fn bind_again(_: &socket2::Socket) -> io::Result<()> {
    Ok(())
}

/// There is no such bound: a peer that takes nothing keeps its connection, of which a listener has so many.
///
/// # Errors
/// None.
pub(crate) fn bound_unread(_: &tokio::net::TcpStream, _: Duration) -> io::Result<()> {
    Ok(())
}

/// Not known to std.
pub(crate) fn resident_bytes() -> Option<u64> {
    None
}

/// Name of this machine; empty where it has none.
pub(crate) fn host_name() -> String {
    std::env::var("COMPUTERNAME").unwrap_or_default()
}
