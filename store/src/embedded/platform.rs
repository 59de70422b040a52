//! What depends on the system.

use std::path::Path;

use crate::OpenError;

/// Makes what was created in, renamed in or removed from a directory stay so.
#[cfg(unix)]
pub(super) fn sync_directory(path: &Path) -> Result<(), OpenError> {
    std::fs::File::open(path).and_then(|directory| directory.sync_all()).map_err(OpenError::io(path))
}

/// Elsewhere the file system does it by itself.
#[cfg(not(unix))]
pub(super) fn sync_directory(_: &Path) -> Result<(), OpenError> {
    Ok(())
}
