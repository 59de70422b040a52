//! Listeners: sockets are accepted here and given to workers.

mod accept;
pub(crate) mod tls;
pub(crate) mod ws;

pub(crate) use accept::{Accepting, peer};

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatemq_types::Transport;

use crate::config;
use tls::{Acceptor, TlsConfigError};
use ws::WebSocketSettings;

/// A listener's settings, and how many connections it has.
pub(crate) struct Listener {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// What it speaks.
    pub(crate) transport: Transport,
    /// TLS, where it speaks it.
    pub(crate) tls: Option<Acceptor>,
    /// WebSocket, where it speaks it.
    pub(crate) web_socket: Option<WebSocketSettings>,
    /// Handshakes at a time, per worker.
    pub(crate) handshakes_max: usize,
    /// Until TLS is established and CONNECT is whole.
    pub(crate) connect_timeout: Duration,
    connections_max: usize,
    connections: AtomicUsize,
}

impl Listener {
    /// From its checked settings.
    ///
    /// # Errors
    /// A certificate, key or CA file that cannot be used.
    pub(crate) fn new(name: &str, settings: &config::Listener) -> Result<Arc<Self>, TlsConfigError> {
        Ok(Arc::new(Listener {
            name: name.into(),
            transport: match (settings.tls.is_some(), settings.web_socket.is_some()) {
                (false, false) => Transport::Tcp,
                (true, false) => Transport::Tls,
                (false, true) => Transport::WebSocket,
                (true, true) => Transport::SecureWebSocket,
            },
            tls: settings.tls.as_ref().map(Acceptor::new).transpose()?,
            web_socket: settings.web_socket.clone(),
            handshakes_max: settings.handshakes_max,
            connect_timeout: Duration::from_millis(settings.connect_ms_max),
            connections_max: settings.connections_max,
            connections: AtomicUsize::new(0),
        }))
    }

    /// Counts one more connection, if there may be.
    fn enter(&self) -> bool {
        let entered = self.connections.fetch_add(1, Ordering::Relaxed) < self.connections_max;
        if !entered {
            self.leave();
        }
        entered
    }

    /// A connection has ended.
    pub(crate) fn leave(&self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Binds an address. Options set here are inherited by accepted sockets.
///
/// # Errors
/// The address cannot be bound.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<socket2::Socket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket)
}
