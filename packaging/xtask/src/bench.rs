//! `cargo xtask bench`: never a timed test, always a table to read.

mod flood;
mod node;
mod plugins;
mod store;

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::{cargo, target_directory};
use gatemq_tests::{outside, workspace};

use crate::steps::Steps;

/// What to measure.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum What {
    /// The plugin border, the codec, routing and grants, each by itself
    Border,
    /// What plugins and events may cost and what they do, as multiples in one run
    Plugins,
    /// Whole brokers side by side under load, see tests/load/README.md
    Load,
    /// How long a start takes with a long queue, and with many sessions, in the store
    Store,
    /// What a cluster costs: forwarding as a multiple of raw frames over the same TLS, how soon a node that is gone is found out, how soon
    /// a subscription is known at other nodes, what an idle node takes
    Cluster,
}

pub(crate) fn run(what: What, more: &[String]) -> ExitCode {
    let mut steps = Steps::new();
    match what {
        What::Border => {
            let packages =
                ["--package", "gatemq-plugin-loader", "--package", "gatemq-broker", "--package", "gatemq-mqtt"];
            // The plugin that the border is measured with is found beside the benchmark.
            if steps.run("build", &mut at_root("build", &["--release", "--package", "gatemq-test-faults"])) {
                let mut bench = at_root("bench", &packages);
                steps.run("border", bench.arg("--benches").args(more));
            }
        }
        What::Plugins => {
            let packages = ["gatemq", "gatemq-events-json", "gatemq-test-faults"].map(|name| ["--package", name]);
            if steps.run("build", &mut at_root("build", &[&["--release"], packages.as_flattened()].concat())) {
                let (release, directory) = (target_directory().join("release"), target_directory().join("bench"));
                plugins::run(&mut steps, &release, &directory.join("plugins"));
            }
        }
        What::Load => {
            let packages = ["gatemq", "gatemq-load", "gatemq-events-json"].map(|name| ["--package", name]);
            if steps.run("build", &mut at_root("build", &[&["--release"], packages.as_flattened()].concat())) {
                load(&mut steps, more);
            }
        }
        What::Store => {
            if steps.run("build", &mut at_root("build", &["--release", "--package", "gatemq"])) {
                store::run(&target_directory().join("release"), &target_directory().join("bench"));
            }
        }
        What::Cluster => cluster(&mut steps),
    }
    steps.sum_up("cargo xtask bench")
}

/// One run of what is promised of a cluster. The figures of real nodes are those of the tests that hold them, here of a release build and
/// with nothing beside them.
fn cluster(steps: &mut Steps) {
    let forward = ["--package", "gatemq-cluster", "--bench", "forward"];
    steps.run("forwarding", &mut at_root("bench", &forward));
    let costs = ["--release", "--package", "gatemq-tests", "--test", "all", "cluster::costs"];
    let alone = ["--", "--nocapture", "--test-threads", "1"];
    steps.run("nodes", &mut at_root("test", &[&costs[..], &alone].concat()));
}

fn at_root(subcommand: &str, arguments: &[&str]) -> Command {
    let mut command = cargo(subcommand);
    command.current_dir(workspace()).args(arguments);
    command
}

/// Runs gatemq-bench with a configuration under which every message is checked against grants and every event but traffic is
/// collected.
fn load(steps: &mut Steps, more: &[String]) {
    let (release, directory) = (target_directory().join("release"), target_directory().join("bench"));
    let (certs, config) = (directory.join("certs"), directory.join("gatemq.toml"));
    fs::create_dir_all(&directory).expect("a directory");
    fs::write(&config, configuration(&directory, &certs, &release)).expect("the configuration is written");
    let made = steps.run("certificates", Command::new(release.join("gatemq-load")).arg("certs").arg(&certs));
    if !made {
        return;
    }
    let mut bench = Command::new(release.join("gatemq-bench"));
    bench.arg("--certs").arg(&certs).arg("--gatemq").arg(release.join("gatemq")).arg("--gatemq-config").arg(&config);
    steps.run("load", bench.current_dir(workspace()).args(more));
}

/// All clients of a benchmark are one address, and come at once.
const NO_LIMITS: &str = "connections_per_s_max = 0\naddress_connections_max = 0\naddress_connections_per_s_max = 0\n";

fn configuration(directory: &Path, certs: &Path, release: &Path) -> String {
    let tls = |name: &str, port: u16, more: &str| {
        let (certificate, key) = (certs.join("server.crt"), certs.join("server.key"));
        format!(
            "[listeners.{name}]\nkind = \"mqtts\"\nbind = \"127.0.0.1:{port}\"\n{NO_LIMITS}[listeners.{name}.tls]\n\
             certificate_file = {certificate:?}\nprivate_key_file = {key:?}\n{more}\n"
        )
    };
    let client_ca = format!("client_auth = \"required\"\nclient_ca_file = {:?}", certs.join("ca.crt"));
    format!(
        r##"# Written by `cargo xtask bench load`, each time anew. The rules that do not match are there to be walked.
[node]
name = "bench"
workers = 1
data_dir = {data:?}
[plugin_host]
drop_in_dir = {nothing:?}
bundled_dir = {nothing:?}
owner_checked = false
[listeners.plain]
kind = "mqtt"
bind = "127.0.0.1:1883"
{NO_LIMITS}[listeners.web]
kind = "ws"
bind = "127.0.0.1:8083"
{NO_LIMITS}{server}{mutual}
[plugins.admit]
library = {admit:?}
address_calls_max = 0
config.tenant = "bench"
config.rules = [
    {{ deny = ["publish"], filter = "admin/#" }},
    {{ allow = ["all"], filter = "users/${{user}}/#" }},
    {{ allow = ["publish"], filter = "in/${{client_id}}/+" }},
    {{ allow = ["all"], filter = "#", share_groups = ["*"] }},
]
[plugins.events]
library = {events:?}
config.file = {events_file:?}
"##,
        data = directory.join("data"),
        nothing = directory.join("plugins"),
        server = tls("server", 8883, ""),
        mutual = tls("mutual", 8884, &client_ca),
        admit = outside::release_plugin(),
        events = release.join("libevents_json.so"),
        events_file = directory.join("events.json"),
    )
}
