//! Connections of the generator: TCP or TLS, optionally inside a WebSocket.

mod connection;
mod stream;
mod tcp;
mod tls;
mod websocket;

use std::net::SocketAddr;

use tokio_rustls::TlsConnector;

pub use connection::Conn;
pub use stream::Stream;
pub use tcp::{connect, listen};
pub use tls::{TlsOptions, connector, load_certs, load_key, provider, trust_all};

/// Where and how to connect; shared by all connections of a run.
pub struct Target {
    /// The broker.
    pub addr: SocketAddr,
    /// TLS, if spoken.
    pub tls: Option<TlsConnector>,
    /// WebSocket path, when MQTT goes inside a WebSocket.
    pub ws: Option<String>,
    /// Loopback source addresses to take turns with (the ports of one address run out at about 28,000).
    pub sources: u32,
    /// MQTT 5 instead of 3.1.1.
    pub v5: bool,
    /// User name; `{i}` becomes the digits of the client id.
    pub user: Option<String>,
    /// Password, with the same replacement.
    pub pass: Option<String>,
    /// Receive Maximum we announce.
    pub receive_max: u16,
}
