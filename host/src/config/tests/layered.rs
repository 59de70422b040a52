//! Table of problems in the layers above the base file: `conf.d`, environment, command line.

use super::{Dir, LISTENER, PROBLEMS, SECURE, lines, load};

/// Where a mistake is made.
enum Layer {
    /// This text in `conf.d/50-more.toml`.
    ConfD(&'static str),
    /// This variable.
    Environment(&'static str, &'static str),
    /// `--set`.
    Set(&'static str),
}
use Layer::{ConfD, Environment, Set};

/// Base file, mistake, its key, its line, part of the message.
type Row = (&'static str, Layer, &'static str, Option<usize>, &'static str);

#[rustfmt::skip]
const LAYERED: &[Row] = &[
    (LISTENER, ConfD("[log]\nlevle = \"info\"\n"), "log.levle", Some(2), "write one of: level, format"),
    (LISTENER, ConfD("\n[limits]\nreceive_max = 0\n"), "limits.receive_max", Some(3), "is 0, must be from 1"),
    (LISTENER, ConfD("[limits]\nsubscriptions_max = 4294967296\n"), "limits.subscriptions_max", Some(2), "must be from 1"),
    (LISTENER, ConfD("[listeners.a]\nkind = \"tls\"\n"), "listeners.a.kind", Some(2), "none of: mqtt, mqtts, ws, wss"),
    (LISTENER, ConfD("[listeners.a]\nbind = 1883\n"), "listeners.a.bind", Some(2), "must be text in quotes"),
    (LISTENER, ConfD("[listeners.a]\nconnect_ms_max = 99\n"), "listeners.a.connect_ms_max", Some(2), "from 100 to 600000"),
    (LISTENER, ConfD("[listeners.a.auth]\nchain = []\n"), "listeners.a.auth.chain", Some(2), "nobody would be admitted"),
    (LISTENER, ConfD("[listeners.a.auth]\nchain = [\"A B\"]\n"), "listeners.a.auth.chain", Some(2), "`A B` is no name of a plugin"),
    (LISTENER, ConfD("[listeners.a.auth]\nchian = [\"x\"]\n"), "listeners.a.auth.chian", Some(2), "write one of: chain"),
    (LISTENER, ConfD("[listeners.a]\nauth = [\"x\"]\n"), "listeners.a.auth", Some(2), "must be a table"),
    (LISTENER, ConfD("[plugins.p]\nring_events = 0\n"), "plugins.p.ring_events", Some(2), "is 0, must be"),
    (LISTENER, ConfD("[plugins.p.config]\nx = inf\n"), "", Some(2), "a number that is infinite"),
    (LISTENER, ConfD("[plugin_host]\ndrop_in_dir = \"\"\n"), "plugin_host.drop_in_dir", Some(2), "is empty"),
    (LISTENER, ConfD("[node]\nworkers = 2\nworkers = 3\n"), "", Some(3), "is not TOML"),
    (LISTENER, ConfD("a = \"\n"), "", Some(1), "is not TOML"),
    (SECURE, ConfD("[listeners.a.tls]\nclient_auth = \"yes\"\n"), "listeners.a.tls.client_auth", Some(2), "none of: none, optional, required"),
    (SECURE, ConfD("[listeners.a.tls]\nclient_auth = \"required\"\nclient_ca_file = \"\"\n"), "listeners.a.tls.client_ca_file", Some(3), "is empty"),
    (SECURE, ConfD("[listeners.a.tls]\ncertificate_file = 1\n"), "listeners.a.tls.certificate_file", Some(2), "must be text"),
    (SECURE, ConfD("[listeners.a.tls]\nprivate_key = \"x\"\n"), "listeners.a.tls.private_key", Some(2), "is not a key"),

    (LISTENER, Environment("GATEMQ_LOG_LEVEL", "debug"), "log_level", None, "is not a key"),
    (LISTENER, Environment("GATEMQ_LOG__FORMAT", "xml"), "log.format", None, "`xml` is none of: text, json (set by environment)"),
    (LISTENER, Environment("GATEMQ_LOG", "debug"), "log", None, "must be a table"),
    (LISTENER, Environment("GATEMQ_NODE__NAME", ""), "node.name", None, "is empty"),
    (LISTENER, Environment("GATEMQ_NODE__WORKERS", "two"), "node.workers", None, "must be a whole number"),
    (LISTENER, Environment("GATEMQ_LIMITS__RECEIVE_MAX", "70000"), "limits.receive_max", None, "is 70000, must be"),
    (LISTENER, Environment("GATEMQ_LISTENERS__A__BIND", "here"), "listeners.a.bind", None, "an IP address and a port"),
    (LISTENER, Environment("GATEMQ_LISTENERS__A__KIND", "MQTT"), "listeners.a.kind", None, "none of: mqtt, mqtts"),
    (LISTENER, Environment("GATEMQ_LISTENERS__A__AUTH__CHAIN", "x,x"), "listeners.a.auth.chain", None, "twice"),
    (LISTENER, Environment("GATEMQ_AUTH__CHAIN", "[]"), "auth.chain", None, "nobody would be admitted"),
    (LISTENER, Environment("GATEMQ_PLUGINS__P__REQUIRED", "yes"), "plugins.p.required", None, "true or false"),
    (LISTENER, Environment("GATEMQ_PLUGINS__P__CONFIG", "x"), "plugins.p.config", None, "must be a table"),
    (SECURE, Environment("GATEMQ_LISTENERS__A__TLS__RESUMPTION", "1"), "listeners.a.tls.resumption", None, "true or false"),

    (LISTENER, Set("log.level"), "log.level", None, "--set needs key=value"),
    (LISTENER, Set("log.levels=info"), "log.levels", None, "is not a key"),
    (LISTENER, Set("log=info"), "log", None, "must be a table"),
    (LISTENER, Set("node.workers=0"), "node.workers", None, "is 0, must be from 1 to 1024 (set by --set)"),
    (LISTENER, Set("node.name= "), "node.name", None, "is empty"),
    (LISTENER, Set("listeners.a.connections_max=-1"), "listeners.a.connections_max", None, "is -1, must be"),
    (LISTENER, Set("listeners.A.kind=mqtt"), "listeners.A", None, "is no usable name"),
    (LISTENER, Set("limits.queue_bytes_max=1024"), "limits.queue_bytes_max", None, "is below packet_bytes_max"),
    (LISTENER, Set("plugins.p.library=a.so"), "plugins.p.library", None, "neither a name"),
    (LISTENER, Set("auth.chain=a b"), "auth.chain", None, "`a b` is no name of a plugin"),
    (SECURE, Set("listeners.a.kind=mqtt"), "listeners.a.tls", Some(4), "kind mqtt has no TLS"),
    (SECURE, Set("listeners.a.tls.min_version=1.0"), "listeners.a.tls.min_version", None, "none of: 1.2, 1.3"),
];

/// Guards that every layer is checked like the base file: each row makes one mistake in one layer, and there is one
/// problem, that names key, file and line; what no file says has neither.
#[test]
fn a_problem_of_any_layer_names_its_place() {
    for (base, layer, key, line, part) in LAYERED {
        let dir = Dir::new(base);
        let (mut environment, mut set, mut file) = (Vec::new(), Vec::new(), "gatemq.toml");
        let what = match layer {
            ConfD(text) => {
                file = "conf.d/50-more.toml";
                dir.write(file, text);
                *text
            }
            Environment(name, value) => {
                environment.push((*name, *value));
                *name
            }
            Set(text) => {
                set.push(*text);
                *text
            }
        };
        let problems = load(&dir.sources(&environment, &set)).expect_err(what);
        let [problem] = &problems[..] else { panic!("{what}\n{}", lines(&problems)) };
        assert_eq!((problem.key.as_str(), problem.line), (*key, *line), "{what}\n{problem}");
        assert_eq!(problem.file, line.map(|_| dir.path(file)), "{what}\n{problem}");
        assert!(problem.message.contains(part), "{what}\n{problem}");
    }
}

/// Guards that nobody thins the tables out: mistakes in every layer, at least sixty in all.
#[test]
fn the_tables_of_problems_are_long_enough() {
    let of = |is: fn(&Layer) -> bool| LAYERED.iter().filter(|row| is(&row.1)).count();
    let counts = [
        PROBLEMS.len(),
        of(|layer| matches!(layer, ConfD(_))),
        of(|layer| matches!(layer, Environment(..))),
        of(|layer| matches!(layer, Set(_))),
    ];
    assert!(counts.iter().sum::<usize>() >= 60 && counts.iter().all(|n| *n >= 10), "{counts:?}");
}
