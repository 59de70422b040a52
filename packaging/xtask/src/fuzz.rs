//! `cargo xtask fuzz`: every fuzz target for some seconds, under cargo-fuzz and a nightly compiler.

use std::ffi::OsString;
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::{cargo, target_directory};
use gatemq_tests::workspace;

use crate::steps::Steps;

/// Package and target.
const TARGETS: [(&str, &str); 5] = [
    ("mqtt", "decode"),
    ("mqtt", "round_trip"),
    ("mqtt", "connection_script"),
    ("broker", "filters"),
    ("broker", "grants"),
];
/// What is installed where there is none.
const CARGO_FUZZ: &str = "0.13.2";
/// Longest that one input may take, in seconds.
const TIMEOUT_S: u64 = 10;

/// Every target for this long; without a nightly compiler that is a failure.
pub(crate) fn run(seconds: u64) -> ExitCode {
    if !has_nightly() {
        println!("cargo xtask fuzz: FAILED, needs a nightly compiler: rustup toolchain install nightly");
        return ExitCode::FAILURE;
    }
    let mut steps = Steps::new();
    all(&mut steps, seconds);
    steps.sum_up("cargo xtask fuzz")
}

/// The same as a part of something else, which has a line where it is left out.
pub(crate) fn smoke(steps: &mut Steps, seconds: u64) {
    match has_nightly() {
        true => all(steps, seconds),
        false => println!("left out: fuzz targets, because there is no nightly compiler"),
    }
}

fn all(steps: &mut Steps, seconds: u64) {
    let tools = target_directory().join("tools");
    if !fuzz().arg("--version").output().is_ok_and(|output| output.status.success()) {
        let mut install = cargo("install");
        install.args(["cargo-fuzz", "--locked", "--version", CARGO_FUZZ, "--root"]).arg(&tools);
        if !steps.run("install cargo-fuzz", &mut install) {
            return;
        }
    }
    for (package, target) in TARGETS {
        let log = one(steps, package, target, seconds);
        let text = String::from_utf8_lossy(&fs::read(&log).unwrap_or_default()).into_owned();
        match text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")) {
            Some(count) => println!("    {} inputs", count.trim()),
            None => println!("{text}"),
        }
    }
}

/// Runs one target; its log. What it learns stays in `target/fuzz`, what it finds in the package's `fuzz/artifacts`.
fn one(steps: &mut Steps, package: &str, target: &str, seconds: u64) -> PathBuf {
    let fuzzing = target_directory().join("fuzz");
    let corpus = fuzzing.join("corpus").join(target);
    fs::create_dir_all(&corpus).expect("a directory");
    let log = fuzzing.join(format!("{target}.log"));
    let said = File::create(&log).expect("a log");
    let mut command = fuzz();
    command.arg("run").arg("--fuzz-dir").arg(workspace().join(package).join("fuzz"));
    command.arg("--target-dir").arg(&fuzzing).arg(target).arg(&corpus);
    command.args(["--", "-verbosity=0", "-print_final_stats=1"]);
    command.arg(format!("-max_total_time={seconds}")).arg(format!("-timeout={TIMEOUT_S}"));
    command.stdout(said.try_clone().expect("a log")).stderr(said);
    steps.run(&format!("fuzz {package} {target}"), &mut command);
    log
}

/// `cargo +nightly fuzz`, of `target/tools` or of whoever has it.
fn fuzz() -> Command {
    let mut command = nightly();
    let mut path = OsString::from(target_directory().join("tools/bin"));
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap_or_default());
    command.current_dir(workspace()).arg("fuzz").env("PATH", path);
    command
}

/// Not the cargo that runs us: that is of another toolchain.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command.arg("+nightly").env_remove("RUSTUP_TOOLCHAIN").env_remove("CARGO");
    command
}

fn has_nightly() -> bool {
    nightly().arg("--version").output().is_ok_and(|output| output.status.success())
}
