//! What the network is started with.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::gossip::key::Secret;
use super::tls::TlsFiles;
use crate::core::admission::{PROTOCOL_MAX, PROTOCOL_MIN};
use crate::core::{Boot, Hello, Name, NodeName};

/// The time of day in milliseconds since 1970.
#[derive(Clone)]
pub struct Clock(pub Arc<dyn Fn() -> u64 + Send + Sync>);

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock")
    }
}

/// Who we are, where we listen, whom we ask.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Our environment.
    pub environment: Name,
    /// Our cluster in it.
    pub cluster: Name,
    /// Our name in it.
    pub node: NodeName,
    /// Larger at each start.
    pub boot: Boot,
    /// Our build, for people.
    pub version: String,
    /// Lowest and highest protocol that we speak.
    pub protocol: (u16, u16),
    /// Where RPC listens (TCP). Port 0: any that is free.
    pub rpc_bind: SocketAddr,
    /// Where others reach it, if that is not where it listens.
    pub rpc_advertise: Option<SocketAddr>,
    /// Where gossip listens (UDP and TCP).
    pub gossip_bind: SocketAddr,
    /// Where others reach it, if that is not where it listens.
    pub gossip_advertise: Option<SocketAddr>,
    /// RPC addresses of members, `HOST:PORT` each; we ourselves may be among them.
    pub seeds: Vec<String>,
    /// Certificate, key and authorities.
    pub tls: TlsFiles,
    /// Secrets of gossip: the first is used, all are accepted.
    pub secrets: Vec<Secret>,
    /// Who may send gossip at all.
    pub allowed_networks: Vec<IpNet>,
    /// Connections for publications to each peer, 1 to 4; the others must have as many.
    pub data_connections: u8,
    /// Seeds and lost members are asked again this often.
    pub rejoin_interval: Duration,
    /// The time of day.
    pub clock: Clock,
}

/// How often seeds and lost members are asked again, unless set otherwise.
pub const REJOIN_INTERVAL: Duration = Duration::from_secs(5);

impl Settings {
    /// The lowest and highest protocol of this build.
    pub const PROTOCOL: (u16, u16) = (PROTOCOL_MIN, PROTOCOL_MAX);

    pub(super) fn hello(&self) -> Hello {
        let Clock(clock) = &self.clock;
        Hello {
            environment: self.environment.to_string(),
            cluster: self.cluster.to_string(),
            node: self.node.to_string(),
            boot: self.boot,
            clock_ms: clock(),
            protocol_min: self.protocol.0,
            protocol_max: self.protocol.1,
            version: self.version.clone(),
        }
    }
}
