//! Counters that tell a topic cache whether a subscription changed that could matter to a topic.

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_mqtt::topic::Filter;

use crate::Hasher;

/// Counters for filters without a wildcard in their first two levels.
const PREFIXES: usize = 64;

/// One of 64 counters by a hash of the first two levels, and one for filters that have a wildcard there.
pub(crate) struct Generations {
    by_prefix: [AtomicU64; PREFIXES],
    wild: AtomicU64,
    hasher: Hasher,
}

impl Default for Generations {
    fn default() -> Self {
        Generations {
            by_prefix: [const { AtomicU64::new(0) }; PREFIXES],
            wild: AtomicU64::new(0),
            hasher: Hasher::default(),
        }
    }
}

impl Generations {
    /// The counter of a topic, or of a filter without wildcards in its first two levels.
    pub(crate) fn slot(&self, topic: &str) -> u8 {
        let end = topic.match_indices('/').nth(1).map_or(topic.len(), |(at, _)| at);
        (self.hasher.hash_one(&topic[..end]) as usize % PREFIXES) as u8
    }

    /// Says that the subscribers of `filter` changed. Called under the tree's write lock, after the change.
    pub(crate) fn bump(&self, filter: &str) {
        let filter = Filter::trusted(filter).filter;
        let wild = filter.splitn(3, '/').take(2).any(|level| level == "+" || level == "#");
        let counter = if wild { &self.wild } else { &self.by_prefix[self.slot(filter) as usize] };
        counter.fetch_add(1, Ordering::Release);
    }

    /// What targets found now are good for: while this stays the same, so do they.
    #[inline]
    pub(crate) fn now(&self, slot: u8) -> (u64, u64) {
        let slot = slot as usize % PREFIXES;
        (self.by_prefix[slot].load(Ordering::Acquire), self.wild.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the topic cache: a change of any filter moves the counters of every topic that it matches.
    #[test]
    fn a_filter_moves_the_counters_of_its_topics() {
        let cases = [
            ("a", "a"),
            ("a/#", "a"),
            ("#", "a"),
            ("+", "a"),
            ("a/b", "a/b"),
            ("a/b/#", "a/b"),
            ("a/b/+", "a/b/c"),
            ("a/b/#", "a/b/c/d"),
            ("a/+/c", "a/b/c"),
            ("+/b/c", "a/b/c"),
            ("/", "/"),
            ("//x", "//x"),
            ("$share/g/a/b", "a/b"),
            ("$share/g/+/b", "a/b"),
        ];
        for (filter, topic) in cases {
            let generations = Generations::default();
            let before = generations.now(generations.slot(topic));
            generations.bump(filter);
            assert_ne!(before, generations.now(generations.slot(topic)), "{filter} {topic}");
        }
    }
}
