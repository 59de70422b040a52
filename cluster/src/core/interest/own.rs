//! Our own interest: counted, told to the others as changes between none and some.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::digest_of;
use crate::core::action::Action;
use crate::core::control::Control;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::PART_BYTES;
use crate::core::words::{FilterKey, Interest, InterestChange};

/// Subscriptions of one filter.
#[derive(Clone, Copy, Default)]
struct Counted {
    passing: u32,
    durable: u32,
}

impl Counted {
    /// What the others are told.
    fn seen(self, key: &FilterKey) -> Option<Interest> {
        let all = self.passing.saturating_add(self.durable);
        let members = if key.is_shared() { all } else { 0 };
        (all > 0).then_some(Interest { durable: self.durable > 0, members })
    }
}

/// See the module.
#[derive(Default)]
pub(super) struct Own {
    counts: BTreeMap<FilterKey, Counted>,
    /// Filters that changed since the last delta, with what the others were told of them.
    changed: BTreeMap<FilterKey, Option<Interest>>,
    /// When the first of them is to travel.
    flush_ms: Option<u64>,
    /// Number and digest of what was told.
    seq: u64,
    digest: u64,
    /// By which number each member routes.
    applied: BTreeMap<NodeName, u64>,
}

impl Own {
    pub(super) fn change(&mut self, changes: Vec<InterestChange>, flush_ms: u64) {
        for InterestChange { key, durable, came } in changes {
            let counted = self.counts.entry(key.clone()).or_default();
            let told = counted.seen(&key);
            let count = if durable { &mut counted.durable } else { &mut counted.passing };
            *count = if came { count.saturating_add(1) } else { count.saturating_sub(1) };
            let now = counted.seen(&key);
            if now.is_none() {
                self.counts.remove(&key);
            }
            if now != told {
                self.changed.entry(key).or_insert(told);
                self.flush_ms.get_or_insert(flush_ms);
            }
        }
    }

    /// Tells everybody what changed. The number of the set after it.
    pub(super) fn flush(&mut self, members: &Members, out: &mut Vec<Action>) -> u64 {
        self.flush_ms = None;
        let (mut part, mut bytes) = (Vec::new(), 0);
        for (key, told) in std::mem::take(&mut self.changed) {
            let now = self.counts.get(&key).and_then(|counted| counted.seen(&key));
            if now == told {
                continue;
            }
            let digest = |interest: Option<Interest>| interest.map_or(0, |interest| digest_of(&key, interest));
            self.digest = self.digest.wrapping_sub(digest(told)).wrapping_add(digest(now));
            bytes += key.bytes();
            part.push((key, now));
            if bytes >= PART_BYTES {
                self.tell(std::mem::take(&mut part), members, out);
                bytes = 0;
            }
        }
        if !part.is_empty() {
            self.tell(part, members, out);
        }
        self.seq
    }

    fn tell(&mut self, changes: Vec<(FilterKey, Option<Interest>)>, members: &Members, out: &mut Vec<Action>) {
        self.seq += 1;
        members.tell_all(&Control::InterestDelta { seq: self.seq, changes }, out);
    }

    /// Of what was told: flush first.
    pub(super) fn digest(&self) -> Control {
        Control::InterestDigest { seq: self.seq, digest: self.digest }
    }

    /// As much from behind a filter on as fits a message: flush first.
    pub(super) fn part(&self, after: Option<FilterKey>) -> Control {
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let (mut entries, mut bytes, mut last) = (Vec::new(), 0, true);
        for (key, counted) in self.counts.range((from, Bound::Unbounded)) {
            if bytes >= PART_BYTES {
                last = false;
                break;
            }
            let Some(interest) = counted.seen(key) else { continue };
            bytes += key.bytes();
            entries.push((key.clone(), interest));
        }
        Control::InterestPart { seq: self.seq, after, last, entries }
    }

    pub(super) fn applied(&mut self, by: &NodeName, seq: u64) {
        let applied = self.applied.entry(by.clone()).or_default();
        *applied = seq.min(self.seq).max(*applied);
    }

    pub(super) fn applied_by(&self, node: &NodeName) -> u64 {
        self.applied.get(node).copied().unwrap_or(0)
    }

    /// It says so again.
    pub(super) fn forget_applied(&mut self, node: &NodeName) {
        self.applied.remove(node);
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.flush_ms.unwrap_or(u64::MAX)
    }
}
