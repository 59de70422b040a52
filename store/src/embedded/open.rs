//! What is checked before the engine opens anything, and what it finds then.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Instant;

use parking_lot::Mutex;

use super::commit_high::{CommitHigh, High};
use super::committer::{Committer, Inbox};
use super::database::Database;
use super::directory::Directory;
use super::journal::{self, Torn};
use super::readers::Readers;
use super::{Embedded, Options, Shared, SyncMode, platform, tables};
use crate::engine::Engine;
use crate::engine::staging::Changes;
use crate::{OpenError, Recovery, StoreError};

/// See [`Embedded::open`].
pub(super) fn open(options: &Options) -> Result<Embedded, OpenError> {
    let directory = Directory::take(&options.directory)?;
    let path = directory.database();
    let mut recovery = Recovery { created: directory.is_new, ..Recovery::default() };
    let (database, high) = if directory.is_new {
        let database = Database::open(&path, options)?;
        // A commit before all others, so that none is ever missing.
        database.write(1, Changes::new(), true).and_then(|()| database.sync()).map_err(|error| failed(&path, error))?;
        // The engine leaves out the directory of its keyspaces: a power cut could take them all.
        for part in ["keyspaces/0", "keyspaces/1", "keyspaces", ""] {
            platform::sync_directory(&path.join(part))?;
        }
        let high = CommitHigh::create(&directory.commit_high(), options.sync)?;
        directory.created()?;
        (database, high)
    } else {
        let (commit_high, high) = CommitHigh::open(&directory.commit_high(), options.sync)?;
        let found = check(&path, high, options.check_tables)?;
        if let Some(torn) = found.torn {
            recovery.cut_bytes = torn.end_bytes - torn.valid_bytes;
            cut(&torn, &directory.tail_cut()).map_err(OpenError::io(&torn.path))?;
        }
        let database = Database::open(&path, options)?;
        let commit = database.commit().map_err(|error| failed(&path, error))?;
        if commit != found.last {
            let what = format!("the engine came to commit {commit}, though {} are there", found.last);
            return Err(OpenError::damaged(&path, what));
        }
        (database, commit_high)
    };
    start(options, directory, database, high, recovery)
}

fn start(
    options: &Options,
    directory: Directory,
    database: Database,
    high: CommitHigh,
    mut recovery: Recovery,
) -> Result<Embedded, OpenError> {
    let path = directory.database();
    let engine = Engine::load(&database.snapshot()).map_err(|error| failed(&path, error))?;
    recovery.commit = database.commit().map_err(|error| failed(&path, error))?;
    recovery.next_session = engine.next_session();
    let totals = engine.totals();
    (recovery.sessions, recovery.messages, recovery.bytes) = (totals.sessions, totals.messages, totals.bytes);
    let shared = Arc::new(Shared {
        engine: Mutex::new(engine),
        high,
        commit: AtomicU64::new(recovery.commit),
        poisoned: AtomicBool::new(false),
        why: Mutex::new(None),
    });
    let database = Arc::new(database);
    let readers = Arc::new(Readers::start().map_err(OpenError::io(&path))?);
    let committer = Committer {
        inbox: Arc::new(Inbox::default()),
        shared: shared.clone(),
        readers: readers.clone(),
        database: database.clone(),
        sync: options.sync,
        purging: totals.ended > 0,
        unsynced: None,
        high_synced: Instant::now(),
    };
    let inbox = committer.inbox.clone();
    let thread = std::thread::Builder::new().name("store-commit".into()).spawn(move || committer.run());
    let committer = thread.map_err(OpenError::io(&path))?;
    Ok(Embedded {
        sync: options.sync,
        recovery,
        shared,
        inbox,
        readers,
        committer: Mutex::new(Some(committer)),
        database: Mutex::new(Some((database, directory))),
    })
}

/// What a directory's files hold.
pub(crate) struct Found {
    /// The last commit.
    pub(crate) last: u64,
    /// The commit that must be there.
    pub(crate) high: u64,
    torn: Option<Torn>,
    /// Files that were looked at, with the bytes that count.
    pub(crate) files: Vec<(PathBuf, u64)>,
}

impl Found {
    /// Bytes of a commit that was not finished.
    pub(crate) fn torn_bytes(&self) -> u64 {
        self.torn.as_ref().map_or(0, |torn| torn.end_bytes - torn.valid_bytes)
    }
}

/// Looks at a store without opening it. Takes its lock.
pub(crate) fn inspect(path: &Path) -> Result<Option<Found>, OpenError> {
    if !path.join("database").exists() && !path.join("format").exists() && !path.join("commit.high").exists() {
        return Ok(None);
    }
    let directory = Directory::take(path)?;
    if directory.is_new {
        return Ok(None);
    }
    let (_, high) = CommitHigh::open(&directory.commit_high(), SyncMode::Always)?;
    check(&directory.database(), high, true).map(Some)
}

fn check(database: &Path, high: High, contents: bool) -> Result<Found, OpenError> {
    let tables = tables::check(database, contents)?;
    let flushed = tables::flushed(database)?;
    let journals = journal::check(database, flushed, high)?;
    let lock = database.join("lock");
    // The engine wants to find it; it holds nothing.
    OpenOptions::new().create(true).truncate(false).write(true).open(&lock).map_err(OpenError::io(&lock))?;
    let bytes = |path: PathBuf| {
        let bytes = path.metadata().map_or(0, |metadata| metadata.len());
        (path, bytes)
    };
    let files = tables.into_iter().map(bytes).chain(journals.files).collect();
    Ok(Found { last: journals.last, high: high.commit, torn: journals.torn, files })
}

/// Cuts off what is not a commit, and keeps it.
fn cut(torn: &Torn, kept: &Path) -> io::Result<()> {
    let mut journal = OpenOptions::new().read(true).write(true).open(&torn.path)?;
    journal.seek(SeekFrom::Start(torn.valid_bytes))?;
    let mut tail = (&journal).take(torn.end_bytes - torn.valid_bytes);
    let mut copy = File::create(kept)?;
    io::copy(&mut tail, &mut copy)?;
    copy.sync_all()?;
    if let Some(Err(error)) = kept.parent().map(platform::sync_directory) {
        return Err(io::Error::other(error));
    }
    journal.set_len(torn.valid_bytes)?;
    journal.sync_all()
}

fn failed(path: &Path, error: StoreError) -> OpenError {
    match error {
        StoreError::Corrupt(damage) => OpenError::Damaged(damage),
        other => OpenError::Io { file: path.to_owned(), error: io::Error::other(other.to_string()) },
    }
}
