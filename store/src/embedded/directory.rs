//! The directory of a store: who has it, and which format it has.
//!
//! | file | what it is |
//! |---|---|
//! | `lock` | held by the process that has the store |
//! | `format` | the format of everything beside it |
//! | `commit.high` | see `commit_high` |
//! | `database/` | the engine's |
//! | `tail.cut` | what was cut off a journal's end the last time that there was something |
//! | `creating` | only while the rest is made: nothing was acknowledged yet |

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use super::platform::sync_directory;
use crate::OpenError;

/// Format that this version writes, and the latest that it reads.
const FORMAT: u32 = 1;
const FORMAT_NAME: &str = "gatemq-store ";

/// See the module.
pub(super) struct Directory {
    path: PathBuf,
    /// Unlocked when it is closed.
    _lock: File,
    /// Nothing is in it yet.
    pub(super) is_new: bool,
}

impl Directory {
    /// Takes the directory, which is made if it is not there.
    pub(super) fn take(path: &Path) -> Result<Self, OpenError> {
        fs::create_dir_all(path).map_err(OpenError::io(path))?;
        let lock = lock(&path.join("lock"))?;
        let mut directory = Directory { path: path.to_owned(), _lock: lock, is_new: false };
        let database = directory.database();
        if exists(&directory.creating())? {
            // Whoever made it did not come to the end, so nobody was told anything.
            if exists(&database)? {
                fs::remove_dir_all(&database).map_err(OpenError::io(&database))?;
            }
            for file in [directory.format(), directory.commit_high()] {
                if exists(&file)? {
                    fs::remove_file(&file).map_err(OpenError::io(&file))?;
                }
            }
        }
        let parts = [directory.format(), directory.commit_high(), database];
        let missing: Vec<_> = parts.iter().map(|part| exists(part).map(|is| !is)).collect::<Result<_, _>>()?;
        if missing.iter().all(|missing| *missing) {
            write(&directory.creating(), b"")?;
            sync_directory(path)?;
            directory.is_new = true;
            return Ok(directory);
        }
        if let Some((part, _)) = parts.iter().zip(&missing).find(|(_, missing)| **missing) {
            return Err(OpenError::damaged(part, "it is missing"));
        }
        read_format(&directory.format())?;
        Ok(directory)
    }

    /// Everything is made: from now on it is a store.
    pub(super) fn created(&self) -> Result<(), OpenError> {
        write(&self.format(), format!("{FORMAT_NAME}{FORMAT}\n").as_bytes())?;
        sync_directory(&self.path)?;
        let creating = self.creating();
        fs::remove_file(&creating).map_err(OpenError::io(&creating))?;
        sync_directory(&self.path)?;
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => sync_directory(parent),
            _ => Ok(()),
        }
    }

    pub(super) fn database(&self) -> PathBuf {
        self.path.join("database")
    }

    pub(super) fn commit_high(&self) -> PathBuf {
        self.path.join("commit.high")
    }

    pub(super) fn tail_cut(&self) -> PathBuf {
        self.path.join("tail.cut")
    }

    fn format(&self) -> PathBuf {
        self.path.join("format")
    }

    fn creating(&self) -> PathBuf {
        self.path.join("creating")
    }
}

fn exists(path: &Path) -> Result<bool, OpenError> {
    path.try_exists().map_err(OpenError::io(path))
}

fn lock(path: &Path) -> Result<File, OpenError> {
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let file = open.map_err(OpenError::io(path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = Vec::new();
            // What cannot be read is only missing from the message.
            let _ = (&file).take(64).read_to_end(&mut holder);
            let holder = holder.trim_ascii().escape_ascii().to_string();
            return Err(OpenError::Locked { file: path.to_owned(), holder });
        }
        Err(TryLockError::Error(error)) => return Err(OpenError::Io { file: path.to_owned(), error }),
    }
    let holder = format!("process {}\n", std::process::id());
    file.set_len(0).and_then(|()| (&file).write_all(holder.as_bytes())).map_err(OpenError::io(path))?;
    Ok(file)
}

fn read_format(path: &Path) -> Result<(), OpenError> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(64).read_to_end(&mut text));
    read.map_err(OpenError::io(path))?;
    let number = std::str::from_utf8(&text).ok().and_then(|text| text.strip_prefix(FORMAT_NAME)?.strip_suffix('\n'));
    match number.and_then(|number| number.parse().ok()) {
        Some(FORMAT) => Ok(()),
        Some(found) if found > FORMAT => Err(OpenError::Newer { file: path.to_owned(), found, known: FORMAT }),
        _ => Err(OpenError::damaged(path, "it does not name the format of a store")),
    }
}

/// Writes a file and syncs it.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), OpenError> {
    let written = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(OpenError::io(path))
}
