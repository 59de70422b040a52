//! The release build of what is packaged.

use std::path::PathBuf;
use std::process::Command;

use gatemq_tests::artifacts::{cargo, plugin_packages, target_directory};
use gatemq_tests::workspace;

use crate::install::{said, succeeds};

/// The broker and the plugins that are packaged, built for release.
pub(crate) struct Built {
    directory: PathBuf,
    /// Packages of the plugins.
    plugins: Vec<String>,
    /// The plugin interface, such as `1.0.0`.
    interface: String,
}

impl Built {
    /// Builds them.
    ///
    /// # Errors
    /// The build fails.
    pub(crate) fn now() -> Result<Built, String> {
        // Those for tests do damage on demand.
        let plugins: Vec<String> = plugin_packages().into_iter().filter(|name| !name.contains("-test-")).collect();
        let mut build = cargo("build");
        build.current_dir(workspace()).args(["--release", "--package", "gatemq"]).env("RUSTFLAGS", flags()?);
        for plugin in &plugins {
            build.args(["--package", plugin]);
        }
        succeeds(&mut build)?;
        let directory = target_directory().join("release");
        let version = said(Command::new(directory.join("gatemq")).arg("version"))?;
        let interface = version.split_once("plugin interface ").and_then(|(_, after)| after.strip_suffix(')'));
        let interface = interface.ok_or_else(|| format!("gatemq version says no interface: {version}"))?.to_owned();
        Ok(Built { directory, plugins, interface })
    }

    /// The broker.
    pub(crate) fn broker(&self) -> PathBuf {
        self.directory.join("gatemq")
    }

    /// The plugins' libraries.
    pub(crate) fn plugins(&self) -> impl Iterator<Item = PathBuf> {
        let name = |package: &String| package.trim_start_matches("gatemq-").replace('-', "_");
        self.plugins.iter().map(move |package| self.directory.join(format!("lib{}.so", name(package))))
    }

    /// What packages of plugins depend on: its name, and the version of the interface. A later broker with this name takes plugins
    /// of all that came before it.
    pub(super) fn plugin_abi(&self) -> (String, &str) {
        (format!("gatemq-plugin-abi-{}", self.interface.split('.').next().unwrap_or_default()), &self.interface)
    }
}

/// The compiler's flags: binaries name the sources of a panic without the place that a registry has on this machine.
fn flags() -> Result<String, String> {
    let home = std::env::var("CARGO_HOME").or_else(|_| std::env::var("HOME").map(|home| format!("{home}/.cargo")));
    let home = home.map_err(|_| "neither CARGO_HOME nor HOME is set")?;
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    Ok(format!("{given} --remap-path-prefix={home}/registry/src=registry").trim().to_owned())
}
