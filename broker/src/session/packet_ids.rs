//! Packet identifiers of QoS 2 messages that were received and are not released yet.

use hashbrown::HashSet;

use crate::Hasher;

/// From here on they are a bit each: all that there are take 8 KiB.
const BITS_FROM: usize = 1024;
const WORDS: usize = (u16::MAX as usize + 1) / 64;

/// A set of packet identifiers, of at most 8 KiB.
pub(super) enum PacketIds {
    Few(HashSet<u16, Hasher>),
    Many { bits: Box<[u64; WORDS]>, count: usize },
}

impl Default for PacketIds {
    fn default() -> Self {
        PacketIds::Few(HashSet::default())
    }
}

fn place(packet_id: u16) -> (usize, u64) {
    (usize::from(packet_id) / 64, 1 << (packet_id % 64))
}

impl PacketIds {
    pub(super) fn len(&self) -> usize {
        match self {
            PacketIds::Few(few) => few.len(),
            PacketIds::Many { count, .. } => *count,
        }
    }

    #[inline]
    pub(super) fn contains(&self, packet_id: u16) -> bool {
        match self {
            PacketIds::Few(few) => few.contains(&packet_id),
            PacketIds::Many { bits, .. } => {
                let (word, bit) = place(packet_id);
                bits[word] & bit != 0
            }
        }
    }

    /// False: it was there.
    pub(super) fn insert(&mut self, packet_id: u16) -> bool {
        if let PacketIds::Few(few) = self
            && few.len() >= BITS_FROM
        {
            let (mut bits, count) = (Box::new([0; WORDS]), few.len());
            for packet_id in few.iter() {
                let (word, bit) = place(*packet_id);
                bits[word] |= bit;
            }
            *self = PacketIds::Many { bits, count };
        }
        let new = !self.contains(packet_id);
        match self {
            PacketIds::Few(few) => {
                few.insert(packet_id);
            }
            PacketIds::Many { bits, count } => {
                let (word, bit) = place(packet_id);
                bits[word] |= bit;
                *count += usize::from(new);
            }
        }
        new
    }

    /// False: it was not there.
    pub(super) fn remove(&mut self, packet_id: u16) -> bool {
        let had = self.contains(packet_id);
        match self {
            PacketIds::Few(few) => {
                few.remove(&packet_id);
            }
            PacketIds::Many { bits, count } => {
                let (word, bit) = place(packet_id);
                bits[word] &= !bit;
                *count -= usize::from(had);
                if *count == 0 {
                    *self = PacketIds::default();
                }
            }
        }
        had
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the two forms against each other: every identifier comes and goes once, in any order.
    #[test]
    fn every_identifier_comes_and_goes_once() {
        let mut ids = PacketIds::default();
        for round in 0..2 {
            // 40,503 and 65,536 have no common divisor.
            let id = |n: u32| (n.wrapping_mul(40_503) & 0xFFFF) as u16;
            for n in 0..=u32::from(u16::MAX) {
                assert!(ids.insert(id(n)) && !ids.insert(id(n)) && ids.contains(id(n)), "{n}");
                assert_eq!(ids.len(), n as usize + 1);
            }
            for n in 0..=u32::from(u16::MAX) {
                let id = id(n.wrapping_mul(3));
                assert!(ids.remove(id) && !ids.remove(id) && !ids.contains(id), "{n}");
            }
            assert!(matches!(ids, PacketIds::Few(_)) && ids.len() == 0, "{round}: small again");
        }
        assert!(size_of::<PacketIds>() <= 40, "{}", size_of::<PacketIds>());
    }
}
