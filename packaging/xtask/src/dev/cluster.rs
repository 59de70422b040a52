//! `cargo xtask dev --nodes N`: a cluster on loopback to play with, and the commands to paste.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::{Artifacts, run as succeed, target_directory};

use super::{CLIENTS, configuration, development_pki, mosquitto};

const ENVIRONMENT: &str = "dev";

/// A node by its number, from 1 on.
#[derive(Clone, Copy)]
struct Node(u16);

impl Node {
    fn name(self) -> String {
        format!("node-{}", self.0)
    }

    fn mqtts(self) -> String {
        format!("127.0.0.1:{}", 8882 + self.0)
    }

    fn gossip(self) -> String {
        format!("127.0.0.1:{}", 7900 + self.0)
    }

    fn rpc(self) -> String {
        format!("127.0.0.1:{}", 7950 + self.0)
    }
}

/// Builds, writes PKI and configurations, starts all nodes, shows the commands, and waits: Ctrl-C goes to every node.
pub(crate) fn run(count: u16) -> ExitCode {
    println!("building the broker and its plugins …");
    let (dev, artifacts) = (target_directory().join("dev"), Artifacts::get());
    let clients = dev.join("pki");
    development_pki(&clients);
    let directory = dev.join("cluster");
    let authority = authority(&directory, artifacts);
    let mut children = Vec::new();
    for node in (1..=count).map(Node) {
        let config = write(&directory, &authority, &clients, node, count, artifacts);
        match Command::new(artifacts.broker()).arg("run").arg("--config").arg(&config).spawn() {
            Ok(child) => children.push(child),
            Err(e) => {
                eprintln!("{}: {e}", artifacts.broker().display());
                break;
            }
        }
    }
    if children.len() == usize::from(count) {
        show(&directory, &clients, count, artifacts);
    } else {
        // Those that were started serve nobody.
        children.iter_mut().for_each(|child| drop(child.kill()));
    }
    // One that was killed, as is shown below, is not the end of the others.
    for (n, child) in children.iter_mut().enumerate() {
        match child.wait() {
            Ok(status) => println!("node-{}: {status}", n + 1),
            Err(e) => println!("node-{}: {e}", n + 1),
        }
    }
    ExitCode::SUCCESS
}

/// The authority and the secret of the cluster, made where there are none.
fn authority(directory: &Path, artifacts: &Artifacts) -> PathBuf {
    let authority = directory.join("ca");
    if !authority.join("ca.pem").exists() {
        let mut pki = Command::new(artifacts.broker());
        succeed(pki.args(["pki", "ca", "--environment", ENVIRONMENT, "--out"]).arg(&authority));
    }
    fs::write(directory.join("cluster.key"), "for development on loopback, known to all\n")
        .expect("the secret is written");
    authority
}

/// Its configuration; its certificate is made where there is none.
fn write(dir: &Path, authority: &Path, clients: &Path, node: Node, count: u16, artifacts: &Artifacts) -> PathBuf {
    let (name, own) = (node.name(), dir.join(node.name()));
    fs::create_dir_all(&own).expect("a directory");
    let [certificate, key] = ["pem", "key"].map(|end| own.join(format!("{name}.{end}")));
    if !certificate.exists() {
        let mut pki = Command::new(artifacts.broker());
        pki.args(["pki", "node", &name, "--environment", ENVIRONMENT, "--ca"]).arg(authority);
        succeed(pki.arg("--out").arg(&own));
    }
    let seeds: Vec<String> = (1..=count).map(|n| Node(n).rpc()).collect();
    let cluster = format!(
        "\n[cluster]\nenvironment = {ENVIRONMENT:?}\nbind = {:?}\nrpc_bind = {:?}\nseeds = {seeds:?}\nsecret_file = {:?}\n\
         tls.certificate_file = {certificate:?}\ntls.private_key_file = {key:?}\ntls.ca_file = {:?}\n",
        node.gossip(),
        node.rpc(),
        dir.join("cluster.key"),
        authority.join("ca.pem"),
    );
    let file = own.join("gatemq.toml");
    let text = configuration(&own, clients, &name, &node.mqtts(), artifacts) + &cluster;
    fs::write(&file, text).expect("the configuration is written");
    file
}

fn show(directory: &Path, clients: &Path, count: u16, artifacts: &Artifacts) {
    let (first, last, broker) = (Node(1), Node(count), artifacts.broker());
    let config = directory.join(first.name()).join("gatemq.toml");
    println!(
        "{count} nodes, {} to {}; files of each in {}\n\n\
         The members, as the first sees them:\n  {broker} cluster status --config {}\n\n\
         Subscribe at the last, in a second terminal:\n  {} \\\n    -v -q 1 -t 'devices/#'\n\n\
         Publish at the first, in a third:\n  {} \\\n    -q 1 -t devices/{}/temperature -m 21.5\n\n\
         Kill the last, and look at the members again:\n  pkill -KILL -f {}\n\n\
         Ctrl-C stops all.\n",
        first.mqtts(),
        last.mqtts(),
        directory.display(),
        config.display(),
        mosquitto("mosquitto_sub", CLIENTS[1], &last.mqtts(), clients),
        mosquitto("mosquitto_pub", CLIENTS[0], &first.mqtts(), clients),
        CLIENTS[0],
        directory.join(last.name()).join("gatemq.toml").display(),
        broker = broker.display(),
    );
}
