//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// A multi-tenant MQTT broker whose gatekeepers are plugins.
#[derive(Parser)]
#[command(name = "gatemq", version, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Run the broker in the foreground.
    Run {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// For trying things out: may run without an auth provider, and listens on loopback only.
        #[arg(long)]
        dev: bool,
    },
    /// Check the configuration, the TLS files that it names, and the plugins: every problem at once.
    ///
    /// Plugins are loaded, which may run code of theirs, and look at their configuration; none is started. Exit codes: 78 the
    /// configuration is wrong, 69 a plugin is refused.
    Check {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// Look at no plugin: as on a machine where they are not installed.
        #[arg(long)]
        without_plugins: bool,
    },
    /// Look at the configuration.
    Config {
        /// What to do with it.
        #[command(subcommand)]
        command: ConfigCommand,
    },
    /// Look into the store of a broker that does not run; run it as the broker's user.
    ///
    /// Exit codes: 65 it is damaged or of a later version, 66 there is none, 75 another process has it, 69 the system refused,
    /// 78 the configuration is wrong.
    Store {
        /// What to do.
        #[command(subcommand)]
        command: StoreCommand,
    },
    /// List the clients that are connected.
    Clients {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Which of them.
        #[command(flatten)]
        which: WhichArgs,
        /// Most rows that are shown.
        #[arg(long, default_value_t = 1000, value_name = "N")]
        rows: usize,
        /// Those instead whose clients are away and whose sessions are kept: what waits for them, and when they expire.
        #[arg(long)]
        away: bool,
    },
    /// Disconnect clients. Their sessions stay, their wills are not published, and they may come back: to keep them out, deny them.
    Kick {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Which clients: at least one condition.
        #[command(flatten)]
        which: WhichArgs,
        /// Why: for the event, and for 5.0 clients.
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Keep somebody out, at once and over restarts: addresses, certificates, users, clients.
    Deny {
        /// What to do.
        #[command(subcommand)]
        command: DenyCommand,
    },
    /// Look at the plugins of a running broker, load one again; look at a library without a broker, and try it out.
    Plugin {
        /// What to do.
        #[command(subcommand)]
        command: PluginCommand,
    },
    /// Have a running broker read its configuration again and load changed plugins, as SIGHUP does.
    Reload {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Say why a client that is connected may publish or subscribe to something, or may not.
    Explain {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// What is asked.
        #[command(flatten)]
        args: ExplainArgs,
    },
    /// What happens.
    Events {
        /// What to do.
        #[command(subcommand)]
        command: EventsCommand,
    },
    /// Look at the cluster of a running broker.
    Cluster {
        /// What to do.
        #[command(subcommand)]
        command: ClusterCommand,
    },
    /// Make a configuration of another broker's. Files that are there are never overwritten.
    Import {
        /// Whose.
        #[command(subcommand)]
        command: ImportCommand,
    },
    /// Print every configuration key with its default and its purpose.
    Keys,
    /// Set the password of a user of the plugin auth-file. It is asked for, or read from the first line of standard input.
    Passwd {
        /// File to write it into; without it the lines for such a file are printed.
        #[arg(long, value_name = "FILE")]
        users_file: Option<PathBuf>,
        /// User.
        name: String,
    },
    /// Make an authority for a cluster, and certificates of its nodes. Files that are there are never overwritten.
    Pki {
        /// What to make.
        #[command(subcommand)]
        command: PkiCommand,
    },
    /// Print the version.
    Version,
    /// Write man pages and shell completions: for packages.
    #[command(hide = true)]
    Manual {
        /// Where to.
        directory: PathBuf,
    },
}

/// What to do with the cluster.
#[derive(Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show its members as this node sees them, whether this node is ready, and what waits for nodes that are away.
    Status {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Keep a node out, on every node and over restarts: its connections end, and it is not admitted again.
    Forbid {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Its name.
        node: String,
    },
    /// Let a forbidden node join again.
    Allow {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Its name.
        node: String,
    },
    /// Exchange the key of gossip without a pause: add the new one on every node, then use it on every node, then remove the old one.
    ///
    /// Keys are of this node until it ends: write the secrets into cluster.secret_file too.
    Key {
        /// What to do.
        #[command(subcommand)]
        command: KeyCommand,
    },
}

/// What to do with the keys of gossip.
#[derive(Subcommand)]
pub(crate) enum KeyCommand {
    /// Show those that this node accepts, by the first bytes of their digests.
    List {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Accept the key of one more secret, which is read from the first line of standard input.
    Add {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Encrypt with a key from now on; every node must accept it already.
    Use {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Which, as `list` shows it.
        key: String,
    },
    /// Accept a key no more; no node may use it any more.
    Remove {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Which, as `list` shows it.
        key: String,
    },
}

/// Which cluster.
#[derive(Args)]
pub(crate) struct ClusterArgs {
    /// What it is for, as cluster.environment says.
    #[arg(long, value_name = "NAME")]
    pub(crate) environment: String,
    /// Its name, as cluster.name says.
    #[arg(long, value_name = "NAME", default_value = "gatemq")]
    pub(crate) cluster: String,
}

/// What to make.
#[derive(Subcommand)]
pub(crate) enum PkiCommand {
    /// An authority: ca.pem for every node, and ca.key, which signs them.
    Ca {
        /// Of which cluster.
        #[command(flatten)]
        of: ClusterArgs,
        /// Directory for its files, made where there is none.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
    /// The certificate of a node: NAME.pem and NAME.key.
    Node {
        /// Name of the node, as node.name says.
        name: String,
        /// Of which cluster.
        #[command(flatten)]
        of: ClusterArgs,
        /// Directory with the authority's files.
        #[arg(long, value_name = "DIR")]
        ca: PathBuf,
        /// Directory for the node's files, made where there is none.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Days for which it is valid.
        #[arg(long, value_name = "N", default_value_t = 365)]
        days: u32,
    },
}

/// Whose configuration.
#[derive(Subcommand)]
pub(crate) enum ImportCommand {
    /// Of mosquitto: listeners, limits, the password file, whose hashes keep working, and the ACL file. Says of every line what became
    /// of it.
    ///
    /// Exit codes: 0 done, 65 a line cannot be understood, 66 a file cannot be read, 73 the output is there already or cannot be
    /// written. Only with 0 anything is written.
    Mosquitto {
        /// mosquitto.conf.
        file: PathBuf,
        /// Directory for gatemq.toml and users.toml, made where there is none.
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

/// What to do with events.
#[derive(Subcommand)]
pub(crate) enum EventsCommand {
    /// Print them as they happen, a line each, until it is ended: those of classes security and system, unless others are named.
    ///
    /// Of class traffic there is one for each message. Who reads too slowly is told how many were lost.
    Tail {
        /// Which broker, and how it is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Which of them.
        #[command(flatten)]
        args: EventsArgs,
    },
}

/// Which events: all conditions that are given must hold.
#[derive(Args)]
pub(crate) struct EventsArgs {
    /// Of this kind, such as ClientRefused; may be given several times.
    #[arg(long)]
    pub(crate) kind: Vec<String>,
    /// Of this class: security, lifecycle, traffic, system; may be given several times.
    #[arg(long)]
    pub(crate) class: Vec<String>,
    /// About a client of this tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// About a client of this user.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// About a client of this client identifier.
    #[arg(long)]
    pub(crate) client_id: Option<String>,
    /// So many of the latest ones first, as far as they are security or system.
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub(crate) recent: usize,
}

/// What to do with the configuration.
#[derive(Subcommand)]
pub(crate) enum ConfigCommand {
    /// Print every value in effect, defaults included, as TOML.
    ///
    /// Values under keys that look like secrets (password, secret, token, key) are shown as "…". A key that names the file
    /// with a secret (such as password_file) is shown: better have secrets in files.
    Show {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// Say of each value where it came from.
        #[arg(long)]
        origin: bool,
    },
}

/// What to do with the store.
#[derive(Subcommand)]
pub(crate) enum StoreCommand {
    /// Look at every file and every value in it: damage is named, with exit code 65.
    Check {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// One JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
    /// Print counts of what is in it.
    Stats {
        /// Where the configuration is.
        #[command(flatten)]
        sources: SourceArgs,
        /// One JSON object, for programs.
        #[arg(long)]
        json: bool,
    },
}

/// Where the configuration is.
#[derive(Args)]
pub(crate) struct SourceArgs {
    /// Base file instead of /etc/gatemq/gatemq.toml; `conf.d/*.toml` beside it are read as well.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Sets one key, above files and environment.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

/// Which running broker is asked, and how its answer is shown.
///
/// Exit codes: 65 the broker does not do it, 66 it has nothing like that, 69 it does not run or does not answer, 77 this user may
/// not talk to it, 78 the configuration is wrong.
#[derive(Args)]
pub(crate) struct AskArgs {
    /// The broker's socket; without it the configuration's admin.socket.
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
    /// JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
    /// Where the configuration is.
    #[command(flatten)]
    pub(crate) sources: SourceArgs,
}

/// An action of a client.
#[derive(Args)]
pub(crate) struct ExplainArgs {
    /// Its tenant.
    #[arg(long)]
    pub(crate) tenant: String,
    /// Its user.
    #[arg(long)]
    pub(crate) user: String,
    /// Its client identifier.
    #[arg(long)]
    pub(crate) client_id: String,
    /// The message.
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// What it would do.
    pub(crate) action: ExplainedAction,
    /// Topic to publish to, or filter to subscribe to.
    pub(crate) topic: String,
}

/// What a client would do.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum ExplainedAction {
    /// PUBLISH.
    Publish,
    /// SUBSCRIBE.
    Subscribe,
    /// UNSUBSCRIBE.
    Unsubscribe,
}

impl ExplainedAction {
    /// As the API names it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            ExplainedAction::Publish => "publish",
            ExplainedAction::Subscribe => "subscribe",
            ExplainedAction::Unsubscribe => "unsubscribe",
        }
    }
}

/// Which clients; all that is given must hold.
#[derive(Args)]
pub(crate) struct WhichArgs {
    /// Tenant.
    #[arg(long)]
    pub(crate) tenant: Option<String>,
    /// User.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Client identifier.
    #[arg(long)]
    pub(crate) client_id: Option<String>,
    /// Number of a connection, as `clients` shows it.
    #[arg(long)]
    pub(crate) connection: Option<u64>,
    /// Tag that the provider gave.
    #[arg(long)]
    pub(crate) tag: Option<String>,
    /// SHA-256 of the client's own certificate.
    #[arg(long, value_name = "SHA256")]
    pub(crate) certificate: Option<String>,
}

/// What to do with plugins.
#[derive(Subcommand)]
pub(crate) enum PluginCommand {
    /// List them: what is loaded, how each is, its breaker, its calls.
    List {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Load one again, or give it its new configuration. Calls go to the new one; if it is refused the old one stays.
    Reload {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Name of the instance, as in [plugins.NAME].
        name: String,
    },
    /// Look at a library without a broker: what it is, which keys its configuration has, and why a broker would refuse it.
    ///
    /// It is loaded, which runs code of it. With a configuration that it takes (an empty one, or that of --plugin-config) it is also
    /// started, asked once in each of its roles, and stopped. Exit codes: 69 it is refused or fails, 78 its configuration is wrong.
    Check {
        /// Which library.
        #[command(flatten)]
        of: LibraryArgs,
        /// In this process, which a library may take with it: how the command calls itself.
        #[arg(long, hide = true)]
        here: bool,
    },
    /// Ask a library about a client without a broker: what it says of the CONNECT, and what the client may do then.
    ///
    /// The library is started. Its answer is judged as the broker does it, its grants are evaluated, and where they say Ask it is asked.
    /// Exit codes: 77 denied, 69 the plugin is refused or does not start, 65 what was given makes no sense.
    Try {
        /// Which library.
        #[command(flatten)]
        of: LibraryArgs,
        /// Which client, and what it wants.
        #[command(flatten)]
        args: TryArgs,
    },
}

/// A library that no broker has loaded.
#[derive(Args)]
pub(crate) struct LibraryArgs {
    /// The library.
    pub(crate) file: PathBuf,
    /// Its configuration: a TOML file with what is under [plugins.NAME.config].
    #[arg(long, value_name = "FILE")]
    pub(crate) plugin_config: Option<PathBuf>,
    /// JSON, for programs.
    #[arg(long)]
    pub(crate) json: bool,
}

impl LibraryArgs {
    /// For whoever looks at it.
    pub(crate) fn of(self) -> crate::inspect::Of {
        crate::inspect::Of { file: self.file, config_file: self.plugin_config, json: self.json }
    }
}

/// What of a message decides whether it may be published.
#[derive(Args)]
pub(crate) struct MessageArgs {
    /// QoS of the message or subscription.
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u8).range(0..=2))]
    pub(crate) qos: u8,
    /// Whether the message has the RETAIN flag.
    #[arg(long)]
    pub(crate) retain: bool,
    /// Size of the message's payload.
    #[arg(long, default_value_t = 0)]
    pub(crate) payload_bytes: u32,
}

/// A client, and what it wants.
#[derive(Args)]
pub(crate) struct TryArgs {
    /// The client.
    #[command(flatten)]
    pub(crate) client: TriedClientArgs,
    /// The message.
    #[command(flatten)]
    pub(crate) message: MessageArgs,
    /// What it wants.
    pub(crate) action: TriedAction,
    /// Topic to publish to, or filter to subscribe to.
    pub(crate) topic: Option<String>,
}

/// The client that a plugin is tried with.
#[derive(Args)]
pub(crate) struct TriedClientArgs {
    /// Its client identifier.
    #[arg(long, default_value = "try-1", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub(crate) client_id: String,
    /// Its user name.
    #[arg(long)]
    pub(crate) user: Option<String>,
    /// Its password: the first line of this file, or of standard input (-).
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Its certificate chain, PEM, its own first: it comes over TLS and has the key.
    #[arg(long, value_name = "FILE")]
    pub(crate) certificate: Option<PathBuf>,
    /// Certificate authorities of the listener, PEM: with them the chain is verified.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    pub(crate) trust: Vec<PathBuf>,
    /// Its version of MQTT.
    #[arg(long, value_enum, default_value_t = TriedProtocol::V5)]
    pub(crate) protocol: TriedProtocol,
    /// Its address.
    #[arg(long, default_value = "127.0.0.1", value_name = "ADDRESS")]
    pub(crate) remote: std::net::IpAddr,
}

/// What a client that a plugin is tried with wants.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum TriedAction {
    /// To be admitted.
    Connect,
    /// PUBLISH to a topic.
    Publish,
    /// SUBSCRIBE to a filter.
    Subscribe,
}

/// A version of MQTT.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum TriedProtocol {
    /// MQTT 3.1.
    #[value(name = "3.1")]
    V31,
    /// MQTT 3.1.1.
    #[value(name = "3.1.1")]
    V311,
    /// MQTT 5.0.
    #[value(name = "5.0")]
    V5,
}

impl TriedProtocol {
    /// As everybody else names it.
    pub(crate) fn of(self) -> gatemq_types::Protocol {
        match self {
            TriedProtocol::V31 => gatemq_types::Protocol::V31,
            TriedProtocol::V311 => gatemq_types::Protocol::V311,
            TriedProtocol::V5 => gatemq_types::Protocol::V5,
        }
    }
}

/// What to do with denials.
#[derive(Subcommand)]
pub(crate) enum DenyCommand {
    /// List those that are in force, with who raised them.
    List {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
    },
    /// Raise one. Whoever it is about and is connected is disconnected.
    Add {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// For how long, such as 15m or 7d; without it until it is lifted.
        #[arg(long = "for", value_name = "TIME", value_parser = crate::command::time::length)]
        ttl_ms: Option<u64>,
        /// Why: for whoever lists it.
        #[arg(long, default_value = "")]
        reason: String,
        /// Whom.
        #[command(flatten)]
        subject: SubjectArgs,
    },
    /// Lift all that were raised for a subject, by whomever.
    Lift {
        /// Which broker, and how its answer is shown.
        #[command(flatten)]
        ask: AskArgs,
        /// Whose.
        #[command(flatten)]
        subject: SubjectArgs,
    },
}

/// Whom a denial is about.
#[derive(Args)]
pub(crate) struct SubjectArgs {
    /// What is named.
    pub(crate) kind: SubjectKind,
    /// address ADDRESS[/BITS]; certificate, key or issuer SHA256; user TENANT USER; client TENANT USER CLIENT_ID.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// What a denial names.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum SubjectKind {
    /// An address or network.
    Address,
    /// A client's certificate, by the SHA-256 of its DER form.
    Certificate,
    /// A client's key, by the SHA-256 of its SubjectPublicKeyInfo.
    Key,
    /// All clients of an authority, by the SHA-256 of its SubjectPublicKeyInfo.
    Issuer,
    /// A user of a tenant.
    User,
    /// One client of a user.
    Client,
}

impl SubjectKind {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            SubjectKind::Address => "address",
            SubjectKind::Certificate => "certificate",
            SubjectKind::Key => "key",
            SubjectKind::Issuer => "issuer",
            SubjectKind::User => "user",
            SubjectKind::Client => "client",
        }
    }

    /// What follows it.
    pub(crate) fn takes(self) -> &'static str {
        match self {
            SubjectKind::Address => "one address or network",
            SubjectKind::Certificate | SubjectKind::Key | SubjectKind::Issuer => "one SHA-256",
            SubjectKind::User => "a tenant and a user",
            SubjectKind::Client => "a tenant, a user and a client identifier",
        }
    }
}
