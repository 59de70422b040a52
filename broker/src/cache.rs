//! Topic to targets, per worker: no lock, bounded, empty results included.

use std::rc::Rc;
use std::sync::{Arc, Weak};

use hashbrown::HashTable;

use crate::tree::Target;
use crate::{PublishPermit, Tenant};

/// Longer topics are looked up in the tree each time.
const TOPIC_BYTES_MAX: usize = 1024;

struct Entry {
    hash: u64,
    tenant_id: u64,
    tenant: Weak<Tenant>,
    slot: u8,
    generations: (u64, u64),
    topic: Box<str>,
    targets: Rc<[Target]>,
}

impl Entry {
    #[inline]
    fn is_of(&self, permit: &PublishPermit<'_>) -> bool {
        self.hash == permit.hash() && self.tenant_id == permit.tenant().id() && *self.topic == *permit.topic()
    }

    fn is_stale(&self) -> bool {
        self.tenant.upgrade().is_none_or(|tenant| tenant.generations.now(self.slot) != self.generations)
    }
}

/// What topics led to. Bounded by entries and by targets held: a full one gives up the entry at its cursor.
///
/// An entry is good while no subscription changed that could matter to its topic. A stale one is replaced when its topic
/// comes again; until then it keeps the sessions alive that it names (closed ones, which own no output). So that this
/// ends, [`TopicCache::sweep`] is called now and then (the host: once a second, for a sixteenth of `entries_max`): once
/// it has gone round, no entry that was stale at the beginning is left (or twice, where the table grew meanwhile).
pub struct TopicCache {
    entries: HashTable<Entry>,
    /// The bucket where eviction and sweep go on.
    cursor: usize,
    held: usize,
    entries_max: usize,
    targets_max: usize,
    ids: Vec<u32>,
    found: Vec<Target>,
    empty: Rc<[Target]>,
    hits: u64,
    misses: u64,
}

impl TopicCache {
    /// For `entries_max` topics (0: the tree is walked for every message) and `targets_max` targets in all of them.
    pub fn new(entries_max: usize, targets_max: usize) -> Self {
        TopicCache {
            entries: HashTable::new(),
            cursor: 0,
            held: 0,
            entries_max,
            targets_max,
            ids: Vec::new(),
            found: Vec::new(),
            empty: Rc::from([]),
            hits: 0,
            misses: 0,
        }
    }

    /// How often a topic was found, and how often not.
    pub fn hits_and_misses(&self) -> (u64, u64) {
        (self.hits, self.misses)
    }

    /// Everyone in the permit's tenant whose filter matches its topic, once for each filter.
    #[inline]
    pub fn targets(&mut self, permit: &PublishPermit<'_>) -> Rc<[Target]> {
        match self.entries.find(permit.hash(), |entry| entry.is_of(permit)) {
            Some(entry) if entry.generations == permit.tenant().generations.now(entry.slot) => {
                self.hits += 1;
                entry.targets.clone()
            }
            _ => self.miss(permit),
        }
    }

    /// Drops stale entries in the next `buckets` of the table, going round; returns how many. The table has at most
    /// four buckets for each of `entries_max`.
    pub fn sweep(&mut self, buckets: usize) -> usize {
        let mut dropped = 0;
        for _ in 0..buckets.min(self.entries.num_buckets()) {
            let at = self.next_bucket();
            if self.entries.get_bucket(at).is_some_and(Entry::is_stale) {
                self.evict(at);
                dropped += 1;
            }
        }
        dropped
    }

    fn next_bucket(&mut self) -> usize {
        let at = self.cursor;
        self.cursor = if at + 1 < self.entries.num_buckets() { at + 1 } else { 0 };
        at
    }

    #[cold]
    fn miss(&mut self, permit: &PublishPermit<'_>) -> Rc<[Target]> {
        self.misses += 1;
        let (tenant, topic) = (permit.tenant(), permit.topic());
        let slot = tenant.generations.slot(topic);
        let generations = {
            let tree = tenant.tree.read();
            tree.collect(topic, &mut self.ids, &mut self.found);
            tenant.generations.now(slot) // Bumped only under the write lock.
        };
        let targets = if self.found.is_empty() { self.empty.clone() } else { Rc::from(&self.found[..]) };
        self.found.clear();
        if let Some(stale) = self.entries.find_bucket_index(permit.hash(), |entry| entry.is_of(permit)) {
            self.evict(stale);
        }
        if self.entries_max == 0 || targets.len() > self.targets_max || topic.len() > TOPIC_BYTES_MAX {
            return targets;
        }
        while self.entries.len() >= self.entries_max || self.held + targets.len() > self.targets_max {
            let at = self.next_bucket();
            self.evict(at);
        }
        self.held += targets.len();
        let (hash, tenant_id, tenant) = (permit.hash(), tenant.id(), Arc::downgrade(tenant));
        let topic = topic.into();
        let entry = Entry { hash, tenant_id, tenant, slot, generations, topic, targets: targets.clone() };
        self.entries.insert_unique(hash, entry, |entry| entry.hash);
        targets
    }

    /// Empties a bucket, if it is not.
    fn evict(&mut self, bucket: usize) {
        if let Ok(found) = self.entries.get_bucket_entry(bucket) {
            let (entry, _) = found.remove();
            self.held -= entry.targets.len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::testing::{free, key};
    use crate::permit::{Decision, PublishAction};
    use crate::router::testing::subscribe;
    use crate::session::testing::session_of;
    use crate::{Attached, Identity, Verdicts};

    fn count(cache: &mut TopicCache, identity: &Identity, topic: &str) -> usize {
        let action = PublishAction { topic, qos: gatemq_types::QoS::AtMostOnce, retain: false, payload_bytes: 0 };
        match identity.may_publish(&mut Verdicts::new(0), action, 0) {
            Decision::Permit(permit) => cache.targets(&permit).len(),
            other => panic!("{other:?}"),
        }
    }

    fn references(session: &Attached) -> usize {
        Arc::strong_count(session.session())
    }

    /// Guards freshness: what the cache says is what the tree says, after every kind of change, and only after a change
    /// that could matter is the tree asked.
    #[test]
    fn changes_are_seen() {
        let key = key("c");
        let identity = free(&key);
        let mut cache = TopicCache::new(8, 100);
        let one = session_of(&key, 1);
        assert_eq!((count(&mut cache, &identity, "a/b/c"), count(&mut cache, &identity, "a/b/c")), (0, 0));
        assert_eq!(cache.hits_and_misses(), (1, 1), "nobody is an answer too");
        for filter in ["a/b/c", "a/#", "+/b/c"] {
            let before = count(&mut cache, &identity, "a/b/c");
            subscribe(&identity, &one, filter, 0);
            assert_eq!(count(&mut cache, &identity, "a/b/c"), before + 1, "{filter}");
        }
        crate::router::close(one.session(), 0, &mut Vec::new(), &mut Default::default());
        assert_eq!(count(&mut cache, &identity, "a/b/c"), 0);
    }

    /// Guards the bounds, by entries and by targets, and that long topics are not kept.
    #[test]
    fn bounded_by_entries_and_targets() {
        let key = key("c");
        let identity = free(&key);
        for n in 0..3 {
            subscribe(&identity, &session_of(&key, n), "#", 0);
        }
        let mut cache = TopicCache::new(10, 9);
        for n in 0..1000 {
            assert_eq!(count(&mut cache, &identity, &format!("t/{}", n % 50)), 3);
            assert!(cache.held <= 9 && cache.entries.len() <= 3);
            assert_eq!(cache.held, cache.entries.iter().map(|e| e.targets.len()).sum::<usize>());
        }
        let mut cache = TopicCache::new(10, 1000);
        count(&mut cache, &identity, &"x".repeat(TOPIC_BYTES_MAX + 1));
        assert_eq!(cache.entries.len(), 0);
        for n in 0..100 {
            count(&mut cache, &identity, &format!("t/{n}"));
        }
        assert_eq!(cache.entries.len(), 10);
        assert_eq!(count(&mut TopicCache::new(0, 0), &identity, "t"), 3, "without a cache");
    }

    /// Guards section 12.5: a closed session is let go of once the sweep has gone round, and live entries stay.
    #[test]
    fn sweeping_lets_closed_sessions_go() {
        let key = key("c");
        let identity = free(&key);
        let (gone, stays) = (session_of(&key, 1), session_of(&key, 2));
        let mut cache = TopicCache::new(1000, 1000);
        subscribe(&identity, &stays, "stays/+", 0);
        for n in 0..100 {
            subscribe(&identity, &gone, &format!("gone/x/{n}"), 0);
            count(&mut cache, &identity, &format!("gone/x/{n}"));
        }
        // One with a wildcard in its first two levels makes every entry stale; these come after it.
        for n in 0..100 {
            assert_eq!(count(&mut cache, &identity, &format!("stays/{n}")), 1);
        }
        crate::router::close(gone.session(), 0, &mut Vec::new(), &mut Default::default());
        assert!(references(&gone) > 100, "stale entries still hold it");
        let mut calls = 0;
        while references(&gone) > 1 {
            cache.sweep(16);
            calls += 1;
            assert!(calls <= cache.entries.num_buckets() / 16 + 1, "one round");
        }
        assert!(cache.entries.iter().filter(|entry| !entry.targets.is_empty()).count() > 90, "live entries stay");
        drop(identity);
        assert_eq!(references(&gone), 1);
    }
}
