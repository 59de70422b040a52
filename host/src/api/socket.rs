//! The Unix socket. Its file's permissions are the authentication (owner and group may write, so connect); who acts is known by
//! the credentials that the kernel gives of the process at the other end.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;
use tokio::net::{UnixListener, UnixStream};

use super::caller::Caller;
use super::{Api, routes};

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

/// A bound socket; its file is removed when this is dropped.
pub(crate) struct Socket {
    listener: UnixListener,
    _file: File,
}

struct File(PathBuf);

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
pub(crate) async fn bind(path: &Path) -> Result<Socket, SocketError> {
    match std::fs::symlink_metadata(path) {
        Ok(found) if !std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            return Err(SocketError::NotASocket);
        }
        Ok(_) => match UnixStream::connect(path).await {
            Ok(_) => return Err(SocketError::InUse),
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(e) => return Err(e.into()),
        },
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(e.into()),
    }
    let listener = UnixListener::bind(path)?;
    let file = File(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(MODE))?;
    Ok(Socket { listener, _file: file })
}

impl Socket {
    /// Serves until it is dropped.
    pub(crate) async fn serve(self, api: Api) {
        let service = routes::router(api).into_make_service_with_connect_info::<Caller>();
        if let Err(e) = axum::serve(self.listener, service).await {
            tracing::error!("the admin socket ends: {e}");
        }
    }
}

impl Connected<IncomingStream<'_, UnixListener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        let credentials = stream.io().peer_cred().ok();
        Caller::Process { uid: credentials.map(|c| c.uid()), pid: credentials.and_then(|c| c.pid()) }
    }
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
