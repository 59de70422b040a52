//! The one thread that writes: it takes all that waits, stores it as one commit, and answers each.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::database::Database;
use super::readers::Readers;
use super::{Shared, SyncMode};
use crate::engine::staging::Staging;
use crate::{Answer, Batch, OpResult, StoreError};

/// Operations that one commit takes, if more than one batch brings them.
pub(super) const OPS_MAX: usize = 4_096;
/// Bytes that one commit takes, if more than one batch brings them.
pub(super) const BYTES_MAX: usize = 1 << 20;
/// Batches that may wait. What comes then is answered as unavailable.
const WAITING_MAX: usize = 16_384;
/// Bytes that may wait, one batch excepted.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// How often `commit.high` is synced.
const HIGH_SYNCED: Duration = Duration::from_secs(1);

struct Job {
    batch: Batch,
    bytes: usize,
    answer: Answer<Vec<OpResult>>,
}

#[derive(Default)]
struct Waiting {
    jobs: VecDeque<Job>,
    bytes: usize,
    closed: bool,
}

/// What waits to be committed.
#[derive(Default)]
pub(super) struct Inbox {
    waiting: Mutex<Waiting>,
    wake: Condvar,
}

impl Inbox {
    pub(super) fn submit(&self, batch: Batch, answer: Answer<Vec<OpResult>>) {
        let bytes = batch.bytes();
        let mut waiting = self.waiting.lock();
        let full =
            waiting.jobs.len() >= WAITING_MAX || (waiting.bytes + bytes > WAITING_BYTES_MAX && waiting.bytes > 0);
        if waiting.closed || full {
            let why = if waiting.closed { "it is closed" } else { "too much waits to be stored" };
            drop(waiting);
            return answer(Err(StoreError::Unavailable(why.into())));
        }
        waiting.bytes += bytes;
        waiting.jobs.push_back(Job { batch, bytes, answer });
        drop(waiting);
        self.wake.notify_one();
    }

    pub(super) fn close(&self) {
        self.waiting.lock().closed = true;
        self.wake.notify_one();
    }

    /// What one commit takes, as soon as there is something or it is `until`. `None`: it is closed and empty.
    fn take(&self, until: Option<Instant>) -> Option<Vec<Job>> {
        let mut waiting = self.waiting.lock();
        while waiting.jobs.is_empty() {
            if waiting.closed {
                return None;
            }
            match until {
                None => self.wake.wait(&mut waiting),
                Some(until) if self.wake.wait_until(&mut waiting, until).timed_out() => return Some(Vec::new()),
                Some(_) => {}
            }
        }
        let (mut ops, mut bytes, mut taken) = (0, 0, Vec::new());
        while let Some(job) = waiting.jobs.front() {
            (ops, bytes) = (ops + job.batch.ops.len(), bytes + job.bytes);
            if !taken.is_empty() && (ops > OPS_MAX || bytes > BYTES_MAX) {
                break;
            }
            taken.extend(waiting.jobs.pop_front());
        }
        waiting.bytes -= taken.iter().map(|job| job.bytes).sum::<usize>();
        Some(taken)
    }
}

/// See the module.
pub(super) struct Committer {
    pub(super) inbox: Arc<Inbox>,
    pub(super) shared: Arc<Shared>,
    pub(super) readers: Arc<Readers>,
    pub(super) database: Arc<Database>,
    pub(super) sync: SyncMode,
    /// Ended sessions have left something.
    pub(super) purging: bool,
    /// Since when something is written that is not synced.
    pub(super) unsynced: Option<Instant>,
    pub(super) high_synced: Instant,
}

impl Committer {
    /// Works until it is closed and all is done.
    pub(super) fn run(mut self) {
        while let Some(jobs) = self.inbox.take(self.due()) {
            if !jobs.is_empty() || self.purging {
                self.group(jobs);
            }
            self.sync_what_is_due();
        }
    }

    /// When there is something to do without anybody asking.
    fn due(&self) -> Option<Instant> {
        let sync = match (self.sync, self.unsynced) {
            (SyncMode::IntervalMs(ms), Some(since)) => Some(since + Duration::from_millis(u64::from(ms))),
            _ => None,
        };
        if self.purging && !self.shared.is_poisoned() { Some(Instant::now()) } else { sync }
    }

    fn sync_what_is_due(&mut self) {
        if self.shared.is_poisoned() {
            (self.purging, self.unsynced) = (false, None);
            return;
        }
        let SyncMode::IntervalMs(ms) = self.sync else { return };
        if self.unsynced.is_none_or(|since| since.elapsed() < Duration::from_millis(u64::from(ms))) {
            return;
        }
        self.unsynced = None;
        let commit = self.shared.commit();
        if let Err(error) = self.database.sync().and_then(|()| self.reached(commit)) {
            self.shared.poison(error);
        }
    }

    fn group(&mut self, jobs: Vec<Job>) {
        let (batches, answers): (Vec<_>, Vec<_>) = jobs.into_iter().map(|job| (job.batch, job.answer)).unzip();
        // What panics may have stopped in the middle.
        let stored = catch_unwind(AssertUnwindSafe(|| self.store(&batches)));
        let stored = stored.unwrap_or_else(|_| Err(StoreError::UnknownOutcome("a panic in the store".into())));
        // A reader may have found damage meanwhile: nothing is acknowledged any more.
        let stored = stored.and_then(|results| self.shared.still_good().map(|()| results));
        match stored {
            Ok(results) => {
                for (answer, results) in answers.into_iter().zip(results) {
                    give(answer, Ok(results));
                }
            }
            Err(error) => {
                self.shared.poison(error.clone());
                for answer in answers {
                    give(answer, Err(error.clone()));
                }
            }
        }
    }

    fn store(&mut self, batches: &[Batch]) -> Result<Vec<Vec<OpResult>>, StoreError> {
        self.shared.still_good()?;
        let database = self.database.clone();
        let mut staging = Staging::new(&*database);
        let results = {
            let mut engine = self.shared.engine.lock();
            let results = batches.iter().map(|batch| engine.apply(&mut staging, batch)).collect::<Result<_, _>>()?;
            self.purging = engine.purge(&mut staging)?;
            results
        };
        if !staging.changes.is_empty() {
            let commit = self.shared.commit() + 1;
            self.database.write(commit, staging.changes, self.sync == SyncMode::Always)?;
            self.shared.set_commit(commit);
            match self.sync {
                SyncMode::Always => self.reached(commit)?,
                SyncMode::IntervalMs(_) => self.unsynced = self.unsynced.or_else(|| Some(Instant::now())),
                SyncMode::Never => {}
            }
        }
        Ok(results)
    }

    /// Everything up to this commit is on stable storage.
    fn reached(&mut self, commit: u64) -> Result<(), StoreError> {
        self.shared.high.write(commit).map_err(|error| failed(&error))?;
        if self.high_synced.elapsed() >= HIGH_SYNCED {
            self.high_synced = Instant::now();
            let shared = self.shared.clone();
            // Not here: it would double the time of this commit. When too much is to be read, the next second does it.
            let _ = self.readers.submit(Box::new(move || {
                if let Err(error) = shared.high.sync() {
                    shared.poison(failed(&error));
                }
            }));
        }
        Ok(())
    }
}

fn failed(error: &std::io::Error) -> StoreError {
    StoreError::UnknownOutcome(format!("commit.high: {error}"))
}

/// Calls an answer. What it throws is its owner's, and must not stop the others.
pub(super) fn give<T>(answer: Answer<T>, result: Result<T, StoreError>) {
    let _ = catch_unwind(AssertUnwindSafe(move || answer(result)));
}
