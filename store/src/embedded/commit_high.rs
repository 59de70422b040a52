//! `commit.high`: the highest commit that is known to be on stable storage.
//!
//! It is written before a commit is acknowledged and synced about once a second: exact when only the process ended, a lower
//! bound after a power cut. What a start finds must reach it; if it does not, something was lost that was acknowledged.
//! Two places are written in turn, so that a torn write leaves the one before.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;

use xxhash_rust::xxh3::xxh3_64;

use super::SyncMode;
use crate::OpenError;

const MAGIC: &[u8; 7] = b"gmqhigh";
const PLACE_BYTES: usize = 24;
/// Far enough apart that no sector has both.
const PLACES: [u64; 2] = [0, 4096];
const FILE_BYTES: u64 = 8192;

/// What the file says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct High {
    /// The commit.
    pub(super) commit: u64,
    /// Each commit was synced before the next one began.
    pub(super) one_by_one: bool,
}

/// See the module.
pub(super) struct CommitHigh {
    file: File,
    one_by_one: bool,
}

impl CommitHigh {
    pub(super) fn create(path: &Path, sync: SyncMode) -> Result<Self, OpenError> {
        let options = OpenOptions::new().read(true).write(true).create_new(true).open(path);
        let file = options.and_then(|file| file.set_len(FILE_BYTES).map(|()| file)).map_err(OpenError::io(path))?;
        let high = CommitHigh { file, one_by_one: sync == SyncMode::Always };
        for commit in [0, 1] {
            high.write(commit).map_err(OpenError::io(path))?;
        }
        high.sync().map_err(OpenError::io(path))?;
        Ok(high)
    }

    pub(super) fn open(path: &Path, sync: SyncMode) -> Result<(Self, High), OpenError> {
        let open = OpenOptions::new().read(true).write(true).open(path).map_err(OpenError::io(path));
        let file = open?;
        let mut bytes = Vec::new();
        (&file).take(FILE_BYTES + 1).read_to_end(&mut bytes).map_err(OpenError::io(path))?;
        if bytes.len() as u64 != FILE_BYTES {
            return Err(OpenError::damaged(path, format!("it has {} bytes instead of {FILE_BYTES}", bytes.len())));
        }
        let places = PLACES.iter().filter_map(|at| read(bytes.get(*at as usize..)?.first_chunk()?));
        let high = places.max_by_key(|high| high.commit);
        let high = high.ok_or_else(|| OpenError::damaged(path, "it says no commit"))?;
        Ok((CommitHigh { file, one_by_one: sync == SyncMode::Always }, high))
    }

    /// Up to this one, all are on stable storage.
    pub(super) fn write(&self, commit: u64) -> io::Result<()> {
        let mut place = [0; PLACE_BYTES];
        place[..7].copy_from_slice(MAGIC);
        place[7] = u8::from(self.one_by_one);
        place[8..16].copy_from_slice(&commit.to_le_bytes());
        let checksum = xxh3_64(&place[..16]);
        place[16..].copy_from_slice(&checksum.to_le_bytes());
        let mut file = &self.file;
        file.seek(SeekFrom::Start(PLACES[(commit % 2) as usize]))?;
        file.write_all(&place)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

fn read(place: &[u8; PLACE_BYTES]) -> Option<High> {
    let (head, checksum) = place.split_at(16);
    if u64::from_le_bytes(checksum.try_into().ok()?) != xxh3_64(head) || !head.starts_with(MAGIC) {
        return None;
    }
    let commit = u64::from_le_bytes(head.get(8..)?.try_into().ok()?);
    Some(High { commit, one_by_one: head.get(7) == Some(&1) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the lower bound: the later place counts, one that is torn leaves the other, and a file without any is damage.
    #[test]
    fn the_later_place_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("commit.high");
        let high = CommitHigh::create(&path, SyncMode::Always).unwrap();
        let found = || CommitHigh::open(&path, SyncMode::Always).map(|(_, high)| high.commit);
        assert_eq!(found().unwrap(), 1);
        high.write(2).unwrap();
        high.write(3).unwrap();
        assert_eq!(found().unwrap(), 3);
        let bytes = std::fs::read(&path).unwrap();
        let broken = |at: &[usize]| {
            let mut bytes = bytes.clone();
            for at in at {
                bytes[*at] ^= 1;
            }
            std::fs::write(&path, bytes).unwrap();
            found()
        };
        assert_eq!(broken(&[4096 + 8]).unwrap(), 2);
        assert_eq!(broken(&[9]).unwrap(), 3);
        assert!(matches!(broken(&[9, 4096]), Err(OpenError::Damaged(damage)) if damage.file == path));
        std::fs::write(&path, &bytes[..8191]).unwrap();
        assert!(matches!(found(), Err(OpenError::Damaged(_))));
    }
}
