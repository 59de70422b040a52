//! Windows. Compiled, and run under Wine alone (README.md).

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::windows::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use gatemq_plugin_api::abi::ENTRY_SYMBOL;
use libloading::os::windows::{LOAD_LIBRARY_SEARCH_APPLICATION_DIR, LOAD_LIBRARY_SEARCH_SYSTEM32, Library};
use object::Object;
use object::read::{ExportTarget, NameOrOrdinal};

use super::{Entry, unreadable};
use crate::{Reason, Wanted};

/// Others may open a file for reading, and for nothing else, as long as we have it (FILE_SHARE_READ).
const SHARE_READ: u32 = 1;
/// How directories with copies begin.
const COPIES: &str = "gatemq-plugin-";
/// Names that are tried for one.
const NAMES_MAX: u32 = 10_000;
/// A directory that is younger may be one that another process is just filling.
const LEFT_AGE_MIN: Duration = Duration::from_secs(60);

/// Opens a plugin's file. std cannot ask who may write to it: then its contents must be pinned, or the operator has said that it is not to
/// be asked.
///
/// # Errors
/// See [`Reason`].
pub(crate) fn open(path: &Path, wanted: &Wanted) -> Result<File, Reason> {
    match wanted.owner_checked && wanted.sha256.is_none() {
        true => Err(Reason::OwnerUnknown),
        false => File::open(path).map_err(unreadable),
    }
}

/// The entry symbol.
pub(crate) fn entry(file: &object::File<'_>) -> Option<Entry> {
    let wanted = NameOrOrdinal::Name(ENTRY_SYMBOL.as_bytes());
    let export = file.exports().ok()?.flatten().find(|export| export.name() == wanted)?;
    match export.target() {
        ExportTarget::Address { address } => Some(Entry { address, bytes: None }),
        _ => None,
    }
}

/// Maps a copy, whose constructors then run. What it needs is looked for beside the broker and among the system's libraries, not in
/// the working directory and not in PATH.
///
/// # Errors
/// What the system says.
pub(crate) fn load(file: &Path, bytes: &[u8]) -> Result<libloading::Library, String> {
    let temporary = std::env::temp_dir();
    remove_left(&temporary);
    let (path, held) = copy(&temporary, file, bytes).map_err(|e| e.to_string())?;
    let flags = LOAD_LIBRARY_SEARCH_APPLICATION_DIR | LOAD_LIBRARY_SEARCH_SYSTEM32;
    // SAFETY: runs the constructors of a file that exports our entry symbol, in the copy that was checked. Plugins are
    // trusted code; what can be told beforehand has been told.
    let library = unsafe { Library::load_with_flags(&path, flags) };
    let library = library.map_err(|e| match std::error::Error::source(&e) {
        Some(why) => format!("{e}: {why}"),
        None => e.to_string(),
    })?;
    // Held as long as it is mapped: nobody writes to it.
    std::mem::forget(held);
    Ok(library.into())
}

/// Writes a copy, and reads it again when nobody can change it any more: what was checked is what is loaded.
fn copy(temporary: &Path, file: &Path, bytes: &[u8]) -> io::Result<(PathBuf, File)> {
    let name = file.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let path = own_directory(temporary)?.join(name);
    // Ours from its first moment: where everybody may write to the directory, somebody could have put one there.
    File::options().write(true).create_new(true).share_mode(0).open(&path)?.write_all(bytes)?;
    let held = File::options().read(true).share_mode(SHARE_READ).open(&path)?;
    let mut written = Vec::with_capacity(bytes.len());
    (&held).take(bytes.len() as u64 + 1).read_to_end(&mut written)?;
    match written == bytes {
        true => Ok((path, held)),
        false => Err(io::Error::other("somebody changed its copy while it was written")),
    }
}

fn own_directory(temporary: &Path) -> io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    for _ in 0..NAMES_MAX {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let directory = temporary.join(format!("{COPIES}{}-{number}", std::process::id()));
        match std::fs::create_dir(&directory) {
            Ok(()) => return Ok(directory),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// A file that is mapped cannot be removed: a process leaves its copies behind, and the next one removes them. Those that are still mapped
/// stay.
fn remove_left(temporary: &Path) {
    let Ok(entries) = std::fs::read_dir(temporary) else { return };
    let left = entries.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(COPIES));
    let is_old = |path: &Path| {
        let age = std::fs::metadata(path).and_then(|about| about.modified()).map(|at| at.elapsed());
        matches!(age, Ok(Ok(age)) if age > LEFT_AGE_MIN)
    };
    for path in left.map(|entry| entry.path()).filter(|path| is_old(path)) {
        // In use, or somebody else's.
        let _ = std::fs::remove_dir_all(path);
    }
}
