//! What commands connect to: a Unix socket, a named pipe on Windows (`platform/*/admin.rs`).

use std::path::Path;

use axum::extract::connect_info::Connected;
use axum::serve::IncomingStream;

use super::caller::Caller;
use super::{Api, routes};
use crate::platform::admin::{self, File, Listener, SocketError};

/// A bound socket; its file is removed when this is dropped.
pub(crate) struct Socket {
    listener: Listener,
    _file: File,
}

/// Binds the socket at `path`. A file that a broker left which was killed is replaced.
///
/// # Errors
/// See [`SocketError`].
pub(crate) async fn bind(path: &Path) -> Result<Socket, SocketError> {
    let (listener, file) = admin::bind(path).await?;
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

impl Connected<IncomingStream<'_, Listener>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Listener>) -> Self {
        let (uid, pid) = admin::peer(stream.io());
        Caller::Process { uid, pid }
    }
}
