//! What binaries need: versions of glibc's symbols, and libraries.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use gatemq_tests::outside::files_below;

use super::GLIBC;
use crate::install::said;

/// Beginning of every ELF file.
const MAGIC: &[u8] = b"\x7fELF";
/// Libraries of glibc and the compiler: what every installation has.
const LIBRARIES: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"];

/// Every ELF file below `tree` needs no later glibc than [`GLIBC`], and no library that is not in every installation. The latest that
/// one of them needs.
pub(super) fn check(tree: &Path) -> Result<(u32, u32), String> {
    let (mut latest, mut wrong) = ((0, 0), Vec::new());
    for file in files_below(tree) {
        let bytes = fs::read(&file).map_err(|e| format!("{}: {e}", file.display()))?;
        if !bytes.starts_with(MAGIC) {
            continue;
        }
        let name = file.strip_prefix(tree).unwrap_or(&file).display();
        let needed = said(Command::new("readelf").args(["--wide", "--dynamic", "--version-info"]).arg(&file))?;
        for version in glibc_versions(&needed) {
            latest = latest.max(version);
            if version > GLIBC {
                wrong.push(format!("{name} needs glibc {}.{}", version.0, version.1));
            }
        }
        let unknown = libraries(&needed).into_iter().filter(|library| !LIBRARIES.contains(library));
        wrong.extend(unknown.map(|library| format!("{name} needs {library}")));
    }
    match (wrong.is_empty(), latest) {
        (true, (0, 0)) => Err(format!("no binary of glibc below {}", tree.display())),
        (true, latest) => Ok(latest),
        _ => Err(format!(
            "{}; README.md says glibc {}.{} and nothing else: build on a system that is as old (Debian 12 is), or change what it says",
            wrong.join(", "),
            GLIBC.0,
            GLIBC.1
        )),
    }
}

/// Versions of glibc in what readelf says.
fn glibc_versions(said: &str) -> BTreeSet<(u32, u32)> {
    let versions = said.split("GLIBC_").skip(1).filter_map(|after| {
        let version = after.split(|c: char| !c.is_ascii_digit() && c != '.').next()?;
        let mut numbers = version.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    });
    versions.collect()
}

/// Libraries that are needed, in what readelf says.
fn libraries(said: &str) -> Vec<&str> {
    let needed = said.lines().filter(|line| line.contains("(NEEDED)"));
    needed.filter_map(|line| Some(line.split_once('[')?.1.split_once(']')?.0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the floor against being read out of nothing: versions and libraries are found in what readelf prints.
    #[test]
    fn what_readelf_says_is_understood() {
        let said = " 0x0000000000000001 (NEEDED)             Shared library: [libgcc_s.so.1]\n\
                    0x0060:   Name: GLIBC_2.2.5  Flags: none  Version: 12\n  0x0070:   Name: GLIBC_2.34  Flags: none  Version: 3\n";
        assert_eq!(glibc_versions(said), BTreeSet::from([(2, 2), (2, 34)]));
        assert_eq!(libraries(said), ["libgcc_s.so.1"]);
    }

    /// Guards the promise: README.md names the floor that is checked.
    #[test]
    fn the_readme_says_the_same() {
        let readme = crate::package::read("README.md").unwrap();
        assert!(readme.contains(&format!("glibc {}.{}", GLIBC.0, GLIBC.1)), "README.md does not name the floor");
    }
}
