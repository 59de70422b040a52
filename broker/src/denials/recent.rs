//! Who was here lately: plugins may deny what a peer has proven or done, and not what somebody merely names.

use std::hash::{BuildHasher, Hash};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Hasher;

/// How many are remembered; one who is not noted again is forgotten when later ones need its place.
const SLOTS: usize = 1 << 16;
/// Neighbouring slots in which one may be.
const WINDOW: usize = 8;
/// How long one is remembered, in seconds.
const RECENT_S: u64 = 3600;
/// Bits of a slot that say when; the others say who.
const TIME_BITS: u32 = 24;
const TIME: u64 = (1 << TIME_BITS) - 1;

/// A set of hashes, each with the second in which it was noted last. Bounded, without a lock: what does not fit takes the
/// place of the oldest of its neighbours. One in 2^36 looks finds somebody who was not there; nobody can choose who, because
/// the hashes are keyed.
pub struct Recent {
    slots: Box<[AtomicU64]>,
    hasher: Hasher,
}

impl Default for Recent {
    fn default() -> Self {
        Recent { slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(), hasher: Hasher::default() }
    }
}

impl Recent {
    fn place(&self, who: &impl Hash) -> (usize, u64) {
        let hash = self.hasher.hash_one(who);
        // Never 0, which is an empty slot; other bits than those that choose the place.
        (hash as usize % SLOTS, (hash >> TIME_BITS | 1) << TIME_BITS)
    }

    fn window(&self, at: usize) -> impl Iterator<Item = &AtomicU64> {
        (0..WINDOW).filter_map(move |step| self.slots.get((at + step) % SLOTS))
    }

    /// Notes somebody.
    pub fn note(&self, who: &impl Hash, now_ms: u64) {
        let (at, tag) = self.place(who);
        let now_s = (now_ms / 1000) & TIME;
        let age = |word: u64| now_s.wrapping_sub(word) & TIME;
        let mut oldest: Option<(&AtomicU64, u64)> = None;
        for slot in self.window(at) {
            let word = slot.load(Ordering::Relaxed);
            if word & !TIME == tag || word == 0 {
                slot.store(tag | now_s, Ordering::Relaxed);
                return;
            }
            if oldest.is_none_or(|(_, known)| age(word) > age(known)) {
                oldest = Some((slot, word));
            }
        }
        if let Some((slot, _)) = oldest {
            slot.store(tag | now_s, Ordering::Relaxed);
        }
    }

    /// Whether somebody was noted in the last hour.
    pub fn holds(&self, who: &impl Hash, now_ms: u64) -> bool {
        let (at, tag) = self.place(who);
        let now_s = (now_ms / 1000) & TIME;
        self.window(at).any(|slot| {
            let word = slot.load(Ordering::Relaxed);
            word & !TIME == tag && now_s.wrapping_sub(word) & TIME <= RECENT_S
        })
    }
}
