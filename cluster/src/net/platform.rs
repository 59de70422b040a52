//! What depends on the system.

use std::fs::OpenOptions;

/// A new file has this mode.
#[cfg(unix)]
pub(super) fn with_mode(options: &mut OpenOptions, mode: u32) -> &mut OpenOptions {
    std::os::unix::fs::OpenOptionsExt::mode(options, mode)
}

/// Elsewhere who may use a new file is inherited from its directory.
#[cfg(not(unix))]
pub(super) fn with_mode(options: &mut OpenOptions, _: u32) -> &mut OpenOptions {
    options
}
