//! Passwords that were right a moment ago, so that a client which connects again does not cost a verification.
//!
//! Kept is HMAC-SHA-256 (RFC 2104) of user, hash and password under a random key of this process: who reads the memory of
//! the cache without the key cannot try passwords against it. Failures are never kept.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::password::Hash;

/// Entries at most (about 10 MiB); the oldest goes first.
pub(crate) const ENTRIES_MAX: usize = 65_536;

/// What a cache knows a success by.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct Key([u8; 32]);

/// Belongs to one reading of the users file, and goes with it.
pub(crate) struct Cache {
    keyed: Hmac<Sha256>,
    /// How long a success is kept; zero: not at all.
    kept: Duration,
    entries_max: usize,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    until: HashMap<Key, Instant>,
    /// In the order in which they were put in, which is that in which they run out.
    order: VecDeque<Key>,
}

impl Cache {
    /// # Errors
    /// The system has no random numbers.
    pub(crate) fn new(kept: Duration, entries_max: usize) -> Result<Self, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("the system gives no random numbers: {e}"))?;
        let keyed = Hmac::new_from_slice(&key).map_err(|e| e.to_string())?;
        Ok(Cache { keyed, kept, entries_max, entries: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lengths stand before the parts, so that no two triples are the same bytes.
    pub(crate) fn key(&self, user: &str, hash: &Hash, password: &[u8]) -> Key {
        let mut mac = self.keyed.clone();
        for part in [user.as_bytes(), hash.as_bytes(), password] {
            mac.update(&(part.len() as u64).to_le_bytes());
            mac.update(part);
        }
        Key(mac.finalize().into_bytes().into())
    }

    /// A number below `n` that belongs to this name, and that nobody outside can know.
    pub(crate) fn pick(&self, name: &str, n: usize) -> usize {
        let mut mac = self.keyed.clone();
        mac.update(name.as_bytes());
        let bytes: [u8; 32] = mac.finalize().into_bytes().into();
        let number = bytes.iter().take(8).fold(0u64, |n, b| n << 8 | u64::from(*b));
        usize::try_from(number % (n.max(1) as u64)).unwrap_or(0)
    }

    /// Whether that was right a moment ago.
    pub(crate) fn has(&self, key: &Key, now: Instant) -> bool {
        self.lock().until.get(key).is_some_and(|until| now < *until)
    }

    /// Remembers a success. One that is there already does not last longer for it.
    pub(crate) fn put(&self, key: Key, now: Instant) {
        if self.kept.is_zero() {
            return;
        }
        let mut entries = self.lock();
        entries.trim(now, self.entries_max.saturating_sub(1));
        let Entries { until, order } = &mut *entries;
        if let Entry::Vacant(place) = until.entry(key) {
            place.insert(now + self.kept);
            order.push_back(key);
        }
    }
}

impl Entries {
    /// Drops what has run out, and the oldest beyond `max`.
    fn trim(&mut self, now: Instant, max: usize) {
        while let Some(oldest) = self.order.front() {
            let over = self.until.get(oldest).is_none_or(|until| *until <= now);
            if !over && self.order.len() <= max {
                return;
            }
            self.until.remove(oldest);
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::password::tests::cheap;

    /// Guards that a success is kept for its time, for its user, hash and password only, and not a moment longer.
    #[test]
    fn a_success_is_kept_for_its_time() {
        let (now, kept) = (Instant::now(), Duration::from_secs(300));
        let cache = Cache::new(kept, 10).unwrap();
        let (a, b) = (Hash::new(&cheap("p")).unwrap(), Hash::new(&cheap("p")).unwrap());
        let key = cache.key("u", &a, b"p");
        assert!(!cache.has(&key, now));
        cache.put(key, now);
        assert!(cache.has(&cache.key("u", &a, b"p"), now + kept - Duration::from_millis(1)));
        for other in [cache.key("v", &a, b"p"), cache.key("u", &b, b"p"), cache.key("u", &a, b"q")] {
            assert!(!cache.has(&other, now));
        }
        cache.put(key, now + kept / 2);
        assert!(!cache.has(&key, now + kept), "putting it in again made it last longer");
        cache.put(key, now + kept);
        assert!(cache.has(&key, now + kept), "it may come back");
        let other = Cache::new(kept, 10).unwrap();
        assert_ne!(other.key("u", &a, b"p"), key, "the key is random");
    }

    /// Promise 6: the cache is bounded, and the oldest goes first.
    #[test]
    fn promise_6_the_cache_is_bounded() {
        let now = Instant::now();
        let cache = Cache::new(Duration::from_secs(1), 3).unwrap();
        let key = |n: u8| Key([n; 32]);
        (0..10).for_each(|n| cache.put(key(n), now));
        let there: Vec<u8> = (0..10).filter(|n| cache.has(&key(*n), now)).collect();
        assert_eq!(there, [7, 8, 9]);
        assert_eq!(cache.lock().order.len(), 3);
        let off = Cache::new(Duration::ZERO, 3).unwrap();
        off.put(key(1), now);
        assert!(!off.has(&key(1), now));
    }
}
