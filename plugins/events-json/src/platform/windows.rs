//! Windows. Compiled, and run under Wine alone (README.md).

use std::fs::{File, Metadata, OpenOptions};
use std::io;
use std::os::windows::fs::FileExt;
use std::path::Path;

/// A new file is as its directory's access control list says.
pub(crate) fn for_group(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Fills `bytes`, of which there is one, from there on.
///
/// # Errors
/// It ends before that, or cannot be read.
pub(crate) fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    match file.seek_read(bytes, at)? {
        read if read == bytes.len() => Ok(()),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

/// Volume and index of the file in it.
#[derive(PartialEq, Eq)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    /// Of an open file.
    ///
    /// # Errors
    /// The system does not tell.
    pub(crate) fn of(file: &File, _: &Metadata) -> io::Result<Self> {
        let about = winapi_util::file::information(file)?;
        Ok(Identity(about.volume_serial_number(), about.file_index()))
    }

    /// Whether `path` leads to that file. Where that cannot be known, it does.
    pub(crate) fn is_at(&self, path: &Path, found: &Metadata) -> bool {
        File::open(path).and_then(|file| Identity::of(&file, found)).map_or(true, |there| there == *self)
    }
}
