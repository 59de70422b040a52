//! The clauses of the standards against the real broker: see `conformance/README.md` for the form of the tables.

mod cases;
mod decode;
mod encode;
mod expect;
mod ledger;
mod named;
mod properties;
mod raw;
mod run;
mod wire;

use std::path::{Path, PathBuf};

use gatemq_tests::workspace;

/// A version of MQTT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) enum Version {
    /// 3.1
    V31,
    /// 3.1.1
    V311,
    /// 5.0
    V50,
}

impl Version {
    /// All of them.
    pub(crate) const ALL: [Version; 3] = [Version::V31, Version::V311, Version::V50];

    /// As the tables write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Version::V31 => "3.1",
            Version::V311 => "3.1.1",
            Version::V50 => "5.0",
        }
    }

    /// What is meant by a name: `3.x` means two.
    ///
    /// # Errors
    /// There is no such version.
    pub(crate) fn parse(name: &str) -> Result<&'static [Version], String> {
        match name {
            "3.1" => Ok(&[Version::V31]),
            "3.1.1" => Ok(&[Version::V311]),
            "3.x" => Ok(&[Version::V31, Version::V311]),
            "5.0" => Ok(&[Version::V50]),
            _ => Err(format!("{name:?} is no version: 3.1, 3.1.1, 3.x or 5.0")),
        }
    }

    /// Whether packets have properties.
    pub(crate) fn has_properties(self) -> bool {
        self == Version::V50
    }
}

/// Where the tables are.
fn directory() -> PathBuf {
    workspace().join("tests/conformance")
}

/// A file of the tables.
fn read(file: &Path) -> String {
    std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// What is on the lines of a list that are not empty and no comment.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !line.starts_with('#'))
}
