//! Table tests of problems, of layers, and of the annotated file.

mod cluster;
mod http;
mod layered;
mod show;

use std::path::PathBuf;

use tempfile::TempDir;

use super::keys::{self, KEYS, Kind};
use super::{Config, Library, LogFormat, Problem, Sources, TlsVersion, check_dev, load};
use crate::config::ClientAuth;

const ANNOTATED: &str = include_str!("../../../config/gatemq.toml");
const LISTENER: &str = "[listeners.a]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\n";
const SECURE: &str = "[listeners.a]\nkind = \"mqtts\"\nbind = \"127.0.0.1:0\"\n[listeners.a.tls]\n\
                      certificate_file = \"c.pem\"\nprivate_key_file = \"k.pem\"\n";

/// A configuration directory.
struct Dir(TempDir);

impl Dir {
    fn new(base: &str) -> Dir {
        let dir = Dir(tempfile::tempdir().unwrap());
        dir.write("gatemq.toml", base);
        dir
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, text).unwrap();
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn sources(&self, environment: &[(&str, &str)], set: &[&str]) -> Sources {
        Sources {
            file: Some(self.path("gatemq.toml")),
            environment: environment.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect(),
            set: set.iter().map(|s| (*s).to_owned()).collect(),
        }
    }

    fn load(&self) -> Result<Config, Vec<Problem>> {
        load(&self.sources(&[], &[]))
    }
}

fn loaded(text: &str) -> Config {
    Dir::new(text).load().unwrap_or_else(|problems| panic!("{text}\n{}", lines(&problems)))
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

/// Text before, text that is wrong, its key, line of the whole, part of the message.
type Row = (&'static str, &'static str, &'static str, Option<usize>, &'static str);

#[rustfmt::skip]
const PROBLEMS: &[Row] = &[
    ("", "", "listeners", None, "there is no listener; add one"),
    (LISTENER, "[nod]\nname = \"x\"\n", "nod", Some(4), "is not a key; remove it or write one of: node, admin, http, log,"),
    (LISTENER, "[node]\nnmae = \"x\"\n", "node.nmae", Some(5), "write one of: name, data_dir"),
    (LISTENER, "[node]\nname = 5\n", "node.name", Some(5), "must be text in quotes"),
    (LISTENER, "[node]\nname = \" \"\n", "node.name", Some(5), "is empty"),
    (LISTENER, "[node]\nname = \"a b\"\n", "node.name", Some(5), "without spaces"),
    (LISTENER, "[node]\nworkers = 0\n", "node.workers", Some(5), "is 0, must be from 1 to 1024"),
    (LISTENER, "[node]\nworkers = \"2\"\n", "node.workers", Some(5), "must be a whole number"),
    (LISTENER, "[node]\nworkers = 1.5\n", "node.workers", Some(5), "must be a whole number"),
    (LISTENER, "[node]\ntls_watch_s = 86401\n", "node.tls_watch_s", Some(5), "from 0 to 86400"),
    (LISTENER, "[node]\nstop_spread_ms = 600001\n", "node.stop_spread_ms", Some(5), "from 0 to 600000"),
    (LISTENER, "[overload]\nlag_ms_max = 60001\n", "overload.lag_ms_max", Some(5), "from 0 to 60000"),
    (LISTENER, "[overload]\nmemory_bytes_max = \"1G\"\n", "overload.memory_bytes_max", Some(5), "must be a whole number"),
    (SECURE, "client_crl_file = \"a.crl\"\n", "listeners.a.tls.client_crl_file", Some(7), "not used while client_auth"),
    (SECURE, "client_crl_missing = \"allow\"\n", "listeners.a.tls.client_crl_missing", Some(7), "not used without client_crl_file"),
    (
        SECURE,
        "client_auth = \"required\"\nclient_ca_file = \"a\"\nclient_crl_file = \"b\"\nclient_crl_missing = \"x\"\n",
        "listeners.a.tls.client_crl_missing",
        Some(10),
        "`x` is none of: refuse, allow",
    ),
    (LISTENER, "[log]\nformat = \"xml\"\n", "log.format", Some(5), "`xml` is none of: text, json"),
    (LISTENER, "log = 3\n", "listeners.a.log", Some(4), "is not a key"),
    (LISTENER, "[limits]\nreceive_max = 65536\n", "limits.receive_max", Some(5), "from 1 to 65535"),
    (LISTENER, "[limits]\nreceive_max = -1\n", "limits.receive_max", Some(5), "is -1, must be"),
    (
        LISTENER,
        "[limits]\nconnect_bytes_max = 2000000\n",
        "limits.connect_bytes_max",
        Some(5),
        "above packet_bytes_max",
    ),
    (LISTENER, "[limits]\nrate_policy = \"drop\"\n", "limits.rate_policy", Some(5), "wait"),
    (LISTENER, "[limits]\nfilters_per_packet_max = 0\n", "limits.filters_per_packet_max", Some(5), "from 1 to 65535"),
    (LISTENER, "[limits]\ntopic_bytes_max = 65536\n", "limits.topic_bytes_max", Some(5), "from 1 to 65535"),
    (LISTENER, "[limits]\nstalled_ms_max = 999\n", "limits.stalled_ms_max", Some(5), "from 1000"),
    (LISTENER, "denied_publish = \"drop\"\n", "listeners.a.denied_publish", Some(4), "acknowledge"),
    (LISTENER, "[limits]\nqueue_bytes_max = 2000\n", "limits.queue_bytes_max", Some(5), "below packet_bytes_max"),
    (LISTENER, "[auth]\nchain = \"a\"\n", "auth.chain", Some(5), "must be a list"),
    (LISTENER, "[auth]\nchain = []\n", "auth.chain", Some(5), "nobody would be admitted"),
    (LISTENER, "[auth]\nchain = [\"a\", \"a\"]\n", "auth.chain", Some(5), "twice"),
    (LISTENER, "[plugins.p]\ntimeout_ms = 60001\n", "plugins.p.timeout_ms", Some(5), "from 1 to 60000"),
    (LISTENER, "[plugins.p]\nlibrary = \"../x\"\n", "plugins.p.library", Some(5), "nor an absolute path"),
    (LISTENER, "[plugins.p]\nlibrary = \"libx.so\"\n", "plugins.p.library", Some(5), "neither a name"),
    (LISTENER, "[plugins.p]\nsha256 = \"9f86\"\n", "plugins.p.sha256", Some(5), "64 hexadecimal digits"),
    (LISTENER, "[plugins.p]\nbreaker_failed_percent = 0\n", "plugins.p.breaker_failed_percent", Some(5), "from 1 to 100"),
    (LISTENER, "[plugins.p]\nrequired = \"yes\"\n", "plugins.p.required", Some(5), "true or false"),
    (LISTENER, "[plugins.p]\nconfig = 5\n", "plugins.p.config", Some(5), "must be a table"),
    (LISTENER, "[plugins.\"P q\"]\ncalls_max = 5\n", "plugins.P q", Some(4), "no usable name"),
    (LISTENER, "[plugins]\np = true\n", "plugins.p", Some(5), "must be a table, such as [plugins.p]"),
    (
        LISTENER,
        "[listeners.b]\nkind = \"wss\"\nbind = \"[::1]:0\"\n",
        "listeners.b.tls",
        Some(4),
        "because kind is wss",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"ws\"\nbind = \"[::1]:0\"\n[listeners.b.tls]\nmin_version = \"1.3\"\n",
        "listeners.b.tls",
        Some(7),
        "write kind = \"wss\"",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"mqtt\"\nbind = \"[::1]:0\"\n[listeners.b.websocket]\npath = \"/x\"\n",
        "listeners.b.websocket",
        Some(7),
        "only kinds ws and wss",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"ws\"\nbind = \"[::1]:0\"\n[listeners.b.websocket]\npath = \"x\"\n",
        "listeners.b.websocket.path",
        Some(8),
        "must begin with /",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"ws\"\nbind = \"[::1]:0\"\n[listeners.b.websocket]\norigins = 1\n",
        "listeners.b.websocket.origins",
        Some(8),
        "must be a list",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"tcp\"\nbind = \"[::1]:0\"\n",
        "listeners.b.kind",
        Some(5),
        "none of: mqtt, mqtts",
    ),
    (LISTENER, "[listeners.b]\nbind = \"[::1]:0\"\n", "listeners.b.kind", Some(4), "is missing"),
    (LISTENER, "[listeners.b]\nkind = \"mqtt\"\n", "listeners.b.bind", Some(4), "is missing"),
    (
        LISTENER,
        "[listeners.b]\nkind = \"mqtt\"\nbind = \"localhost:1883\"\n",
        "listeners.b.bind",
        Some(6),
        "an IP address and a port",
    ),
    (
        LISTENER,
        "[listeners.b]\nkind = \"mqtts\"\nbind = \"[::1]:0\"\n",
        "listeners.b.tls",
        Some(4),
        "because kind is mqtts",
    ),
    (LISTENER, "[listeners.a.tls]\nmin_version = \"1.3\"\n", "listeners.a.tls", Some(4), "kind mqtt has no TLS"),
    (SECURE, "min_version = \"1.1\"\n", "listeners.a.tls.min_version", Some(7), "none of: 1.2, 1.3"),
    (
        SECURE,
        "client_auth = \"required\"\n",
        "listeners.a.tls.client_ca_file",
        Some(4),
        "is missing; add it, because client_auth is \"required\"",
    ),
    (SECURE, "client_auth = \"optional\"\n", "listeners.a.tls.client_ca_file", Some(4), "is missing"),
    (
        SECURE,
        "client_ca_file = \"ca.pem\"\n",
        "listeners.a.tls.client_ca_file",
        Some(7),
        "is not used while client_auth is \"none\"",
    ),
    (
        SECURE,
        "[listeners.a.tls.sni.\"b.example\"]\ncertificate_file = \"b.pem\"\n",
        "listeners.a.tls.sni.\"b.example\".private_key_file",
        Some(7),
        "is missing; add it, with the path of a PEM file",
    ),
    (
        SECURE,
        "[listeners.a.tls.sni.b.example]\ncertificate_file = \"b.pem\"\nprivate_key_file = \"b.key\"\n",
        "listeners.a.tls.sni.b.example",
        Some(7),
        "in quotes, such as [listeners.x.tls.sni.\"a.example\"]",
    ),
    (
        SECURE,
        "[listeners.a.tls.sni.\"B.example\"]\ncertificate_file = \"b.pem\"\nprivate_key_file = \"b.key\"\n",
        "listeners.a.tls.sni.\"B.example\"",
        Some(7),
        "in lower case",
    ),
    (SECURE, "[listeners.a.tls.sni.\"*.b.example\"]\n", "listeners.a.tls.sni.\"*.b.example\"", Some(7), "no host name"),
    (SECURE, "[listeners.a.tls.sni.\"192.0.2.1\"]\n", "listeners.a.tls.sni.\"192.0.2.1\"", Some(7), "no host name"),
    (SECURE, "[listeners.a.tls.sni]\nb = 1\n", "listeners.a.tls.sni.b", Some(8), "must be a table"),
    (SECURE, "[listeners.a.proxy]\nnetworks = []\n", "listeners.a.proxy.networks", Some(8), "no proxy would be believed"),
    (LISTENER, "[listeners.a.proxy]\n", "listeners.a.proxy.networks", Some(4), "is missing"),
    (LISTENER, "proxy = true\n", "listeners.a.proxy", Some(4), "must be a table"),
    (LISTENER, "[listeners.a.proxy]\nnetworks = \"10.0.0.0/8\"\n", "listeners.a.proxy.networks", Some(5), "must be a list"),
    (
        LISTENER,
        "[listeners.a.proxy]\nnetworks = [\"fd00::/8\", \"10.0.0.1/8\"]\n",
        "listeners.a.proxy.networks",
        Some(5),
        "`10.0.0.1/8` has bits behind its prefix; write 10.0.0.0/8",
    ),
    (
        LISTENER,
        "[listeners.a.proxy]\nnetworks = [\"proxy.example\"]\n",
        "listeners.a.proxy.networks",
        Some(5),
        "is no network",
    ),
    (LISTENER, "connections_per_s_max = -1\n", "listeners.a.connections_per_s_max", Some(4), "is -1, must be from 0"),
    (
        LISTENER,
        "address_connections_max = 10000001\n",
        "listeners.a.address_connections_max",
        Some(4),
        "must be from 0 to 10000000",
    ),
    (
        LISTENER,
        "address_connections_per_s_max = \"many\"\n",
        "listeners.a.address_connections_per_s_max",
        Some(4),
        "must be a whole number",
    ),
    (SECURE, "resumption = 1\n", "listeners.a.tls.resumption", Some(7), "true or false"),
    (LISTENER, "[node\n", "", Some(4), "is not TOML"),
    (LISTENER, "[limits]\nreceive_max = 99999999999999999999\n", "", Some(5), "does not fit in 64 bits"),
];

/// Each row differs from a configuration that loads in one thing, and gives exactly one problem: its key, its line, and
/// a part of what it says.
#[test]
fn a_problem_names_key_line_and_remedy() {
    loaded(LISTENER);
    loaded(SECURE);
    for (before, wrong, key, line, part) in PROBLEMS {
        let dir = Dir::new(&format!("{before}{wrong}"));
        let problems = dir.load().expect_err(wrong);
        let [problem] = &problems[..] else { panic!("{wrong}\n{}", lines(&problems)) };
        assert_eq!((problem.key.as_str(), problem.line), (*key, *line), "{wrong}\n{problem}");
        assert!(problem.message.contains(part), "{problem}");
        assert_eq!(problem.file, line.map(|_| dir.path("gatemq.toml")), "{problem}");
    }
}

/// Guards "all problems at once", sorted as an editor would show them.
#[test]
fn all_problems_are_told_at_once() {
    let dir = Dir::new(
        "[node]\nworkers = 0\n[log]\nformat = 1\n[listeners.a]\nkind = \"udp\"\nbind = \"x\"\n[limits]\nwhat = 1\n",
    );
    let problems = dir.load().unwrap_err();
    let keys: Vec<_> = problems.iter().map(|p| p.key.as_str()).collect();
    assert_eq!(keys, ["node.workers", "log.format", "listeners.a.kind", "listeners.a.bind", "limits.what"]);
    let file = dir.path("gatemq.toml");
    assert!(problems[0].to_string().starts_with(&format!("{}:2: node.workers: is 0", file.display())));
}

/// Guards two listeners on one address, which the second bind would tell only at the start.
#[test]
fn an_address_has_one_listener() {
    let two = |port: u16| {
        let b = LISTENER.replace("[listeners.a]", "[listeners.b]");
        Dir::new(&(LISTENER.to_owned() + &b).replace(":0", &format!(":{port}"))).load()
    };
    assert_eq!(two(0).unwrap().listeners.len(), 2);
    let problems = two(1883).unwrap_err();
    assert_eq!(problems[0].key, "listeners.b.bind");
    assert!(problems[0].message.contains("[listeners.a]"));
}

/// Guards the order of layers: each sets what the next overrides, and leaves one thing that stays.
#[test]
fn later_layers_win() {
    let dir = Dir::new(&format!("{LISTENER}[limits]\nreceive_max = 1\ninflight_max = 1\ntopic_levels_max = 1\n"));
    dir.write(
        "conf.d/20-b.toml",
        "[limits]\nreceive_max = 3\ntopic_levels_max = 3\n[listeners.b]\nkind = \"mqtt\"\nbind = \"[::1]:0\"\n",
    );
    dir.write("conf.d/10-a.toml", "[limits]\nreceive_max = 2\ninflight_max = 2\ntopic_levels_max = 2\n");
    dir.write("conf.d/99-not.toml.bak", "rubbish");
    let config = dir.load().unwrap();
    assert_eq!(config.limits.receive_max, 3);
    assert_eq!(config.limits.inflight_max, 2);
    assert_eq!(config.listeners.keys().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(config.limits.subscriptions_max, 10_000, "the default");

    let environment = [("GATEMQ_LIMITS__RECEIVE_MAX", "4"), ("GATEMQ_LIMITS__TOPIC_LEVELS_MAX", "4"), ("PATH", "/")];
    let config = load(&dir.sources(&environment, &["limits.receive_max=5"])).unwrap();
    assert_eq!((config.limits.receive_max, config.limits.topic_levels_max, config.limits.inflight_max), (5, 4, 2));
}

/// Guards layers that have only text: numbers stay text where text is wanted, and mean what they say elsewhere.
#[test]
fn text_layers_mean_what_the_key_means() {
    let dir = Dir::new(LISTENER);
    let environment = [
        ("GATEMQ_NODE__NAME", "42"),
        ("GATEMQ_AUTH__CHAIN", "guard, fleet"),
        ("GATEMQ_PLUGINS__FLEET__REQUIRED", "false"),
        ("GATEMQ_PLUGINS__FLEET__CONFIG__LIMIT", "7"),
        ("GATEMQ_PLUGINS__FLEET__CONFIG__REGION", "0042"),
        ("GATEMQ_LISTENERS__B__KIND", "mqtt"),
        ("GATEMQ_LISTENERS__B__BIND", "127.0.0.1:0"),
        ("GATEMQ_BIN_DIR", "/usr/bin"),
    ];
    let config = load(&dir.sources(&environment, &["log.format=json", "plugins.fleet.timeout_ms=10"])).unwrap();
    assert_eq!(config.node.name, "42");
    assert_eq!(config.auth.chain.unwrap(), ["guard", "fleet"]);
    assert_eq!(config.log.format, LogFormat::Json);
    let fleet = &config.plugins["fleet"];
    assert_eq!(
        (fleet.required, fleet.policy.options.timeout.as_millis(), &fleet.library),
        (false, 10, &Library::DropIn)
    );
    assert_eq!(fleet.config_json, r#"{"limit":7,"region":"0042"}"#);
    assert_eq!(config.listeners["b"].connections_max, 100_000);
}

/// Guards problems of the text layers: they say which layer, and a misspelt variable is not ignored.
#[test]
fn problems_of_text_layers_name_the_layer() {
    let dir = Dir::new(LISTENER);
    let rows = [
        (("GATEMQ_NODE_NAME", "x"), "log.level=debug", "node_name", "(set by environment)"),
        (("GATEMQ_NODE__WORKERS", "many"), "log.level=debug", "node.workers", "(set by environment)"),
        (("GATEMQ_NODE__NAME", "x"), "log.format=xml", "log.format", "(set by --set)"),
        (("GATEMQ_NODE__NAME", "x"), "log.format", "log.format", "needs key=value"),
        (("GATEMQ_NODE", "x"), "log.level=debug", "node", "must be a table"),
    ];
    for (variable, set, key, part) in rows {
        let problems = load(&dir.sources(&[variable], &[set])).expect_err(key);
        assert_eq!(problems.len(), 1, "{}", lines(&problems));
        assert_eq!(problems[0].key, key);
        assert!(problems[0].message.contains(part), "{}", problems[0]);
        assert_eq!(problems[0].file, None);
    }
    load(&dir.sources(&[("GATEMQ_NODE__NAME", "x")], &["log.level=debug"])).unwrap();
}

/// Guards `--config` of a file that is not there: starting with defaults instead would be a surprise.
#[test]
fn a_named_file_must_exist() {
    let dir = Dir::new(LISTENER);
    let mut sources = dir.sources(&[], &[]);
    load(&sources).unwrap();
    sources.file = Some(dir.path("other.toml"));
    let problems = load(&sources).unwrap_err();
    assert!(problems.len() == 1 && problems[0].message.contains("cannot be read"), "{}", lines(&problems));
}

/// Guards against misleading problems: what is missing may be in the file that could not be read.
#[test]
fn a_broken_file_is_the_only_problem() {
    let dir = Dir::new("[node\n");
    dir.write("conf.d/x.toml", "[listeners.a]\nkind = \"mqtts\"\n");
    let problems = dir.load().unwrap_err();
    assert!(problems.len() == 1 && problems[0].message.contains("is not TOML"), "{}", lines(&problems));
    dir.write("gatemq.toml", SECURE);
    dir.load().unwrap();
}

/// Guards what is computed: paths beside their file, resumption by client_auth, libraries, plugin configuration.
#[test]
fn values_are_checked_into_their_types() {
    let dir = Dir::new(SECURE);
    dir.write(
        "conf.d/x.toml",
        "[listeners.a.tls]\nclient_auth = \"required\"\nclient_ca_file = \"ca.pem\"\nmin_version = \"1.3\"\n\
         [plugins.p]\nlibrary = \"/opt/libp.so\"\n[plugins.q]\nlibrary = \"auth-file\"\n\
         [plugins.q.config]\nsince = 2024-01-01\nnested = { a = [1, 2.5, true] }\n",
    );
    let config = dir.load().unwrap();
    let tls = config.listeners["a"].tls.clone().unwrap();
    assert_eq!(tls.certificate_file, dir.path("c.pem"));
    assert_eq!(tls.client_auth, ClientAuth::Required { ca_file: dir.path("conf.d/ca.pem") });
    assert_eq!((tls.min_version, tls.resumption), (TlsVersion::V1_3, false));
    assert_eq!(config.plugins["p"].library, Library::File("/opt/libp.so".into()));
    assert_eq!(config.plugins["q"].library, Library::Bundled("auth-file".into()));
    assert_eq!(config.plugins["q"].config_json, r#"{"nested":{"a":[1,2.5,true]},"since":"2024-01-01"}"#);
    assert_eq!(config.plugins["p"].config_json, "{}");
    assert!(loaded(SECURE).listeners["a"].tls.clone().unwrap().resumption);
}

/// Guards names with dots in every layer, and networks in those that have only text.
#[test]
fn host_names_have_dots_in_every_layer() {
    let dir = Dir::new(&format!("{SECURE}[listeners.a.tls.sni.\"b.example\"]\nprivate_key_file = \"b.key\"\n"));
    let environment = [
        ("GATEMQ_LISTENERS__A__TLS__SNI__B.EXAMPLE__CERTIFICATE_FILE", "/b.pem"),
        ("GATEMQ_LISTENERS__A__PROXY__NETWORKS", "10.0.0.0/8, fd00::/8"),
    ];
    let set = [
        "listeners.a.tls.sni.\"c.example\".certificate_file=/c.pem",
        "listeners.a.tls.sni.\"c.example\".private_key_file=/c.key",
    ];
    let config = load(&dir.sources(&environment, &set)).unwrap_or_else(|problems| panic!("{}", lines(&problems)));
    let listener = &config.listeners["a"];
    assert_eq!(listener.proxies, ["10.0.0.0/8".parse().unwrap(), "fd00::/8".parse().unwrap()]);
    let sni = &listener.tls.as_ref().unwrap().sni;
    assert_eq!(sni.keys().collect::<Vec<_>>(), ["b.example", "c.example"]);
    assert_eq!(sni["b.example"].certificate_file, PathBuf::from("/b.pem"));
    assert_eq!(sni["b.example"].private_key_file, dir.path("b.key"));
    assert_eq!(sni["c.example"].private_key_file, PathBuf::from("/c.key"));
}

/// Promise 1: without an auth plugin nobody but this machine may connect.
#[test]
fn dev_listens_on_loopback_only() {
    let at = |bind: &str| check_dev(&loaded(&LISTENER.replace("127.0.0.1:0", bind)));
    for bind in ["127.0.0.1:0", "[::1]:1883", "127.9.9.9:1"] {
        assert_eq!(at(bind), []);
    }
    for bind in ["0.0.0.0:1883", "[::]:1883", "10.0.0.1:1", "[::ffff:127.0.0.1]:1"] {
        assert_eq!(at(bind)[0].key, "listeners.a.bind");
    }
}

/// Guards the annotated file: it loads and changes nothing, and what is commented out in it is right too.
#[test]
fn the_annotated_file_loads() {
    let mut bare = loaded(&LISTENER.replace("[listeners.a]", "[listeners.plain]").replace(":0", ":1883"));
    let annotated = loaded(ANNOTATED);
    bare.node.name.clone_from(&annotated.node.name);
    assert_eq!(annotated, bare);

    let everything: String = ANNOTATED.lines().map(|line| uncommented(line).to_owned() + "\n").collect();
    let config = loaded(&everything);
    let secure = config.listeners["secure"].tls.as_ref().unwrap();
    assert!(matches!(secure.client_auth, ClientAuth::Required { .. }));
    assert!(config.plugins.contains_key("fleet"));
}

/// `#key = …` and `#[table]` without the `#`.
fn uncommented(line: &str) -> &str {
    line.strip_prefix('#').filter(|rest| !rest.starts_with(' ')).unwrap_or(line)
}

/// Guards that the annotated file has every key of the table, with its default and its why.
#[test]
fn the_annotated_file_has_every_key() {
    let (mut table, mut why, mut found) = (Vec::new(), String::new(), Vec::new());
    for line in ANNOTATED.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            why += if why.is_empty() { "" } else { " " };
            why += comment;
        } else if let Some(name) = uncommented(line).strip_prefix('[') {
            let names = toml_edit::Key::parse(name.trim_end_matches(']')).unwrap();
            table = names.iter().map(|name| name.get().to_owned()).collect();
            why.clear();
        } else if let Some((name, value)) = line.trim_start_matches('#').split_once(" = ") {
            let path: Vec<&str> = table.iter().map(String::as_str).chain([name]).collect();
            let keys::Place::Key(key) = keys::place(&path) else { panic!("{line}") };
            found.push((key.path, value.to_owned(), line.starts_with('#'), std::mem::take(&mut why)));
        } else {
            why.clear();
        }
    }
    for key in KEYS {
        let value = if key.example.is_empty() { key.default.unwrap_or_default() } else { key.example };
        assert!(
            found.iter().any(|(path, text, _, why)| *path == key.path && text == value && why == key.why),
            "config/gatemq.toml lacks `{} = {value}` under `# {}`",
            key.path,
            key.why
        );
    }
}

/// Guards the table itself: no key twice, each default fits its own kind.
#[test]
fn the_table_of_keys_is_sound() {
    for (at, key) in KEYS.iter().enumerate() {
        assert!(KEYS[..at].iter().all(|other| other.path != key.path), "{} is twice in the table", key.path);
        let value = super::toml_layer::parse_value(key.default.unwrap_or(key.example));
        assert!(value.is_some(), "{}: the default or example is not TOML", key.path);
        if let (Kind::Number(min, max), Some(value)) = (key.kind, value.and_then(|v| v.to_u128())) {
            assert!((u128::from(min)..=u128::from(max)).contains(&value), "{}", key.path);
        }
        assert!(!key.why.is_empty() && key.why.ends_with('.'), "{}", key.path);
    }
}
