//! Who is there, and who is expected back: sessions by tenant, user and client identifier.
//!
//! | module | what it says |
//! |---|---|
//! | `open` | a connection gets its session: new, resumed, taken over |
//! | `leave` | a connection ends, its session stays or ends |
//! | `restore` | what a store gives back |
//! | `sweep` | what time brings: sessions expire, delayed wills are due |
//!
//! The registry's lock is held for a few steps, never while subscriptions end. Under it at most one session's lock is taken.

mod leave;
mod open;
mod restore;
mod sweep;

use std::collections::BTreeMap;
use std::hash::BuildHasher;
use std::ops::Bound;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::changes::{Numbers, SessionNumber};
use crate::{Hasher, Session, SessionKey};
pub use leave::{Leave, Left};
pub use open::{Opened, Opening};
pub use restore::{Restored, RestoredGroup, RestoredRetained};
pub use sweep::Swept;

/// Sessions that may be away at a time, where nothing else is said.
pub const DETACHED_MAX: usize = 100_000;

/// A moment in milliseconds since 1970, `u64::MAX` for never, and a number that tells apart what falls on the same one.
pub type Moment = (u64, u64);

/// The sessions of a node: those with a connection, and at most `detached_max` without.
pub struct Sessions {
    hasher: Hasher,
    detached_max: usize,
    numbers: Numbers,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    table: HashTable<Entry>,
    /// Sessions that are away, by when they expire; `u64::MAX` is never.
    expiring: BTreeMap<Moment, Arc<Session>>,
    /// Those of them that left a will with a delay, by when it is due.
    wills: BTreeMap<Moment, Arc<Session>>,
    last: u64,
}

struct Entry {
    session: Arc<Session>,
    /// Present while it is away.
    away: Option<Away>,
}

#[derive(Clone, Copy)]
struct Away {
    expires: Moment,
    will_due: Option<Moment>,
}

impl Default for Sessions {
    fn default() -> Self {
        Sessions::new(DETACHED_MAX)
    }
}

impl Sessions {
    /// None yet. `detached_max`: sessions that may be away at a time; when there are more, the one that expires first is
    /// ended and reported.
    pub fn new(detached_max: usize) -> Self {
        Sessions { hasher: Hasher::default(), detached_max, numbers: Numbers::default(), inner: Mutex::default() }
    }

    /// From now on sessions that outlive their connection are stored, under numbers from `next_number` on, which must not be
    /// 0. To be called before the first client comes.
    pub fn store_from(&self, next_number: SessionNumber) {
        self.numbers.start(next_number);
    }

    /// Where [`Changes`](crate::changes::Changes) have their numbers from.
    pub fn numbers(&self) -> Numbers {
        self.numbers.clone()
    }

    /// A number for a session with that expiry; 0: it is not stored.
    fn number(&self, expiry_s: u32) -> SessionNumber {
        if expiry_s == 0 { 0 } else { self.numbers.next() }
    }

    /// The session of a key, with or without a connection.
    pub fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.inner.lock().table.find(self.hash(key), |known| known.is_of(key)).map(|known| known.session.clone())
    }

    /// How many there are, those that are away included.
    pub fn len(&self) -> usize {
        self.inner.lock().table.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are away.
    pub fn detached(&self) -> usize {
        self.inner.lock().expiring.len()
    }

    /// At most `count_max` sessions that are away, in the order in which they expire: those behind `after`.
    pub fn away(&self, after: Moment, count_max: usize) -> Vec<(Moment, Arc<Session>)> {
        let inner = self.inner.lock();
        let behind = inner.expiring.range((Bound::Excluded(after), Bound::Unbounded));
        behind.take(count_max).map(|(at, session)| (*at, session.clone())).collect()
    }

    fn hash(&self, key: &SessionKey) -> u64 {
        self.hasher.hash_one(key)
    }
}

impl Entry {
    fn is_of(&self, key: &SessionKey) -> bool {
        **self.session.key() == *key
    }
}

impl Inner {
    fn moment(&mut self, at_ms: u64) -> Moment {
        self.last += 1;
        (at_ms, self.last)
    }

    /// Nothing is expected of it any more.
    fn forget(&mut self, away: Away) {
        self.expiring.remove(&away.expires);
        if let Some(due) = away.will_due {
            self.wills.remove(&due);
        }
    }

    /// Takes a session out of everything, if it is still the one of its key.
    fn remove(&mut self, hash: u64, session: &Arc<Session>) {
        if let Ok(found) = self.table.find_entry(hash, |known| Arc::ptr_eq(&known.session, session)) {
            let (entry, _) = found.remove();
            session.usage().sessions.give(1);
            if let Some(away) = entry.away {
                self.forget(away);
            }
        }
    }
}

#[cfg(test)]
mod tests;
