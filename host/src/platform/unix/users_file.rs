//! A users file that is replaced in one step, with its owner and mode.

use std::fs::{self, File, Metadata, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::platform::Failed;

/// Mode of a new users file: the broker's group may read it.
const NEW_MODE: u32 = 0o640;

/// Its directory; nobody else of us writes in it as long as we have it.
pub(crate) struct Directory(File);

impl Directory {
    /// Waits for it.
    ///
    /// # Errors
    /// It cannot be opened or locked.
    pub(crate) fn lock(path: &Path) -> Result<Self, Failed> {
        let dir = File::open(path).map_err(|e| ("its directory cannot be opened", e))?;
        flock(&dir, FlockOperation::LockExclusive).map_err(|e| ("its directory cannot be locked", e.into()))?;
        Ok(Directory(dir))
    }

    /// Puts a file with this text in the place of the `old` one.
    ///
    /// # Errors
    /// It cannot be written; the old one is as it was.
    pub(crate) fn write(&self, path: &Path, old: Option<&Metadata>, text: &str) -> Result<(), Failed> {
        let new = New::create(path).map_err(|e| ("a new one beside it cannot be created", e))?;
        self.exchange(&new, path, old, text).map_err(|e| ("cannot be written", e))
    }

    fn exchange(&self, new: &New, path: &Path, old: Option<&Metadata>, text: &str) -> io::Result<()> {
        let mut to = &new.file;
        to.write_all(text.as_bytes())?;
        match old {
            Some(old) => {
                let own = new.file.metadata()?;
                if (old.uid(), old.gid()) != (own.uid(), own.gid()) {
                    fchown(to, Some(old.uid()), Some(old.gid()))?;
                }
            }
            // The broker's, by the directory of a package. Without it the owner's own group reads it.
            None => drop(fchown(to, None, Some(self.0.metadata()?.gid()))),
        }
        let mode = old.map_or(NEW_MODE, |old| old.mode() & 0o7777);
        to.set_permissions(Permissions::from_mode(mode))?;
        to.sync_all()?;
        fs::rename(&new.path, path)?;
        self.0.sync_all()
    }
}

/// A file beside the old one, which is gone again unless it took its place.
struct New {
    path: PathBuf,
    file: File,
}

impl New {
    fn create(beside: &Path) -> io::Result<Self> {
        let mut name = std::ffi::OsString::from(".");
        name.push(beside.file_name().ok_or(ErrorKind::InvalidInput)?);
        name.push(format!(".{}.new", std::process::id()));
        let path = beside.with_file_name(name);
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        Ok(New { path, file })
    }
}

impl Drop for New {
    fn drop(&mut self) {
        // After the rename there is none of that name.
        let _ = fs::remove_file(&self.path);
    }
}
