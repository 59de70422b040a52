//! What is wrong with a configuration.

use std::fmt;
use std::path::PathBuf;

/// A path as it is written in TOML: names with dots in quotes.
pub(super) fn dotted(path: &[&str]) -> String {
    let names = path.iter().map(|name| if name.contains('.') { format!("{name:?}") } else { (*name).to_owned() });
    names.collect::<Vec<_>>().join(".")
}

/// One thing that is wrong, where, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Problem {
    /// The file, if it is in one.
    pub(crate) file: Option<PathBuf>,
    /// Its line, from 1.
    pub(crate) line: Option<usize>,
    /// Dotted path of the key; empty if it is not about a key.
    pub(crate) key: String,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl Problem {
    /// A problem that is in no file.
    pub(crate) fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Problem { file: None, line: None, key: key.into(), message: message.into() }
    }
}

impl fmt::Display for Problem {
    /// `file:line: key: message`, as far as known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{}:", file.display())?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}
