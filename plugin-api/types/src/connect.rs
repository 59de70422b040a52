//! What is known of a client that asks to be admitted.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use zeroize::Zeroize;

use crate::{Protocol, QoS};

/// One certificate, DER, byte for byte as the peer sent it. Cloning shares it.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Der(Arc<[u8]>);

impl Der {
    /// Takes a copy of `bytes`.
    pub fn new(bytes: &[u8]) -> Self {
        Der(bytes.into())
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Der {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Der({} bytes)", self.0.len())
    }
}

/// Bytes that are wiped when dropped and never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes ownership: no copy stays behind.
    pub fn new(bytes: Vec<u8>) -> Self {
        Secret(bytes)
    }

    /// The bytes. Do not log them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What carries the client's MQTT.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum Transport {
    /// TCP.
    Tcp = 1,
    /// TLS over TCP.
    Tls = 2,
    /// WebSocket over TCP.
    WebSocket = 3,
    /// WebSocket over TLS.
    SecureWebSocket = 4,
}

impl Transport {
    /// The kind of listener, as in the configuration: `mqtt`, `mqtts`, `ws`, `wss`.
    pub const fn name(self) -> &'static str {
        match self {
            Transport::Tcp => "mqtt",
            Transport::Tls => "mqtts",
            Transport::WebSocket => "ws",
            Transport::SecureWebSocket => "wss",
        }
    }
}

/// The trust anchor that a chain was verified with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Anchor {
    /// Subject of the anchor, in the form `CN=Acme Root, O=Acme`.
    pub subject: String,
    /// SHA-256 of its SubjectPublicKeyInfo (DER). Map tenants from this, never from a name that several anchors could
    /// certify.
    pub spki_sha256: [u8; 32],
}

/// What TLS says of the peer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Tls {
    /// Protocol version: 0x0303 is TLS 1.2, 0x0304 is TLS 1.3.
    pub version: u16,
    /// Cipher suite, by its IANA name.
    pub cipher: String,
    /// Server name that the client asked for (SNI).
    pub server_name: Option<String>,
    /// Application protocol agreed on (ALPN).
    pub alpn: Option<String>,
    /// Whether this handshake resumed an earlier session. The chain was verified again.
    pub resumed: bool,
    /// Every certificate that the peer sent, leaf first; empty when it sent none.
    pub chain: Vec<Der>,
    /// Whether the chain was verified and the peer proved to hold the leaf's key. A chain that is not verified is only
    /// what somebody sent.
    pub verified: bool,
    /// Indices into `chain` of the verified path, leaf (0) first. What is in `chain` and not in here was merely sent.
    pub path: Vec<u32>,
    /// The anchor that verified the path.
    pub anchor: Option<Anchor>,
    /// SHA-256 of the leaf (DER).
    pub leaf_sha256: Option<[u8; 32]>,
}

impl Tls {
    /// The peer's own certificate, if it was verified.
    pub fn verified_leaf(&self) -> Option<&Der> {
        if self.verified { self.chain.first() } else { None }
    }
}

/// A user property: name and value.
pub type UserProperty = (String, String);

/// The will of a CONNECT, without its payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// Will topic.
    pub topic: String,
    /// Will QoS.
    pub qos: QoS,
    /// Will retain.
    pub retain: bool,
    /// Payload size in bytes.
    pub payload_bytes: u32,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// User properties of the will.
    pub user_properties: Vec<UserProperty>,
}

/// Everything that is known of a client when it asks to be admitted.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Number of the connection, unique on this node while it runs.
    pub connection: u64,
    /// Name of the listener.
    pub listener: String,
    /// What carries the connection.
    pub transport: Transport,
    /// Our end.
    pub local: SocketAddr,
    /// The client's end; behind a trusted proxy what the proxy says.
    pub remote: SocketAddr,
    /// The proxy's address when one stands between.
    pub proxied_by: Option<SocketAddr>,
    /// TLS, where the listener speaks it.
    pub tls: Option<Tls>,
    /// MQTT version.
    pub protocol: Protocol,
    /// Client identifier; never empty: the broker assigns one where the client gave none.
    pub client_id: String,
    /// Whether the broker assigned it.
    pub client_id_assigned: bool,
    /// User name.
    pub user_name: Option<String>,
    /// Password. This copy is wiped when it is dropped, at the end of the call; a copy of yours is not.
    pub password: Option<Secret>,
    /// Clean Start (5.0) or Clean Session (3.x).
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Session Expiry Interval in seconds.
    pub session_expiry_s: u32,
    /// Receive Maximum of the client.
    pub receive_max: u16,
    /// Maximum Packet Size of the client in bytes; 0 is none.
    pub packet_bytes_max: u32,
    /// User properties.
    pub user_properties: Vec<UserProperty>,
    /// Authentication Method (enhanced authentication).
    pub auth_method: Option<String>,
    /// Authentication Data.
    pub auth_data: Option<Secret>,
    /// The will.
    pub will: Option<Will>,
    /// Authentications of clients from this address (IPv4, or IPv6 /64) that were refused, in any way but for a failing
    /// provider, until 15 minutes ago without one. It is counted for some 60,000 addresses at a time, and at most to 65,535.
    pub failures: u32,
    /// How long the answer is waited for, in milliseconds: the plugin's `timeout_ms`.
    pub deadline_ms: u32,
}

impl Connect {
    /// A client of MQTT 5.0 that gives nothing but its client identifier, over TCP on loopback: what tools and tests begin with.
    pub fn new(client_id: impl Into<String>) -> Self {
        Connect {
            connection: 1,
            listener: "mqtt".into(),
            transport: Transport::Tcp,
            local: ([127, 0, 0, 1], 1883).into(),
            remote: ([127, 0, 0, 1], 49_152).into(),
            proxied_by: None,
            tls: None,
            protocol: Protocol::V5,
            client_id: client_id.into(),
            client_id_assigned: false,
            user_name: None,
            password: None,
            clean_start: true,
            keep_alive_s: 60,
            session_expiry_s: 0,
            receive_max: u16::MAX,
            packet_bytes_max: 0,
            user_properties: Vec::new(),
            auth_method: None,
            auth_data: None,
            will: None,
            failures: 0,
            deadline_ms: 5000,
        }
    }
}
