//! WebSocket without IO: bytes of the transport in, MQTT out, and back. tungstenite does the framing.
//!
//! | module | what it does |
//! |---|---|
//! | [`upgrade`] | the HTTP request that becomes a WebSocket, or is refused |
//! | [`frames`] | binary frames to MQTT bytes and back; limits, pings, close |

mod frames;
mod upgrade;

pub(crate) use frames::{Frames, WebSocketBreach};
pub(crate) use upgrade::{Upgrade, Upgraded};

/// What a WebSocket listener accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WebSocketSettings {
    /// Path of the request.
    pub(crate) path: String,
    /// Values of `Origin` that browsers may send; empty: any. A request without one is no browser's.
    pub(crate) origins: Vec<String>,
}

impl Default for WebSocketSettings {
    fn default() -> Self {
        WebSocketSettings { path: "/mqtt".into(), origins: Vec::new() }
    }
}
