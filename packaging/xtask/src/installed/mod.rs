//! `cargo xtask installed`: the packages are built, installed into clean roots, and used there as an operator does.
//!
//! | module | what it does |
//! |---|---|
//! | [`root`] | clean roots of this machine's distribution, and commands in them |
//! | [`service`] | the installed unit: what it says is run, and is told to it as systemd would be told |
//! | [`booted`] | the unit under systemd, in a container |
//! | [`deb`], [`rpm`] | install, use, upgrade, remove, purge |
//! | [`operator`] | what is done after the installation |
//! | [`suite`] | integration tests against the installed files |
//! | [`lint`] | lintian and rpmlint |
//!
//! No systemd runs in the roots, but in [`booted`]. Its parts that need none are used: `systemd-sysusers`, `systemd-tmpfiles`,
//! `systemd-analyze`. The rpm is installed into a Debian root by Debian's rpm, without a look at what it requires, because
//! there is no rpm of glibc; that list is looked at by itself.

mod booted;
mod deb;
mod lint;
mod operator;
mod root;
mod rpm;
mod service;
mod suite;

use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use gatemq_tests::outside::files_below;

use crate::install::{self, Program};
use crate::package::{self, Built, Packages, Release, pack};

/// Most that the installed files of `gatemq` may have, in bytes.
const BYTES_MAX: u64 = 60_000_000;
/// What the roots need.
const PROGRAMS: [Program; 5] = [
    (&["unshare", "--version"], "util-linux"),
    (&["mmdebstrap", "--version"], "mmdebstrap"),
    (&["systemd-nspawn", "--version"], "systemd-container"),
    (&["lintian", "--version"], "lintian"),
    (&["rpmlint", "--version"], "rpmlint"),
];
/// What the second revision's configuration says that the first's does not.
const SECOND: &str = "# As the second revision has it.\n";

/// The command.
pub(crate) fn run() -> ExitCode {
    let began = Instant::now();
    match prove() {
        Ok(()) => {
            println!("installed: everything holds, in {} s", began.elapsed().as_secs());
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED  installed: {why}");
            ExitCode::FAILURE
        }
    }
}

fn prove() -> Result<(), String> {
    if !install::is_root() {
        return Err("only root can make a root to install packages into: run it as root, or in a container".into());
    }
    package::install_tools()?;
    install::programs(&PROGRAMS)?;
    // One waits for the network, the other computes.
    let (base, packages) = thread::scope(|both| {
        let base = both.spawn(|| done("a clean root", root::base()));
        let packages = packages();
        (base.join().unwrap_or_else(|_| Err("the clean root: a panic".into())), packages)
    });
    let (base, (first, second)) = (base?, packages?);
    lint::all(&first)?;
    let plugin = deb::prove(&base, &first, &second)?;
    booted::prove(&base, &first, &second, &plugin)?;
    rpm::prove(&base, &first, &second)
}

/// Both revisions.
fn packages() -> Result<(Packages, Packages), String> {
    let built = done("release build", Built::now())?;
    let directory = package::directory();
    let release = Release::new(1)?;
    let first = done("packages", pack(&built, &release, &directory.join("first"), |_| Ok(())))?;
    println!("    what they need of glibc: {}.{}", first.glibc.0, first.glibc.1);
    let bytes: u64 =
        files_below(&first.tree).iter().filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    println!("    installed size: {bytes} bytes");
    check(bytes < BYTES_MAX, || format!("gatemq has {bytes} bytes installed, and may have {BYTES_MAX}"))?;
    let again = pack(&built, &release, &directory.join("again"), |_| Ok(()))?;
    done("the same sources make the same packages", same(&first, &again))?;
    let second = pack(&built, &Release::new(2)?, &directory.join("second"), |tree| {
        let file = tree.join("etc/gatemq/gatemq.toml");
        let text = fs::read_to_string(&file).map_err(|e| e.to_string())?;
        fs::write(&file, text + SECOND).map_err(|e| e.to_string())
    });
    Ok((first, second?))
}

fn same(first: &Packages, again: &Packages) -> Result<(), String> {
    let all = |packages: &Packages| packages.debs.iter().chain(&packages.rpms).cloned().collect::<Vec<_>>();
    for (one, other) in all(first).iter().zip(all(again)) {
        check(read(one)? == read(&other)?, || format!("{} and {} differ", one.display(), other.display()))?;
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    fs::read(file).map_err(|e| format!("{}: {e}", file.display()))
}

/// Tells that something went well.
fn done<T>(what: &str, outcome: Result<T, String>) -> Result<T, String> {
    let outcome = outcome.map_err(|why| format!("{what}: {why}"))?;
    println!("ok  {what}");
    Ok(outcome)
}

/// What must be true.
fn check(is: bool, why: impl FnOnce() -> String) -> Result<(), String> {
    if is { Ok(()) } else { Err(why()) }
}
