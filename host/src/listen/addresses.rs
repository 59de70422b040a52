//! Connections of each address, counted without a lock: workers enter them when they accept, or when a proxy has said whom it
//! carries, and leave.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

/// Addresses that are counted at a time. Whoever comes when the table is full is not counted: to fill it takes as many live
/// connections, and refusing instead would shut out every device of a large fleet.
const ADDRESSES_MAX: usize = 65_536;
/// Neighbouring slots in which an address may be.
const WINDOW: usize = 16;
/// Bits of a slot's word that count connections; the others tell whose they are.
const COUNT_BITS: u32 = 24;
const COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Events in the current second: second in the upper half, number in the lower.
#[derive(Default)]
pub(super) struct Rate(AtomicU64);

impl Rate {
    /// Counts one more in second `now_s`, unless there were `max`; 0 is no limit.
    pub(super) fn admits(&self, now_s: u32, max: u32) -> bool {
        let one_more = |word: u64| match (word >> 32 == u64::from(now_s), word as u32) {
            (false, _) => Some(u64::from(now_s) << 32 | 1),
            (true, n) if n < max => Some(word + 1),
            (true, _) => None,
        };
        max == 0 || self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_ok()
    }

    fn is_of(&self, now_s: u32) -> bool {
        self.0.load(Ordering::Relaxed) >> 32 == u64::from(now_s)
    }
}

/// An address: which one and how many connections in one word, so that neither changes without the other.
#[derive(Default)]
struct Slot {
    word: AtomicU64,
    rate: Rate,
}

/// Where an address that entered is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Counted(u32);

/// See the module.
#[derive(Default)]
pub(super) struct Addresses {
    /// Made when the first address has a limit: a listener without any needs none.
    slots: OnceLock<Box<[Slot]>>,
    /// Keyed at random: nobody can choose addresses that share a window.
    hasher: RandomState,
}

/// Connections of each address at a time, and in a second; 0 is no limit.
pub(super) type Most = (u32, u32);

impl Addresses {
    fn slots(&self) -> &[Slot] {
        self.slots.get().map_or(&[], |slots| slots)
    }

    /// Counts a connection of `ip` in second `now_s`; `None` if it is not counted. Whoever is counted must leave.
    ///
    /// # Errors
    /// The key of the limit that it would exceed.
    pub(super) fn enter(&self, ip: IpAddr, now_s: u32, most: Most) -> Result<Option<Counted>, &'static str> {
        let (connections_max, connections_per_s_max) = most;
        if most == (0, 0) {
            return Ok(None);
        }
        let slots = self.slots.get_or_init(|| (0..ADDRESSES_MAX).map(|_| Slot::default()).collect());
        let hash = self.hasher.hash_one(network(ip));
        // Never 0, which is an empty slot; not the bits that choose the window.
        let who = (hash >> COUNT_BITS | 1) << COUNT_BITS;
        loop {
            let Some((at, word)) = self.find(hash as usize, who, now_s) else { return Ok(None) };
            let Some(slot) = slots.get(at) else { return Ok(None) };
            let connections = if word & !COUNT == who { word & COUNT } else { 0 };
            let most = if connections_max == 0 { COUNT } else { u64::from(connections_max) };
            if connections >= most {
                return Err("address_connections_max");
            }
            // Fails when another thread was here meanwhile: all is looked at again.
            let entered = who | (connections + 1);
            if slot.word.compare_exchange(word, entered, Ordering::Relaxed, Ordering::Relaxed).is_err() {
                continue;
            }
            if !slot.rate.admits(now_s, connections_per_s_max) {
                slot.word.fetch_sub(1, Ordering::Relaxed);
                return Err("address_connections_per_s_max");
            }
            return Ok(Some(Counted(at as u32)));
        }
    }

    /// A connection that was counted has ended.
    pub(super) fn leave(&self, counted: Counted) {
        if let Some(slot) = self.slots().get(counted.0 as usize) {
            // Its count holds the slot, which so is still the same address's.
            slot.word.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The slot of `who` and what is in it, else one that is free: empty, or of somebody who has no connections and none in
    /// this second.
    fn find(&self, hash: usize, who: u64, now_s: u32) -> Option<(usize, u64)> {
        let mut free = None;
        let slots = self.slots();
        for step in 0..WINDOW {
            let at = hash.wrapping_add(step) % slots.len();
            let slot = &slots[at];
            let word = slot.word.load(Ordering::Relaxed);
            if word & !COUNT == who {
                return Some((at, word));
            }
            if free.is_none() && word & COUNT == 0 && !slot.rate.is_of(now_s) {
                free = Some((at, word));
            }
        }
        free
    }
}

/// What counts as one address: an IPv4 address, the /64 of an IPv6 address, which is what one subscriber has.
fn network(ip: IpAddr) -> (bool, u64) {
    match ip.to_canonical() {
        IpAddr::V4(v4) => (false, u64::from(v4.to_bits())),
        IpAddr::V6(v6) => (true, (v6.to_bits() >> 64) as u64),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    const CONNECTIONS: Result<Option<Counted>, &str> = Err("address_connections_max");
    const PER_S: Result<Option<Counted>, &str> = Err("address_connections_per_s_max");

    /// A table and its limits.
    struct Limited(Addresses, Most);

    impl Limited {
        fn new(connections_max: u32, connections_per_s_max: u32) -> Limited {
            Limited(Addresses::default(), (connections_max, connections_per_s_max))
        }

        fn enter(&self, ip: IpAddr, now_s: u32) -> Result<Option<Counted>, &'static str> {
            self.0.enter(ip, now_s, self.1)
        }

        fn leave(&self, counted: Counted) {
            self.0.leave(counted);
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// Guards the two limits of an address: each ends at its number, for this address only, and begins again.
    #[test]
    fn an_address_has_its_limits() {
        let addresses = Limited::new(2, 3);
        let enter = |text, now_s| addresses.enter(ip(text), now_s);
        let first = enter("192.0.2.1", 1).unwrap().unwrap();
        assert!(enter("192.0.2.1", 1).is_ok());
        assert_eq!(enter("192.0.2.1", 1), CONNECTIONS);
        assert!(enter("192.0.2.2", 1).is_ok(), "another address");
        addresses.leave(first);
        let third = enter("192.0.2.1", 1).unwrap().unwrap();
        addresses.leave(third);
        assert_eq!(enter("192.0.2.1", 1), PER_S);
        let next_second = enter("192.0.2.1", 2).unwrap().unwrap();
        assert_eq!(enter("192.0.2.1", 2), CONNECTIONS, "who was refused is not counted, who is there is");
        addresses.leave(next_second);
        assert!(enter("192.0.2.1", 2).is_ok());
    }

    /// Guards what is one address: neighbours in a /64 are, and an IPv4 client of an IPv6 socket is its IPv4 address.
    #[test]
    fn a_subscriber_is_one_address() {
        for (one, other, same) in [
            ("2001:db8::1", "2001:db8::ffff:0:0:1", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::ffff:192.0.2.1", "192.0.2.1", true),
            ("::ffff:192.0.2.1", "::ffff:192.0.2.2", false),
            ("192.0.2.1", "192.0.2.2", false),
            ("0.0.0.1", "0:0:0:1::", false),
        ] {
            let addresses = Limited::new(1, 0);
            assert!(addresses.enter(ip(one), 1).is_ok());
            assert_eq!(addresses.enter(ip(other), 1).is_err(), same, "{one} {other}");
        }
    }

    /// Guards 0, which is no limit.
    #[test]
    fn no_limit_is_no_limit() {
        let (none, connections, per_s) = (Limited::new(0, 0), Limited::new(3, 0), Limited::new(0, 3));
        let entered = |addresses: &Limited| (0..10).filter(|_| addresses.enter(ip("::1"), 7).is_ok()).count();
        assert_eq!((entered(&none), entered(&connections), entered(&per_s)), (10, 3, 3));
        assert!(none.0.slots().is_empty());
    }

    /// Guards the table against floods of addresses: those that came and went make room, those that stay keep their count, and
    /// nobody is shut out because of the others.
    #[test]
    fn a_full_table_forgets_nobody_who_is_there() {
        let addresses = Limited::new(1, 5);
        let stays = ip("192.0.2.1");
        addresses.enter(stays, 1).unwrap().unwrap();
        for n in 0..200_000_u32 {
            let passing = addresses.enter(Ipv4Addr::from(0x0A00_0000 + n).into(), 2 + n / 10_000).unwrap();
            addresses.leave(passing.expect("there is room again each second"));
        }
        assert_eq!(addresses.enter(stays, 100), CONNECTIONS);
        let live = (0..200_000_u32).filter(|n| {
            let ip = Ipv4Addr::from(0x0B00_0000 + n).into();
            addresses.enter(ip, 101).unwrap().is_some()
        });
        assert!((50_000..=ADDRESSES_MAX).contains(&live.count()));
        assert_eq!(addresses.enter(stays, 102), CONNECTIONS);
    }

    /// Guards the limit of a second against floods of other addresses in it: who has used it up is remembered, though it left.
    #[test]
    fn a_flood_does_not_renew_a_second() {
        let addresses = Limited::new(0, 2);
        let come_and_go = |n: u32| {
            let entered = addresses.enter(Ipv4Addr::from(n).into(), 5);
            entered.map(|counted| counted.map(|counted| addresses.leave(counted)))
        };
        let bold = 0..100;
        assert!(bold.clone().all(|n| come_and_go(n).is_ok() && come_and_go(n).is_ok() && come_and_go(n).is_err()));
        assert!((1000..100_000).all(|n| come_and_go(n).is_ok()), "nobody is refused for the others");
        assert!(bold.clone().all(|n| come_and_go(n).is_err()));
    }

    /// Guards the counts against threads that enter and leave at once: never more than allowed, and none left at the end.
    #[test]
    fn threads_do_not_lose_count() {
        let addresses = Limited::new(3, 0);
        let (inside, most) = (AtomicU64::new(0), AtomicU64::new(0));
        // Its slot exists, so that its limit holds to the letter.
        let first = addresses.enter(ip("192.0.2.1"), 1).unwrap().unwrap();
        addresses.leave(first);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        if let Ok(Some(counted)) = addresses.enter(ip("192.0.2.1"), 1) {
                            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                            inside.fetch_sub(1, Ordering::SeqCst);
                            addresses.leave(counted);
                        }
                    }
                });
            }
        });
        assert!((1..=3).contains(&most.into_inner()));
        assert_eq!(addresses.0.slots().iter().map(|s| s.word.load(Ordering::Relaxed) & COUNT).sum::<u64>(), 0);
    }
}
