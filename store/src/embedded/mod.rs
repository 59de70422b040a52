//! The default store: an embedded engine (fjall) in a directory of its own.
//!
//! | module | what it says |
//! |---|---|
//! | `open` | what is checked before the engine opens anything |
//! | `directory` | who has it, which format it has |
//! | `commit_high` | how far it was known to be on stable storage |
//! | `journal`, `tables` | the engine's files, checked before it opens them |
//! | `database` | the engine |
//! | `committer`, `readers` | the threads |
//! | `platform` | what depends on the system |
//!
//! The engine is never called on a caller's thread, except by scans: a commit holds a lock through the sync, and the engine
//! sleeps when it cannot keep up.

mod commit_high;
mod committer;
mod database;
mod directory;
mod journal;
mod open;
mod platform;
mod readers;
pub(crate) mod tables;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use gatemq_types::Denial;
use parking_lot::Mutex;

use crate::engine::{Engine, read};
use crate::{
    Answer, Batch, Capabilities, Health, KeptValue, OpResult, OpenError, Page, PageLimit, Recovery, Retained, Seq,
    SessionId, Stats, Store, StoreError, StoredSession,
};
use commit_high::CommitHigh;
use committer::{Inbox, give};
use database::Database;
use directory::Directory;
pub(crate) use open::inspect;
use readers::Readers;

/// When what was written is brought to stable storage.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum SyncMode {
    /// Before it is acknowledged.
    #[default]
    Always,
    /// At most so many milliseconds after it was acknowledged: a power cut takes what came since. The end of the process
    /// takes nothing.
    IntervalMs(u32),
    /// When the system does so by itself. What a power cut takes is not noticed.
    Never,
}

/// How a store is opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Options {
    /// Its directory; made if it is not there.
    pub directory: PathBuf,
    /// When what was written is brought to stable storage.
    pub sync: SyncMode,
    /// Bytes of tables that are kept in memory.
    pub cache_bytes: u64,
    /// Bytes that are gathered in memory before they become a table.
    pub memtable_bytes: u64,
    /// Bytes of journals from which on the engine is pressed to write tables; at least 64 MiB. A start reads them all.
    pub journal_bytes_max: u64,
    /// Compare every table with its checksum at the start, at about a second a gigabyte. Otherwise damage in one shows when
    /// it is read.
    pub check_tables: bool,
}

impl Options {
    /// The defaults for a directory.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Options {
            directory: directory.into(),
            sync: SyncMode::Always,
            cache_bytes: 64 << 20,
            memtable_bytes: 64 << 20,
            journal_bytes_max: 512 << 20,
            check_tables: true,
        }
    }
}

/// What the threads share.
struct Shared {
    engine: Mutex<Engine>,
    high: CommitHigh,
    commit: AtomicU64,
    poisoned: AtomicBool,
    why: Mutex<Option<StoreError>>,
}

impl Shared {
    fn commit(&self) -> u64 {
        self.commit.load(Ordering::Acquire)
    }

    fn set_commit(&self, commit: u64) {
        self.commit.store(commit, Ordering::Release);
    }

    fn is_poisoned(&self) -> bool {
        self.poisoned.load(Ordering::Acquire)
    }

    /// Nothing is stored or acknowledged any more. The first reason counts.
    fn poison(&self, why: StoreError) {
        self.why.lock().get_or_insert(why);
        self.poisoned.store(true, Ordering::Release);
    }

    fn still_good(&self) -> Result<(), StoreError> {
        if !self.is_poisoned() {
            return Ok(());
        }
        let why = self.why.lock().as_ref().map_or_else(String::new, ToString::to_string);
        Err(StoreError::Unavailable(format!("it failed before: {why}")))
    }
}

/// See the module.
pub struct Embedded {
    sync: SyncMode,
    recovery: Recovery,
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
    readers: Arc<Readers>,
    committer: Mutex<Option<JoinHandle<()>>>,
    /// `None`: closed.
    database: Mutex<Option<(Arc<Database>, Directory)>>,
}

impl Embedded {
    /// Opens a store, or makes one where there is none.
    ///
    /// # Errors
    /// Another process has it, part of what it acknowledged is missing or changed, it was written by a later version, or
    /// the system refuses. Nothing was changed then, apart from a torn end that nobody was told of.
    pub fn open(options: &Options) -> Result<Self, OpenError> {
        open::open(options)
    }

    fn database(&self) -> Result<Arc<Database>, StoreError> {
        let database = self.database.lock().as_ref().map(|(database, _)| database.clone());
        database.ok_or_else(|| StoreError::Unavailable("it is closed".into()))
    }

    /// Reads on one of the threads, and stops writing when damage is found.
    fn read<T: Send + 'static>(
        &self,
        answer: Answer<T>,
        read: impl FnOnce(&Database, &Shared) -> Result<T, StoreError> + Send + 'static,
    ) {
        let database = match self.database() {
            Ok(database) => database,
            Err(error) => return give(answer, Err(error)),
        };
        let shared = self.shared.clone();
        // One of the two gets it: the thread, or this one if too many wait.
        let slot = Arc::new(Mutex::new(Some(answer)));
        let job_slot = slot.clone();
        let job = Box::new(move || {
            let result = note(&shared, read(&database, &shared));
            drop(database);
            if let Some(answer) = job_slot.lock().take() {
                give(answer, result);
            }
        });
        if self.readers.submit(job).is_err()
            && let Some(answer) = slot.lock().take()
        {
            give(answer, Err(StoreError::Unavailable("too much waits to be read".into())));
        }
    }

    fn scan(&self, scan: impl FnOnce(&Database) -> Result<(), StoreError>) -> Result<(), StoreError> {
        let database = self.database()?;
        note(&self.shared, scan(&database))
    }
}

/// What cannot be read ends the store: damage, or a disk that fails.
fn note<T>(shared: &Shared, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(error @ (StoreError::Corrupt(_) | StoreError::Unavailable(_))) = &result {
        shared.poison(error.clone());
    }
    result
}

impl Store for Embedded {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            durable: true,
            synced: self.sync == SyncMode::Always,
            replicated: false,
            ops_max: committer::OPS_MAX,
            bytes_max: committer::BYTES_MAX,
        }
    }

    fn recovery(&self) -> Recovery {
        self.recovery.clone()
    }

    fn commit(&self, batch: Batch, answer: Answer<Vec<OpResult>>) {
        self.inbox.submit(batch, answer);
    }

    fn page(&self, session: SessionId, from: Seq, limit: PageLimit, answer: Answer<Page>) {
        self.read(answer, move |database, _| read::page(&database.snapshot(), session, from, limit));
    }

    fn session(&self, session: SessionId, answer: Answer<Option<StoredSession>>) {
        self.read(answer, move |database, shared| {
            read::session(&database.snapshot(), session, &|session| shared.engine.lock().sizes(session))
        });
    }

    fn scan_sessions(&self, each: &mut dyn FnMut(StoredSession) -> bool) -> Result<(), StoreError> {
        let sizes = |session| self.shared.engine.lock().sizes(session);
        self.scan(|database| read::sessions(&database.snapshot(), b"s", b"t", &sizes, each))
    }

    fn scan_retained(&self, each: &mut dyn FnMut(&str, Retained) -> bool) -> Result<(), StoreError> {
        self.scan(|database| read::retained(&database.snapshot(), each))
    }

    fn scan_denials(&self, each: &mut dyn FnMut(Denial) -> bool) -> Result<(), StoreError> {
        self.scan(|database| read::denials(&database.snapshot(), each))
    }

    fn scan_values(&self, each: &mut dyn FnMut(&str, &str, KeptValue) -> bool) -> Result<(), StoreError> {
        self.scan(|database| read::values(&database.snapshot(), each))
    }

    fn health(&self) -> Health {
        match self.shared.why.lock().clone() {
            Some(why) => Health::Poisoned(why),
            None if self.database.lock().is_none() => Health::Closed,
            None => Health::Good,
        }
    }

    fn stats(&self) -> Stats {
        let mut stats = Stats::of(self.shared.engine.lock().totals());
        stats.commit = self.shared.commit();
        if let Ok(database) = self.database() {
            (stats.journal_bytes, stats.table_bytes) = database.disk_bytes();
            stats.tables = database.tables() as u64;
        }
        stats
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inbox.close();
        if let Some(committer) = self.committer.lock().take() {
            // It catches what it calls.
            let _ = committer.join();
        }
        self.readers.stop();
        let Some((database, directory)) = self.database.lock().take() else { return Ok(()) };
        let closed = self.shared.still_good().and_then(|()| {
            database.sync()?;
            let high = &self.shared.high;
            let reached = high.write(self.shared.commit()).and_then(|()| high.sync());
            reached.map_err(|error| StoreError::UnknownOutcome(format!("commit.high: {error}")))
        });
        // The engine's threads end before another process may have the directory.
        drop(database);
        drop(directory);
        closed
    }
}

impl Drop for Embedded {
    fn drop(&mut self) {
        // Whoever wants to know calls it before.
        let _ = self.close();
    }
}
