//! Unix: by owner, mode and inode.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;

use crate::file::Stamp;

const GROUP_OR_OTHERS_WRITE: u32 = 0o022;
const OTHERS_READ: u32 = 0o004;

/// Whether only root and the broker's user may write to it.
///
/// # Errors
/// Who else may.
pub(crate) fn check_writers(meta: &Metadata) -> Result<(), String> {
    may_be_believed(meta.uid(), meta.mode(), rustix::process::geteuid().as_raw())
}

/// Whether everybody may read it.
pub(crate) fn others_read(meta: &Metadata) -> bool {
    meta.mode() & OTHERS_READ != 0
}

/// Of a file.
pub(crate) fn stamp(meta: &Metadata) -> Stamp {
    Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        bytes: meta.size(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    }
}

fn may_be_believed(owner: u32, mode: u32, this_user: u32) -> Result<(), String> {
    if owner != 0 && owner != this_user {
        return Err(format!(
            "belongs to user id {owner}; it must belong to root or to the broker's user ({this_user})"
        ));
    }
    if mode & GROUP_OR_OTHERS_WRITE != 0 {
        let mode = mode & 0o7777;
        return Err(format!("may be written by group or others (mode {mode:04o}); chmod go-w"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that whoever could write the file could also have run the broker.
    #[test]
    fn only_owners_of_the_broker_are_believed() {
        for (owner, mode, good) in [
            (0, 0o640, true),
            (7, 0o600, true),
            (7, 0o644, true),
            (8, 0o600, false),
            (7, 0o660, false),
            (0, 0o602, false),
        ] {
            assert_eq!(may_be_believed(owner, mode, 7).is_ok(), good, "{owner} {mode:o}");
        }
    }
}
