//! Programs that a step needs and that neither Rust nor a C compiler brings.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::{Command, Stdio};

/// What must run (a command that exits with 0), and the package of Debian and its kin that brings it.
pub(crate) type Program = (&'static [&'static str], &'static str);

/// Sees to it that every one of them runs: root installs the packages of those that do not, anybody else is told to.
///
/// # Errors
/// What is missing, and what to do.
pub(crate) fn programs(wanted: &[Program]) -> Result<(), String> {
    let runs = |program: &[&str]| succeeds(Command::new(program[0]).args(&program[1..]));
    let missing = || wanted.iter().filter(|(program, _)| runs(program).is_err()).map(|(_, package)| *package);
    if !is_root() {
        let packages = missing().collect::<Vec<_>>().join(" ");
        let ask = format!("missing: {packages}; as root: apt-get install {packages}");
        return if packages.is_empty() { Ok(()) } else { Err(ask) };
    }
    // One after another: some packages bring the program of the next.
    for (program, package) in wanted {
        if runs(program).is_ok() {
            continue;
        }
        println!("installing {package}");
        let install = ["install", "--yes", "--no-install-recommends", package];
        // The lists of packages may be old, or absent.
        let installed = apt(&install).or_else(|_| apt(&["update"]).and_then(|()| apt(&install)));
        installed.map_err(|why| format!("{program:?} does not run, and {package} cannot be installed: {why}"))?;
        runs(program).map_err(|why| format!("{package} is installed, and still: {why}"))?;
    }
    Ok(())
}

/// Whether this process is root's.
pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|ours| ours.uid() == 0)
}

/// `apt-get`, which asks nothing.
///
/// # Errors
/// What it said.
pub(crate) fn apt(arguments: &[&str]) -> Result<(), String> {
    let mut apt = Command::new("apt-get");
    apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    succeeds(apt.args(["--quiet", "--option", "DPkg::Lock::Timeout=300"]).args(arguments))
}

/// Runs it.
///
/// # Errors
/// It cannot be run, or fails: with what it said.
pub(crate) fn succeeds(command: &mut Command) -> Result<(), String> {
    said(command).map(drop)
}

/// Runs it; what it wrote to its standard output.
///
/// # Errors
/// As [`succeeds`].
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|e| format!("{command:?}: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        // Some say on one what is wrong, some on the other.
        false => Err(format!("{command:?}: {}\n{}", text(&output.stderr), text(&output.stdout)).trim().to_owned()),
    }
}
