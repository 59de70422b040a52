//! Files that a plugin believes: whoever could write one could decide who is admitted.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::Path;

use gatemq_plugin_api::{Secret, tracing};

use crate::platform;

/// Largest secret, in bytes.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Reads a file of at most `bytes_max` bytes that only root or the broker's user can have written. Blocks. On Windows that is not
/// known; a warning says so.
///
/// # Errors
/// It cannot be read, is too large, or somebody else could have written it; with its path.
pub fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, String> {
    checked(path, bytes_max).map(|(bytes, _)| bytes).map_err(|e| format!("{}: {e}", path.display()))
}

/// As [`read`], for a secret of at most 64 KiB. One line break at its end does not count. Says so where everybody can read it.
///
/// # Errors
/// As [`read`], and an empty one.
pub fn read_secret(path: &Path) -> Result<Secret, String> {
    let (mut bytes, meta) = checked(path, SECRET_BYTES_MAX).map_err(|e| format!("{}: {e}", path.display()))?;
    if platform::others_read(&meta) {
        tracing::warn!("{}: holds a secret and may be read by everybody; chmod o-r", path.display());
    }
    if bytes.last() == Some(&b'\n') {
        bytes.pop();
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
    }
    match bytes.is_empty() {
        true => Err(format!("{}: is empty", path.display())),
        false => Ok(Secret::new(bytes)),
    }
}

fn checked(path: &Path, bytes_max: u64) -> Result<(Vec<u8>, Metadata), String> {
    let cannot = |e: io::Error| format!("cannot be read: {e}");
    // A pipe would block in open.
    check(&std::fs::metadata(path).map_err(cannot)?)?;
    let file = File::open(path).map_err(cannot)?;
    let meta = file.metadata().map_err(cannot)?;
    check(&meta)?;
    // Room for all of it: what grows leaves copies of a secret behind.
    let mut bytes = Vec::with_capacity(usize::try_from(meta.len().min(bytes_max)).unwrap_or(0) + 1);
    file.take(bytes_max + 1).read_to_end(&mut bytes).map_err(cannot)?;
    match bytes.len() as u64 > bytes_max {
        true => Err(format!("has more than {bytes_max} bytes")),
        false => Ok((bytes, meta)),
    }
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

    /// Guards that a file which others can write to is refused, its size, and what of a secret's file is the secret.
    #[test]
    fn a_file_is_checked_before_it_is_believed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let written = |bytes: &[u8], mode| {
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        assert!(read(&path, 9).unwrap_err().contains("cannot be read"));
        assert!(read(dir.path(), 9).unwrap_err().contains("is not a file"));
        written(b"12345", 0o660);
        assert!(read(&path, 9).unwrap_err().contains("chmod go-w"));
        written(b"12345", 0o600);
        assert_eq!(read(&path, 5).unwrap(), b"12345");
        assert!(read(&path, 4).unwrap_err().contains("more than 4 bytes"));
        for (bytes, secret) in [(&b"s"[..], &b"s"[..]), (b"s\n", b"s"), (b"s\r\n", b"s"), (b"s\n\n", b"s\n")] {
            written(bytes, 0o600);
            assert_eq!(read_secret(&path).unwrap().as_bytes(), secret, "{bytes:?}");
        }
        written(b"\n", 0o600);
        assert!(read_secret(&path).unwrap_err().contains("is empty"));
    }
}
