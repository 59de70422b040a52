//! Why a file is not a plugin that this host can use.

use std::fmt;
use std::path::PathBuf;

use crate::LibraryHash;

/// A refused library: the file, and why. Shown as one line.
#[derive(Debug)]
pub struct Refusal {
    /// The file.
    pub file: PathBuf,
    /// Why.
    pub reason: Reason,
}

/// Why a library is refused. Those down to `EntryTooSmall`, and `OtherAbi`, are found before any
/// of its code runs.
#[derive(Debug, PartialEq, Eq)]
pub enum Reason {
    /// It cannot be read.
    Unreadable(String),
    /// Somebody else could have changed it, or exchanged a directory above it.
    Untrusted {
        /// What somebody else could change.
        path: PathBuf,
        /// The user of this process.
        wanted_user: u32,
        /// By what.
        found: String,
    },
    /// This system does not tell who could have changed it, and its contents are not pinned.
    OwnerUnknown,
    /// It is not the library whose hash was given.
    OtherContents {
        /// The hash that was given.
        wanted: LibraryHash,
        /// The file's.
        found: LibraryHash,
    },
    /// It is not an ELF or PE file, or a damaged one.
    NotALibrary(String),
    /// It ends before its segments do.
    Truncated {
        /// Bytes that its segments need.
        wanted: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// It is an executable or an object file.
    NotDynamic(String),
    /// It is for another machine.
    OtherArchitecture {
        /// This machine's.
        wanted: String,
        /// The file's.
        found: String,
    },
    /// It does not export the entry symbol.
    NoEntrySymbol,
    /// It exports something else under that name.
    EntryTooSmall {
        /// Size in bytes of what is exported.
        found: u64,
    },
    /// The dynamic linker refused it.
    NotLoadable(String),
    /// It was built with another abi_stable.
    OtherAbi(String),
    /// It was built for another major version of the interface.
    OtherInterface {
        /// Version found.
        found: String,
    },
    /// Version fits, layout does not: built from changed sources.
    LayoutDiffers(String),
    /// Its root module could not be made.
    RootFailed(String),
    /// Its panics would end the process.
    PanicAborts,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for Refusal {}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let entry = gatemq_plugin_api::abi::ENTRY_SYMBOL;
        let ours = crate::INTERFACE_VERSION;
        match self {
            Reason::Unreadable(e) => write!(f, "wanted a plugin library, found a file that cannot be read: {e}"),
            Reason::Untrusted { path, wanted_user, found } => write!(
                f,
                "wanted {} to belong to root or to user {wanted_user} and nobody else to write to it, found {found}; correct \
                 it with chown and chmod go-w",
                path.display()
            ),
            Reason::OwnerUnknown => f.write_str(
                "wanted to know who may write to it, found that this system does not tell; pin it (sha256), or have only \
                 administrators write to it and to the directories above it and switch owner_checked off",
            ),
            Reason::OtherContents { wanted, found } => {
                write!(f, "wanted SHA-256 {wanted}, found {found}; if this library is meant, change the pin")
            }
            Reason::NotALibrary(e) => write!(f, "wanted a dynamic library, found a file that is none: {e}"),
            Reason::Truncated { wanted, found } => {
                write!(f, "wanted {wanted} bytes, found {found}: the file is cut off; copy it again")
            }
            Reason::NotDynamic(kind) => write!(f, "wanted a dynamic library, found {kind}; build it as a cdylib"),
            Reason::OtherArchitecture { wanted, found } => {
                write!(f, "wanted a library for {wanted}, found one for {found}; build it for this machine")
            }
            Reason::NoEntrySymbol => write!(
                f,
                "wanted the exported symbol {entry}, found none; build it with gatemq-plugin-api and export_plugin!"
            ),
            Reason::EntryTooSmall { found } => {
                write!(f, "wanted the header of a plugin at the symbol {entry}, found {found} bytes of something else")
            }
            Reason::NotLoadable(e) => write!(f, "wanted a library that can be loaded, found that it cannot: {e}"),
            Reason::OtherAbi(e) => {
                write!(
                    f,
                    "wanted abi_stable as in this broker, found another: {e}; build it with the same gatemq-plugin-api"
                )
            }
            Reason::OtherInterface { found } => {
                write!(
                    f,
                    "wanted plugin interface {ours}, found {found}; build it with this broker's gatemq-plugin-api"
                )
            }
            Reason::LayoutDiffers(e) => write!(
                f,
                "wanted the layout of plugin interface {ours}, found another ({e}); build it with this broker's gatemq-plugin-api"
            ),
            Reason::RootFailed(e) => write!(f, "wanted its root module, found that it fails: {e}"),
            Reason::PanicAborts => write!(
                f,
                "wanted a library with panic=\"unwind\", found panic=\"abort\", whose panics would end the broker; \
                 remove the setting from its Cargo profile"
            ),
        }
    }
}
