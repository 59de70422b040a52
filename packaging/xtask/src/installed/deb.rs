//! The deb packages: installed, used, upgraded, removed, purged.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use gatemq_tests::outside;

use super::operator::{self, USER, USERS, answer};
use super::root::Root;
use super::service::{self, Service};
use super::{SECOND, check, done, suite};
use crate::package::Packages;

/// Longest time from the first start to ready.
const START_MAX: Duration = Duration::from_secs(1);
const CONFIGURATION: &str = "/etc/gatemq/gatemq.toml";
/// What an operator changes in it.
const EDIT: &str = "\n[log]\nlevel = \"debug\"\n";
/// A plugin of the operator, and its configuration.
const PLUGIN: (&str, &str) = ("/usr/lib/gatemq/plugins/libmy_gate.so", "/etc/gatemq/conf.d/my-gate.toml");
const PLUGIN_CONFIGURATION: &str = "[auth]\nchain = [\"my-gate\", \"people\"]\n[plugins.my-gate.config]\ntenant = \"home\"\n\
                                    denied_users = [\"mallory\"]\ngrants = [{ allow = [\"all\"], filter = \"home/#\" }]\n";

/// A file that the operator has put there.
const OWN: &str = "/etc/gatemq/conf.d/own.toml";

/// Everything, one after another. The library of the plugin that was built.
pub(super) fn prove(base: &Path, first: &Packages, second: &Packages) -> Result<PathBuf, String> {
    let root = Root::new("deb", base)?;
    let before = root.files()?;
    done("the deb packages install", dpkg(&root, first))?;
    is_in_place(&root)?;
    let exposure = service::verify(&root)?;
    println!("    systemd-analyze: {exposure}");
    operator::checks(&root)?;
    let service = Service::start(&root)?;
    println!("    start to ready, the check before it included: {} ms", service.started_in.as_millis());
    check(service.started_in < START_MAX, || format!("the first start takes {:?}", service.started_in))?;
    operator::admits_nobody(&service)?;
    operator::add_user(&root, &service)?;
    operator::lists_clients(&root, &service)?;
    operator::keep_message(&service)?;
    done("the unit reloads it", service.reload())?;
    done("it says that it is alive", service.told("WATCHDOG=1"))?;
    done("the unit stops it", service.stop())?;
    let plugin = drop_in(&root)?;
    let result = done("integration tests against the installed files", suite::run(&root))?;
    println!("    {result}");
    upgrade(&root, second)?;
    remove(&root)?;
    purge(&root, &before)?;
    root.remove().map(|()| plugin)
}

/// dpkg, which looks at dependencies: each must be in the root.
pub(super) fn dpkg(root: &Root, packages: &Packages) -> Result<(), String> {
    let files = root.take(&packages.debs)?;
    let files: Vec<&str> = files.iter().map(String::as_str).collect();
    // Of two configurations that differ it takes the installed one; an operator is asked.
    root.run(&[&["dpkg", "--force-confold", "--install"][..], &files].concat()).map(drop)
}

fn is_in_place(root: &Root) -> Result<(), String> {
    for (file, wanted) in [
        ("/etc/gatemq/gatemq.toml", "root:root 644"),
        (USERS, "root:gatemq 640"),
        ("/etc/gatemq/tls", "root:gatemq 750"),
        ("/var/lib/gatemq", "gatemq:gatemq 750"),
        ("/var/log/gatemq", "gatemq:gatemq 750"),
        ("/usr/lib/gatemq/plugins", "root:root 755"),
        ("/usr/bin/gatemq", "root:root 755"),
    ] {
        let owner = root.owner(file)?;
        check(owner == wanted, || format!("{file} is {owner}, not {wanted}"))?;
    }
    for page in ["README.md", "walk.md", "clusters.md", "monitoring/grafana.json", "monitoring/alerts.yml"] {
        let file = format!("/usr/share/doc/gatemq/{page}");
        check(root.path(&file).exists(), || format!("{file} is not there"))?;
    }
    let wanted = root.path("/etc/systemd/system/multi-user.target.wants/gatemq.service");
    done("files have their owners, and the service is enabled", check(wanted.is_symlink(), || "it is not".into()))
}

/// A project of the installed template is built against the installed sources; its library is dropped in and admits clients.
fn drop_in(root: &Root) -> Result<PathBuf, String> {
    let project = outside::template_of("my-gate", &root.path("/usr/share/gatemq"));
    put_plugin(root, &project.library)?;
    let service = Service::start(root)?;
    let answers = [answer(service.address, Some(("bob", "")))?, answer(service.address, Some(("mallory", "")))?];
    let plugins = root.run(&["gatemq", "plugin", "list"])?;
    let well = answers[0] == 0 && answers[1] != 0 && plugins.contains("my-gate");
    done("a plugin of the template is dropped in and decides", check(well, || format!("{answers:?}, {plugins}")))?;
    service.stop().map(|()| project.library)
}

/// Puts a library of the operator, and its configuration, where they belong.
pub(super) fn put_plugin(root: &Root, library: &Path) -> Result<(), String> {
    let (to, configuration) = (root.path(PLUGIN.0), root.path(PLUGIN.1));
    fs::copy(library, &to).map_err(|e| format!("{}: {e}", to.display()))?;
    fs::write(&configuration, PLUGIN_CONFIGURATION).map_err(|e| format!("{}: {e}", configuration.display()))
}

/// An upgrade leaves the operator's changes, and what was kept.
fn upgrade(root: &Root, second: &Packages) -> Result<(), String> {
    operator::append(root, CONFIGURATION, EDIT)?;
    let edited = read(root, CONFIGURATION)?;
    let users = read(root, USERS)?;
    dpkg(root, second)?;
    let version = root.run(&["dpkg-query", "--show", "--showformat=${Version}", "gatemq"])?;
    check(version.ends_with("-2"), || format!("after the upgrade there is {version}"))?;
    check(read(root, CONFIGURATION)? == edited, || "the edited configuration was replaced".into())?;
    let offered = read(root, &format!("{CONFIGURATION}.dpkg-dist"))?;
    check(offered.contains(SECOND), || "the new configuration is not offered".into())?;
    check(read(root, USERS)? == users, || "the users were replaced".into())?;
    let level = root.run(&["gatemq", "config", "show"])?;
    check(level.contains("level = \"debug\""), || format!("the edit is not in effect: {level}"))?;
    // Its own provider again, so that the user of before is of the tenant of before.
    for file in [PLUGIN.0, PLUGIN.1] {
        fs::remove_file(root.path(file)).map_err(|e| format!("{file}: {e}"))?;
    }
    let service = Service::start(root)?;
    check(answer(service.address, Some(USER))? == 0, || "the user of before is not admitted".into())?;
    done("an upgrade keeps edits, users and messages", operator::has_message(&service))?;
    service.stop()
}

/// Removed, it leaves its configuration, what it has kept, and what is not its own.
fn remove(root: &Root) -> Result<(), String> {
    let own = root.path(OWN);
    fs::write(&own, "# the operator's\n").map_err(|e| format!("{}: {e}", own.display()))?;
    root.run(&["dpkg", "--remove", "gatemq"])?;
    check(!root.path("/usr/bin/gatemq").exists(), || "the program is still there".into())?;
    for kept in [CONFIGURATION, USERS, OWN, "/var/lib/gatemq"] {
        check(root.path(kept).exists(), || format!("{kept} is gone"))?;
    }
    done("removed, configuration and data stay", Ok(()))
}

/// Purged, it leaves the operator's own file with the directories above it, and nothing else.
fn purge(root: &Root, before: &BTreeSet<String>) -> Result<(), String> {
    root.run(&["dpkg", "--purge", "gatemq", "gatemq-plugin-dev"])?;
    let after = root.files()?;
    let left: Vec<&str> = after.difference(before).map(String::as_str).collect();
    let wanted = ["etc/gatemq", "etc/gatemq/conf.d", OWN.trim_start_matches('/')];
    check(left == wanted, || format!("left besides the operator's file: {left:?}"))?;
    let gone: Vec<_> = before.difference(&after).collect();
    check(gone.is_empty(), || format!("gone with it: {gone:?}"))?;
    let accounts = read(root, "/etc/passwd")?;
    done("purged, nothing is left but the user", check(accounts.contains("gatemq:"), || "the user is gone".into()))
}

fn read(root: &Root, file: &str) -> Result<String, String> {
    fs::read_to_string(root.path(file)).map_err(|e| format!("{file}: {e}"))
}
