//! A file that lines are appended to.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use crate::platform::{self, Identity};

/// See the module.
pub(crate) struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// What `path` led to when it was opened.
    identity: Identity,
    /// Whether it ends in the middle of a line.
    torn: bool,
}

impl LogFile {
    /// Opens it, or creates it with mode 0640.
    ///
    /// # Errors
    /// What is in the way, and what to do about it.
    pub(crate) fn open(path: &Path) -> Result<Self, String> {
        let at = path.display();
        if path.as_os_str().is_empty() {
            return Err("file is empty; give a path, or \"-\" for standard output".into());
        }
        match fs::metadata(path) {
            Ok(found) if found.is_dir() => return Err(format!("{at} is a directory; give the path of a file in it")),
            // Opening a pipe would wait for its reader, and a device can be neither rotated nor followed.
            Ok(found) if !found.is_file() => {
                return Err(format!("{at} is not a regular file; give \"-\" for standard output"));
            }
            Ok(_) => {}
            Err(_) => {
                let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
                if !parent.is_dir() {
                    return Err(format!("{at}: its directory {} does not exist; create it", parent.display()));
                }
            }
        }
        let opened = platform::for_group(File::options().read(true).append(true).create(true)).open(path);
        let file = opened.map_err(|e| format!("{at} cannot be opened: {e}"))?;
        let metadata = file.metadata().map_err(|e| format!("{at}: {e}"))?;
        let bytes = metadata.len();
        let mut last = [b'\n'];
        let torn = bytes > 0 && platform::read_at(&file, &mut last, bytes - 1).is_ok() && last != [b'\n'];
        let identity = Identity::of(&file, &metadata).map_err(|e| format!("{at}: {e}"))?;
        Ok(LogFile { path: path.to_owned(), file, bytes, identity, torn })
    }

    /// Its size.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Opens the path again if it leads elsewhere by now. Where that fails the open file goes on being written.
    pub(crate) fn follow(&mut self) {
        match fs::metadata(&self.path) {
            // Somebody may have emptied it.
            Ok(found) if self.identity.is_at(&self.path, &found) => self.bytes = found.len(),
            Ok(_) => self.reopen(),
            Err(e) if e.kind() == ErrorKind::NotFound => self.reopen(),
            Err(_) => {}
        }
    }

    fn reopen(&mut self) {
        if let Ok(opened) = Self::open(&self.path) {
            *self = opened;
        }
    }

    /// Appends whole lines.
    ///
    /// # Errors
    /// Some or all of them could not be written.
    pub(crate) fn append(&mut self, lines: &[u8]) -> Result<(), String> {
        if self.torn {
            self.append_all(b"\n")?;
            self.torn = false;
        }
        self.append_all(lines)
    }

    fn append_all(&mut self, mut rest: &[u8]) -> Result<(), String> {
        while !rest.is_empty() {
            let failure = match self.file.write(rest) {
                Ok(0) => ErrorKind::WriteZero.into(),
                Ok(n) => {
                    self.bytes = self.bytes.saturating_add(n as u64);
                    self.torn = rest[n - 1] != b'\n';
                    rest = &rest[n..];
                    continue;
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => e,
            };
            return Err(format!("{} cannot be written: {failure}", self.path.display()));
        }
        Ok(())
    }

    /// Renames it to `.1`, what was `.1` to `.2`, and so on up to `keep`, and begins a new one. `keep` 0: it is removed.
    ///
    /// # Errors
    /// It could not be renamed, or no new one opened; the old one goes on being written.
    pub(crate) fn rotate(&mut self, keep: u32) -> Result<(), String> {
        let failed = |e: std::io::Error| format!("{} cannot be rotated: {e}", self.path.display());
        // Moved away already: shifting the others would lose the oldest for nothing.
        if self.path.exists() {
            for n in (1..keep).rev() {
                renamed(&self.numbered(n), &self.numbered(n + 1)).map_err(failed)?;
            }
            match keep {
                0 => fs::remove_file(&self.path),
                _ => renamed(&self.path, &self.numbered(1)),
            }
            .map_err(failed)?;
        }
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn numbered(&self, n: u32) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(format!(".{n}"));
        name.into()
    }

    /// As if the disk behind the file had changed.
    #[cfg(test)]
    pub(crate) fn replace_handle(&mut self, file: File) {
        self.file = file;
    }
}

fn renamed(from: &Path, to: &Path) -> std::io::Result<()> {
    match fs::rename(from, to) {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
