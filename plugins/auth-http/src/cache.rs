//! Answers that their server lets be kept.
//!
//! Kept is what was answered, under HMAC-SHA-256 (RFC 2104) of what was asked with a random key of this process: who reads the
//! memory of the cache without the key cannot try passwords against it. Only who was admitted is kept.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of answers at most; the oldest go first.
const BYTES_MAX: usize = 16 * 1024 * 1024;
/// Longest time that an answer is kept, whatever its server says.
const TIME_MAX: Duration = Duration::from_secs(60 * 60);

/// What an answer is known by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key([u8; 32]);

/// See the module.
pub(crate) struct Cache {
    keyed: Hmac<Sha256>,
    entries_max: usize,
    bytes_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    kept: HashMap<Key, Entry>,
    /// In the order in which they came first.
    order: VecDeque<Key>,
    bytes: usize,
}

struct Entry {
    until: Instant,
    body: Arc<[u8]>,
}

impl Cache {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(entries_max: usize) -> Result<Self, String> {
        Self::with(entries_max, BYTES_MAX)
    }

    fn with(entries_max: usize, bytes_max: usize) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("the system gives no random numbers: {e}"))?;
        let keyed = Hmac::new_from_slice(&key).map_err(|e| e.to_string())?;
        Ok(Cache { keyed, entries_max, bytes_max, entries: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn key(&self, question: &[u8]) -> Key {
        let mut mac = self.keyed.clone();
        mac.update(question);
        Key(mac.finalize().into_bytes().into())
    }

    /// What was answered, if it may still be used.
    pub(crate) fn get(&self, key: &Key, now: Instant) -> Option<Arc<[u8]>> {
        self.lock().kept.get(key).filter(|entry| now < entry.until).map(|entry| entry.body.clone())
    }

    /// Keeps an answer for `time`.
    pub(crate) fn put(&self, key: Key, body: &[u8], time: Duration, now: Instant) {
        if self.entries_max == 0 || body.len() > self.bytes_max {
            return;
        }
        let mut entries = self.lock();
        let entry = Entry { until: now + time.min(TIME_MAX), body: body.into() };
        entries.bytes += body.len();
        match entries.kept.insert(key, entry) {
            Some(before) => entries.bytes -= before.body.len(),
            None => entries.order.push_back(key),
        }
        while entries.order.len() > self.entries_max || entries.bytes > self.bytes_max {
            let Some(oldest) = entries.order.pop_front() else { return };
            if let Some(gone) = entries.kept.remove(&oldest) {
                entries.bytes -= gone.body.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that an answer is used for its time and its question only, and that keys of two processes differ.
    #[test]
    fn an_answer_is_kept_for_its_time() {
        let (now, time) = (Instant::now(), Duration::from_secs(60));
        let cache = Cache::new(10).unwrap();
        cache.put(cache.key(b"q"), b"a", time, now);
        let get = |question: &[u8], now| cache.get(&cache.key(question), now).map(|body| body.to_vec());
        assert_eq!(get(b"q", now + time - Duration::from_millis(1)), Some(b"a".to_vec()));
        assert_eq!((get(b"q", now + time), get(b"Q", now)), (None, None));
        cache.put(cache.key(b"long"), b"a", TIME_MAX * 2, now);
        assert_eq!(get(b"long", now + TIME_MAX), None);
        assert_ne!(Cache::new(10).unwrap().key(b"q"), cache.key(b"q"));
        let off = Cache::new(0).unwrap();
        off.put(off.key(b"q"), b"a", time, now);
        assert_eq!(off.get(&off.key(b"q"), now), None);
    }

    /// Promise 6: the cache is bounded in number and bytes, and the oldest goes first.
    #[test]
    fn promise_6_the_cache_is_bounded() {
        let (now, time) = (Instant::now(), Duration::from_secs(60));
        let there = |cache: &Cache| (0..10u8).filter(|n| cache.get(&Key([*n; 32]), now).is_some()).collect::<Vec<_>>();
        let few = Cache::with(3, 1000).unwrap();
        (0..10).for_each(|n| few.put(Key([n; 32]), b"body", time, now));
        assert_eq!(there(&few), [7, 8, 9]);
        let small = Cache::with(100, 20).unwrap();
        (0..10).for_each(|n| small.put(Key([n; 32]), &[0; 8], time, now));
        small.put(Key([9; 32]), &[0; 12], time, now);
        assert_eq!((there(&small), small.lock().bytes), (vec![8, 9], 20));
        small.put(Key([1; 32]), &[0; 21], time, now);
        assert_eq!(there(&small), [8, 9]);
    }
}
