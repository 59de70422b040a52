//! The rpm packages: installed, used, upgraded, erased.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::operator::{self, USER, USERS, answer};
use super::root::Root;
use super::service::Service;
use super::{check, done};
use crate::install::said;
use crate::package::Packages;

const CONFIGURATION: &str = "/etc/gatemq/gatemq.toml";
/// How requirements begin that every system of rpm packages meets which has a glibc that is late enough, and systemd.
const REQUIRED: [&str; 9] = [
    "libc.so.6(",
    "libm.so.6(",
    "libgcc_s.so.1(",
    "ld-linux-",
    "rtld(GNU_HASH)",
    "rpmlib(",
    "config(gatemq)",
    "/bin/sh",
    "systemd",
];

/// Everything, one after another.
pub(super) fn prove(base: &Path, first: &Packages, second: &Packages) -> Result<(), String> {
    let required = said(Command::new("rpm").args(["--query", "--package", "--requires"]).args(&first.rpms))?;
    let strange = required.lines().find(|line| !REQUIRED.iter().any(|known| line.starts_with(known)));
    done("the rpm packages require what every system has", check(strange.is_none(), || format!("{strange:?}")))?;
    let root = Root::new("rpm", base)?;
    rpm(&root, "--install", &first.rpms)?;
    let owner = root.owner(USERS)?;
    done("the rpm packages install", check(owner == "root:gatemq 640", || format!("{USERS} is {owner}")))?;
    let service = Service::start(&root)?;
    operator::admits_nobody(&service)?;
    operator::add_user(&root, &service)?;
    operator::keep_message(&service)?;
    service.stop()?;
    operator::append(&root, CONFIGURATION, "\n[log]\nlevel = \"debug\"\n")?;
    let read = |file: &str| fs::read_to_string(root.path(file)).map_err(|e| format!("{file}: {e}"));
    let edited = read(CONFIGURATION)?;
    rpm(&root, "--upgrade", &second.rpms)?;
    check(read(CONFIGURATION)? == edited, || "the edited configuration was replaced".into())?;
    read(&format!("{CONFIGURATION}.rpmnew"))?;
    let service = Service::start(&root)?;
    check(answer(service.address, Some(USER))? == 0, || "the user of before is not admitted".into())?;
    done("an upgrade keeps edits, users and messages", operator::has_message(&service))?;
    service.stop()?;
    rpm(&root, "--erase", &["gatemq", "gatemq-plugin-dev"].map(PathBuf::from))?;
    check(!root.path("/usr/bin/gatemq").exists(), || "the program is still there".into())?;
    read(&format!("{CONFIGURATION}.rpmsave"))?;
    done("erased, edited configuration and data stay", check(root.path("/var/lib/gatemq").exists(), || "no".into()))?;
    root.remove()
}

/// rpm from outside; its scripts run inside.
fn rpm(root: &Root, what: &str, packages: &[PathBuf]) -> Result<(), String> {
    let directory = root.path("/").display().to_string();
    let mut rpm = root.around(&["rpm", "--root", &directory, "--nodeps", what])?;
    said(rpm.args(packages)).map(drop)
}
