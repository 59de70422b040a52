//! A store that ends with its process, for those who want none.

use std::collections::BTreeMap;
use std::ops::Bound;

use gatemq_types::Denial;
use parking_lot::Mutex;

use crate::engine::staging::{Each, Map, Staging};
use crate::engine::{Engine, read};
use crate::{
    Answer, Batch, Capabilities, Damage, Health, KeptValue, OpResult, Page, PageLimit, Recovery, Retained, Seq,
    SessionId, Stats, Store, StoreError, StoredSession,
};

/// Keeps everything in memory; answers at once, on the caller's thread.
#[derive(Default)]
pub struct Memory {
    inner: Mutex<Inner>,
}

struct Inner {
    engine: Engine,
    values: Values,
    commits: u64,
    closed: bool,
}

struct Values(BTreeMap<Vec<u8>, Vec<u8>>);

impl Default for Inner {
    fn default() -> Self {
        let values = Values(BTreeMap::new());
        // What is empty can be read.
        let engine = Engine::load(&values).unwrap_or_default();
        Inner { engine, values, commits: 0, closed: false }
    }
}

impl Map for Values {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.0.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from < to {
            for (key, value) in self.0.range::<[u8], _>((Bound::Included(from), Bound::Excluded(to))) {
                if !each(key, value)? {
                    break;
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        StoreError::Corrupt(Damage::new(
            "memory".as_ref(),
            format!("the value of {} cannot be read", key.escape_ascii()),
        ))
    }
}

impl Inner {
    fn commit(&mut self, batch: &Batch) -> Result<Vec<OpResult>, StoreError> {
        if self.closed {
            return Err(StoreError::Unavailable("it is closed".into()));
        }
        let mut staging = Staging::new(&self.values);
        let results = self.engine.apply(&mut staging, batch)?;
        let changes = std::mem::take(&mut staging.changes);
        self.values.change(changes);
        let mut more = true;
        while more {
            let mut staging = Staging::new(&self.values);
            more = self.engine.purge(&mut staging)?;
            let changes = std::mem::take(&mut staging.changes);
            self.values.change(changes);
        }
        self.commits += 1;
        Ok(results)
    }
}

impl Values {
    fn change(&mut self, changes: crate::engine::staging::Changes) {
        for (key, change) in changes {
            match change {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

impl Memory {
    /// An empty one.
    pub fn new() -> Self {
        Memory::default()
    }
}

impl Store for Memory {
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, synced: false, replicated: false, ops_max: usize::MAX, bytes_max: usize::MAX }
    }

    fn recovery(&self) -> Recovery {
        Recovery { created: true, next_session: 1, ..Recovery::default() }
    }

    fn commit(&self, batch: Batch, answer: Answer<Vec<OpResult>>) {
        let result = self.inner.lock().commit(&batch);
        answer(result);
    }

    fn page(&self, session: SessionId, from: Seq, limit: PageLimit, answer: Answer<Page>) {
        let page = read::page(&self.inner.lock().values, session, from, limit);
        answer(page);
    }

    fn session(&self, session: SessionId, answer: Answer<Option<StoredSession>>) {
        let found = {
            let inner = self.inner.lock();
            read::session(&inner.values, session, &|session| inner.engine.sizes(session))
        };
        answer(found);
    }

    fn scan_sessions(&self, each: &mut dyn FnMut(StoredSession) -> bool) -> Result<(), StoreError> {
        let inner = self.inner.lock();
        read::sessions(&inner.values, b"s", b"t", &|session| inner.engine.sizes(session), each)
    }

    fn scan_retained(&self, each: &mut dyn FnMut(&str, Retained) -> bool) -> Result<(), StoreError> {
        read::retained(&self.inner.lock().values, each)
    }

    fn scan_denials(&self, each: &mut dyn FnMut(Denial) -> bool) -> Result<(), StoreError> {
        read::denials(&self.inner.lock().values, each)
    }

    fn scan_values(&self, each: &mut dyn FnMut(&str, &str, KeptValue) -> bool) -> Result<(), StoreError> {
        read::values(&self.inner.lock().values, each)
    }

    fn health(&self) -> Health {
        if self.inner.lock().closed { Health::Closed } else { Health::Good }
    }

    fn stats(&self) -> Stats {
        let inner = self.inner.lock();
        Stats { commit: inner.commits, ..Stats::of(inner.engine.totals()) }
    }

    fn close(&self) -> Result<(), StoreError> {
        self.inner.lock().closed = true;
        Ok(())
    }
}
