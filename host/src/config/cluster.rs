//! `[cluster]`: without it the node is alone.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use gatemq_cluster::net::Settings;
use ipnet::IpNet;

use super::check::{needed, needed_path};
use super::values::Values;

/// `[cluster]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Cluster {
    /// What its nodes are for. Nodes of another environment never join.
    pub(crate) environment: String,
    /// Name of the cluster within the environment.
    pub(crate) name: String,
    /// Where gossip is spoken.
    pub(crate) bind: SocketAddr,
    /// Where other nodes find it, if not there.
    pub(crate) advertise: Option<SocketAddr>,
    /// Where RPC is served.
    pub(crate) rpc_bind: SocketAddr,
    /// Where other nodes find it, if not there.
    pub(crate) rpc_advertise: Option<SocketAddr>,
    /// RPC addresses of any members: host or IP address, and port.
    pub(crate) seeds: Vec<String>,
    /// Secrets, one a line: the first is used, all are accepted.
    pub(crate) secret_file: PathBuf,
    /// From where gossip is accepted.
    pub(crate) allowed_networks: Vec<IpNet>,
    /// Certificate, key and authorities of the nodes.
    pub(crate) tls: ClusterTls,
    /// Milliseconds that a node has to accept a message before it is kept for it.
    pub(crate) ack_wait_ms: u64,
    /// Bytes of messages that are kept for each node that is away.
    pub(crate) hint_bytes_max: u64,
    /// Seconds for which they are.
    pub(crate) hint_s_max: u64,
    /// Whether a node that is refused goes on alone.
    pub(crate) on_refused: OnRefused,
    /// Seconds that handing sessions over may take when the node stops.
    pub(crate) leave_s_max: u64,
    /// Lowest and highest protocol that is spoken with other nodes.
    pub(crate) protocol: (u16, u16),
}

/// `[cluster.tls]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ClusterTls {
    /// Certificate chain, PEM, the node's own first.
    pub(crate) certificate_file: PathBuf,
    /// Its key, PEM.
    pub(crate) private_key_file: PathBuf,
    /// Authorities that sign nodes, PEM.
    pub(crate) ca_file: PathBuf,
    /// What they have revoked, PEM.
    pub(crate) crl_file: Option<PathBuf>,
}

/// What a node does that every member refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnRefused {
    /// It ends, with an exit code.
    Exit,
    /// It serves its clients alone, says that it is degraded, and keeps asking.
    Degraded,
}

/// `None` only after a problem; `Some(None)`: there is no table.
pub(super) fn cluster(values: &mut Values<'_>, node: Option<&str>) -> Option<Option<Cluster>> {
    if values.raw.get(&["cluster", "environment"]).is_none() && !is_begun(values) {
        return Some(None);
    }
    if let Some(node) = node.filter(|node| !is_cluster_name(node)) {
        let message = format!("{NAME_RULE}, because the node is in a cluster; `{}` is not", node.escape_debug());
        values.refuse(&["node", "name"], message);
    }
    let environment = match values.raw.get(&["cluster", "environment"]) {
        Some(_) => name(values, "environment"),
        None => needed(
            values,
            &["cluster", "environment"],
            r#"such as environment = "production": nodes of another one never join"#,
        ),
    };
    let cluster = name(values, "name");
    let (bind, advertise) = (bound(values, "bind", "7946"), advertised(values, "advertise"));
    let (rpc_bind, rpc_advertise) = (bound(values, "rpc_bind", "7947"), advertised(values, "rpc_advertise"));
    for (bind, advertise, keys) in
        [(bind, &advertise, ("bind", "advertise")), (rpc_bind, &rpc_advertise, ("rpc_bind", "rpc_advertise"))]
    {
        if bind.is_some_and(|bind| bind.ip().is_unspecified()) && matches!(advertise, Some(None)) {
            let message = format!("is every address of this machine, so {} must say which one other nodes use", keys.1);
            values.refuse(&["cluster", keys.0], message);
        }
    }
    let (seeds, allowed_networks) = (seeds(values), networks(values));
    let secret_file = match values.raw.get(&["cluster", "secret_file"]) {
        Some(_) => values.path(&["cluster", "secret_file"]),
        None => {
            needed(values, &["cluster", "secret_file"], "with the path of a file that all nodes have, and nobody else")
        }
    };
    let tls = tls(values);
    let ack_wait_ms = values.number(&["cluster", "ack_wait_ms"]);
    let hint_bytes_max = values.number(&["cluster", "hint_bytes_max"]);
    let hint_s_max = values.number(&["cluster", "hint_s_max"]);
    let on_refused = values.text(&["cluster", "on_refused"]);
    let on_refused = if on_refused? == "exit" { OnRefused::Exit } else { OnRefused::Degraded };
    let (leave_s_max, protocol) = (values.number(&["cluster", "leave_s_max"]), protocol(values));
    Some(Some(Cluster {
        environment: environment?,
        name: cluster?,
        bind: bind?,
        advertise: advertise?,
        rpc_bind: rpc_bind?,
        rpc_advertise: rpc_advertise?,
        seeds: seeds?,
        secret_file: secret_file?,
        allowed_networks: allowed_networks?,
        tls: tls?,
        ack_wait_ms: ack_wait_ms?,
        hint_bytes_max: hint_bytes_max?,
        hint_s_max: hint_s_max?,
        on_refused,
        leave_s_max: leave_s_max?,
        protocol: protocol?,
    }))
}

/// Within what this version speaks.
fn protocol(values: &mut Values<'_>) -> Option<(u16, u16)> {
    let mut number = |key: &str, default| match values.raw.get(&["cluster", key]) {
        Some(_) => values.number(&["cluster", key]),
        None => Some(default),
    };
    let (min, max) = Settings::PROTOCOL;
    let (min, max) = (number("protocol_min", min)?, number("protocol_max", max)?);
    if min > max {
        values.refuse(&["cluster", "protocol_min"], format!("is {min}, above protocol_max, which is {max}"));
        return None;
    }
    Some((min, max))
}

/// Whether somebody began a table without its first key. Keys that have defaults are always there.
fn is_begun(values: &Values<'_>) -> bool {
    let without_default = ["bind", "rpc_bind", "secret_file", "tls", "advertise", "rpc_advertise"];
    without_default.iter().any(|key| values.raw.get(&["cluster", key]).is_some())
}

const NAME_RULE: &str = "must be 1 to 64 of a-z, 0-9, dot, dash and underscore";

/// What a name in a certificate of the cluster may be (it is part of a SPIFFE ID).
pub(crate) fn is_cluster_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b".-_".contains(&byte);
    !name.is_empty() && name.len() <= 64 && name.bytes().all(fits)
}

fn name(values: &mut Values<'_>, key: &'static str) -> Option<String> {
    let name = values.text(&["cluster", key])?;
    if !is_cluster_name(&name) {
        values.refuse(&["cluster", key], format!("{NAME_RULE}; `{}` is not", name.escape_debug()));
        return None;
    }
    Some(name)
}

fn bound(values: &mut Values<'_>, key: &'static str, port: &str) -> Option<SocketAddr> {
    match values.raw.get(&["cluster", key]) {
        Some(_) => values.address(&["cluster", key]),
        None => needed(values, &["cluster", key], &format!(r#"such as {key} = "10.0.0.1:{port}""#)),
    }
}

fn advertised(values: &mut Values<'_>, key: &'static str) -> Option<Option<SocketAddr>> {
    if values.raw.get(&["cluster", key]).is_none() {
        return Some(None);
    }
    let address = values.address(&["cluster", key])?;
    if address.ip().is_unspecified() {
        values.refuse(&["cluster", key], "must be an address that other nodes can connect to");
        return None;
    }
    Some(Some(address))
}

fn seeds(values: &mut Values<'_>) -> Option<Vec<String>> {
    let seeds = values.texts(&["cluster", "seeds"])?;
    let is_seed = |seed: &String| {
        let Some((host, port)) = seed.rsplit_once(':') else { return false };
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port > 0) && !host.contains(char::is_whitespace)
    };
    if let Some(wrong) = seeds.iter().find(|seed| !is_seed(seed)) {
        let message = format!(
            "`{}` is no host and port; write the rpc_bind of a member, such as 10.0.0.2:7947",
            wrong.escape_debug()
        );
        values.refuse(&["cluster", "seeds"], message);
        return None;
    }
    Some(seeds)
}

fn networks(values: &mut Values<'_>) -> Option<Vec<IpNet>> {
    let path = ["cluster", "allowed_networks"];
    let texts = values.texts(&path)?;
    let network = |text: &String| {
        let address = || text.parse::<IpAddr>().map(IpNet::from).ok();
        text.parse::<IpNet>().ok().or_else(address)
    };
    if let Some(wrong) = texts.iter().find(|text| network(text).is_none()) {
        let message = format!("`{}` is no network; write one such as 10.0.0.0/8", wrong.escape_debug());
        values.refuse(&path, message);
        return None;
    }
    if texts.is_empty() {
        return Some(["0.0.0.0/0", "::/0"].iter().filter_map(|text| text.parse().ok()).collect());
    }
    Some(texts.iter().filter_map(network).collect())
}

fn tls(values: &mut Values<'_>) -> Option<ClusterTls> {
    let path = |key: &'static str| ["cluster", "tls", key];
    let certificate_file = needed_path(values, &path("certificate_file"));
    let private_key_file = needed_path(values, &path("private_key_file"));
    let ca_file = needed_path(values, &path("ca_file"));
    let crl_file = values.path(&path("crl_file"));
    Some(ClusterTls {
        certificate_file: certificate_file?,
        private_key_file: private_key_file?,
        ca_file: ca_file?,
        crl_file,
    })
}
