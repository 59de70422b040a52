//! Refused authentications of each address, which the providers are told: counted without a lock, in bounded memory.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use gatemq_plugin_loader::Network;

/// Addresses at a time. In a full table the one that failed longest ago is forgotten for a new one.
const ADDRESSES_MAX: usize = 65_536;
/// Neighbouring slots in which an address may be.
const WINDOW: usize = 16;
/// What an address did is forgotten after so many minutes without a failure.
const FORGET_MIN: u16 = 15;

/// What is in a slot: whose it is, the minute of the last failure, how many there were. 0 is an empty slot.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Entry {
    who: u32,
    minute: u16,
    count: u16,
}

impl Entry {
    fn of(word: u64) -> Entry {
        Entry { who: (word >> 32) as u32, minute: (word >> 16) as u16, count: word as u16 }
    }

    fn word(self) -> u64 {
        u64::from(self.who) << 32 | u64::from(self.minute) << 16 | u64::from(self.count)
    }

    fn age_min(self, now_min: u16) -> u16 {
        now_min.wrapping_sub(self.minute)
    }
}

/// See the module.
pub(crate) struct Failures {
    slots: Box<[AtomicU64]>,
    /// Keyed at random: nobody can choose addresses that share a window.
    hasher: RandomState,
    began: Instant,
}

impl Default for Failures {
    fn default() -> Self {
        let slots = (0..ADDRESSES_MAX).map(|_| AtomicU64::new(0)).collect();
        Failures { slots, hasher: RandomState::new(), began: Instant::now() }
    }
}

impl Failures {
    /// A client from this address was refused.
    pub(crate) fn note(&self, ip: IpAddr) {
        self.note_at(ip, self.now_min());
    }

    /// How often that was so lately.
    pub(crate) fn of(&self, ip: IpAddr) -> u32 {
        self.of_at(ip, self.now_min())
    }

    /// Comes round after 45 days, when something long forgotten may count once more.
    fn now_min(&self) -> u16 {
        (self.began.elapsed().as_secs() / 60) as u16
    }

    fn note_at(&self, ip: IpAddr, now_min: u16) {
        let (at, who) = self.place(ip);
        loop {
            let found = self.window(at).map(|slot| (slot, slot.load(Ordering::Relaxed)));
            // Its own, else one that is free, else the one whose failures are the oldest and fewest.
            let best = found.min_by_key(|(_, word)| {
                let entry = Entry::of(*word);
                match (entry.who == who, *word == 0) {
                    (true, _) => (0, 0, 0),
                    (_, true) => (1, 0, 0),
                    _ => (2, u16::MAX - entry.age_min(now_min), entry.count),
                }
            });
            let Some((slot, word)) = best else { return };
            let before = Entry::of(word);
            let goes_on = before.who == who && before.age_min(now_min) < FORGET_MIN;
            let count = if goes_on { before.count.saturating_add(1) } else { 1 };
            let entry = Entry { who, minute: now_min, count };
            // Fails when another thread was here meanwhile: all is looked at again.
            if slot.compare_exchange(word, entry.word(), Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    fn of_at(&self, ip: IpAddr, now_min: u16) -> u32 {
        let (at, who) = self.place(ip);
        let entries = self.window(at).map(|slot| Entry::of(slot.load(Ordering::Relaxed)));
        let mut own = entries.filter(|entry| entry.who == who && entry.age_min(now_min) < FORGET_MIN);
        own.next().map_or(0, |entry| entry.count.into())
    }

    fn place(&self, ip: IpAddr) -> (usize, u32) {
        let hash = self.hasher.hash_one(Network::of(ip));
        // Never 0, which is an empty slot; not the bits that choose the window.
        (hash as usize, (hash >> 32) as u32 | 1)
    }

    fn window(&self, at: usize) -> impl Iterator<Item = &AtomicU64> {
        (0..WINDOW).map(move |step| &self.slots[at.wrapping_add(step) % self.slots.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Guards what providers are told: each address its own failures, a subscriber's /64 as one, until they are old.
    #[test]
    fn failures_count_for_an_address_and_are_forgotten() {
        let failures = Failures::default();
        for text in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2"] {
            failures.note_at(ip(text), 5);
        }
        failures.note_at(ip("192.0.2.1"), 19);
        let of = |text, now_min| failures.of_at(ip(text), now_min);
        assert_eq!((of("192.0.2.1", 33), of("2001:db8::3", 19), of("2001:db8:0:1::1", 5)), (3, 2, 0));
        assert_eq!((of("192.0.2.1", 34), of("2001:db8::1", 20)), (0, 0), "forgotten");
        failures.note_at(ip("192.0.2.1"), 40);
        assert_eq!(of("192.0.2.1", 40), 1, "it begins anew");
        assert_eq!((failures.of(ip("192.0.2.9")), failures.note(ip("192.0.2.9"))), (0, ()));
        assert_eq!(failures.of(ip("192.0.2.9")), 1);
    }

    /// Guards memory, and who keeps failing: a flood of others does not have it forgotten.
    #[test]
    fn a_flood_has_nobody_forgotten_who_keeps_failing() {
        let failures = Failures::default();
        let stays = ip("192.0.2.1");
        for n in 0..200_000_u32 {
            failures.note_at(Ipv4Addr::from(0x0A00_0000 + n).into(), (n / 20_000) as u16);
            if n % 1000 == 0 {
                failures.note_at(stays, (n / 20_000) as u16);
            }
        }
        assert_eq!(failures.of_at(stays, 10), 200);
        for _ in 0..70_000 {
            failures.note_at(stays, 10);
        }
        assert_eq!(failures.of_at(stays, 10), u32::from(u16::MAX), "it does not come round");
    }
}
