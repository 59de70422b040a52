//! The broker and the plugin libraries: built once, or taken from an installed package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::workspace;

/// Where what was built is.
#[derive(Clone, Debug)]
pub struct Artifacts {
    directory: PathBuf,
}

impl Artifacts {
    /// The broker and all plugins of `plugins/`, of the profile that this code was built with. `GATEMQ_BIN_DIR`, where it
    /// is set, names a directory that holds them already: nothing is built then.
    ///
    /// # Panics
    /// When the build fails.
    pub fn get() -> &'static Artifacts {
        static BUILT: OnceLock<Artifacts> = OnceLock::new();
        BUILT.get_or_init(|| match std::env::var_os("GATEMQ_BIN_DIR") {
            Some(directory) => Artifacts { directory: directory.into() },
            None => Self::build(),
        })
    }

    fn build() -> Artifacts {
        let mut cargo = cargo("build");
        cargo.current_dir(workspace()).args(["--package", "gatemq"]);
        for package in plugin_packages() {
            cargo.args(["--package", &package]);
        }
        if profile() == "release" {
            cargo.arg("--release");
        }
        run(&mut cargo);
        Artifacts { directory: target_directory().join(profile()) }
    }

    /// The broker.
    pub fn broker(&self) -> PathBuf {
        self.directory.join("gatemq")
    }

    /// A plugin library by the name of its crate, such as `auth-certificate`.
    ///
    /// # Panics
    /// When it is not there.
    pub fn plugin(&self, name: &str) -> PathBuf {
        let file = self.directory.join(format!("lib{}.so", name.replace('-', "_")));
        assert!(file.is_file(), "there is no {}", file.display());
        file
    }
}

/// `cargo SUBCOMMAND`, the same cargo that runs us.
pub fn cargo(subcommand: &str) -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.arg(subcommand);
    cargo
}

/// `debug` or `release`: the profile that this code was built with.
pub fn profile() -> &'static str {
    if cfg!(debug_assertions) { "debug" } else { "release" }
}

/// Cargo's target directory of the workspace.
pub fn target_directory() -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => workspace().join(directory),
        None => workspace().join("target"),
    }
}

/// Names of the packages in `plugins/`.
///
/// # Panics
/// When one of them has no readable manifest.
pub fn plugin_packages() -> Vec<String> {
    let directories = fs::read_dir(workspace().join("plugins")).expect("plugins/ is there");
    let manifests = directories.map(|entry| entry.expect("plugins/ is read").path().join("Cargo.toml"));
    let mut packages: Vec<String> = manifests.filter(|file| file.is_file()).map(|file| package_name(&file)).collect();
    packages.sort();
    packages
}

fn package_name(manifest: &Path) -> String {
    let text = fs::read_to_string(manifest).expect("a manifest");
    let manifest: toml::Table = text.parse().expect("TOML");
    manifest["package"]["name"].as_str().expect("a name").to_owned()
}

/// Builds a shared library from one file of C.
///
/// # Panics
/// When there is no C compiler.
pub fn library_of_c(directory: &Path, name: &str, source: &str) -> PathBuf {
    let (file, library) = (directory.join(name).with_extension("c"), directory.join(name).with_extension("so"));
    fs::write(&file, source).expect("the source is written");
    let mut compiler = Command::new(std::env::var_os("CC").unwrap_or_else(|| "cc".into()));
    run(compiler.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&file).arg("-ldl"));
    library
}

/// Runs it.
///
/// # Panics
/// With all that it said, when it fails.
pub fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let said = || [&output.stdout[..], &output.stderr].map(String::from_utf8_lossy).concat();
    assert!(output.status.success(), "{command:?} fails:\n{}", said());
}
