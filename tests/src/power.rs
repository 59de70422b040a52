//! Power cuts: a library that goes before the C library records what was on disk at each sync, and this puts exactly that
//! back. `kill -9` alone keeps what the system had not written yet.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use crate::artifacts;
use crate::broker::Setup;

/// The library's source is that of the store's own tests. The broker takes every `GATEMQ_…` for configuration, so its
/// variables have another beginning here.
const SOURCE: &str = include_str!("../../store/tests/store/power.c");
const ITS_PREFIX: &str = "GATEMQ_";
const OUR_PREFIX: &str = "POWER_";

/// What a disk holds of a broker's data directory.
pub struct Disk {
    place: TempDir,
    cuts: usize,
}

impl Default for Disk {
    fn default() -> Disk {
        Disk::new()
    }
}

impl Disk {
    /// Builds the library.
    ///
    /// # Panics
    /// When there is no C compiler.
    pub fn new() -> Disk {
        let place = tempfile::tempdir().expect("a directory");
        artifacts::library_of_c(place.path(), "power", &SOURCE.replace(ITS_PREFIX, OUR_PREFIX));
        Disk { place, cuts: 0 }
    }

    /// A broker on this disk. What its data directory holds is on it.
    ///
    /// # Panics
    /// When files cannot be copied.
    pub fn under(&mut self, setup: Setup) -> Setup {
        let (data, shadow) = (setup.data_directory(), self.shadow());
        fs::create_dir_all(&data).expect("a directory");
        fs::create_dir_all(&shadow).expect("a directory");
        record(&shadow, &data);
        setup
            .environment("LD_PRELOAD", &self.place.path().join("power.so"))
            .environment("POWER_SHADOW", &shadow)
            .environment("POWER_SHADOW_OF", &data)
    }

    /// The power is cut: what is needed to start the broker that was killed, its data directory as the disk holds it.
    ///
    /// # Panics
    /// When the library has recorded nothing, or files cannot be copied.
    pub fn cut(&mut self, killed: Setup) -> Setup {
        let (data, shadow) = (killed.data_directory(), self.shadow());
        let (id, lost) = (identity(&data), self.place.path().join(format!("lost-{}", self.cuts)));
        fs::rename(&data, &lost).expect("moved away");
        let files = restore(&shadow, &id, &data);
        assert!(files > 3, "the disk holds {files} files of it");
        for of_before in [lost, shadow] {
            fs::remove_dir_all(of_before).expect("removed");
        }
        self.cuts += 1;
        self.under(killed)
    }

    fn shadow(&self) -> PathBuf {
        self.place.path().join(format!("shadow-{}", self.cuts))
    }
}

/// Of a file or directory, as in the library: numbers of files are used again.
fn identity(path: &Path) -> String {
    let metadata = fs::symlink_metadata(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let born = metadata.created().expect("its birth").duration_since(UNIX_EPOCH).expect("after 1970");
    format!("{}-{}-{}", metadata.ino(), born.as_secs(), born.subsec_nanos())
}

/// As if everything below were synced.
fn record(shadow: &Path, directory: &Path) {
    let mut names = String::new();
    for entry in fs::read_dir(directory).expect("it is read") {
        let path = entry.expect("it is read").path();
        let (kind, id) = (if path.is_dir() { 'd' } else { 'f' }, identity(&path));
        names += &format!("{kind} {id} {}\n", path.file_name().expect("a name").to_string_lossy());
        match kind {
            'd' => record(shadow, &path),
            _ => copy(&path, &shadow.join(id)),
        }
    }
    fs::write(shadow.join(identity(directory)), names).expect("it is written");
}

/// Names as of the last sync of their directory, bytes as of the last sync of their file. Returns how many files there are.
fn restore(shadow: &Path, id: &str, to: &Path) -> usize {
    fs::create_dir_all(to).expect("a directory");
    let Ok(names) = fs::read_to_string(shadow.join(id)) else { return 0 };
    let restored = names.lines().map(|line| {
        let mut words = line.splitn(3, ' ');
        let [kind, id, name] = std::array::from_fn(|_| words.next().expect("three words"));
        let (bytes, target) = (shadow.join(id), to.join(name));
        match kind {
            "d" => return restore(shadow, id, &target),
            _ if bytes.exists() => copy(&bytes, &target),
            _ => fs::write(&target, b"").expect("it is written"),
        }
        1
    });
    restored.sum()
}

/// Holes stay holes: journals are mostly set aside in advance.
fn copy(from: &Path, to: &Path) {
    artifacts::run(Command::new("cp").arg("--sparse=always").args([from, to]));
}
