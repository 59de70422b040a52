//! Opens the store that the configuration names.

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
