//! Unix, which is Linux: files are walked to by descriptors, libraries are mapped from memory.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use gatemq_plugin_api::abi::ENTRY_SYMBOL;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use object::{Object, ObjectSymbol};
use rustix::fs::{Mode, OFlags, Stat};

use super::{Entry, unreadable};
use crate::{Reason, Wanted};

/// Not waiting for whoever writes to a pipe of this name.
const TO_READ: OFlags = OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);
/// Write permission of group and others.
const OTHERS_WRITE: u32 = 0o022;
/// Of a directory with this bit only owners remove and rename what is theirs.
const STICKY: u32 = 0o1000;

/// Opens a plugin's file, if it is to be believed.
///
/// # Errors
/// See [`Reason`].
pub(crate) fn open(path: &Path, wanted: &Wanted) -> Result<File, Reason> {
    match wanted.owner_checked {
        true => open_checked(path),
        false => Ok(rustix::fs::open(path, TO_READ, Mode::empty()).map_err(unreadable)?.into()),
    }
}

/// The entry symbol.
pub(crate) fn entry(file: &object::File<'_>) -> Option<Entry> {
    let symbol = file.dynamic_symbols().find(|s| s.is_definition() && s.name() == Ok(ENTRY_SYMBOL))?;
    Some(Entry { address: symbol.address(), bytes: Some(symbol.size()) })
}

/// Maps a copy in memory, whose constructors then run. Its descriptor is left behind on purpose.
///
/// # Errors
/// What the dynamic linker says.
pub(crate) fn load(file: &Path, bytes: &[u8]) -> Result<libloading::Library, String> {
    let copy = copy(file, bytes).map_err(|e| e.to_string())?;
    let path = format!("/proc/self/fd/{}", copy.as_raw_fd());
    // SAFETY: runs the constructors of a file that exports our entry symbol, in the copy that was checked. Plugins are
    // trusted code; what can be told beforehand has been told.
    let library = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
    let library = library.map_err(|e| e.to_string())?;
    // The descriptor stays open so that backtraces can read the file's symbols.
    let _ = copy.into_raw_fd();
    Ok(library.into())
}

fn copy(file: &Path, bytes: &[u8]) -> std::io::Result<OwnedFd> {
    use std::io::Write;
    // Shown in /proc/PID/maps; 249 bytes at most.
    let name: String = file.file_name().map(|n| n.to_string_lossy().chars().take(60).collect()).unwrap_or_default();
    let descriptor = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    let mut copy = std::fs::File::from(descriptor);
    copy.write_all(bytes)?;
    Ok(copy.into())
}

/// Walks from the root to the file, each step from the descriptor of the one before: what was checked is what is opened.
fn open_checked(path: &Path) -> Result<File, Reason> {
    // Links are followed here; whoever puts one in afterwards has the walk fail.
    let path = std::fs::canonicalize(path).map_err(unreadable)?;
    let names: Vec<&OsStr> = path
        .components()
        .filter_map(|part| match part {
            Component::Normal(name) => Some(name),
            _ => None,
        })
        .collect();
    let Some((file_name, directories)) = names.split_last() else {
        return Err(Reason::Unreadable("it is not a regular file".into()));
    };
    let to_walk = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (mut at, mut here) = (rustix::fs::open("/", to_walk, Mode::empty()).map_err(unreadable)?, PathBuf::from("/"));
    check_owner(&at, &here)?;
    for name in directories {
        at = rustix::fs::openat(&at, *name, to_walk, Mode::empty()).map_err(unreadable)?;
        here.push(name);
        check_owner(&at, &here)?;
    }
    let file = rustix::fs::openat(&at, *file_name, TO_READ | OFlags::NOFOLLOW, Mode::empty()).map_err(unreadable)?;
    check_owner(&file, &path)?;
    Ok(file.into())
}

fn check_owner(opened: &OwnedFd, path: &Path) -> Result<(), Reason> {
    let stat = rustix::fs::fstat(opened).map_err(unreadable)?;
    untrusted(&stat, rustix::process::geteuid().as_raw()).map_or(Ok(()), |found| {
        let wanted_user = rustix::process::geteuid().as_raw();
        Err(Reason::Untrusted { path: path.to_owned(), wanted_user, found })
    })
}

/// Who besides root and `user` can change what `stat` is of.
fn untrusted(stat: &Stat, user: u32) -> Option<String> {
    let is_directory = stat.st_mode & 0o170_000 == 0o040_000;
    let mode = stat.st_mode & 0o7777;
    if stat.st_uid != 0 && stat.st_uid != user {
        return Some(format!("that it belongs to user {}", stat.st_uid));
    }
    (mode & OTHERS_WRITE != 0 && !(is_directory && mode & STICKY != 0)).then(|| format!("mode {mode:04o}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a file of anybody else is refused, whatever its mode.
    #[test]
    fn the_owner_is_root_or_this_user() {
        let mut stat = rustix::fs::stat("/").unwrap();
        for (owner, user, is_trusted) in [(0, 0, true), (0, 7, true), (7, 7, true), (7, 0, false), (8, 7, false)] {
            (stat.st_uid, stat.st_mode) = (owner, 0o040_755);
            assert_eq!(untrusted(&stat, user).is_none(), is_trusted, "{owner} {user}");
        }
    }
}
