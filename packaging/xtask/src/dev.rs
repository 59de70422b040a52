//! `cargo xtask dev`: a broker to play with, and the commands to paste.

pub(crate) mod cluster;

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::{Artifacts, target_directory};
use gatemq_tests::broker::fleet_config;
use gatemq_tests::pki::Pki;

/// The name in the server's certificate.
const HOST: &str = "localhost";
const NODE: &str = "dev";
const ADDRESS: &str = "127.0.0.1:8883";
/// Who signs the clients.
const ROOT: &str = "acme-root.crt";
const CLIENTS: [&str; 2] = ["sensor-1", "sensor-2"];

/// Builds, writes PKI and configuration, shows the commands, and becomes the broker: signals go where they should.
pub(crate) fn run() -> ExitCode {
    let directory = target_directory().join("dev");
    let pki = directory.join("pki");
    let root = development_pki(&pki);
    println!("building the broker and its plugins …");
    let artifacts = Artifacts::get();
    let config = directory.join("gatemq.toml");
    let events = directory.join("events.json");
    fs::write(&config, configuration(&directory, &pki, NODE, ADDRESS, artifacts))
        .expect("the configuration is written");
    show(&config, &events, &pki, &root);
    let failed = Command::new(artifacts.broker()).arg("run").arg("--config").arg(&config).exec();
    eprintln!("{}: {failed}", artifacts.broker().display());
    ExitCode::FAILURE
}

/// Makes the PKI where there is none: clients that were set up with it keep working.
fn development_pki(directory: &Path) -> PathBuf {
    let root = directory.join(ROOT);
    let complete = directory.join("complete");
    if !complete.exists() {
        fs::create_dir_all(directory).expect("a directory");
        let pki = Pki::new("Acme");
        pki.write_root(directory);
        pki.server().write(directory, "server");
        for name in CLIENTS {
            let client = pki.client(name);
            client.write(directory, name);
            client.write_intermediates(directory, name);
        }
        Pki::new("Stranger").client("sensor-1").write(directory, "stranger");
        fs::write(&complete, "").expect("a file");
    }
    root
}

/// Of a node whose files are in `directory`, with the development PKI in `pki`.
fn configuration(directory: &Path, pki: &Path, name: &str, address: &str, artifacts: &Artifacts) -> String {
    let (root, events) = (pki.join(ROOT), directory.join("events.json"));
    let nothing = directory.join("plugins");
    fs::create_dir_all(&nothing).expect("a directory");
    format!(
        r#"# Written by `cargo xtask dev`, each time anew.
[node]
name = "{name}"
data_dir = {data:?}
[log]
level = "info,gatemq::plugin=debug"
[plugin_host]
drop_in_dir = {nothing:?}
bundled_dir = {nothing:?}
owner_checked = false

[listeners.secure]
kind = "mqtts"
bind = "{address}"
[listeners.secure.tls]
certificate_file = {certificate:?}
private_key_file = {key:?}
client_auth = "required"
client_ca_file = {root:?}

[plugins.fleet]
library = {fleet:?}
{fleet_config}

[plugins.events]
library = {collector:?}
config.file = {events:?}
"#,
        data = directory.join("data"),
        certificate = pki.join("server.crt"),
        key = pki.join("server.key"),
        fleet = artifacts.plugin("auth-certificate"),
        fleet_config = fleet_config(&root),
        collector = artifacts.plugin("events-json"),
    )
}

/// Certificate and key of a client.
fn credentials(pki: &Path, name: &str) -> [PathBuf; 2] {
    ["crt", "key"].map(|end| pki.join(format!("{name}.{end}")))
}

/// How to be a client at an address.
fn mosquitto(program: &str, name: &str, address: &str, pki: &Path) -> String {
    let port = address.rsplit(':').next().unwrap_or("8883");
    let [certificate, key] = credentials(pki, name);
    format!(
        "{program} -h {HOST} -p {port} -V 5 -i {name} \\\n    --cafile {} --cert {} --key {}",
        pki.join(ROOT).display(),
        certificate.display(),
        key.display()
    )
}

fn show(config: &Path, events: &Path, pki: &Path, root: &Path) {
    let [certificate, key] = credentials(pki, CLIENTS[0]);
    let mosquitto = |program: &str, name: &str| mosquitto(program, name, ADDRESS, pki);
    println!(
        "configuration  {}\nevents         {}\n\n\
         Subscribe, in a second terminal:\n  {} \\\n    -v -t 'devices/#'\n\n\
         Publish, in a third:\n  {} \\\n    -t devices/{}/temperature -m 21.5\n\n\
         Be refused, with the certificate of another authority:\n  {} \\\n    -t devices/{}/temperature -m 21.5\n\n\
         Look at the handshake:\n  openssl s_client -connect {ADDRESS} -servername {HOST} -CAfile {} \\\n    -cert {} -cert_chain {} -key {}\n\n\
         Ctrl-C stops the broker.\n",
        config.display(),
        events.display(),
        mosquitto("mosquitto_sub", CLIENTS[1]),
        mosquitto("mosquitto_pub", CLIENTS[0]),
        CLIENTS[0],
        mosquitto("mosquitto_pub", "stranger"),
        CLIENTS[0],
        root.display(),
        certificate.display(),
        pki.join(format!("{}-intermediates.crt", CLIENTS[0])).display(),
        key.display(),
    );
}
