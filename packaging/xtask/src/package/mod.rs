//! `cargo xtask package`: the deb and rpm packages, out of one staged tree, by the systems' own tools.
//!
//! | module | what it does |
//! |---|---|
//! | [`build`] | the release build |
//! | [`stage`] | the tree of files of each package, as it will be installed |
//! | [`elf`] | what binaries need of the C library |
//! | [`third_party`] | whose code is in the binaries, and under which licences |
//! | [`deb`], [`rpm`] | the packages |

mod build;
mod deb;
mod elf;
mod rpm;
mod stage;
mod third_party;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use gatemq_tests::artifacts::target_directory;
use gatemq_tests::workspace;

pub(crate) use build::Built;

use crate::install::{self, Program, said};

/// What packages the broker with its plugins, and what an author of plugins needs.
pub(crate) const NAMES: [&str; 2] = ["gatemq", "gatemq-plugin-dev"];
/// The oldest glibc on which the packages run, as README.md says it: nothing in them needs a later one.
pub(crate) const GLIBC: (u32, u32) = (2, 34);
/// What packing needs.
const PROGRAMS: [Program; 6] = [
    (&["strip", "--version"], "binutils"),
    (&["gzip", "--version"], "gzip"),
    (&["dpkg-deb", "--version"], "dpkg"),
    (&["dpkg-shlibdeps", "--version"], "dpkg-dev"),
    (&["rpmbuild", "--version"], "rpm"),
    (&["git", "--version"], "git"),
];

/// Has git say when the last change was made.
const LAST: [&str; 3] = ["log", "-1", "--format=%ct"];

/// What all packages of a build have in common.
pub(crate) struct Release {
    /// The program's version.
    pub(crate) version: &'static str,
    /// Counts packages of one version, from 1 on.
    pub(crate) revision: u32,
    /// Seconds since 1970 that files and packages bear: the same sources make the same packages.
    pub(crate) epoch: u64,
}

/// Packages that were built.
pub(crate) struct Packages {
    /// In the order of [`NAMES`].
    pub(crate) debs: Vec<PathBuf>,
    /// In the order of [`NAMES`].
    pub(crate) rpms: Vec<PathBuf>,
    /// The staged tree of `gatemq`.
    pub(crate) tree: PathBuf,
    /// The glibc that its binaries need, not later than [`GLIBC`].
    pub(crate) glibc: (u32, u32),
}

/// The command.
pub(crate) fn run(revision: u32) -> ExitCode {
    let packages = install_tools()
        .and_then(|()| Built::now())
        .and_then(|built| Release::new(revision).and_then(|release| pack(&built, &release, &directory(), |_| Ok(()))));
    match packages {
        Ok(packages) => {
            packages.debs.iter().chain(&packages.rpms).for_each(|file| println!("{}", file.display()));
            println!("what they need of glibc: {}.{}", packages.glibc.0, packages.glibc.1);
            ExitCode::SUCCESS
        }
        Err(why) => {
            println!("FAILED  package: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Where packages are built, and are then.
pub(crate) fn directory() -> PathBuf {
    target_directory().join("packages")
}

/// See [`PROGRAMS`].
///
/// # Errors
/// One of them is missing.
pub(crate) fn install_tools() -> Result<(), String> {
    install::programs(&PROGRAMS)
}

impl Release {
    /// Of these sources.
    ///
    /// # Errors
    /// Neither `SOURCE_DATE_EPOCH` nor git says when they were made.
    pub(crate) fn new(revision: u32) -> Result<Release, String> {
        let epoch = match std::env::var("SOURCE_DATE_EPOCH") {
            Ok(epoch) => epoch,
            // Also where the sources are somebody else's, as in a container.
            Err(_) => said(Command::new("git").current_dir(workspace()).args(["-c", "safe.directory=*"]).args(LAST))
                .map_err(|why| format!("set SOURCE_DATE_EPOCH, for git does not know when this was made: {why}"))?,
        };
        let epoch = epoch.parse().map_err(|_| format!("SOURCE_DATE_EPOCH is {epoch:?}, not seconds since 1970"))?;
        Ok(Release { version: env!("CARGO_PKG_VERSION"), revision, epoch })
    }

    /// The time, as `date` formats it.
    fn date(&self, format: &str) -> Result<String, String> {
        let at = format!("--date=@{}", self.epoch);
        said(Command::new("date").env("LC_ALL", "C").args(["--utc", &at, format]))
    }

    /// `0.1.0-1`.
    pub(crate) fn full(&self) -> String {
        format!("{}-{}", self.version, self.revision)
    }
}

/// Packs a build; the packages go to `to`. `change` may change the staged tree of `gatemq` before it is packed.
///
/// # Errors
/// What went wrong.
pub(crate) fn pack(
    built: &Built,
    release: &Release,
    to: &Path,
    change: impl FnOnce(&Path) -> Result<(), String>,
) -> Result<Packages, String> {
    // Whatever a run before has left.
    let _ = fs::remove_dir_all(to);
    let stage = to.join("stage");
    let tree = stage.join(NAMES[0]);
    stage::gatemq(built, &tree)?;
    stage::plugin_dev(&stage.join(NAMES[1]))?;
    change(&tree)?;
    for name in NAMES {
        stage::seal(&stage.join(name), release.epoch)?;
    }
    let glibc = elf::check(&tree)?;
    let debs = deb::build(&stage, built, release, to)?;
    let rpms = rpm::build(&stage, built, release, to)?;
    Ok(Packages { debs, rpms, tree, glibc })
}

/// Writes a file and the directories above it.
fn write(file: &Path, bytes: impl AsRef<[u8]>) -> Result<(), String> {
    let parent = file.parent().unwrap_or(file);
    fs::create_dir_all(parent).and_then(|()| fs::write(file, bytes)).map_err(|e| format!("{}: {e}", file.display()))
}

/// Reads a file of these sources.
fn read(below_workspace: &str) -> Result<String, String> {
    let file = workspace().join(below_workspace);
    fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))
}
