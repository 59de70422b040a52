//! Opens the store that the configuration names.

use std::io::ErrorKind;
use std::path::PathBuf;

use gatemq_store::{Embedded, OpenError, Options, Store};

use crate::config::{Config, StoreKind};

/// Where the embedded store is.
pub(crate) fn directory(config: &Config) -> PathBuf {
    config.node.data_dir.join("store")
}

/// Opens it. `None`: nothing outlives the process.
///
/// # Errors
/// Another process has it, it is damaged, or the system refuses.
/// `dev`: a node to try something out with keeps nothing.
pub(crate) fn open(config: &Config, dev: bool) -> Result<Option<Box<dyn Store>>, OpenError> {
    match config.store.kind {
        StoreKind::Embedded if dev => Ok(None),
        StoreKind::Memory => Ok(None),
        StoreKind::Embedded => {
            let options = Options { sync: config.store.sync, ..Options::new(directory(config)) };
            Ok(Some(Box::new(Embedded::open(&options)?)))
        }
    }
}

/// What an operator does when it cannot be opened.
pub(crate) fn advice(error: &OpenError) -> &'static str {
    match error {
        OpenError::Locked { .. } => "stop that broker first, or give this one a data directory of its own",
        OpenError::Damaged(_) => "`gatemq store check` looks at all of it",
        OpenError::Newer { .. } => {
            "nothing was changed: start the version that wrote it, or bring back a copy from before it ran"
        }
        OpenError::Io { error, .. } => match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => "make room there",
            ErrorKind::ReadOnlyFilesystem => "mount it writable, or name another directory",
            ErrorKind::NotFound | ErrorKind::NotADirectory => "it cannot be made there: name another directory",
            ErrorKind::PermissionDenied => "give it to the broker's user, who must read and write there",
            _ => "may this user read and write there?",
        },
    }
}
