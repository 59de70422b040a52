//! The configuration, checked: whatever is in a [`Config`] can be used as it is.
//!
//! | module | what it does |
//! |---|---|
//! | [`keys`] | the one table of keys |
//! | [`layers`] | defaults, files, environment, `--set`: merged, with where each value came from |
//! | [`toml_layer`] | one TOML file, and the line of each value |
//! | [`check`] | merged values to a [`Config`], or every problem at once |
//! | [`limits`] | `[limits]` |
//! | [`cluster`] | `[cluster]` |
//! | [`http`] | `[http]` |
//! | [`listener`] | tables that only some listeners have |
//! | [`plugin`] | `[plugins.NAME]` |
//! | [`values`] | reads one value by the kind of its key |
//! | [`problem`] | a problem: file, line, key, what to do |
//! | [`mod@show`] | every value in effect as TOML, and where it came from; no secrets |

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use gatemq_plugin_loader::{BreakerOptions, LibraryHash, Options, Policy};
use gatemq_store::SyncMode;

use crate::listen::Network;
use crate::listen::ws::WebSocketSettings;

mod check;
mod cluster;
mod http;
pub(crate) mod keys;
mod layers;
mod limits;
mod listener;
mod plugin;
mod problem;
mod show;
#[cfg(test)]
mod tests;
mod toml_layer;
mod values;

pub(crate) use check::{check_dev, load, located, plugin_problems};
pub(crate) use cluster::{Cluster, ClusterTls, OnRefused};
pub(crate) use http::Http;
pub(crate) use layers::Sources;
pub(crate) use limits::{Limits, RatePolicy};
pub(crate) use problem::Problem;
pub(crate) use show::show;

/// Prints the table of keys.
pub(crate) fn print_keys() {
    for key in keys::KEYS {
        let value = match key.default {
            Some(default) => format!(" = {default}"),
            None => format!("   (for example {})", key.example),
        };
        println!("{}{value}\n    {}", key.path, key.why);
    }
}

/// The whole configuration.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Config {
    /// `[node]`
    pub(crate) node: Node,
    /// `[log]`
    pub(crate) log: Log,
    /// `[store]`
    pub(crate) store: Store,
    /// `[listeners.NAME]`: at least one, no two on one address.
    pub(crate) listeners: BTreeMap<String, Listener>,
    /// `[auth]`
    pub(crate) auth: Auth,
    /// `[plugin_host]`
    pub(crate) plugin_host: PluginHost,
    /// `[plugins.NAME]`
    pub(crate) plugins: BTreeMap<String, Plugin>,
    /// `[limits]`
    pub(crate) limits: Limits,
    /// `[overload]`
    pub(crate) overload: Overload,
    /// `[denials]`
    pub(crate) denials: Denials,
    /// `[cluster]`; `None`: the node is alone.
    pub(crate) cluster: Option<Cluster>,
    /// `[http]`; `None`: commands come over the admin socket only.
    pub(crate) http: Option<Http>,
}

/// `[denials]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Denials {
    /// Denials of each plugin, and as many of operators.
    pub(crate) per_raiser_max: usize,
}

/// `[node]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    /// Name in logs and events: printable, without spaces.
    pub(crate) name: String,
    /// What must survive a restart.
    pub(crate) data_dir: PathBuf,
    /// Threads that serve connections, at least 1.
    pub(crate) workers: usize,
    /// Where the bound addresses are written after the start.
    pub(crate) ready_file: Option<PathBuf>,
    /// Seconds between two publications below `$SYS/`; 0: never.
    pub(crate) sys_interval_s: u32,
    /// Seconds between two looks at TLS files; 0: only at a reload.
    pub(crate) tls_watch_s: u32,
    /// Milliseconds over which clients are told to go when the node stops.
    pub(crate) stop_spread_ms: u64,
    /// `[admin] socket`, where it is written.
    pub(crate) admin_socket: Option<PathBuf>,
}

impl Node {
    /// Where the broker answers commands.
    pub(crate) fn admin_socket(&self) -> PathBuf {
        self.admin_socket.clone().unwrap_or_else(|| self.data_dir.join("admin.sock"))
    }
}

/// `[overload]`; 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Overload {
    /// Milliseconds that a worker may come late.
    pub(crate) lag_ms_max: u64,
    /// Bytes of memory of the process.
    pub(crate) memory_bytes_max: u64,
}

/// `[log]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Log {
    /// A level or filter, for tracing-subscriber. Not checked yet.
    pub(crate) level: String,
    /// How lines look.
    pub(crate) format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// An object a line.
    Json,
}

/// `[store]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Store {
    /// Where what outlives a connection is kept.
    pub(crate) kind: StoreKind,
    /// When it is on the disk.
    pub(crate) sync: SyncMode,
}

/// Where sessions and retained messages are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StoreKind {
    /// In `data_dir`.
    Embedded,
    /// In memory: they live as long as the node runs.
    Memory,
}

/// `[listeners.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Listener {
    /// Address; port 0 takes a free one.
    pub(crate) bind: SocketAddr,
    /// Connections at a time.
    pub(crate) connections_max: usize,
    /// Connections a second; 0 is no limit.
    pub(crate) connections_per_s_max: u32,
    /// Connections of one address at a time; 0 is no limit.
    pub(crate) address_connections_max: u32,
    /// Connections of one address a second; 0 is no limit.
    pub(crate) address_connections_per_s_max: u32,
    /// Who says with a PROXY header whom it carries, and is believed.
    pub(crate) proxies: Vec<Network>,
    /// TLS handshakes at a time, per worker.
    pub(crate) handshakes_max: usize,
    /// Milliseconds until TLS is established and CONNECT is whole.
    pub(crate) connect_ms_max: u64,
    /// Whether an MQTT 3 client's message that is denied is acknowledged; else its connection is closed.
    pub(crate) acknowledges_denied: bool,
    /// TLS: `Some` is kind `mqtts` or `wss`.
    pub(crate) tls: Option<ListenerTls>,
    /// `[listeners.NAME.auth] chain`, as [`Auth::chain`]; `None`: that is asked.
    pub(crate) auth_chain: Option<Vec<String>>,
    /// WebSocket: `Some` is kind `ws` or `wss`.
    pub(crate) web_socket: Option<WebSocketSettings>,
}

/// `[listeners.NAME.tls]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListenerTls {
    /// Certificate chain, PEM, the server's own first.
    pub(crate) certificate_file: PathBuf,
    /// Its key, PEM.
    pub(crate) private_key_file: PathBuf,
    /// Further certificates, by the host name in lower case that clients ask for (SNI).
    pub(crate) sni: BTreeMap<String, CertificateFiles>,
    /// Whether clients show a certificate, and who signs it.
    pub(crate) client_auth: ClientAuth,
    /// Revocation lists of client certificates.
    pub(crate) client_crl: Option<ClientCrl>,
    /// Lowest version spoken.
    pub(crate) min_version: TlsVersion,
    /// Whether sessions may be resumed.
    pub(crate) resumption: bool,
}

/// `[listeners.NAME.tls.sni."host.example"]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CertificateFiles {
    /// Certificate chain, PEM, the server's own first.
    pub(crate) certificate_file: PathBuf,
    /// Its key, PEM.
    pub(crate) private_key_file: PathBuf,
}

/// `client_crl_file` and `client_crl_missing`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ClientCrl {
    /// Lists, PEM.
    pub(crate) file: PathBuf,
    /// Whether a certificate is accepted that no list is about.
    pub(crate) missing_allowed: bool,
}

/// Whether clients show a certificate. There is no asking for one without an authority that signs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ClientAuth {
    /// They are not asked.
    None,
    /// They may; one that is shown must be valid.
    Optional {
        /// Authorities, PEM.
        ca_file: PathBuf,
    },
    /// They must.
    Required {
        /// Authorities, PEM.
        ca_file: PathBuf,
    },
}

/// A version of TLS.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TlsVersion {
    /// 1.2
    V1_2,
    /// 1.3
    V1_3,
}

/// `[auth]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Auth {
    /// Auth plugins in the order in which they are asked, no name twice; `None` if not set. Whether it is needed, and
    /// whether the names are auth plugins, is known when the plugins are loaded.
    pub(crate) chain: Option<Vec<String>>,
}

/// `[plugin_host]`
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct PluginHost {
    /// Every library in here is loaded.
    pub(crate) drop_in_dir: PathBuf,
    /// Libraries in here are loaded when a plugin names them.
    pub(crate) bundled_dir: PathBuf,
    /// Whether nobody else may be able to write to a library.
    pub(crate) owner_checked: bool,
    /// Copies of libraries that are mapped for one plugin.
    pub(crate) copies_max: u32,
    /// Milliseconds between two questions to each plugin how it is.
    pub(crate) health_interval_ms: u64,
}

/// `[plugins.NAME]`
#[derive(Clone, PartialEq)]
pub(crate) struct Plugin {
    /// Where the library is.
    pub(crate) library: Library,
    /// Its library may be no other.
    pub(crate) sha256: Option<LibraryHash>,
    /// Whether the broker refuses to start without it.
    pub(crate) required: bool,
    /// Bounds and rules of its calls.
    pub(crate) policy: Policy,
    /// Events that wait for it, per ring.
    pub(crate) ring_events: usize,
    /// `[plugins.NAME.config]` as a JSON object; `{}` if absent.
    pub(crate) config_json: String,
}

/// Without the plugin's own configuration, which may hold secrets.
impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("library", &self.library)
            .field("required", &self.required)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// A drop-in that the configuration does not name: all defaults.
    pub(crate) fn drop_in() -> Self {
        fn number<N: std::str::FromStr + Default>(key: &str) -> N {
            // The table's defaults are numbers: a test loads them all.
            keys::default_of(key).and_then(|text| text.parse().ok()).unwrap_or_default()
        }
        let flag = |key: &str| keys::default_of(key) == Some("true");
        let ms = |key: &str| Duration::from_millis(number(key));
        Plugin {
            library: Library::DropIn,
            sha256: None,
            required: flag("plugins.*.required"),
            policy: Policy {
                options: Options {
                    timeout: ms("plugins.*.timeout_ms"),
                    calls_max: number("plugins.*.calls_max"),
                    ..Options::default()
                },
                calls_kept_percent: number("plugins.*.calls_kept_percent"),
                address_calls_max: number("plugins.*.address_calls_max"),
                breaker: BreakerOptions {
                    calls: number("plugins.*.breaker_calls"),
                    failed_percent: number("plugins.*.breaker_failed_percent"),
                    open: ms("plugins.*.breaker_open_ms"),
                },
                veto: flag("plugins.*.veto"),
            },
            ring_events: number("plugins.*.ring_events"),
            config_json: "{}".into(),
        }
    }
}

/// Where a plugin's library is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Library {
    /// The drop-in of the plugin's name.
    DropIn,
    /// In `bundled_dir`, by its name without `lib` and `.so`.
    Bundled(String),
    /// An absolute path.
    File(PathBuf),
}
