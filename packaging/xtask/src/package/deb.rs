//! The deb packages, by dpkg-deb.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use gatemq_tests::outside::files_below;

use super::build::Built;
use super::{NAMES, Release, read, stage, write};
use crate::install::{said, succeeds};

const MAINTAINER: &str = "GateMQ maintainers <maintainers@gatemq.invalid>";
/// What the scripts of `gatemq` call; any of several packages brings it.
const HELPERS: &str = "systemd | systemd-standalone-sysusers | systemd-sysusers, \
                       systemd | systemd-standalone-tmpfiles | systemd-tmpfiles";
const SCRIPTS: [&str; 3] = ["postinst", "prerm", "postrm"];
const ABOUT: [&str; 2] = [
    "MQTT broker for many tenants whose gatekeepers are plugins
 GateMQ is an MQTT broker (3.1, 3.1.1 and 5.0). Its auth providers and event
 collectors are dynamic libraries that see all that the broker knows about a
 client, the complete certificate chain included; the broker enforces their
 answers without ever failing open.
 .
 As installed it listens on this machine only, and admits nobody until users
 are added.",
    "what authors of plugins for the MQTT broker GateMQ need
 The sources of the crate that a plugin depends on, a test kit that loads a
 plugin as the broker does, a template for a project, and documentation.
 .
 A plugin is written in Rust, 1.95 or later.",
];

/// One of them, before it is packed.
struct Deb<'a> {
    name: &'static str,
    architecture: &'a str,
    /// Fields of its own.
    fields: String,
    about: &'static str,
}

/// Builds both, in the order of [`NAMES`].
pub(super) fn build(stage: &Path, built: &Built, release: &Release, to: &Path) -> Result<Vec<PathBuf>, String> {
    let architecture = said(Command::new("dpkg").arg("--print-architecture"))?;
    let (abi, interface) = built.plugin_abi();
    let gatemq = Deb {
        name: NAMES[0],
        architecture: &architecture,
        fields: format!(
            "Section: net\nDepends: {}, {HELPERS}\nProvides: {abi} (= {interface})\nSuggests: gatemq-plugin-dev\n",
            depends(&stage.join(NAMES[0]), to)?
        ),
        about: ABOUT[0],
    };
    let plugin_dev = Deb {
        name: NAMES[1],
        architecture: "all",
        fields: format!("Section: libdevel\nRecommends: gatemq (>= {})\nSuggests: cargo\n", release.version),
        about: ABOUT[1],
    };
    [gatemq, plugin_dev].iter().map(|deb| deb.build(stage, release, to)).collect()
}

/// What the binaries need, by the lists of the libraries' own packages.
fn depends(tree: &Path, to: &Path) -> Result<String, String> {
    // It wants to be called in a source package.
    let source = to.join("source");
    write(&source.join("debian/control"), "Source: gatemq\n")?;
    let binaries = [files_below(&tree.join("usr/bin")), files_below(&tree.join("usr/lib/gatemq/bundled"))].concat();
    let found = said(Command::new("dpkg-shlibdeps").current_dir(&source).arg("-O").args(binaries))?;
    let found = found.lines().find_map(|line| line.strip_prefix("shlibs:Depends="));
    found.map(str::to_owned).ok_or_else(|| "dpkg-shlibdeps finds no dependencies".to_owned())
}

impl Deb<'_> {
    fn build(&self, stage: &Path, release: &Release, to: &Path) -> Result<PathBuf, String> {
        let tree = to.join("deb").join(self.name);
        write(&to.join("deb/about"), "Trees with what only deb packages have.\n")?;
        succeeds(Command::new("cp").arg("--archive").arg(stage.join(self.name)).arg(&tree))?;
        self.documents(&tree, release)?;
        self.control(&tree, release)?;
        stage::seal(&tree, release.epoch)?;
        let package = to.join(format!("{}_{}_{}.deb", self.name, release.full(), self.architecture));
        let mut pack = Command::new("dpkg-deb");
        pack.env("SOURCE_DATE_EPOCH", release.epoch.to_string());
        succeeds(pack.args(["--root-owner-group", "-Zxz", "--build"]).arg(&tree).arg(&package))?;
        Ok(package)
    }

    /// What Debian's policy wants in `/usr/share/doc`.
    fn documents(&self, tree: &Path, release: &Release) -> Result<(), String> {
        let documents = tree.join("usr/share/doc").join(self.name);
        write(&documents.join("copyright"), read("packaging/deb/copyright")?)?;
        let entry = format!(
            "gatemq ({}) unstable; urgency=medium\n\n  * What changed is in changelog.gz beside this file.\n\n -- {MAINTAINER}  {}\n",
            release.full(),
            release.date("+%a, %d %b %Y %H:%M:%S +0000")?
        );
        let changelog = documents.join("changelog.Debian");
        write(&changelog, entry)?;
        stage::gzip(&changelog)?;
        let overrides = tree.join("usr/share/lintian/overrides").join(self.name);
        write(&overrides, read(&format!("packaging/deb/{}.lintian-overrides", self.name))?)
    }

    /// The package's data about itself, and its scripts.
    fn control(&self, tree: &Path, release: &Release) -> Result<(), String> {
        let files = files_below(tree);
        let kib: u64 = files.iter().filter_map(|file| file.metadata().ok()).map(|file| file.len().div_ceil(1024)).sum();
        let control = tree.join("DEBIAN");
        let about = format!(
            "Package: {}\nSource: gatemq\nVersion: {}\nArchitecture: {}\nMaintainer: {MAINTAINER}\nPriority: optional\n\
             Installed-Size: {kib}\n{}Description: {}\n",
            self.name,
            release.full(),
            self.architecture,
            self.fields,
            self.about
        );
        write(&control.join("control"), about)?;
        let names: Vec<&Path> = files.iter().filter_map(|file| file.strip_prefix(tree).ok()).collect();
        write(&control.join("md5sums"), said(Command::new("md5sum").current_dir(tree).args(&names))? + "\n")?;
        if self.name != NAMES[0] {
            return Ok(());
        }
        let configuration = names.iter().filter(|name| name.starts_with("etc"));
        let configuration: String = configuration.map(|name| format!("/{}\n", name.display())).collect();
        write(&control.join("conffiles"), configuration)?;
        SCRIPTS.iter().try_for_each(|script| {
            let to = control.join(script);
            write(&to, read(&format!("packaging/deb/{script}"))?)?;
            fs::set_permissions(&to, Permissions::from_mode(0o755)).map_err(|e| format!("{}: {e}", to.display()))
        })
    }
}
