//! A connection's decisions on its topics, remembered.

use gatemq_types::ReasonCode;

/// What was decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Known {
    Allow,
    Deny(ReasonCode),
    /// The rules say Ask, and no answer is remembered.
    Ask,
}

/// What a decision is remembered under.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a> {
    pub(crate) hash: u64,
    pub(crate) generation: u64,
    pub(crate) topic: &'a str,
    /// QoS and RETAIN, which rules look at.
    pub(crate) how: u8,
}

impl Key<'_> {
    /// Topic and way in one number.
    pub(crate) fn about(&self) -> u64 {
        self.hash.rotate_left(8) ^ u64::from(self.how)
    }
}

/// Longer topics are decided each time.
const TOPIC_BYTES_MAX: usize = 512;

struct Slot {
    hash: u64,
    /// 0 is an empty slot.
    generation: u64,
    until_ms: u64,
    how: u8,
    known: Known,
    topic: String,
}

/// Publish decisions of one connection: direct-mapped, made at the first publish, so that an idle or merely receiving
/// connection has none. The whole topic is compared, never only its hash. At most `slots_max` topics of 512 bytes.
///
/// Kept are decisions of grants (until the identity's generation moves) and answers of a provider (until they expire),
/// never failures, and nothing that depended on the size of a payload.
#[derive(Default)]
pub struct Verdicts {
    slots: Vec<Slot>,
    slots_max: usize,
}

impl Verdicts {
    /// For `slots_max` topics, rounded down to a power of two; 0 remembers nothing.
    pub fn new(slots_max: usize) -> Self {
        let slots_max = if slots_max == 0 { 0 } else { 1 << slots_max.ilog2() };
        Verdicts { slots: Vec::new(), slots_max }
    }

    #[inline]
    pub(crate) fn get(&self, key: Key<'_>, now_ms: u64) -> Option<Known> {
        let slot = self.slots.get(key.hash as usize & self.slots.len().wrapping_sub(1))?;
        let same = slot.hash == key.hash && slot.generation == key.generation && slot.how == key.how;
        (same && now_ms < slot.until_ms && slot.topic == key.topic).then_some(slot.known)
    }

    #[cold]
    pub(crate) fn put(&mut self, key: Key<'_>, known: Known, until_ms: u64) {
        if self.slots_max == 0 || key.topic.len() > TOPIC_BYTES_MAX {
            return;
        }
        // Grows by doubling, so that one topic costs one slot.
        let n = self.slots.len();
        let taken = |slot: &Slot| slot.generation == key.generation && slot.topic != key.topic;
        if n == 0 || n < self.slots_max && taken(&self.slots[key.hash as usize & (n - 1)]) {
            self.grow(key.generation);
        }
        let mask = self.slots.len() - 1;
        let slot = &mut self.slots[key.hash as usize & mask];
        (slot.hash, slot.generation, slot.how, slot.known, slot.until_ms) =
            (key.hash, key.generation, key.how, known, until_ms);
        slot.topic.clear();
        slot.topic.push_str(key.topic);
    }

    fn grow(&mut self, generation: u64) {
        let empty = || Slot { hash: 0, generation: 0, until_ms: 0, how: 0, known: Known::Ask, topic: String::new() };
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with((old.len() * 2).max(1), empty);
        let mask = self.slots.len() - 1;
        for slot in old.into_iter().filter(|slot| slot.generation == generation) {
            let at = slot.hash as usize & mask;
            self.slots[at] = slot;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(hash: u64, topic: &str) -> Key<'_> {
        Key { hash, generation: 7, topic, how: 0 }
    }

    /// Guards that a hash alone opens nothing: another topic, way, generation or time is not the remembered one.
    #[test]
    fn only_the_same_is_found() {
        let mut verdicts = Verdicts::new(8);
        assert_eq!(verdicts.get(key(1, "a"), 0), None);
        verdicts.put(key(1, "a"), Known::Allow, 100);
        assert_eq!(verdicts.get(key(1, "a"), 99), Some(Known::Allow));
        assert_eq!(verdicts.get(key(1, "a"), 100), None, "expired");
        assert_eq!(verdicts.get(key(1, "b"), 0), None, "same hash, other topic");
        assert_eq!(verdicts.get(Key { how: 1, ..key(1, "a") }, 0), None);
        assert_eq!(verdicts.get(Key { generation: 8, ..key(1, "a") }, 0), None);
    }

    /// Guards the bound: topics beyond the slots replace others, and long ones are not kept.
    #[test]
    fn bounded() {
        let mut verdicts = Verdicts::new(9);
        let topics: Vec<_> = (0..1000).map(|n| format!("t/{n}")).collect();
        for (n, topic) in (0..).zip(&topics) {
            verdicts.put(key(n, topic), Known::Allow, u64::MAX);
            assert!(verdicts.slots.len() <= 8);
            assert_eq!(verdicts.get(key(n, topic), 0), Some(Known::Allow));
        }
        let long = "x".repeat(TOPIC_BYTES_MAX + 1);
        verdicts.put(key(1, &long), Known::Allow, u64::MAX);
        assert_eq!(verdicts.get(key(1, &long), 0), None);
        let mut none = Verdicts::new(0);
        none.put(key(1, "a"), Known::Allow, u64::MAX);
        assert_eq!(none.get(key(1, "a"), 0), None);
    }
}
