//! A plugin's file: read once, from a descriptor whose owner and mode were checked, so that nobody can change it between
//! check and use.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use object::{Object, ObjectSection};
use sha2::{Digest, Sha256};

use crate::platform::{self, unreadable};
use crate::{Reason, Refusal};

/// Largest library file, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// SHA-256 of a library.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LibraryHash(pub [u8; 32]);

impl LibraryHash {
    /// From 64 hexadecimal digits; `None` if it is something else.
    pub fn parse(text: &str) -> Option<LibraryHash> {
        let mut hash = [0; 32];
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        if digits.len() != 2 * hash.len() {
            return None;
        }
        for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Some(LibraryHash(hash))
    }
}

impl fmt::Display for LibraryHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is asked of a file before it is loaded.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted {
    /// It and every directory above it belong to root or to this process's user, and nobody else may write to them (but for
    /// directories like /tmp, where nobody can rename what is another's). On Windows nobody can be asked that: what is not pinned by
    /// `sha256` is refused.
    pub owner_checked: bool,
    /// Its contents.
    pub sha256: Option<LibraryHash>,
}

/// The contents of a plugin's file.
pub struct LibraryFile {
    pub(crate) path: PathBuf,
    pub(crate) bytes: Vec<u8>,
    sha256: LibraryHash,
}

impl LibraryFile {
    /// Reads it. None of its code runs.
    ///
    /// # Errors
    /// It cannot be read, or is not what is `wanted`.
    pub fn read(path: &Path, wanted: &Wanted) -> Result<LibraryFile, Refusal> {
        let read = || -> Result<LibraryFile, Reason> {
            let bytes = contents(platform::open(path, wanted)?)?;
            let sha256 = LibraryHash(Sha256::digest(&bytes).into());
            match wanted.sha256.filter(|wanted| *wanted != sha256) {
                Some(wanted) => Err(Reason::OtherContents { wanted, found: sha256 }),
                None => Ok(LibraryFile { path: path.to_owned(), bytes, sha256 }),
            }
        };
        read().map_err(|reason| Refusal { file: path.to_owned(), reason })
    }

    /// Size in bytes.
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What built it, as compilers put it down in an ELF file's section `.comment`: rustc's where there are several. `None` where
    /// it was stripped, or is no such file.
    pub fn compiler(&self) -> Option<String> {
        let file = object::File::parse(&*self.bytes).ok()?;
        let section = file.section_by_name(".comment")?;
        let comments = section.data().ok()?.split(|byte| *byte == 0).filter(|comment| !comment.is_empty());
        let comments: Vec<_> = comments.map(|comment| String::from_utf8_lossy(comment).into_owned()).collect();
        let rustc = comments.iter().find(|comment| comment.starts_with("rustc ")).or(comments.first());
        rustc.map(|comment| comment.chars().take(200).collect())
    }

    /// Hash of its contents.
    pub fn sha256(&self) -> LibraryHash {
        self.sha256
    }
}

fn contents(mut file: File) -> Result<Vec<u8>, Reason> {
    let metadata = file.metadata().map_err(unreadable)?;
    if !metadata.is_file() {
        return Err(Reason::Unreadable("it is not a regular file".into()));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(Reason::Unreadable(format!("it has {} bytes, more than {FILE_BYTES_MAX}", metadata.len())));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(unreadable)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::Mode;
    use std::os::unix::fs::PermissionsExt;

    /// Guards section 4.3: only root and the service's user can have changed what is loaded, nor can others exchange the
    /// directory; the twins are loaded.
    #[test]
    fn what_others_can_change_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let below = dir.path().join("plugins");
        std::fs::create_dir(&below).unwrap();
        let file = below.join("libx.so");
        std::fs::write(&file, "x").unwrap();
        let wanted = Wanted { owner_checked: true, sha256: None };
        let set = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
        let read = || LibraryFile::read(&file, &wanted).map(|file| file.bytes).map_err(|refusal| refusal.reason);
        for (file_mode, below_mode, above_mode, bad) in [
            (0o644, 0o755, 0o755, None),
            (0o755, 0o700, 0o700, None),
            (0o644, 0o1777, 0o755, None),
            (0o664, 0o755, 0o755, Some(file.as_path())),
            (0o646, 0o755, 0o755, Some(&file)),
            (0o1646, 0o755, 0o755, Some(&file)),
            (0o644, 0o775, 0o755, Some(&below)),
            (0o644, 0o755, 0o757, Some(dir.path())),
        ] {
            set(&file, file_mode);
            set(&below, below_mode);
            set(dir.path(), above_mode);
            match (read(), bad) {
                (Ok(bytes), None) => assert_eq!(bytes, b"x"),
                (Err(Reason::Untrusted { path, .. }), Some(bad)) => assert_eq!(path, bad.canonicalize().unwrap()),
                (found, bad) => panic!("{file_mode:o} {below_mode:o} {above_mode:o}: {found:?}, wanted {bad:?}"),
            }
        }
        assert!(LibraryFile::read(&file, &Wanted::default()).is_ok(), "unchecked");
    }

    /// Guards the node's main thread: a pipe of this name is refused, not waited for.
    #[test]
    fn a_pipe_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("libx.so");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
        for owner_checked in [false, true] {
            let refusal = LibraryFile::read(&pipe, &Wanted { owner_checked, sha256: None }).err().unwrap();
            assert_eq!(refusal.reason, Reason::Unreadable("it is not a regular file".into()));
        }
    }

    /// Guards the pin: other contents are refused, and named; a link leads to what it names.
    #[test]
    fn other_contents_than_pinned_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("libx.so"), dir.path().join("link.so"));
        std::fs::write(&file, "abc").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let wanted = |text| Wanted { owner_checked: true, sha256: LibraryHash::parse(text) };
        let read = LibraryFile::read(&link, &wanted(of_abc)).unwrap();
        assert_eq!(read.sha256().to_string(), of_abc);
        let other = LibraryFile::read(&file, &wanted(&of_abc.replace('b', "c"))).err().unwrap();
        assert!(matches!(other.reason, Reason::OtherContents { .. }), "{other}");
        for wrong in ["", "ba", &of_abc[1..], &of_abc.replace('b', "x")] {
            assert_eq!(LibraryHash::parse(wrong), None);
        }
    }
}
