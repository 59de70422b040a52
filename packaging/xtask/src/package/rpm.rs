//! The rpm packages, by rpmbuild: its specification is filled in, and packs what was staged.

use std::path::{Path, PathBuf};
use std::process::Command;

use gatemq_tests::workspace;

use super::build::Built;
use super::{NAMES, Release, read, write};
use crate::install::succeeds;

/// Builds both, in the order of [`NAMES`].
pub(super) fn build(stage: &Path, built: &Built, release: &Release, to: &Path) -> Result<Vec<PathBuf>, String> {
    let license = workspace().join("LICENSE").display().to_string();
    let (abi, interface) = built.plugin_abi();
    let filled = [
        ("@VERSION@", release.version.to_owned()),
        ("@REVISION@", release.revision.to_string()),
        ("@PLUGIN_ABI@", format!("{abi} = {interface}")),
        ("@STAGE@", stage.display().to_string()),
        ("@LICENSE@", license),
        ("@DATE@", release.date("+%a %b %d %Y")?),
    ];
    let mut spec = read("packaging/rpm/gatemq.spec.in")?;
    for (name, value) in filled {
        spec = spec.replace(name, &value);
    }
    let directory = to.join("rpm");
    let file = directory.join("gatemq.spec");
    write(&file, spec)?;
    let machine = std::env::consts::ARCH;
    let mut rpmbuild = Command::new("rpmbuild");
    rpmbuild.env("SOURCE_DATE_EPOCH", release.epoch.to_string()).args(["-bb", "--quiet", "--target", machine]);
    // Nothing of whoever builds it.
    let top = format!("_topdir {}", directory.display());
    succeeds(
        rpmbuild
            .args(["--define", &top, "--define", "_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm"])
            .arg(&file),
    )?;
    let packages = NAMES.iter().zip([machine, "noarch"]).map(|(name, machine)| {
        let file = format!("{name}-{}.{machine}.rpm", release.full());
        let (from, package) = (directory.join("RPMS").join(&file), to.join(&file));
        std::fs::rename(&from, &package).map(|()| package).map_err(|e| format!("{}: {e}", from.display()))
    });
    packages.collect()
}
