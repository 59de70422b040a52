//! The engine, with everything in one keyspace.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use fjall::{AbstractTree, Keyspace, KeyspaceCreateOptions, LsmError, PersistMode, Readable, Snapshot};

use super::{Options, tables};
use crate::engine::keys::COMMIT;
use crate::engine::staging::{Changes, Each, Map};
use crate::{Damage, OpenError, StoreError};

/// Threads of the engine that write tables and merge them.
const THREADS: usize = 2;

/// See the module.
pub(super) struct Database {
    engine: fjall::Database,
    keyspace: Keyspace,
    path: PathBuf,
}

impl Database {
    /// Opens or makes it.
    pub(super) fn open(path: &Path, options: &Options) -> Result<Self, OpenError> {
        let open = || {
            let engine = fjall::Database::builder(path)
                .cache_size(options.cache_bytes)
                .max_journaling_size(options.journal_bytes_max.max(64 << 20))
                .worker_threads(THREADS)
                .open()?;
            let memtable_bytes = options.memtable_bytes;
            let create = || KeyspaceCreateOptions::default().max_memtable_size(memtable_bytes);
            let keyspace = engine.keyspace("gatemq", create)?;
            Ok((engine, keyspace))
        };
        // It asserts where a file has a name that it did not give.
        let opened = catch_unwind(AssertUnwindSafe(open));
        let failed =
            |why: String| tables::named(path, OpenError::damaged(path, format!("the engine cannot open it: {why}")));
        match opened {
            Ok(Ok((engine, keyspace))) if keyspace.id() == 1 => {
                Ok(Database { engine, keyspace, path: path.to_owned() })
            }
            Ok(Ok(_)) => Err(failed("its keyspace is not the first".into())),
            Ok(Err(fjall::Error::Io(error))) => Err(OpenError::Io { file: path.to_owned(), error }),
            Ok(Err(fjall::Error::Locked)) => {
                Err(OpenError::Locked { file: path.join("lock"), holder: "another process".into() })
            }
            Ok(Err(error)) => Err(failed(error.to_string())),
            Err(_) => Err(failed("it panicked".into())),
        }
    }

    /// Number of the last commit, 0 if there was none.
    pub(super) fn commit(&self) -> Result<u64, StoreError> {
        match self.get(COMMIT)? {
            None => Ok(0),
            Some(value) => value.as_slice().try_into().map(u64::from_be_bytes).map_err(|_| self.damaged(COMMIT)),
        }
    }

    /// Stores changes as one commit with its number.
    pub(super) fn write(&self, commit: u64, changes: Changes, synced: bool) -> Result<(), StoreError> {
        let mode = if synced { PersistMode::SyncData } else { PersistMode::Buffer };
        let mut batch = self.engine.batch().durability(Some(mode));
        for (key, change) in changes {
            match change {
                Some(value) => batch.insert(&self.keyspace, key, value),
                None => batch.remove(&self.keyspace, key),
            }
        }
        batch.insert(&self.keyspace, COMMIT, commit.to_be_bytes());
        batch.commit().map_err(|error| StoreError::UnknownOutcome(error.to_string()))
    }

    /// Brings everything that was written to stable storage.
    pub(super) fn sync(&self) -> Result<(), StoreError> {
        self.engine.persist(PersistMode::SyncAll).map_err(|error| StoreError::UnknownOutcome(error.to_string()))
    }

    /// It as it is now, whatever is written meanwhile.
    pub(super) fn snapshot(&self) -> View<'_> {
        View { database: self, snapshot: self.engine.snapshot() }
    }

    /// Bytes of journals and of tables.
    pub(super) fn disk_bytes(&self) -> (u64, u64) {
        (self.engine.journal_disk_space().unwrap_or(0), self.keyspace.disk_space())
    }

    /// Tables.
    pub(super) fn tables(&self) -> usize {
        self.keyspace.tree.table_count()
    }

    fn failed(&self, error: fjall::Error) -> StoreError {
        let damage = match &error {
            fjall::Error::Storage(LsmError::Io(io)) | fjall::Error::Io(io) if !is_missing(io) => {
                return StoreError::Unavailable(format!("{} cannot be read: {io}", self.path.display()));
            }
            _ => self.find_damage(),
        };
        StoreError::Corrupt(damage.unwrap_or_else(|| Damage::new(&self.path, format!("it cannot be read: {error}"))))
    }

    /// The engine does not say which file it was.
    fn find_damage(&self) -> Option<Damage> {
        match tables::check(&self.path, true) {
            Err(OpenError::Damaged(damage)) => Some(damage),
            _ => None,
        }
    }
}

/// Whether a file, or part of it, is not there.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::UnexpectedEof)
}

fn walk(database: &Database, pairs: impl Iterator<Item = fjall::Guard>, each: &mut Each<'_>) -> Result<(), StoreError> {
    for pair in pairs {
        let (key, value) = pair.into_inner().map_err(|error| database.failed(error))?;
        if !each(&key, &value)? {
            break;
        }
    }
    Ok(())
}

impl Map for Database {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.keyspace.get(key).map_err(|error| self.failed(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from < to { walk(self, self.keyspace.range(from..to), each) } else { Ok(()) }
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        let what =
            format!("the value of {} cannot be read, or something that belongs to it is missing", key.escape_ascii());
        StoreError::Corrupt(Damage::new(&self.path, what))
    }
}

/// See [`Database::snapshot`].
pub(super) struct View<'a> {
    database: &'a Database,
    snapshot: Snapshot,
}

impl Map for View<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        let value = self.snapshot.get(&self.database.keyspace, key).map_err(|error| self.database.failed(error))?;
        Ok(value.map(|value| value.to_vec()))
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        walk(self.database, self.snapshot.range(&self.database.keyspace, from..to), each)
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        self.database.damaged(key)
    }
}
