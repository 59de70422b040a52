//! The operators' page, `packaging/doc/clusters.md`: what it shows makes a cluster.

use std::fs;
use std::process::Command;

use gatemq_tests::artifacts::{Artifacts, run};
use gatemq_tests::broker::Setup;
use gatemq_tests::cluster::{self, ALL, SECRET};
use gatemq_tests::workspace;

/// The first block of this language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let (_, rest) = page.split_once(&format!("```{language}\n")).expect("such a block");
    rest.split_once("```").expect("its end").0
}

/// The commands for certificates, as they stand, and its configuration, with other addresses and directories, make three nodes that
/// are one cluster.
#[test]
fn what_the_page_shows_makes_a_cluster() {
    let page = fs::read_to_string(workspace().join("packaging/doc/clusters.md")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let commands: Vec<_> = block(&page, "sh").lines().filter_map(|line| line.strip_prefix("gatemq ")).collect();
    assert_eq!(commands.len(), 4, "{commands:?}");
    for arguments in commands {
        run(Command::new(Artifacts::get().broker()).args(arguments.split(' ')).current_dir(directory.path()));
    }
    fs::write(directory.path().join("cluster.key"), SECRET).unwrap();
    let (_, shown) = block(&page, "toml").split_once("[cluster]").expect("a cluster");
    let addresses = [1, 2, 3].map(|n| (format!("10.0.0.{n}:"), format!("{}:", cluster::an_address())));
    let setup = |n: usize| {
        let name = format!("node-{n}");
        let here = |file: &str| directory.path().join(file).display().to_string();
        let mut text = format!("[cluster]{shown}").replace("bind = \"10.0.0.1", &format!("bind = \"10.0.0.{n}"));
        for (from, to) in &addresses {
            text = text.replace(from, to);
        }
        let text = text.replace("/etc/gatemq/node-1", &here(&format!("{name}/{name}")));
        let text = text.replace("/etc/gatemq/ca.pem", &here("ca/ca.pem"));
        let text = text.replace("/etc/gatemq/cluster.key", &here("cluster.key"));
        Setup::new().name(&name).toml(&text).mqtt("mqtt").faults(ALL)
    };
    let brokers = cluster::start((1..=3).map(setup));
    assert_eq!(cluster::up(&cluster::status(&brokers[2])), ["node-1", "node-2"]);
}
