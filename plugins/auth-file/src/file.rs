//! The users file on disk: who may write it, and whether it has changed.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::platform;

/// Largest users file in bytes: about half a million users.
const BYTES_MAX: u64 = 128 * 1024 * 1024;
/// A file that was touched so lately may be written again without a stamp of its own: clocks of file systems are coarse.
const COARSE: Duration = Duration::from_secs(2);

/// What changes when a file does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) device: u64,
    pub(crate) inode: u64,
    pub(crate) bytes: u64,
    /// Seconds and nanoseconds.
    pub(crate) modified: (i64, i64),
    /// Also set by renames and changed permissions, and not by choice.
    pub(crate) changed: (i64, i64),
}

impl Stamp {
    /// Of the file as it is now.
    ///
    /// # Errors
    /// It is not there or cannot be asked.
    pub(crate) fn now(path: &Path) -> io::Result<Self> {
        Ok(platform::stamp(&std::fs::metadata(path)?))
    }

    /// Whether every write after `read` gives another stamp.
    fn settled(&self, read: SystemTime) -> bool {
        let seconds = Duration::from_secs(u64::try_from(self.changed.0).unwrap_or(0));
        read.duration_since(UNIX_EPOCH + seconds).is_ok_and(|age| age > COARSE)
    }
}

/// A users file that may be believed.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) text: String,
    /// `None`: it may be written again without another stamp, so read it again.
    pub(crate) stamp: Option<Stamp>,
    pub(crate) world_readable: bool,
}

/// Reads it.
///
/// # Errors
/// It cannot be read, or somebody else could have written it.
pub(crate) fn read(path: &Path) -> Result<Contents, String> {
    let cannot = |e: io::Error| format!("cannot be read: {e}");
    let now = SystemTime::now();
    // A pipe would block in open.
    check(&std::fs::metadata(path).map_err(cannot)?)?;
    let mut file = File::open(path).map_err(cannot)?;
    let before = file.metadata().map_err(cannot)?;
    check(&before)?;
    let mut bytes = Vec::new();
    file.by_ref().take(BYTES_MAX + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(format!("has more than {BYTES_MAX} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let line = 1 + e.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        format!("is not UTF-8 in line {line}")
    })?;
    let stamp = platform::stamp(&before);
    let unchanged = platform::stamp(&file.metadata().map_err(cannot)?) == stamp;
    let stamp = Some(stamp).filter(|s| unchanged && s.settled(now));
    Ok(Contents { text, stamp, world_readable: platform::others_read(&before) })
}

fn check(meta: &Metadata) -> Result<(), String> {
    if !meta.is_file() {
        return Err("is not a file".into());
    }
    platform::check_writers(meta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    /// Guards that a file which others can write to is refused, and what is said of one that everybody can read.
    #[test]
    fn a_file_is_checked_before_it_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        assert!(read(&path).unwrap_err().contains("cannot be read"));
        std::fs::write(&path, "a = 1").unwrap();
        for (mode, good, world_readable) in [
            (0o600, true, false),
            (0o640, true, false),
            (0o644, true, true),
            (0o660, false, false),
            (0o606, false, true),
        ] {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            let contents = read(&path);
            assert_eq!(contents.is_ok(), good, "{mode:o}: {contents:?}");
            assert!(contents.is_err() || contents.is_ok_and(|c| c.world_readable == world_readable), "{mode:o}");
        }
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"a\n\xff").unwrap();
        assert!(read(&path).unwrap_err().contains("line 2"));
        assert!(read(dir.path()).unwrap_err().contains("not a file"));
    }

    /// Guards that a change within the same tick of the file system's clock is not missed: a stamp that is too young does
    /// not count.
    #[test]
    fn a_young_stamp_is_not_trusted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("users.toml");
        std::fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap().stamp, None);
        let stamp = Stamp::now(&path).unwrap();
        let written = UNIX_EPOCH + Duration::from_secs(stamp.changed.0 as u64);
        assert!(!stamp.settled(written + COARSE));
        assert!(stamp.settled(written + COARSE + Duration::from_millis(1)));
        assert!(!stamp.settled(written - COARSE));
    }
}
