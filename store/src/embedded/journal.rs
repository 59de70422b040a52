//! The engine's journals, read before the engine reads them.
//!
//! The engine cuts a journal off at the first thing that it does not understand, and goes on. So they are walked here first,
//! without changing anything: every batch has its checksum, commit numbers have no gap from the tables to the last journal,
//! and sequence numbers rise. Only the end of the last journal may be torn: that is a commit nobody was told of, or else
//! `commit.high` says so.
//!
//! A batch is a start (tag 1, count of items, sequence number), its items (tag 2, kind of value, compression, keyspace,
//! length of key, length of value twice, key, value) and an end (tag 3, xxh3 of the items, trailer); numbers are little
//! endian. That is format 3 of the engine; a test compares with what it writes.

use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use xxhash_rust::xxh3::Xxh3Default;

use super::commit_high::High;
use super::tables::Flushed;
use crate::OpenError;
use crate::engine::keys::COMMIT;

const TRAILER: &[u8] = b"FJL\x03";
const ITEM_HEAD_BYTES: usize = 21;

/// One batch, as far as it matters here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Commit {
    pub(super) number: u64,
    pub(super) seqno: u64,
}

/// What a walk over one journal found.
#[derive(Debug)]
struct Journal {
    path: PathBuf,
    id: u64,
    commits: Vec<Commit>,
    /// Up to here it consists of batches.
    valid_bytes: u64,
    /// Behind them something is that is not zero, up to here.
    torn_bytes: Option<u64>,
}

/// An end that is to be cut off.
#[derive(Debug)]
pub(super) struct Torn {
    pub(super) path: PathBuf,
    pub(super) valid_bytes: u64,
    pub(super) end_bytes: u64,
}

/// What the journals hold.
#[derive(Debug)]
pub(super) struct Journals {
    /// The last commit of tables and journals.
    pub(super) last: u64,
    pub(super) torn: Option<Torn>,
    /// Their files, with the bytes of their batches.
    pub(super) files: Vec<(PathBuf, u64)>,
}

/// Walks all journals of a database.
pub(super) fn check(database: &Path, flushed: Flushed, high: High) -> Result<Journals, OpenError> {
    let journals = walk_all(database)?;
    let mut before = None;
    let mut last = flushed.commit;
    for (n, journal) in journals.iter().enumerate() {
        let is_last = n + 1 == journals.len();
        if let Some(next) = journals.get(n + 1).filter(|next| next.id != journal.id + 1) {
            let gone = database.join(format!("{}.jnl", journal.id + 1));
            return Err(OpenError::damaged(&gone, format!("it is missing, and {} is there", next.path.display())));
        }
        if !is_last && journal.commits.is_empty() {
            return Err(OpenError::damaged(&journal.path, "it has no commit, though another journal came after it"));
        }
        check_order(journal, flushed, &mut before)?;
        last = last.max(before.map_or(0, |commit: Commit| commit.number));
        if journal.torn_bytes.is_some() {
            check_torn(journal, is_last, before, high)?;
        }
    }
    let Some(active) = journals.last() else {
        return Err(OpenError::damaged(&database.join("0.jnl"), "there is no journal (*.jnl)"));
    };
    if last < high.commit {
        return Err(too_short(database, &journals, active, last, high));
    }
    let torn = active.torn_bytes.map(|end_bytes| Torn {
        path: active.path.clone(),
        valid_bytes: active.valid_bytes,
        end_bytes,
    });
    let files = journals.iter().map(|journal| (journal.path.clone(), journal.valid_bytes)).collect();
    Ok(Journals { last, torn, files })
}

/// They end before a commit that was acknowledged.
fn too_short(database: &Path, journals: &[Journal], active: &Journal, last: u64, high: High) -> OpenError {
    let named = |id: u64| database.join(format!("{id}.jnl"));
    // What is torn in them is no commit.
    let nothing = journals.iter().all(|journal| journal.commits.is_empty());
    if let Some(before) = journals.first().and_then(|first| first.id.checked_sub(1)).filter(|_| nothing) {
        let what = format!(
            "it is missing, or {} was emptied or cut: the tables end with commit {last}, but commit {} was acknowledged",
            active.path.display(),
            high.commit
        );
        return OpenError::damaged(&named(before), what);
    }
    // An active one that is empty may have been emptied, or what stands before it may have lost its end.
    let ends = journals.iter().rev().find(|journal| !journal.commits.is_empty()).unwrap_or(active);
    let what = format!(
        "it ends with commit {last} at byte {}, but commit {} was acknowledged: its end is gone, or that of {}",
        ends.valid_bytes,
        high.commit,
        if ends.id == active.id { named(active.id + 1) } else { active.path.clone() }.display()
    );
    OpenError::damaged(&ends.path, what)
}

/// The commits of a journal follow those before it and those of the tables.
fn check_order(journal: &Journal, flushed: Flushed, before: &mut Option<Commit>) -> Result<(), OpenError> {
    for commit in &journal.commits {
        let Commit { number, seqno } = *commit;
        let expected = match before {
            Some(before) => before.number + 1 == number && before.seqno < seqno,
            None => number <= flushed.commit + 1,
        };
        // The engine takes from a journal what has a higher sequence number than the tables.
        let is_flushed = flushed.seqno.is_some_and(|last| seqno <= last);
        if !expected || is_flushed != (number <= flushed.commit) {
            let came = before.map_or(flushed.commit, |before| before.number);
            let what =
                format!("commit {number} (sequence number {seqno}) comes after commit {came}: what is between is gone");
            return Err(OpenError::damaged(&journal.path, what));
        }
        *before = Some(*commit);
    }
    Ok(())
}

/// An end may be torn where nothing came after it.
fn check_torn(journal: &Journal, is_last: bool, before: Option<Commit>, high: High) -> Result<(), OpenError> {
    let at = journal.valid_bytes;
    if !is_last {
        return Err(OpenError::damaged(&journal.path, format!("it is not readable from byte {at} on")));
    }
    // Where several commits are under way at a time, a power cut can take one and leave the next.
    let behind = if high.one_by_one { find_behind(journal, before)? } else { None };
    match behind {
        Some(number) => {
            let what = format!("it is not readable at byte {at}, and commit {number} stands behind that");
            Err(OpenError::damaged(&journal.path, what))
        }
        None => Ok(()),
    }
}

fn walk_all(database: &Path) -> Result<Vec<Journal>, OpenError> {
    let mut journals = Vec::new();
    for found in fs::read_dir(database).map_err(OpenError::io(database))? {
        let path = found.map_err(OpenError::io(database))?.path();
        if path.extension().is_none_or(|extension| !extension.eq_ignore_ascii_case("jnl")) {
            continue;
        }
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok());
        let id = id.ok_or_else(|| OpenError::damaged(&path, "its name is not that of a journal"))?;
        journals.push(walk(path.clone(), id).map_err(OpenError::io(&path))?);
    }
    journals.sort_by_key(|journal| journal.id);
    Ok(journals)
}

fn walk(path: PathBuf, id: u64) -> io::Result<Journal> {
    let mut file = File::open(&path)?;
    let file_bytes = file.metadata()?.len();
    let mut reader = BatchReader::new(BufReader::with_capacity(1 << 16, &file), file_bytes);
    let (mut commits, mut valid_bytes) = (Vec::new(), 0);
    while let Some(commit) = reader.next()? {
        commits.push(commit);
        valid_bytes = file_bytes - reader.left;
    }
    file.seek(SeekFrom::Start(valid_bytes))?;
    let torn_bytes = last_set(&file)?.map(|behind| valid_bytes + behind);
    Ok(Journal { path, id, commits, valid_bytes, torn_bytes })
}

/// How many bytes there are up to the last one that is not zero.
fn last_set(mut from: impl Read) -> io::Result<Option<u64>> {
    let (mut buffer, zeros) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut at, mut last) = (0, None);
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(last),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        // Most of a journal is set aside in advance, and compares fast.
        if buffer.get(..read) != zeros.get(..read) {
            let set = buffer.iter().take(read).rposition(|byte| *byte != 0);
            last = set.map(|set| at + set as u64 + 1);
        }
        at += read as u64;
    }
}

/// Number of a commit that stands whole behind the torn one.
fn find_behind(journal: &Journal, before: Option<Commit>) -> Result<Option<u64>, OpenError> {
    let Some(end_bytes) = journal.torn_bytes else { return Ok(None) };
    let mut torn = Vec::new();
    let read = File::open(&journal.path).and_then(|mut file| {
        file.seek(SeekFrom::Start(journal.valid_bytes))?;
        // A trailer may end with zeros that the walk did not count.
        file.take(end_bytes - journal.valid_bytes + 16).read_to_end(&mut torn)
    });
    read.map_err(OpenError::io(&journal.path))?;
    let Commit { number, seqno } = before.unwrap_or(Commit { number: 0, seqno: 0 });
    for at in 0..torn.len() {
        let bytes = torn.get(at..).unwrap_or_default();
        let Some([1, _, _, _, _, found @ ..]) = bytes.first_chunk::<13>() else { continue };
        // Cheap, and true for all that could follow.
        let found = u64::from_le_bytes(*found);
        if found <= seqno || found - seqno > u64::from(u32::MAX) {
            continue;
        }
        let whole = BatchReader::new(bytes, bytes.len() as u64).next().map_err(OpenError::io(&journal.path))?;
        if let Some(commit) = whole.filter(|commit| commit.number > number + 1) {
            return Ok(Some(commit.number));
        }
    }
    Ok(None)
}

/// Reads batches until something is not one.
struct BatchReader<R> {
    from: R,
    /// Bytes that are left.
    left: u64,
    hash: Xxh3Default,
    buffer: Vec<u8>,
}

impl<R: Read> BatchReader<R> {
    fn new(from: R, bytes: u64) -> Self {
        BatchReader { from, left: bytes, hash: Xxh3Default::new(), buffer: Vec::new() }
    }

    /// So many bytes; `None`: there are not.
    fn take(&mut self, bytes: usize) -> io::Result<Option<&[u8]>> {
        let Some(left) = self.left.checked_sub(bytes as u64) else { return Ok(None) };
        self.buffer.resize(bytes, 0);
        self.from.read_exact(&mut self.buffer)?;
        self.left = left;
        Ok(Some(&self.buffer))
    }

    fn array<const N: usize>(&mut self) -> io::Result<Option<[u8; N]>> {
        Ok(self.take(N)?.and_then(|bytes| bytes.first_chunk().copied()))
    }

    fn next(&mut self) -> io::Result<Option<Commit>> {
        let Some([1, rest @ ..]) = self.array::<13>()? else { return Ok(None) };
        let [a, b, c, d, seqno @ ..] = rest;
        let (items, seqno) = (u32::from_le_bytes([a, b, c, d]), u64::from_le_bytes(seqno));
        self.hash.reset();
        let mut number = None;
        for _ in 0..items {
            match self.item()? {
                Item::None => return Ok(None),
                Item::Other => {}
                Item::Commit(_) if number.is_some() => return Ok(None),
                Item::Commit(found) => number = Some(found),
            }
        }
        let expected = self.hash.digest().to_le_bytes();
        let Some([3, end @ ..]) = self.array::<13>()? else { return Ok(None) };
        let whole = end.starts_with(&expected) && end.ends_with(TRAILER);
        Ok(number.filter(|_| whole).map(|number| Commit { number, seqno }))
    }

    fn item(&mut self) -> io::Result<Item> {
        let Some(head) = self.array::<ITEM_HEAD_BYTES>()? else { return Ok(Item::None) };
        // Kinds: a value, a removal. Nothing is compressed, and there is one keyspace.
        let [2, 0 | 1, 0, keyspace @ ..] = head else { return Ok(Item::None) };
        let [1, 0, 0, 0, 0, 0, 0, 0, k0, k1, v0, v1, v2, v3, w0, w1, w2, w3] = keyspace else { return Ok(Item::None) };
        let key_bytes = usize::from(u16::from_le_bytes([k0, k1]));
        let value_bytes = u32::from_le_bytes([v0, v1, v2, v3]);
        if [w0, w1, w2, w3] != [v0, v1, v2, v3] {
            return Ok(Item::None);
        }
        self.hash.update(&head);
        let Ok(bytes) = usize::try_from(key_bytes as u64 + u64::from(value_bytes)) else { return Ok(Item::None) };
        // Bounded by what the file has.
        if self.take(bytes)?.is_none() {
            return Ok(Item::None);
        }
        self.hash.update(&self.buffer);
        let (key, value) = self.buffer.split_at(key_bytes.min(self.buffer.len()));
        if key != COMMIT {
            return Ok(Item::Other);
        }
        Ok(value.try_into().map_or(Item::None, |value| Item::Commit(u64::from_be_bytes(value))))
    }
}

enum Item {
    /// It is none.
    None,
    Other,
    /// The number of the commit.
    Commit(u64),
}
