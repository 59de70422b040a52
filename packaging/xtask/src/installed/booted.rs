//! The unit under systemd itself, in a container that is booted: what it takes from the broker is not missed.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::root::Root;
use super::{check, deb, done};
use crate::install::said;
use crate::package::Packages;

/// Runs in the container when it has booted, and writes a line for each thing that it sees.
const LOOK: &str = include_str!("look.sh");
/// Has it run, and ends the container when it has.
const UNIT: &str = "[Unit]\nAfter=gatemq.service\nSuccessAction=poweroff\nFailureAction=poweroff\n\
                    [Service]\nType=oneshot\nExecStart=/bin/sh /opt/look.sh\n";
/// What it writes.
const SEEN: &str = "/opt/seen";
/// What must be in it, each as a line.
const WANTED: [&str; 17] = [
    "started: active",
    "capabilities: 0000000000000000",
    // Filtered.
    "system calls: 2",
    "files: 1048576",
    "core dumps: 0",
    // In the container nobody else has the port.
    "address: 127.0.0.1:1883",
    "plugin people: ready",
    "plugin my-gate: ready",
    "plugin tape: ready",
    "events: NodeStarted",
    "reload: 0",
    // As gatemq check ends it: before the broker hears of it.
    "reload of what is wrong: refused",
    "killed: active again",
    // By the packages' scripts.
    "upgraded: active again",
    "removed: inactive",
    "installed again: active",
    "stopped: success",
];
/// A collector that writes to the directory which the unit allows.
const TAPE: &str =
    "[plugins.tape]\nlibrary = \"events-json\"\n[plugins.tape.config]\nfile = \"/var/log/gatemq/events.json\"\n";
/// Seconds that the container may take.
const SECONDS_MAX: &str = "180";

/// Boots a root with the package and a plugin of an operator.
pub(super) fn prove(base: &Path, first: &Packages, second: &Packages, plugin: &Path) -> Result<(), String> {
    let root = Root::new("booted", base)?;
    if let Err(why) = said(&mut container(&root, &["/bin/true"])) {
        println!("    this machine makes no containers, so the unit was not tried under systemd: {why}");
        return root.remove();
    }
    deb::dpkg(&root, first)?;
    deb::put_plugin(&root, plugin)?;
    let put = |file: &str, text: &str| fs::write(root.path(file), text).map_err(|e| format!("{file}: {e}"));
    put("/etc/gatemq/conf.d/tape.toml", TAPE)?;
    put("/opt/look.sh", LOOK)?;
    fs::copy(&second.debs[0], root.path("/opt/second.deb")).map_err(|e| e.to_string())?;
    put("/etc/systemd/system/look.service", UNIT)?;
    root.run(&["ln", "-s", "/etc/systemd/system/look.service", "/etc/systemd/system/multi-user.target.wants/"])?;
    let ended = said(&mut container(&root, &["--boot"]));
    let seen = fs::read_to_string(root.path(SEEN)).map_err(|e| format!("{SEEN}: {e}; the container: {ended:?}"))?;
    let missing: Vec<_> = WANTED.iter().filter(|wanted| !seen.lines().any(|line| line == **wanted)).collect();
    done(
        "under systemd, locked up, it does all of that",
        check(missing.is_empty(), || format!("{missing:?} in:\n{seen}")),
    )?;
    root.remove()
}

/// systemd-nspawn, with a network of its own.
fn container(root: &Root, what: &[&str]) -> Command {
    let mut command = Command::new("timeout");
    command.args([SECONDS_MAX, "systemd-nspawn", "--quiet", "--register=no", "--keep-unit", "--private-network"]);
    command.args(["--console=pipe", "--directory"]).arg(root.path("/")).args(what);
    command.stdin(std::process::Stdio::null());
    command
}
