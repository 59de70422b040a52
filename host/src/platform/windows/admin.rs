//! A named pipe for commands. Not a port on loopback with a token in a file: std can neither make a file that only its owner reads nor see
//! whether it is one, and everybody on the machine can connect to a port. A pipe has an access control list of its own from its first
//! moment: by default its creator, administrators and the system may write to it, so say something, and everybody else may read, so
//! hear nothing, for nothing is said unasked. Not from other machines.
//!
//! Whoever may only read can hold pipes open: each for as long as [`SILENCE_MAX`], [`PIPES_MAX`] of them; commands wait then.
//! A process that takes the name before the broker does has the broker refuse to start; it sees what commands ask meanwhile, and
//! cannot act as who asks (tokio allows identification only).

use std::io;
use std::path::Path;
use std::time::Duration;

use tokio::net::windows::named_pipe::{ClientOptions, NamedPipeServer, ServerOptions};
use tokio::task::JoinSet;

/// How commands connect.
pub(crate) use tokio::net::windows::named_pipe::NamedPipeClient as Stream;

use crate::listen::tls::sha256;

/// Pipes at a time.
const PIPES_MAX: usize = 64;
/// Until whoever has connected says something.
const SILENCE_MAX: Duration = Duration::from_secs(5);
/// Until it is tried again when no pipe can be made: all are in use.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// How long a command waits for a pipe that is not in use.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// ERROR_PIPE_BUSY: all are in use.
const BUSY: i32 = 231;
/// What all names of pipes begin with.
const PIPES: &str = r"\\.\pipe\";

/// Why there is no pipe.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Somebody has it.
    #[error("another process has the pipe {0}: is another broker running?")]
    InUse(String),
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// A pipe leaves no file behind.
pub(crate) struct File(());

/// What commands connect to.
pub(crate) struct Listener {
    name: String,
    /// There always is one that nobody has connected to, so that the name is ours.
    next: NamedPipeServer,
    /// Those whose other end has not said anything yet.
    silent: JoinSet<io::Result<NamedPipeServer>>,
    /// It has been told that all are in use.
    is_exhausted: bool,
}

/// Makes the pipe that belongs to `path`.
///
/// # Errors
/// See [`SocketError`].
pub(crate) async fn bind(path: &Path) -> Result<(Listener, File), SocketError> {
    let name = pipe_name(path)?;
    let next = pipe(&name, true).map_err(|e| match e.kind() {
        io::ErrorKind::PermissionDenied => SocketError::InUse(name.clone()),
        _ => SocketError::Io(e),
    })?;
    Ok((Listener { name, next, silent: JoinSet::new(), is_exhausted: false }, File(())))
}

/// A path that is no pipe's stands for one: broker and commands have the same configuration.
fn pipe_name(path: &Path) -> io::Result<String> {
    let path = std::path::absolute(path)?.to_string_lossy().to_lowercase();
    if path.starts_with(PIPES) {
        return Ok(path);
    }
    let hash = sha256(path.as_bytes());
    let digits: String = hash[..16].iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("{PIPES}gatemq-{digits}"))
}

fn pipe(name: &str, is_first: bool) -> io::Result<NamedPipeServer> {
    ServerOptions::new().first_pipe_instance(is_first).reject_remote_clients(true).max_instances(PIPES_MAX).create(name)
}

/// The same pipe, when something has come by it.
async fn heard(pipe: NamedPipeServer) -> io::Result<NamedPipeServer> {
    tokio::time::timeout(SILENCE_MAX, pipe.readable()).await.map_err(|_| io::ErrorKind::TimedOut)??;
    Ok(pipe)
}

impl Listener {
    /// Somebody has connected, or went again at once: another pipe waits from now on. Where none can be made it is tried again, and
    /// whoever has connected waits.
    async fn begin(&mut self, connected: io::Result<()>) {
        if connected.is_err() {
            let _ = self.next.disconnect();
            return;
        }
        match pipe(&self.name, false) {
            Ok(next) => {
                self.is_exhausted = false;
                self.silent.spawn(heard(std::mem::replace(&mut self.next, next)));
            }
            Err(e) => {
                if !std::mem::replace(&mut self.is_exhausted, true) {
                    tracing::warn!("the admin pipe: commands wait: {e}");
                }
                tokio::time::sleep(EXHAUSTED_WAIT).await;
            }
        }
    }
}

impl axum::serve::Listener for Listener {
    type Io = NamedPipeServer;
    type Addr = ();

    async fn accept(&mut self) -> (NamedPipeServer, ()) {
        loop {
            tokio::select! {
                Some(heard) = self.silent.join_next() => {
                    // Others were silent for too long, or have gone.
                    if let Ok(Ok(pipe)) = heard {
                        return (pipe, ());
                    }
                }
                connected = self.next.connect() => self.begin(connected).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// User and process at the other end: std cannot ask.
pub(crate) fn peer(_: &NamedPipeServer) -> (Option<u32>, Option<i32>) {
    (None, None)
}

/// Connects to the broker whose pipe belongs to `path`.
///
/// # Errors
/// There is none, this user may not, or all pipes are in use for too long.
pub(crate) async fn connect(path: &Path) -> io::Result<Stream> {
    let name = pipe_name(path)?;
    let connected = async {
        loop {
            match ClientOptions::new().open(&name) {
                Err(e) if e.raw_os_error() == Some(BUSY) => tokio::time::sleep(EXHAUSTED_WAIT).await,
                other => return other,
            }
        }
    };
    tokio::time::timeout(CONNECT_MAX, connected).await.map_err(|_| io::ErrorKind::TimedOut)?
}
