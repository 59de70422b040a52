//! Why something was not stored, or not read.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Something that was on disk is not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Damage {
    /// The file, or the directory when it cannot be told which file of it.
    pub file: PathBuf,
    /// What is wrong with it.
    pub what: String,
}

impl Damage {
    pub(crate) fn new(file: &Path, what: impl Into<String>) -> Self {
        Damage { file: file.to_owned(), what: what.into() }
    }

    /// What an operator can do.
    pub fn advice(&self) -> &'static str {
        "nothing was changed; bring the file back from a copy, or move the whole directory away to begin without what it \
         holds"
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is damaged: {}; {}", self.file.display(), self.what, self.advice())
    }
}

/// Why an operation, a batch or a read failed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum StoreError {
    /// Another owner has claimed the session: the epoch is older than its.
    Fenced,
    /// The limit that came with the append is reached. Its sequence number is spent.
    Full,
    /// It does not fit what is stored: another epoch than was expected, an epoch that nobody claimed, a number that is
    /// used, text that is too long.
    Conflict,
    /// There is no such session.
    NoSession,
    /// Not now, or not any more; nothing was changed. Says why.
    Unavailable(String),
    /// It may or may not have been stored, and the store takes nothing more. Says why.
    UnknownOutcome(String),
    /// What was read is damaged, and the store takes nothing more.
    Corrupt(Damage),
}

impl StoreError {
    /// Whether it is about this one operation; everything else ends the store.
    pub(crate) fn is_refusal(&self) -> bool {
        matches!(self, StoreError::Fenced | StoreError::Full | StoreError::Conflict | StoreError::NoSession)
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Fenced => f.write_str("the session has another owner"),
            StoreError::Full => f.write_str("the queue is full"),
            StoreError::Conflict => f.write_str("it conflicts with what is stored"),
            StoreError::NoSession => f.write_str("there is no such session"),
            StoreError::Unavailable(why) => write!(f, "the store is not available: {why}"),
            StoreError::UnknownOutcome(why) => write!(f, "it may not have been stored: {why}"),
            StoreError::Corrupt(damage) => damage.fmt(f),
        }
    }
}

impl std::error::Error for StoreError {}

/// Why a store cannot be opened.
#[derive(Debug)]
pub enum OpenError {
    /// Another process has it.
    Locked {
        /// Its lock file.
        file: PathBuf,
        /// What that file says of who has it, made printable.
        holder: String,
    },
    /// Part of what it acknowledged is missing or changed.
    Damaged(Damage),
    /// It was written by a later version of this software.
    Newer {
        /// The file that says so.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The latest that is known here.
        known: u32,
    },
    /// The system refused.
    Io {
        /// On what.
        file: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl OpenError {
    pub(crate) fn io(file: &Path) -> impl FnOnce(io::Error) -> OpenError {
        move |error| OpenError::Io { file: file.to_owned(), error }
    }

    pub(crate) fn damaged(file: &Path, what: impl Into<String>) -> Self {
        OpenError::Damaged(Damage::new(file, what))
    }

    /// The file that it is about.
    pub fn file(&self) -> &Path {
        match self {
            OpenError::Locked { file, .. } | OpenError::Newer { file, .. } | OpenError::Io { file, .. } => file,
            OpenError::Damaged(damage) => &damage.file,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::Locked { file, holder } => {
                write!(f, "{} is held by another process ({holder}): two must not share a store", file.display())
            }
            OpenError::Damaged(damage) => damage.fmt(f),
            OpenError::Newer { file, found, known } => {
                write!(f, "{} has format {found}, and this version knows up to {known}", file.display())
            }
            OpenError::Io { file, error } => write!(f, "{}: {error}", file.display()),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            OpenError::Io { error, .. } => Some(error),
            _ => None,
        }
    }
}
