//! The one table of configuration keys: path, kind, default, why.
//!
//! It is the source of the defaults, of the walk that finds unknown keys, and of the annotated `gatemq.toml`.

use gatemq_cluster::core::admission::{PROTOCOL_MAX, PROTOCOL_MIN};

use crate::platform;

/// A key. `*` in a path stands for a name that the operator chooses.
#[derive(Debug)]
pub(crate) struct Key {
    /// Dotted path.
    pub(crate) path: &'static str,
    /// What it may be.
    pub(crate) kind: Kind,
    /// Default as TOML; `None` if there is none, or it is computed.
    pub(crate) default: Option<&'static str>,
    /// One line of why, for operators.
    pub(crate) why: &'static str,
    /// What the annotated file shows where there is no default, or a default that shows nothing, as TOML.
    pub(crate) example: &'static str,
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Text that is not empty.
    Text,
    /// A path; relative ones count from the directory of the file that holds the key.
    Path,
    /// true or false.
    Bool,
    /// A number between two bounds, both included.
    Number(u64, u64),
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// IP address and port.
    Address,
    /// A list of names.
    Names,
    /// A list of texts.
    Texts,
    /// Any table: its owner checks it.
    Free,
}

const fn key(path: &'static str, kind: Kind, default: &'static str, why: &'static str) -> Key {
    Key { path, kind, default: Some(default), why, example: "" }
}

const fn open(path: &'static str, kind: Kind, example: &'static str, why: &'static str) -> Key {
    Key { path, kind, default: None, why, example }
}

const NUMBER_MAX: u64 = u32::MAX as u64;
/// 256 MiB: the largest Remaining Length of MQTT, and the fixed header before it.
const PACKET_BYTES_MAX: u64 = 268_435_455 + 5;

/// What this version speaks with other nodes: it can be narrowed, never widened.
const PROTOCOLS: Kind = Kind::Number(PROTOCOL_MIN as u64, PROTOCOL_MAX as u64);

/// Every key, in the order of the annotated file.
pub(crate) const KEYS: &[Key] = &[
    open("node.name", Kind::Text, r#""node-1""#, "Name of this node in logs and events. Default: the host name."),
    key("node.data_dir", Kind::Path, platform::DATA_DIR, "What must survive a restart is kept here."),
    open("node.workers", Kind::Number(1, 1024), "4", "Threads that serve connections. Default: one per core."),
    open(
        "node.ready_file",
        Kind::Path,
        r#""/run/gatemq/ready.json""#,
        "After the start the bound addresses are written here as JSON, for scripts that bind port 0. Default: none.",
    ),
    key(
        "node.sys_interval_s",
        Kind::Number(0, 86_400),
        "10",
        "Seconds between two publications of the node's values below $SYS/broker/, in each tenant where somebody subscribed to them. 0: never.",
    ),
    key(
        "node.tls_watch_s",
        Kind::Number(0, 86_400),
        "0",
        "Seconds between two looks whether the files of [listeners.*.tls] and [cluster.tls] have changed; then they are read again, as at a reload. 0: only at a reload.",
    ),
    key(
        "node.stop_spread_ms",
        Kind::Number(0, 600_000),
        "2000",
        "Milliseconds over which the clients of a node that stops are told to go (0x8B), so that they do not all come to another one at once; few go at once. A supervisor has to wait ten seconds more before it kills, in a cluster also cluster.leave_s_max.",
    ),
    open(
        "admin.socket",
        Kind::Path,
        r#""/run/gatemq/admin.sock""#,
        "Unix socket for commands such as `gatemq clients`; its owner and group may connect. Default: admin.sock in node.data_dir.",
    ),
    open(
        "http.bind",
        Kind::Address,
        r#""127.0.0.1:9180""#,
        "Address and port of the same API over HTTP, with /metrics, /live, /ready and a console page. Default: not served. Beyond loopback it needs TLS.",
    ),
    open(
        "http.token_file",
        Kind::Path,
        r#""/etc/gatemq/http.tokens""#,
        "File with a line `NAME TOKEN` for each who may use it: 32 characters or more, such as from `openssl rand -hex 32`. It must not be readable by others, and is read again at a reload. Needed without client_ca_file.",
    ),
    open(
        "http.tls.certificate_file",
        Kind::Path,
        r#""/etc/gatemq/tls/http.crt""#,
        "Certificate chain in PEM form, the server's own first. Needed with TLS.",
    ),
    open(
        "http.tls.private_key_file",
        Kind::Path,
        r#""/etc/gatemq/tls/http.key""#,
        "The certificate's key in PEM form, not encrypted. Needed with TLS.",
    ),
    open(
        "http.tls.client_ca_file",
        Kind::Path,
        r#""/etc/gatemq/tls/operators-ca.crt""#,
        "Authorities that sign operators' certificates, in PEM form: whoever shows one needs no token. Without token_file all must.",
    ),
    key(
        "log.level",
        Kind::Text,
        r#""info""#,
        "Least severe level that is logged: error, warn, info, debug, trace, or a filter like `info,gatemq=debug`.",
    ),
    key(
        "log.format",
        Kind::Choice(&["text", "json"]),
        r#""text""#,
        "text for people, json (one object a line) for programs.",
    ),
    key(
        "store.kind",
        Kind::Choice(&["embedded", "memory"]),
        r#""embedded""#,
        "embedded keeps sessions and retained messages in data_dir, so that nothing acknowledged is lost; memory loses them at a stop.",
    ),
    key(
        "store.sync",
        Kind::Choice(&["always", "interval", "never"]),
        r#""always""#,
        "When what is acknowledged is on the disk: always before; interval at most sync_interval_ms later; never when the system does it.",
    ),
    key(
        "store.sync_interval_ms",
        Kind::Number(1, 60_000),
        "100",
        "Milliseconds of acknowledged messages that a power cut may take with sync = \"interval\".",
    ),
    open(
        "listeners.*.kind",
        Kind::Choice(&["mqtt", "mqtts", "ws", "wss"]),
        r#""mqtts""#,
        "mqtt is MQTT over TCP, mqtts over TLS, ws over WebSocket, wss over WebSocket and TLS. Needed.",
    ),
    open("listeners.*.bind", Kind::Address, r#""0.0.0.0:8883""#, "Address and port. Needed. Port 0 takes a free one."),
    key(
        "listeners.*.connections_max",
        Kind::Number(1, 10_000_000),
        "100000",
        "Connections at a time; further ones are closed at once, before any TLS work.",
    ),
    key(
        "listeners.*.connections_per_s_max",
        Kind::Number(0, 10_000_000),
        "1000",
        "New connections in a second; further ones are closed at once, so that a storm leaves time for clients that are there. 0: no limit.",
    ),
    key(
        "listeners.*.address_connections_max",
        Kind::Number(0, 10_000_000),
        "1000",
        "Connections of one address (IPv4, or IPv6 /64) at a time. More may be right where many clients share a NAT. 0: no limit.",
    ),
    key(
        "listeners.*.address_connections_per_s_max",
        Kind::Number(0, 10_000_000),
        "100",
        "New connections of one address in a second; less than connections_per_s_max, so that one cannot use up what all have. 0: no limit.",
    ),
    key(
        "listeners.*.handshakes_max",
        Kind::Number(1, 65_536),
        "64",
        "TLS handshakes at a time, per worker; further ones wait, so that a flood of them does not starve clients.",
    ),
    key(
        "listeners.*.connect_ms_max",
        Kind::Number(100, 600_000),
        "10000",
        "Milliseconds until TLS is established and CONNECT is whole; who takes longer is closed.",
    ),
    key(
        "listeners.*.denied_publish",
        Kind::Choice(&["close", "acknowledge"]),
        r#""close""#,
        "What an MQTT 3 client gets for a QoS 1 or 2 message that it may not publish, which its version has no word for: close, or acknowledge as if it had gone out.",
    ),
    open(
        "listeners.*.proxy.networks",
        Kind::Texts,
        r#"["10.0.0.0/8"]"#,
        "Networks whose proxies are believed: they must send a PROXY header (version 1 or 2), and limits hold for the client in it. Needed.",
    ),
    open(
        "listeners.*.tls.certificate_file",
        Kind::Path,
        r#""/etc/gatemq/tls/server.crt""#,
        "Certificate chain in PEM form, the server's own first. Needed.",
    ),
    open(
        "listeners.*.tls.private_key_file",
        Kind::Path,
        r#""/etc/gatemq/tls/server.key""#,
        "The certificate's key in PEM form, not encrypted. Needed.",
    ),
    open(
        "listeners.*.tls.sni.*.certificate_file",
        Kind::Path,
        r#""/etc/gatemq/tls/mqtt.example.com.crt""#,
        "Certificate chain for clients that ask for this host (SNI), in PEM form; others get the listener's own. Needed.",
    ),
    open(
        "listeners.*.tls.sni.*.private_key_file",
        Kind::Path,
        r#""/etc/gatemq/tls/mqtt.example.com.key""#,
        "Its key in PEM form, not encrypted. Needed.",
    ),
    Key {
        example: r#""required""#,
        ..key(
            "listeners.*.tls.client_auth",
            Kind::Choice(&["none", "optional", "required"]),
            r#""none""#,
            "Whether clients show a certificate: none (the default), optional (one that is shown must be valid), required.",
        )
    },
    open(
        "listeners.*.tls.client_ca_file",
        Kind::Path,
        r#""/etc/gatemq/tls/client-ca.crt""#,
        "Authorities that sign client certificates, in PEM form. Needed when client_auth is optional or required.",
    ),
    open(
        "listeners.*.tls.client_crl_file",
        Kind::Path,
        r#""/etc/gatemq/tls/client-ca.crl""#,
        "Revocation lists in PEM form, one of every authority in a client's chain: each certificate of the chain is looked up, and lists that are out of date refuse. Default: none.",
    ),
    open(
        "listeners.*.tls.client_crl_missing",
        Kind::Choice(&["refuse", "allow"]),
        r#""refuse""#,
        "What a certificate gets that no list in client_crl_file is about. Default: refuse.",
    ),
    key(
        "listeners.*.tls.min_version",
        Kind::Choice(&["1.2", "1.3"]),
        r#""1.2""#,
        "Lowest version of TLS that is spoken.",
    ),
    open(
        "listeners.*.tls.resumption",
        Kind::Bool,
        "false",
        "Whether clients may resume a TLS session. Default: true when client_auth is none, else false.",
    ),
    Key {
        example: r#""/mqtt""#,
        ..key(
            "listeners.*.websocket.path",
            Kind::Text,
            r#""/mqtt""#,
            "Path that a WebSocket client asks for. For ws and wss.",
        )
    },
    open(
        "listeners.*.websocket.origins",
        Kind::Texts,
        r#"["https://console.example.com"]"#,
        "Origins whose pages may connect from a browser. Default: all. For ws and wss.",
    ),
    open(
        "listeners.*.auth.chain",
        Kind::Names,
        r#"["fleet"]"#,
        "Auth plugins that are asked for clients of this listener, in this order. Default: chain in [auth].",
    ),
    open(
        "auth.chain",
        Kind::Names,
        r#"["guard", "fleet"]"#,
        "Auth plugins in the order in which they are asked. Needed when there are several.",
    ),
    key(
        "plugin_host.drop_in_dir",
        Kind::Path,
        platform::DROP_IN_DIR,
        "Every library in here is loaded, under its file name.",
    ),
    key(
        "plugin_host.bundled_dir",
        Kind::Path,
        platform::BUNDLED_DIR,
        "Libraries in here are loaded when a [plugins.NAME] names them.",
    ),
    key(
        "plugin_host.owner_checked",
        Kind::Bool,
        "true",
        "Whether a library, and every directory above it, must belong to root or the broker's user and be writable by nobody else.",
    ),
    key(
        "plugin_host.copies_max",
        Kind::Number(1, 1024),
        "16",
        "Copies of libraries that are mapped for one plugin: each reload maps one, and none is ever unmapped. Then a restart is due.",
    ),
    key(
        "plugin_host.health_interval_ms",
        Kind::Number(100, 600_000),
        "5000",
        "Milliseconds between two questions to each plugin how it is. An auth plugin that is not ready admits nobody.",
    ),
    open(
        "plugins.*.library",
        Kind::Text,
        r#""auth-certificate""#,
        "Library in bundled_dir, without `lib` and `.so`, or an absolute path. Default: the drop-in of this name.",
    ),
    open(
        "plugins.*.sha256",
        Kind::Text,
        r#""9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08""#,
        "SHA-256 of its library, which then may be no other. Default: any.",
    ),
    key(
        "plugins.*.required",
        Kind::Bool,
        "true",
        "Whether the broker refuses to start without it, and listeners with it in their chain admit nobody while it is not ready. One that is not required and did not start refuses whoever comes to it in a chain.",
    ),
    key(
        "plugins.*.veto",
        Kind::Bool,
        "false",
        "Whether it may only deny: that it admits a client is then an error, and the client is refused.",
    ),
    key(
        "plugins.*.timeout_ms",
        Kind::Number(1, 60_000),
        "5000",
        "Milliseconds that a call may take; then it counts as failed, and nothing is granted.",
    ),
    key("plugins.*.calls_max", Kind::Number(1, 65_536), "1024", "Calls at a time; further ones are refused."),
    key(
        "plugins.*.calls_kept_percent",
        Kind::Number(0, 90),
        "25",
        "Percent of calls_max that are kept for clients that are admitted already, so that strangers cannot use up all.",
    ),
    key(
        "plugins.*.address_calls_max",
        Kind::Number(0, 65_536),
        "16",
        "Calls at a time for clients of one address (IPv4, or IPv6 /64) that are not admitted yet; further ones wait timeout_ms at most. More may be right where many share a NAT. 0: no limit.",
    ),
    key(
        "plugins.*.breaker_calls",
        Kind::Number(0, 1000),
        "20",
        "Calls that its breaker looks at: when enough of them failed, it is not called for a while. Of one address one failure counts. 0: no breaker.",
    ),
    key(
        "plugins.*.breaker_failed_percent",
        Kind::Number(1, 100),
        "50",
        "Percent of those calls that fail, from which on its breaker opens.",
    ),
    key(
        "plugins.*.breaker_open_ms",
        Kind::Number(100, 3_600_000),
        "30000",
        "Milliseconds that its breaker stays open, and all that it would be asked is refused; then one call is tried.",
    ),
    key(
        "plugins.*.ring_events",
        Kind::Number(1, 16_777_216),
        "8192",
        "Events that wait for a collector, per ring; when it is full the oldest are dropped and counted.",
    ),
    open(
        "plugins.*.config",
        Kind::Free,
        r##"{ anchors = { acme = "/etc/gatemq/tls/acme-ca.crt" }, rules = [{ grants = [{ allow = ["all"], filter = "devices/${cert.cn}/#" }] }] }"##,
        "The plugin's own configuration; it says what may be in here.",
    ),
    key(
        "limits.packet_bytes_max",
        Kind::Number(256, PACKET_BYTES_MAX),
        "1048576",
        "Bytes of the largest packet that an admitted client may send.",
    ),
    key(
        "limits.connect_bytes_max",
        Kind::Number(256, PACKET_BYTES_MAX),
        "65536",
        "Bytes of the largest CONNECT: what strangers can make the broker keep.",
    ),
    key("limits.topic_levels_max", Kind::Number(1, 128), "128", "Levels of a topic or filter."),
    key("limits.topic_bytes_max", Kind::Number(1, 65_535), "65535", "Bytes of a topic or filter."),
    key("limits.filters_per_packet_max", Kind::Number(1, 65_535), "256", "Filters in one SUBSCRIBE or UNSUBSCRIBE."),
    key("limits.user_properties_max", Kind::Number(0, 65_535), "64", "User properties in one packet, and in a will."),
    key(
        "limits.user_properties_bytes_max",
        Kind::Number(0, PACKET_BYTES_MAX),
        "65536",
        "Bytes of their names and values together.",
    ),
    key(
        "limits.messages_per_s_max",
        Kind::Number(0, NUMBER_MAX),
        "0",
        "Messages that a client may publish per second; it may save up those of one second. 0: no limit.",
    ),
    key(
        "limits.bytes_per_s_max",
        Kind::Number(0, 1 << 40),
        "0",
        "Bytes of packets that a client may publish per second; one packet may take seconds' worth, and the client waits as long. 0: no limit.",
    ),
    key(
        "limits.rate_policy",
        Kind::Choice(&["wait", "disconnect"]),
        r#""wait""#,
        "What happens to a client that publishes faster than it or its tenant may: wait reads it no faster, so that it is slowed down; disconnect ends its connection (0x96).",
    ),
    key(
        "limits.receive_max",
        Kind::Number(1, 65_535),
        "100",
        "QoS 1 and 2 messages that a client may have unacknowledged towards the broker.",
    ),
    key(
        "limits.inflight_max",
        Kind::Number(1, 65_535),
        "100",
        "QoS 1 and 2 messages that the broker has unacknowledged towards a client; it may ask for fewer.",
    ),
    key(
        "limits.queue_messages_max",
        Kind::Number(1, NUMBER_MAX),
        "10000",
        "Messages that wait for a client; further ones are dropped and counted.",
    ),
    key(
        "limits.queue_bytes_max",
        Kind::Number(1024, 1 << 40),
        "16777216",
        "Bytes of messages that wait for a client; further ones are dropped and counted.",
    ),
    key(
        "limits.stalled_ms_max",
        Kind::Number(1000, 86_400_000),
        "30000",
        "Milliseconds for which a client may take none of the bytes that it is sent; then it is disconnected.",
    ),
    key("limits.subscriptions_max", Kind::Number(1, NUMBER_MAX), "10000", "Subscriptions of a client."),
    key(
        "limits.session_expiry_s_max",
        Kind::Number(0, NUMBER_MAX),
        "604800",
        "Seconds that a session outlives its connection at most; MQTT 3 without Clean Session gets this. 4294967295: for ever.",
    ),
    key(
        "limits.sessions_detached_max",
        Kind::Number(0, NUMBER_MAX),
        "100000",
        "Sessions whose clients are away at a time; when there are more, the one that expires first is ended.",
    ),
    key(
        "limits.topic_alias_max",
        Kind::Number(0, 1024),
        "16",
        "Topic aliases that a client may set. The broker keeps the topics, up to 64 KiB each. 0: none.",
    ),
    key(
        "limits.tenant_connections_max",
        Kind::Number(0, NUMBER_MAX),
        "0",
        "Connections of a tenant; further clients are refused. 0: no limit.",
    ),
    key(
        "limits.tenant_sessions_max",
        Kind::Number(0, NUMBER_MAX),
        "0",
        "Sessions of a tenant, those whose clients are away included; further clients are refused. 0: no limit.",
    ),
    key(
        "limits.tenant_subscriptions_max",
        Kind::Number(0, NUMBER_MAX),
        "0",
        "Subscriptions of a tenant; further ones are refused. 0: no limit.",
    ),
    key(
        "limits.tenant_queue_bytes_max",
        Kind::Number(0, 1 << 50),
        "0",
        "Bytes of messages that wait for all clients of a tenant; further ones are dropped and counted. 0: no limit.",
    ),
    key(
        "limits.tenant_messages_per_s_max",
        Kind::Number(0, NUMBER_MAX),
        "0",
        "Messages that all clients of a tenant may publish per second on this node; then rate_policy. 0: no limit.",
    ),
    key(
        "limits.tenant_bytes_per_s_max",
        Kind::Number(0, 1 << 40),
        "0",
        "Bytes of packets that all clients of a tenant may publish per second on this node; then rate_policy. 0: no limit.",
    ),
    key(
        "limits.tenant_retained_messages_max",
        Kind::Number(0, NUMBER_MAX),
        "100000",
        "Retained messages of a tenant; further ones are refused. 0: none.",
    ),
    key(
        "limits.tenant_retained_bytes_max",
        Kind::Number(0, 1 << 40),
        "67108864",
        "Bytes of a tenant's retained messages, topics and properties included; further ones are refused.",
    ),
    key(
        "limits.keep_alive_s_max",
        Kind::Number(0, 65_535),
        "0",
        "Seconds of keep alive at most: MQTT 5 clients with none or a longer one are told to use this. MQTT 3 clients cannot be told, and keep theirs. 0: no limit.",
    ),
    key(
        "limits.auth_rounds_max",
        Kind::Number(1, 100),
        "8",
        "AUTH packets that a client is sent in one enhanced authentication (MQTT 5); one that needs more is refused.",
    ),
    key(
        "denials.per_raiser_max",
        Kind::Number(1, 1_000_000),
        "10000",
        "Denials that each plugin, and that operators, may have raised at a time; further ones are refused.",
    ),
    key(
        "overload.lag_ms_max",
        Kind::Number(0, 60_000),
        "1000",
        "Milliseconds that a worker may come late to its work, several times one after the other; then new connections are closed at once until that is over, and clients that are there go on. 0: no limit.",
    ),
    key(
        "overload.memory_bytes_max",
        Kind::Number(0, 1 << 50),
        "0",
        "Bytes of memory of the process (resident) from which on the same happens, until a tenth of it is free again. 0: no limit.",
    ),
    open(
        "cluster.environment",
        Kind::Text,
        r#""production""#,
        "What this cluster is for: nodes of another environment never join it. Setting it makes the node a member; without it the node is alone.",
    ),
    key("cluster.name", Kind::Text, r#""gatemq""#, "Name of the cluster within its environment."),
    open("cluster.bind", Kind::Address, r#""10.0.0.1:7946""#, "Address for gossip, TCP and UDP. Needed in a cluster."),
    open("cluster.advertise", Kind::Address, r#""192.0.2.1:7946""#, "Where other nodes find it. Default: bind."),
    open(
        "cluster.rpc_bind",
        Kind::Address,
        r#""10.0.0.1:7947""#,
        "Address for calls of other nodes, always over mutual TLS. Needed in a cluster.",
    ),
    open(
        "cluster.rpc_advertise",
        Kind::Address,
        r#""192.0.2.1:7947""#,
        "Where other nodes find it. Default: rpc_bind.",
    ),
    Key {
        example: r#"["10.0.0.2:7947"]"#,
        ..key(
            "cluster.seeds",
            Kind::Texts,
            "[]",
            "rpc_bind of any members: one of them is asked to be admitted. Its own address does no harm; the first node needs none.",
        )
    },
    open(
        "cluster.secret_file",
        Kind::Path,
        r#""/etc/gatemq/cluster.key""#,
        "File with the secret from which the keys of gossip are made, the same on all nodes. Several lines: the first is used, all are accepted. Needed in a cluster.",
    ),
    Key {
        example: r#"["10.0.0.0/8"]"#,
        ..key("cluster.allowed_networks", Kind::Texts, "[]", "Networks from which gossip is accepted. None named: all.")
    },
    key(
        "cluster.ack_wait_ms",
        Kind::Number(10, 60_000),
        "500",
        "Milliseconds that a node has to accept a QoS 1 or 2 message; then it is kept for that node, and acknowledged.",
    ),
    key(
        "cluster.hint_bytes_max",
        Kind::Number(0, 1 << 50),
        "1073741824",
        "Bytes of messages that are kept for each node that is away; when they are full, publishers are not acknowledged.",
    ),
    key(
        "cluster.hint_s_max",
        Kind::Number(1, NUMBER_MAX),
        "86400",
        "Seconds for which messages are kept for a node that is away.",
    ),
    key(
        "cluster.on_refused",
        Kind::Choice(&["exit", "degraded"]),
        r#""exit""#,
        "What a node does that the members refuse: exit, or serve its clients alone and keep asking.",
    ),
    key(
        "cluster.leave_s_max",
        Kind::Number(0, 3600),
        "10",
        "Seconds that a node that stops has to hand its sessions over to the others. What is left stays in its data directory until it is back. 0: all of it does.",
    ),
    open(
        "cluster.protocol_min",
        PROTOCOLS,
        "1",
        "Lowest protocol that is spoken with other nodes. Default: the lowest of this version. Nodes without a common one refuse each other.",
    ),
    open(
        "cluster.protocol_max",
        PROTOCOLS,
        "1",
        "Highest one. Default: the highest of this version. Lower it while you may want to go back to an earlier version.",
    ),
    open(
        "cluster.tls.certificate_file",
        Kind::Path,
        r#""/etc/gatemq/cluster/node-1.crt""#,
        "Certificate chain in PEM form, with the URI spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE; `gatemq pki` makes one. Needed in a cluster.",
    ),
    open(
        "cluster.tls.private_key_file",
        Kind::Path,
        r#""/etc/gatemq/cluster/node-1.key""#,
        "Its key in PEM form, not encrypted. Needed in a cluster.",
    ),
    open(
        "cluster.tls.ca_file",
        Kind::Path,
        r#""/etc/gatemq/cluster/ca.crt""#,
        "Authorities that sign nodes, and nothing else, in PEM form. Needed in a cluster.",
    ),
    open(
        "cluster.tls.crl_file",
        Kind::Path,
        r#""/etc/gatemq/cluster/ca.crl""#,
        "Their revocation lists in PEM form. Default: none.",
    ),
];

/// Default of a key that has one, as TOML.
pub(crate) fn default_of(path: &str) -> Option<&'static str> {
    KEYS.iter().find(|key| key.path == path).and_then(|key| key.default)
}

/// What is known at a place of the configuration.
pub(crate) enum Place {
    /// A key.
    Key(&'static Key),
    /// A table that leads to keys.
    Table,
    /// Nothing.
    Unknown,
}

/// What `path` is.
pub(crate) fn place(path: &[&str]) -> Place {
    let mut found = Place::Unknown;
    for key in KEYS {
        let mut pattern = key.path.split('.');
        if path.iter().all(|name| pattern.next().is_some_and(|p| p == "*" || p == *name)) {
            if pattern.next().is_none() {
                return Place::Key(key);
            }
            found = Place::Table;
        }
    }
    found
}

/// The names that are known below `path`, each once, in the order of the table.
pub(crate) fn names_below(path: &[&str]) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in KEYS {
        let mut pattern = key.path.split('.');
        if path.iter().all(|name| pattern.next().is_some_and(|p| p == "*" || p == *name)) {
            names.extend(pattern.next().filter(|name| !names.contains(name)));
        }
    }
    names
}
