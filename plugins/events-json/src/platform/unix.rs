//! Unix: mode, device and inode.

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Names of clients are nobody else's business.
const MODE: u32 = 0o640;

/// A new file is its owner's, and its group may read it.
pub(crate) fn for_group(options: &mut OpenOptions) -> &mut OpenOptions {
    options.mode(MODE)
}

/// Fills `bytes` from there on.
///
/// # Errors
/// It ends before that, or cannot be read.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    file.read_exact_at(bytes, at)
}

/// Device and inode.
#[derive(PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    /// Of an open file, of which `metadata` is.
    ///
    /// # Errors
    /// None.
    pub(crate) fn of(_: &File, metadata: &Metadata) -> io::Result<Self> {
        Ok(Identity(metadata.dev(), metadata.ino()))
    }

    /// Whether `path`, of which `found` is, leads to that file.
    pub(crate) fn is_at(&self, _: &Path, found: &Metadata) -> bool {
        *self == Identity(found.dev(), found.ino())
    }
}
