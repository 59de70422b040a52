//! lintian and rpmlint: no errors and no warnings, but for those that are reasoned in `packaging/deb/*.lintian-overrides` and
//! `packaging/rpm/rpmlint.toml`.

use std::process::Command;

use gatemq_tests::workspace;

use super::done;
use crate::install::succeeds;
use crate::package::Packages;

/// Looks at all packages.
pub(super) fn all(packages: &Packages) -> Result<(), String> {
    let mut lintian = Command::new("lintian");
    lintian.args(["--allow-root", "--profile", "debian", "--fail-on", "error,warning"]).args(&packages.debs);
    done("lintian", succeeds(&mut lintian))?;
    let mut rpmlint = Command::new("rpmlint");
    rpmlint.arg("--strict").arg("--config").arg(workspace().join("packaging/rpm/rpmlint.toml")).args(&packages.rpms);
    done("rpmlint", succeeds(&mut rpmlint))
}
