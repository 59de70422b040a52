//! A users file that is written in place: a new one in its place would have its directory's access control list, not its own.

use std::fs::{File, Metadata, OpenOptions};
use std::io::Write;
use std::path::Path;

use crate::platform::Failed;

/// What is locked; it stays there.
const LOCK: &str = ".gatemq-passwd.lock";

/// Its directory; nobody else of us writes in it as long as we have it.
pub(crate) struct Directory {
    _lock: File,
}

impl Directory {
    /// Waits for it.
    ///
    /// # Errors
    /// It is not there, or nothing can be written in it.
    pub(crate) fn lock(path: &Path) -> Result<Self, Failed> {
        let lock = OpenOptions::new().write(true).create(true).truncate(false).open(path.join(LOCK));
        let lock = lock.map_err(|e| ("its directory cannot be opened", e))?;
        lock.lock().map_err(|e| ("its directory cannot be locked", e))?;
        Ok(Directory { _lock: lock })
    }

    /// Writes it, in one call. A crash of the machine in that moment leaves part of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, path: &Path, old: Option<&Metadata>, text: &str) -> Result<(), Failed> {
        let mut options = OpenOptions::new();
        match old {
            Some(_) => options.write(true).truncate(true),
            None => options.write(true).create_new(true),
        };
        let written = options.open(path).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()
        });
        written.map_err(|e| ("cannot be written", e))
    }
}
