//! `cargo xtask test`: everything, in the order in which failures are cheapest.

use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::{cargo, profile, target_directory};
use gatemq_tests::workspace;

use crate::steps::Steps;
use crate::{fuzz, install};

/// Cases of each property test with `--long`; without, each test has its own number.
const LONG_CASES: &str = "20000";
/// Seeds of the cluster's simulation with `--long`.
const LONG_SEEDS: &str = "100000";

/// With what is private, so that links to that are no fault.
const DOCUMENTED: &str = "-D warnings -A rustdoc::private_intra_doc_links";

pub(crate) fn run(long: bool, with_interop: bool, packages: bool) -> ExitCode {
    let mut steps = Steps::new();
    let at_root = |subcommand: &str, arguments: &[&str]| {
        let mut command = cargo(subcommand);
        command.current_dir(workspace()).args(arguments);
        command
    };
    steps.run("format", &mut at_root("fmt", &["--all", "--check"]));
    // With the tests in the same build: what they depend on is then built once.
    let built = steps.run("build", &mut at_root("build", &["--workspace", "--lib", "--bins", "--tests"]));
    if !built {
        return steps.sum_up("cargo xtask test");
    }
    steps.run("lints", &mut at_root("clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"]));
    let with_binaries = |mut command: Command| {
        command.env("GATEMQ_BIN_DIR", target_directory().join(profile()));
        if long {
            command.env("PROPTEST_CASES", LONG_CASES).env("GATEMQ_SIM_SEEDS", LONG_SEEDS);
        }
        command
    };
    // The tests of nodes in network namespaces need it; whoever is not root has none of these.
    if install::is_root()
        && let Err(why) = install::programs(&[(&["ip", "-V"], "iproute2")])
    {
        println!("nodes in network namespaces cannot be tested: {why}");
    }
    let tests = if has_nextest() {
        at_root("nextest", &["run", "--workspace", "--no-fail-fast"])
    } else {
        at_root("test", &["--workspace", "--lib", "--bins", "--tests", "--no-fail-fast"])
    };
    steps.run("tests", &mut with_binaries(tests));
    steps.run("documentation tests", &mut with_binaries(at_root("test", &["--workspace", "--doc"])));
    // Not ourselves: the build may have put another file in our place.
    let xtask = |arguments: &[&str]| {
        let mut command = Command::new(target_directory().join(profile()).join("xtask"));
        command.args(arguments);
        command
    };
    steps.run("demo", &mut with_binaries(xtask(&["dev", "--demo"])));
    steps.run("demo of a cluster", &mut with_binaries(xtask(&["dev", "--nodes", "3", "--demo"])));
    fuzz::smoke(&mut steps, if long { 60 } else { 5 });
    if with_interop {
        steps.run("interop", &mut with_binaries(xtask(&["interop"])));
        steps.run("console", &mut with_binaries(xtask(&["console"])));
    }
    if packages {
        steps.run("packages", &mut with_binaries(xtask(&["installed"])));
    }
    if long {
        let mut documentation = at_root("doc", &["--workspace", "--no-deps", "--document-private-items"]);
        steps.run("documentation", documentation.env("RUSTDOCFLAGS", DOCUMENTED));
        licences(&mut steps);
    }
    steps.sum_up("cargo xtask test")
}

/// cargo-deny, installed where it is missing. Its advisories come from a repository that is not a package registry, so they
/// are looked up by `cargo deny check advisories`, by hand.
fn licences(steps: &mut Steps) {
    let tools = target_directory().join("tools");
    let deny = tools.join("bin/cargo-deny");
    if !deny.exists() {
        let mut install = cargo("install");
        install.args(["cargo-deny", "--locked", "--root"]).arg(&tools);
        if !steps.run("cargo-deny", &mut install) {
            return;
        }
    }
    let mut check = Command::new(deny);
    check.current_dir(workspace()).args(["check", "bans", "licenses", "sources"]);
    steps.run("licences", &mut check);
}

fn has_nextest() -> bool {
    cargo("nextest").arg("--version").output().is_ok_and(|output| output.status.success())
}
