//! What depends on the system: each has a file with the same functions.
//!
//! | function | Unix (Linux is what is tested) | Windows |
//! |---|---|---|
//! | `open` | who may write to the file and to all above it is looked at on the way | std cannot ask: refused, unless its contents are pinned |
//! | `entry` | a dynamic symbol, with its size | an export, which has none |
//! | `load` | from a file in memory | from a copy in a directory of its own, which is held so that nobody can change it |

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{entry, load, open};
#[cfg(windows)]
pub(crate) use windows::{entry, load, open};

/// Where a library says that its header is.
pub(crate) struct Entry {
    /// Address.
    pub(crate) address: u64,
    /// Size in bytes, where the format has one.
    pub(crate) bytes: Option<u64>,
}

/// Why the file cannot be read.
pub(crate) fn unreadable(e: impl Into<std::io::Error>) -> crate::Reason {
    crate::Reason::Unreadable(e.into().to_string())
}
