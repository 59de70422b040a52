//! Merged values to a [`Config`], or every problem at once.

use std::collections::BTreeMap;
use std::path::PathBuf;

use figment::value::Value;

use super::cluster::cluster;
use super::http::http;
use super::layers::{Raw, Sources};
use super::listener::{client_crl, proxies, sni};
use super::plugin::plugins;
use super::problem::Problem;
use super::values::{Values, is_name};
use super::{
    Auth, ClientAuth, Config, Denials, Limits, Listener, ListenerTls, Log, LogFormat, Node, Overload, PluginHost,
    Store, StoreKind, TlsVersion,
};
use crate::listen::ws::WebSocketSettings;
use gatemq_store::SyncMode;

/// The largest packet in a cluster: with what goes beside it, it fits into a frame.
const CLUSTER_PACKET_BYTES_MAX: u32 = 48 << 20;

/// Reads and checks all layers.
///
/// # Errors
/// Everything that is wrong, in the order of files and keys.
pub(crate) fn load(sources: &Sources) -> Result<Config, Vec<Problem>> {
    let mut problems = Vec::new();
    let raw = Raw::load(sources, &mut problems);
    checked(&raw, problems)
}

/// As [`load`], of what was read, with the `problems` of reading it.
pub(super) fn checked(raw: &Raw, problems: Vec<Problem>) -> Result<Config, Vec<Problem>> {
    let partial = problems.iter().any(|problem| problem.file.is_some());
    let mut values = Values { raw, problems, partial };
    values.walk();
    let config = config(&mut values);
    let mut problems = values.problems;
    problems.sort_by(|a, b| (&a.file, a.line, &a.key).cmp(&(&b.file, b.line, &b.key)));
    problems.dedup();
    match config {
        Some(config) if problems.is_empty() => Ok(config),
        _ => Err(problems),
    }
}

/// What a plugin finds wrong with its configuration, one line a problem, with the place where it is written.
pub(crate) fn plugin_problems(sources: &Sources, plugin: &str, told: &str) -> Vec<Problem> {
    let raw = Raw::load(sources, &mut Vec::new());
    let located = told.lines().map(|line| {
        let (key, message) = match line.split_once(": ") {
            Some((key, message)) if !key.contains(char::is_whitespace) => (key, message),
            _ => ("", line),
        };
        let mut path = vec!["plugins", plugin, "config"];
        // Where a list begins is as near as lines are known.
        path.extend(key.split('[').next().unwrap_or_default().split('.').filter(|name| !name.is_empty()));
        let problem = raw.problem(&path, None, message);
        let below = if key.is_empty() { String::new() } else { format!(".{key}") };
        Problem { key: format!("plugins.{plugin}.config{below}"), ..problem }
    });
    located.collect()
}

/// A line that begins with a key, `listeners.a.bind: …`, with file and line in front, as far as they are known. Others as they are.
pub(crate) fn located(sources: &Sources, line: &str) -> String {
    let key_and_message =
        line.split_once(": ").and_then(|(key, message)| Some((toml_edit::Key::parse(key).ok()?, message)));
    let Some((key, message)) = key_and_message else { return line.to_owned() };
    let path: Vec<&str> = key.iter().map(toml_edit::Key::get).collect();
    let raw = Raw::load(sources, &mut Vec::new());
    match path.first().and_then(|table| raw.get(&[table])) {
        Some(_) => raw.problem(&path, None, message).to_string(),
        None => line.to_owned(),
    }
}

/// What forbids `--dev`, which starts without an auth plugin: then only this machine may connect.
pub(crate) fn check_dev(config: &Config) -> Vec<Problem> {
    let open = config.listeners.iter().filter(|(_, listener)| !listener.bind.ip().is_loopback());
    let message =
        "--dev admits everybody, so it listens on loopback only; bind 127.0.0.1 or [::1], or start without --dev";
    open.map(|(name, _)| Problem::new(format!("listeners.{name}.bind"), message)).collect()
}

/// `None` only after a problem.
fn config(values: &mut Values<'_>) -> Option<Config> {
    // All of them first: a problem in one must not hide those of the next.
    let (node, log, listeners) = (node(values), log(values), listeners(values));
    let (auth, plugin_host) = (auth(values), plugin_host(values));
    let (plugins, limits, store) = (plugins(values), Limits::checked(values), store(values));
    let per_raiser_max = values.number(&["denials", "per_raiser_max"]);
    let (lag_ms_max, memory_bytes_max) =
        (values.number(&["overload", "lag_ms_max"]), values.number(&["overload", "memory_bytes_max"]));
    let cluster = cluster(values, node.as_ref().map(|node| &*node.name));
    if let (Some(Some(_)), Some(store)) = (&cluster, &store)
        && store.kind == StoreKind::Memory
    {
        values.refuse(&["store", "kind"], "must be embedded in a cluster: what others are to have is kept in it");
    }
    let http = http(values);
    let packet_bytes_max = limits.as_ref().map_or(0, |limits| limits.packet_bytes_max);
    if matches!(cluster, Some(Some(_))) && packet_bytes_max > CLUSTER_PACKET_BYTES_MAX {
        let message = format!("is above {CLUSTER_PACKET_BYTES_MAX}, which is what one node can send to another");
        values.refuse(&["limits", "packet_bytes_max"], message);
    }
    Some(Config {
        node: node?,
        log: log?,
        store: store?,
        listeners: listeners?,
        auth,
        plugin_host: plugin_host?,
        plugins: plugins?,
        limits: limits?,
        denials: Denials { per_raiser_max: per_raiser_max? },
        overload: Overload { lag_ms_max: lag_ms_max?, memory_bytes_max: memory_bytes_max? },
        cluster: cluster?,
        http: http?,
    })
}

fn node(values: &mut Values<'_>) -> Option<Node> {
    let name = match values.raw.get(&["node", "name"]) {
        Some(_) => values.text(&["node", "name"]),
        None => Some(host_name()),
    };
    let unusable = |name: &String| name.len() > 255 || name.chars().any(|c| c.is_whitespace() || c.is_control());
    if name.as_ref().is_some_and(unusable) {
        values.refuse(&["node", "name"], "must be at most 255 bytes, printable and without spaces");
    }
    let workers = match values.raw.get(&["node", "workers"]) {
        Some(_) => values.number(&["node", "workers"]),
        None => Some(std::thread::available_parallelism().map_or(1, |n| n.get())),
    };
    let data_dir = values.path(&["node", "data_dir"]);
    let ready_file = values.path(&["node", "ready_file"]);
    let sys_interval_s = values.number(&["node", "sys_interval_s"]);
    let tls_watch_s = values.number(&["node", "tls_watch_s"]);
    let stop_spread_ms = values.number(&["node", "stop_spread_ms"]);
    let (name, data_dir, workers, sys_interval_s) = (name?, data_dir?, workers?, sys_interval_s?);
    let admin_socket = values.path(&["admin", "socket"]);
    let (tls_watch_s, stop_spread_ms) = (tls_watch_s?, stop_spread_ms?);
    Some(Node { name, data_dir, workers, ready_file, sys_interval_s, tls_watch_s, stop_spread_ms, admin_socket })
}

/// The host name, or `gatemq` where it cannot be known.
fn host_name() -> String {
    let name = crate::platform::host_name();
    if name.is_empty() { "gatemq".to_owned() } else { name }
}

fn log(values: &mut Values<'_>) -> Option<Log> {
    let (level, format) = (values.text(&["log", "level"]), values.text(&["log", "format"]));
    let format = if format? == "json" { LogFormat::Json } else { LogFormat::Text };
    Some(Log { level: level?, format })
}

fn store(values: &mut Values<'_>) -> Option<Store> {
    let (kind, sync) = (values.text(&["store", "kind"]), values.text(&["store", "sync"]));
    let interval_ms = values.number(&["store", "sync_interval_ms"]);
    let kind = if kind? == "memory" { StoreKind::Memory } else { StoreKind::Embedded };
    let sync = match &*sync? {
        "interval" => SyncMode::IntervalMs(interval_ms?),
        "never" => SyncMode::Never,
        _ => SyncMode::Always,
    };
    Some(Store { kind, sync })
}

fn listeners(values: &mut Values<'_>) -> Option<BTreeMap<String, Listener>> {
    let names = values.raw.names(&["listeners"]);
    if names.is_empty() && !values.partial {
        values.refuse(&["listeners"], "there is no listener; add one, such as [listeners.plain] with kind and bind");
    }
    let all: Vec<_> = names.into_iter().map(|name| (listener(values, &name), name)).collect();
    let mut listeners: BTreeMap<String, Listener> = BTreeMap::new();
    let mut complete = true;
    for (listener, name) in all {
        let Some(listener) = listener else {
            complete = false;
            continue;
        };
        let taken = listeners.iter().find(|(_, other)| other.bind == listener.bind && listener.bind.port() != 0);
        if let Some((other, _)) = taken {
            values.refuse(
                &["listeners", &name, "bind"],
                format!("is the address of [listeners.{other}] too; take another port"),
            );
        }
        listeners.insert(name, listener);
    }
    complete.then_some(listeners)
}

fn listener(values: &mut Values<'_>, name: &str) -> Option<Listener> {
    let path = |key: &'static str| ["listeners", name, key];
    if values.raw.get(&["listeners", name]).and_then(Value::as_dict).is_none() || !is_name(name) {
        return None; // the walk has said so
    }
    let kind = kind(values, name);
    let bind = match values.raw.get(&path("bind")) {
        Some(_) => values.address(&path("bind")),
        None => needed(values, &path("bind"), r#"such as bind = "0.0.0.0:8883""#),
    };
    let connections_max = values.number(&path("connections_max"));
    let connections_per_s_max = values.number(&path("connections_per_s_max"));
    let address_connections_max = values.number(&path("address_connections_max"));
    let address_connections_per_s_max = values.number(&path("address_connections_per_s_max"));
    let proxies = proxies(values, name);
    let handshakes_max = values.number(&path("handshakes_max"));
    let connect_ms_max = values.number(&path("connect_ms_max"));
    let denied_publish = values.text(&path("denied_publish"));
    let (secure, web) = match kind.as_deref() {
        Some(kind) => (Some(matches!(kind, "mqtts" | "wss")), Some(matches!(kind, "ws" | "wss"))),
        None => (None, None),
    };
    let has_tls = values.raw.get(&path("tls")).is_some();
    let tls = match (secure, has_tls) {
        (Some(true), true) => tls(values, name).map(Some),
        (Some(true), false) => {
            let kind = kind.as_deref().unwrap_or_default();
            needed(values, &path("tls"), &format!("with certificate_file and private_key_file, because kind is {kind}"))
        }
        (Some(false), true) => {
            let kind = kind.as_deref().unwrap_or_default();
            let with = if kind == "ws" { "wss" } else { "mqtts" };
            values.refuse(
                &path("tls"),
                format!(r#"kind {kind} has no TLS; write kind = "{with}", or remove this table"#),
            );
            None
        }
        (Some(false), false) => Some(None),
        (None, true) => tls(values, name).map(Some),
        (None, false) => None,
    };
    let web_socket = web_socket(values, name, web);
    let auth_chain = chain(values, &["listeners", name, "auth", "chain"]);
    kind?;
    Some(Listener {
        bind: bind?,
        connections_max: connections_max?,
        connections_per_s_max: connections_per_s_max?,
        address_connections_max: address_connections_max?,
        address_connections_per_s_max: address_connections_per_s_max?,
        proxies: proxies?,
        handshakes_max: handshakes_max?,
        connect_ms_max: connect_ms_max?,
        acknowledges_denied: denied_publish? == "acknowledge",
        tls: tls?,
        auth_chain,
        web_socket: web_socket?,
    })
}

/// `[listeners.NAME.websocket]`, which only kinds ws and wss have.
fn web_socket(values: &mut Values<'_>, name: &str, web: Option<bool>) -> Option<Option<WebSocketSettings>> {
    let table = ["listeners", name, "websocket"];
    let path = |key: &'static str| ["listeners", name, "websocket", key];
    if web == Some(false) {
        if values.raw.get(&table).is_some() {
            values.refuse(&table, r#"only kinds ws and wss have it; write kind = "ws" or "wss", or remove this table"#);
            return None;
        }
        return Some(None);
    }
    let request_path = match values.raw.get(&table) {
        Some(_) => values.text(&path("path")),
        None => Some(WebSocketSettings::default().path),
    };
    if request_path.as_ref().is_some_and(|p| !p.starts_with('/')) {
        values.refuse(&path("path"), "must begin with /, such as /mqtt");
        return None;
    }
    let origins = match values.raw.get(&path("origins")) {
        Some(_) => values.texts(&path("origins")),
        None => Some(Vec::new()),
    };
    Some(Some(WebSocketSettings { path: request_path?, origins: origins? }))
}

fn kind(values: &mut Values<'_>, name: &str) -> Option<String> {
    let path = ["listeners", name, "kind"];
    match values.raw.get(&path).map(|kind| kind.as_str()) {
        None => needed(values, &path, r#""mqtt", "mqtts", "ws" or "wss""#),
        Some(_) => values.text(&path),
    }
}

fn tls(values: &mut Values<'_>, name: &str) -> Option<ListenerTls> {
    let path = |key: &'static str| ["listeners", name, "tls", key];
    let certificate_file = needed_path(values, &path("certificate_file"));
    let private_key_file = needed_path(values, &path("private_key_file"));
    let sni = sni(values, name);
    let client_auth = client_auth(values, name);
    let client_crl = client_crl(values, name, client_auth.as_ref());
    let min_version = values.text(&path("min_version"));
    let resumption = match values.raw.get(&path("resumption")) {
        Some(_) => values.flag(&path("resumption")),
        None => Some(client_auth == Some(ClientAuth::None)),
    };
    Some(ListenerTls {
        certificate_file: certificate_file?,
        private_key_file: private_key_file?,
        sni: sni?,
        client_auth: client_auth?,
        client_crl: client_crl?,
        min_version: if min_version? == "1.3" { TlsVersion::V1_3 } else { TlsVersion::V1_2 },
        resumption: resumption?,
    })
}

fn client_auth(values: &mut Values<'_>, name: &str) -> Option<ClientAuth> {
    let path = ["listeners", name, "tls", "client_ca_file"];
    let wanted = values.text(&["listeners", name, "tls", "client_auth"]);
    let has_ca = values.raw.get(&path).is_some();
    let ca_file = values.path(&path);
    let wanted = wanted?;
    match (wanted.as_str(), ca_file) {
        ("none", None) if !has_ca => Some(ClientAuth::None),
        ("none", _) => {
            // Who writes this believes that clients are verified.
            values.refuse(&path, r#"is not used while client_auth is "none"; write "required" there, or remove this"#);
            None
        }
        ("optional", Some(ca_file)) => Some(ClientAuth::Optional { ca_file }),
        (_, Some(ca_file)) => Some(ClientAuth::Required { ca_file }),
        (wanted, None) if !has_ca => needed(values, &path, &format!("because client_auth is \"{wanted}\"")),
        (_, None) => None,
    }
}

fn auth(values: &mut Values<'_>) -> Auth {
    Auth { chain: chain(values, &["auth", "chain"]) }
}

/// An order of auth plugins.
fn chain(values: &mut Values<'_>, path: &[&str]) -> Option<Vec<String>> {
    let chain = values.names(path);
    if chain.as_ref().is_some_and(Vec::is_empty) {
        values.refuse(path, "is empty, so nobody would be admitted; name an auth plugin or remove the key");
    }
    chain
}

fn plugin_host(values: &mut Values<'_>) -> Option<PluginHost> {
    let drop_in_dir = values.path(&["plugin_host", "drop_in_dir"]);
    let bundled_dir = values.path(&["plugin_host", "bundled_dir"]);
    let owner_checked = values.flag(&["plugin_host", "owner_checked"]);
    let copies_max = values.number(&["plugin_host", "copies_max"]);
    let health_interval_ms = values.number(&["plugin_host", "health_interval_ms"]);
    Some(PluginHost {
        drop_in_dir: drop_in_dir?,
        bundled_dir: bundled_dir?,
        owner_checked: owner_checked?,
        copies_max: copies_max?,
        health_interval_ms: health_interval_ms?,
    })
}

pub(super) fn needed_path(values: &mut Values<'_>, path: &[&str]) -> Option<PathBuf> {
    match values.raw.get(path) {
        Some(_) => values.path(path),
        None => needed(values, path, "with the path of a PEM file"),
    }
}

pub(super) fn needed<T>(values: &mut Values<'_>, path: &[&str], what: &str) -> Option<T> {
    if !values.partial {
        values.refuse(path, format!("is missing; add it, {what}"));
    }
    None
}
