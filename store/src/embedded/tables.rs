//! The engine's tables, checked before it opens them.
//!
//! `current` names the version file and has its checksum; the version file names the tables and has theirs. The engine
//! looks at neither checksum, takes a keyspace without `current` for one that was never finished, and removes it.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use lsm_tree::{AbstractTree, SequenceNumberCounter};
use xxhash_rust::xxh3::Xxh3Default;

use crate::OpenError;
use crate::engine::keys::COMMIT;

/// The engine's own, and the one that everything is in.
const KEYSPACES: [&str; 2] = ["0", "1"];
/// `version`: the format that the walk over the journals knows.
const FORMAT: &[u8] = b"FJL\x03";

/// What the tables hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Flushed {
    /// Their last commit; 0 is none.
    pub(super) commit: u64,
    /// The engine's number of it.
    pub(super) seqno: Option<u64>,
}

/// A file that was looked at.
pub(super) struct Table {
    pub(super) path: PathBuf,
    checksum: u128,
}

/// Checks everything that leads to the tables, and the tables' contents if `contents`. Nothing is changed. Returns the
/// tables and what leads to them.
pub(super) fn check(database: &Path, contents: bool) -> Result<Vec<PathBuf>, OpenError> {
    let format = database.join("version");
    if read_small(&format)? != FORMAT {
        return Err(OpenError::damaged(&format, "it does not name format 3 of the engine"));
    }
    let keyspaces = database.join("keyspaces");
    let mut files = vec![format];
    for name in KEYSPACES {
        let keyspace = keyspaces.join(name);
        let (version, tables) = tables(&keyspace)?;
        files.extend([keyspace.join("current"), version]);
        for table in tables {
            if contents {
                verify(&table)?;
            } else if !table.path.is_file() {
                return Err(OpenError::damaged(&table.path, "it is missing"));
            }
            files.push(table.path);
        }
    }
    for found in fs::read_dir(&keyspaces).map_err(OpenError::io(&keyspaces))? {
        let found = found.map_err(OpenError::io(&keyspaces))?;
        let known = KEYSPACES.iter().any(|name| found.file_name() == *name);
        if !known && found.path().is_dir() {
            return Err(OpenError::damaged(&found.path(), "it is no part of a store"));
        }
    }
    Ok(files)
}

/// What the tables of a database hold that was checked.
pub(super) fn flushed(database: &Path) -> Result<Flushed, OpenError> {
    let path = database.join("keyspaces").join("1");
    let damaged = |error: lsm_tree::Error| {
        named(database, OpenError::damaged(&path, format!("the engine cannot open it: {error}")))
    };
    let counter = SequenceNumberCounter::default;
    let tree = lsm_tree::Config::new(&path, counter(), counter()).open().map_err(damaged)?;
    let value = tree.get(COMMIT, lsm_tree::SeqNo::MAX).map_err(damaged)?;
    let commit = value.map_or(Some(0), |value| value.as_ref().try_into().ok().map(u64::from_be_bytes));
    let commit = commit.ok_or_else(|| OpenError::damaged(&path, "the number of the last commit has not 8 bytes"))?;
    Ok(Flushed { commit, seqno: tree.get_highest_persisted_seqno() })
}

/// The engine does not say which file it cannot read: whatever is damaged for sure, or else what it said.
pub(super) fn named(database: &Path, said: OpenError) -> OpenError {
    match check(database, true) {
        Err(damaged @ OpenError::Damaged(_)) => damaged,
        _ => said,
    }
}

fn read_small(path: &Path) -> Result<Vec<u8>, OpenError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(1 << 26).read_to_end(&mut bytes)) {
        Ok(_) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(OpenError::damaged(path, "it is missing")),
        Err(error) => Err(OpenError::Io { file: path.to_owned(), error }),
    }
}

/// The version file of a keyspace, and its tables.
fn tables(keyspace: &Path) -> Result<(PathBuf, Vec<Table>), OpenError> {
    let current = keyspace.join("current");
    let bytes = read_small(&current)?;
    let read = || {
        let (id, rest) = bytes.split_first_chunk::<8>()?;
        let (checksum, rest) = rest.split_first_chunk::<16>()?;
        (rest == [0]).then_some((u64::from_le_bytes(*id), u128::from_le_bytes(*checksum)))
    };
    let (id, checksum) = read().ok_or_else(|| OpenError::damaged(&current, "it does not name a version"))?;
    let version = keyspace.join(format!("v{id}"));
    let named = |damage: OpenError| match damage {
        OpenError::Damaged(mut damage) => {
            // Which of the two was damaged cannot be told.
            damage.what += &format!(" (named by {})", current.display());
            OpenError::Damaged(damage)
        }
        other => other,
    };
    verify(&Table { path: version.clone(), checksum }).map_err(named)?;
    let tables = read_version(&version, &keyspace.join("tables"));
    let tables = tables.ok_or_else(|| OpenError::damaged(&version, "it does not list tables"))?;
    Ok((version, tables))
}

/// The tables that a version file lists.
fn read_version(version: &Path, folder: &Path) -> Option<Vec<Table>> {
    let toc = sfa::Reader::new(version).ok()?;
    let section = toc.toc().section(b"tables")?;
    let mut bytes = Vec::new();
    section.buf_reader(version).ok()?.read_to_end(&mut bytes).ok()?;
    let mut left = bytes.as_slice();
    let mut tables = Vec::new();
    for _ in 0..take::<1>(&mut left)?[0] {
        for _ in 0..take::<1>(&mut left)?[0] {
            for _ in 0..u32::from_le_bytes(take(&mut left)?) {
                let id = u64::from_le_bytes(take(&mut left)?);
                let [0] = take(&mut left)? else { return None };
                let checksum = u128::from_le_bytes(take(&mut left)?);
                let _global_seqno: [u8; 8] = take(&mut left)?;
                tables.push(Table { path: folder.join(id.to_string()), checksum });
            }
        }
    }
    left.is_empty().then_some(tables)
}

fn take<const N: usize>(left: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = left.split_first_chunk()?;
    *left = rest;
    Some(*head)
}

/// Whether a file has the checksum that it had.
fn verify(table: &Table) -> Result<(), OpenError> {
    let mut file = match File::open(&table.path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(OpenError::damaged(&table.path, "it is missing"));
        }
        Err(error) => return Err(OpenError::Io { file: table.path.clone(), error }),
    };
    let (mut hash, mut buffer) = (Xxh3Default::new(), vec![0; 1 << 18]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => hash.update(buffer.get(..read).unwrap_or_default()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(OpenError::Io { file: table.path.clone(), error }),
        }
    }
    if hash.digest128() == table.checksum {
        return Ok(());
    }
    Err(OpenError::damaged(&table.path, "its checksum is not the one that it was written with"))
}
