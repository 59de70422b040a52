//! Integration tests against the installed files: the test program of this build, in the root, with the root's libraries.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use gatemq_tests::artifacts::{Artifacts, cargo};
use gatemq_tests::workspace;
use serde_json::Value;

use super::check;
use super::root::Root;
use crate::install::said;

/// What is run: everything that an operator would miss first, and that builds nothing.
const TESTS: [&str; 11] = [
    "promise_1::",
    "promise_2::",
    "promise_8::",
    "road::",
    "sessions::",
    "retained::",
    "wills::",
    "websocket::",
    "listeners::",
    "service::",
    "commands::",
];
/// Plugins for tests, which are in no package.
const TEST_PLUGINS: [&str; 2] = ["test-faults", "test-requests"];
/// Where the root sees installed files under the names that the tests look for.
const BINARIES: &str = "/mnt";

/// Runs them, of each module some; the test program's last line.
pub(super) fn run(root: &Root) -> Result<String, String> {
    let program = program()?;
    let binaries = tempfile::tempdir().map_err(|e| e.to_string())?;
    let links = std::iter::once(PathBuf::from("/usr/bin/gatemq")).chain(bundled(root)?);
    for installed in links {
        let name = installed.file_name().unwrap_or_default();
        symlink(&installed, binaries.path().join(name)).map_err(|e| format!("{}: {e}", installed.display()))?;
    }
    for plugin in TEST_PLUGINS {
        let file = Artifacts::get().plugin(plugin);
        let to = binaries.path().join(file.file_name().unwrap_or_default());
        fs::copy(&file, to).map_err(|e| format!("{}: {e}", file.display()))?;
    }
    let program = program.display().to_string();
    let mut tests = root.command(
        &[&[program.as_str()][..], &TESTS].concat(),
        &[(binaries.path(), Path::new(BINARIES)), (&workspace(), &workspace())],
    )?;
    let told = said(tests.env("GATEMQ_BIN_DIR", BINARIES))?;
    let result = told.lines().rfind(|line| line.starts_with("test result:")).unwrap_or("no result");
    let passed = told.lines().filter(|line| line.starts_with("test ") && line.ends_with(" ... ok")).count();
    let silent = TESTS.iter().find(|module| !told.contains(&format!("test {module}")));
    check(silent.is_none(), || format!("no test of {} ran: {result}", silent.unwrap_or(&"")))?;
    check(passed > TESTS.len(), || format!("only {passed} tests: {result}"))?;
    Ok(result.to_owned())
}

fn bundled(root: &Root) -> Result<Vec<PathBuf>, String> {
    const DIRECTORY: &str = "/usr/lib/gatemq/bundled";
    let entries = fs::read_dir(root.path(DIRECTORY)).map_err(|e| format!("{DIRECTORY}: {e}"))?;
    let names = entries.filter_map(|entry| entry.ok()).map(|entry| Path::new(DIRECTORY).join(entry.file_name()));
    Ok(names.collect())
}

/// The test program, as it was built for `cargo xtask test`.
fn program() -> Result<PathBuf, String> {
    let mut build = cargo("test");
    build.current_dir(workspace()).args(["--workspace", "--test", "all", "--no-run", "--message-format", "json"]);
    let told = said(&mut build)?;
    let messages = told.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let source = workspace().join("tests/tests/all.rs").display().to_string();
    let mut ours = messages.filter(|message| message["target"]["src_path"] == source.as_str());
    let program = ours.find_map(|message| message["executable"].as_str().map(PathBuf::from));
    program.ok_or_else(|| "cargo names no test program".to_owned())
}
