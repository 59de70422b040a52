//! The Unix socket for commands. Its file's permissions are the authentication (owner and group may write, so connect); who acts is known
//! by the credentials that the kernel gives of the process at the other end.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// What commands connect to, and how.
pub(crate) use tokio::net::{UnixListener as Listener, UnixStream as Stream};

/// Owner and group may read and write: connecting needs both.
const MODE: u32 = 0o660;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// Somebody answers at it.
    #[error("another process answers at it: is another broker running?")]
    InUse,
    /// What is there is no socket.
    #[error("it is there and is not a socket: remove it, or name another path")]
    NotASocket,
    /// The system refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The socket's file, which is removed when this is dropped.
pub(crate) struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        // It may be gone, with its directory.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Binds the socket at `path`. A file that a broker left which was killed is replaced.
///
/// # Errors
/// See [`SocketError`].
pub(crate) async fn bind(path: &Path) -> Result<(Listener, File), SocketError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(SocketError::NotASocket);
        }
        Ok(_) => match Stream::connect(path).await {
            Ok(_) => return Err(SocketError::InUse),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(e) => return Err(e.into()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    let listener = Listener::bind(path)?;
    let file = File(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok((listener, file))
}

/// User and process at the other end, as far as the kernel says.
pub(crate) fn peer(stream: &Stream) -> (Option<u32>, Option<i32>) {
    let credentials = stream.peer_cred().ok();
    (credentials.map(|c| c.uid()), credentials.and_then(|c| c.pid()))
}

/// Connects to the broker whose socket is at `path`.
///
/// # Errors
/// Nobody answers there, or this user may not.
pub(crate) async fn connect(path: &Path) -> io::Result<Stream> {
    Stream::connect(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Guards the socket's file: nobody but owner and group may connect; a second broker is refused, what a killed one left is
    /// replaced, what is no socket is left alone, and the file goes with the socket.
    #[test]
    fn the_file_is_taken_with_care() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        run(async {
            let socket = bind(&path).await.unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, MODE);
            assert!(matches!(bind(&path).await, Err(SocketError::InUse)));
            drop(socket);
            assert!(!path.exists());
            // As a killed one leaves it.
            drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
            assert!(path.exists() && bind(&path).await.is_ok());
            std::fs::write(&path, "precious").unwrap();
            assert!(matches!(bind(&path).await, Err(SocketError::NotASocket)));
            assert_eq!(std::fs::read(&path).unwrap(), b"precious");
        });
    }
}
