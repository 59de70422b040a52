//! One set: its marks, its digests, and how it compares with those of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use xxhash_rust::xxh3::xxh3_64;

use super::forgets_removals;
use crate::core::action::{Action, Event};
use crate::core::clock::HybridTime;
use crate::core::control::Control;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::PART_BYTES;
use crate::core::words::{Entry, Mark, Set, Standing};

/// Entries whose time is over that one tick takes away.
const EXPIRED_PER_TICK: usize = 1_000;

/// A key behind the part that it belongs to.
type Place = (u8, Box<[u8]>);

/// How our set compares with a member's.
enum Compared {
    /// We fetch what differs.
    Asking(Asking),
    /// It was the same once in this life of the link. What differs since travels, or is found by the next digest.
    Once,
}

/// What we wait for.
struct Asking {
    /// Since when.
    since_ms: u64,
    /// Marks of these parts from behind this key on.
    wanted: Option<([u8; 32], Option<Box<[u8]>>)>,
    /// Whether all marks came.
    seen: bool,
    /// Entries that did not come yet.
    missing: BTreeSet<Box<[u8]>>,
}

impl Asking {
    fn new(since_ms: u64) -> Self {
        Asking { since_ms, wanted: None, seen: false, missing: BTreeSet::new() }
    }
}

/// See the module.
pub(super) struct Replica {
    set: Set,
    marks: BTreeMap<Place, Mark>,
    buckets: Box<[u64; 256]>,
    /// When marks end by themselves.
    ends: BTreeSet<(u64, Place)>,
    compared: BTreeMap<NodeName, Compared>,
    /// Whether what we have may have been removed elsewhere while we were away.
    distrusted: bool,
}

fn part_of(key: &[u8]) -> u8 {
    xxh3_64(key).to_le_bytes()[0]
}

fn digest_of(key: &[u8], mark: &Mark) -> u64 {
    let mut bytes = Vec::with_capacity(key.len() + 96);
    bytes.extend_from_slice(&(key.len() as u64).to_le_bytes());
    bytes.extend_from_slice(key);
    bytes.extend_from_slice(&mark.stamp.time.0.to_le_bytes());
    bytes.extend_from_slice(&mark.until_ms.to_le_bytes());
    bytes.push(u8::from(mark.removed));
    bytes.extend_from_slice(mark.stamp.node.as_str().as_bytes());
    xxh3_64(&bytes)
}

/// Entries in messages of about [`PART_BYTES`].
pub(super) fn parts(entries: Vec<Entry>) -> Vec<Vec<Entry>> {
    let (mut parts, mut part, mut bytes) = (Vec::new(), Vec::new(), 0);
    for entry in entries {
        bytes += entry.key.len() + entry.value.len() + 64;
        part.push(entry);
        if bytes >= PART_BYTES {
            parts.push(std::mem::take(&mut part));
            bytes = 0;
        }
    }
    parts.extend((!part.is_empty()).then_some(part));
    parts
}

impl Replica {
    pub(super) fn new(set: Set) -> Self {
        let buckets = Box::new([0; 256]);
        Replica {
            set,
            marks: BTreeMap::new(),
            buckets,
            ends: BTreeSet::new(),
            compared: BTreeMap::new(),
            distrusted: false,
        }
    }

    pub(super) fn set(&self) -> Set {
        self.set
    }

    pub(super) fn get(&self, key: &[u8]) -> Option<&Mark> {
        self.marks.get(&(part_of(key), key.into()))
    }

    /// The mark of an entry that is there and may be given to others.
    pub(super) fn trusted(&self, key: &[u8]) -> Option<&Mark> {
        self.get(key).filter(|mark| !mark.removed && mark.stamp.time != HybridTime(0))
    }

    /// When a mark ends by itself: a tombstone when it is old, an entry when its time is over.
    fn end(mark: &Mark, keep_ms: u64) -> Option<u64> {
        match (mark.removed, mark.until_ms) {
            (true, _) => Some(mark.stamp.time.ms().saturating_add(keep_ms)),
            (false, 0) => None,
            (false, until_ms) => Some(until_ms),
        }
    }

    pub(super) fn insert(&mut self, key: Box<[u8]>, mark: Mark, keep_ms: u64) {
        self.remove(&key, keep_ms);
        let part = part_of(&key);
        let bucket = &mut self.buckets[usize::from(part)];
        *bucket = bucket.wrapping_add(digest_of(&key, &mark));
        if let Some(end) = Self::end(&mark, keep_ms) {
            self.ends.insert((end, (part, key.clone())));
        }
        self.marks.insert((part, key), mark);
    }

    fn remove(&mut self, key: &[u8], keep_ms: u64) -> bool {
        let place: Place = (part_of(key), key.into());
        let Some(mark) = self.marks.remove(&place) else { return false };
        let bucket = &mut self.buckets[usize::from(place.0)];
        *bucket = bucket.wrapping_sub(digest_of(key, &mark));
        if let Some(end) = Self::end(&mark, keep_ms) {
            self.ends.remove(&(end, place));
        }
        true
    }

    /// Puts an entry in, which is the newest.
    pub(super) fn apply(&mut self, entry: &Entry, members: &Members) {
        let keep_ms = members.settings.tombstone_keep_ms;
        if entry.mark.removed && forgets_removals(members) {
            self.remove(&entry.key, keep_ms);
            return;
        }
        self.insert(entry.key.clone(), entry.mark.clone(), keep_ms);
    }

    /// Entries of another node.
    pub(super) fn received(
        &mut self,
        from: &NodeName,
        entries: Vec<Entry>,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        for entry in entries {
            if let Some(Compared::Asking(asking)) = self.compared.get_mut(from) {
                asking.missing.remove(&entry.key);
            }
            let time = entry.mark.stamp.time;
            if !members.clock.see(time, members.now_ms) {
                let ahead_ms = time.ms().saturating_sub(members.now_ms);
                out.push(Action::Event(Event::ClockAhead { node: from.clone(), ahead_ms }));
                continue;
            }
            if self.is_news(&entry.key, &entry.mark, members) {
                self.apply(&entry, members);
                out.push(Action::Store { set: self.set, entry, foreign: true });
            }
        }
        self.finish(from);
    }

    /// Whether a mark of another node is newer than ours, and not over already.
    fn is_news(&self, key: &[u8], mark: &Mark, members: &Members) -> bool {
        let over = Self::end(mark, members.settings.tombstone_keep_ms).is_some_and(|end| members.now_ms >= end);
        let distrusted = mark.stamp.time == HybridTime(0);
        !over && !distrusted && self.get(key).is_none_or(|ours| ours.stamp < mark.stamp)
    }

    pub(super) fn expire(&mut self, now_ms: u64, out: &mut Vec<Action>) {
        for _ in 0..EXPIRED_PER_TICK {
            let Some((_, (part, key))) = self.ends.first().filter(|(end, _)| now_ms >= *end).cloned() else { return };
            self.ends.pop_first();
            if let Some(mark) = self.marks.remove(&(part, key.clone())) {
                let bucket = &mut self.buckets[usize::from(part)];
                *bucket = bucket.wrapping_sub(digest_of(&key, &mark));
            }
            out.push(Action::Forget { set: self.set, key });
        }
    }

    /// We were away for too long: everything that we have is older than what anybody has, and goes if the other lacks it. It stays
    /// in force until then.
    pub(super) fn distrust(&mut self) {
        if std::mem::replace(&mut self.distrusted, true) {
            return;
        }
        self.compared.clear();
        for ((part, key), mark) in &mut self.marks {
            let bucket = &mut self.buckets[usize::from(*part)];
            *bucket = bucket.wrapping_sub(digest_of(key, mark));
            mark.stamp.time = HybridTime(0);
            *bucket = bucket.wrapping_add(digest_of(key, mark));
        }
        // Tombstones of that time say nothing any more.
        self.marks.retain(|(part, key), mark| {
            if mark.removed {
                let bucket = &mut self.buckets[usize::from(*part)];
                *bucket = bucket.wrapping_sub(digest_of(key, mark));
            }
            !mark.removed
        });
        self.ends = self.marks.iter().filter_map(|(at, mark)| Some((Self::end(mark, 0)?, at.clone()))).collect();
    }

    /// We are in contact again.
    pub(super) fn trust(&mut self) {
        self.distrusted = false;
    }

    // ---- comparing

    fn whole(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, bucket| sum ^ bucket.rotate_left(17).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    pub(super) fn digest(&self, standing: Standing) -> Control {
        Control::SetDigest { set: self.set, digest: self.whole(), standing }
    }

    pub(super) fn buckets(&self) -> Control {
        Control::SetBuckets { set: self.set, digests: self.buckets.to_vec() }
    }

    pub(super) fn doubt(&mut self, node: &NodeName) {
        self.compared.remove(node);
    }

    pub(super) fn is_compared(&self, node: &NodeName) -> bool {
        matches!(self.compared.get(node), Some(Compared::Once))
    }

    pub(super) fn compare(&mut self, from: &NodeName, digest: u64, now_ms: u64, out: &mut Vec<Action>) {
        if digest == self.whole() {
            self.compared.insert(from.clone(), Compared::Once);
            return;
        }
        match self.compared.get(from) {
            Some(Compared::Asking(_)) => return,
            Some(Compared::Once) => {}
            None => drop(self.compared.insert(from.clone(), Compared::Asking(Asking::new(now_ms)))),
        }
        out.push(Action::Send { to: from.clone(), control: Control::SetBucketsWanted { set: self.set } });
    }

    /// The digests of a member's parts came: asks for the marks of those that differ.
    pub(super) fn differing(&mut self, from: &NodeName, digests: &[u64], now_ms: u64, out: &mut Vec<Action>) {
        let mut parts = [0u8; 32];
        let differ = self.buckets.iter().zip(digests).enumerate().filter(|(_, (ours, theirs))| ours != theirs);
        differ.for_each(|(part, _)| parts[part / 8] |= 1 << (part % 8));
        self.ask(from, parts, None, now_ms, out);
    }

    fn ask(&mut self, from: &NodeName, parts: [u8; 32], after: Option<Box<[u8]>>, now_ms: u64, out: &mut Vec<Action>) {
        if let Some(Compared::Asking(asking)) = self.compared.get_mut(from) {
            (asking.since_ms, asking.wanted) = (now_ms, Some((parts, after.clone())));
        }
        out.push(Action::Send { to: from.clone(), control: Control::SetMarksWanted { set: self.set, parts, after } });
    }

    /// The places of some parts from behind a key on, in order.
    fn places(
        &self,
        parts: [u8; 32],
        after: Option<&[u8]>,
        upto: Option<&[u8]>,
    ) -> impl Iterator<Item = (&Place, &Mark)> {
        let place = |key: &[u8]| -> Place { (part_of(key), key.into()) };
        let from = after.map_or(Bound::Unbounded, |key| Bound::Excluded(place(key)));
        let end = upto.map(place);
        let all = self.marks.range((from, Bound::Unbounded));
        let all = all.take_while(move |(place, _)| end.as_ref().is_none_or(|end| *place <= end));
        all.filter(move |((part, _), _)| parts[usize::from(part / 8)] & (1 << (part % 8)) != 0)
    }

    /// As many marks as fit a message.
    pub(super) fn marks(&self, parts: [u8; 32], after: Option<Box<[u8]>>) -> Control {
        let (mut marks, mut bytes, mut last) = (Vec::new(), 0, true);
        for ((_, key), mark) in self.places(parts, after.as_deref(), None) {
            if bytes >= PART_BYTES {
                last = false;
                break;
            }
            bytes += key.len() + 64;
            marks.push((key.clone(), mark.clone()));
        }
        Control::SetMarks { set: self.set, parts, after, last, marks }
    }

    /// A member's marks came: asks for what is newer there, gives what is newer here.
    pub(super) fn marked(
        &mut self,
        from: &NodeName,
        (parts, after): ([u8; 32], Option<Box<[u8]>>),
        last: bool,
        marks: Vec<(Box<[u8]>, Mark)>,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let asked = (parts, after.clone());
        if let Some(Compared::Asking(asking)) = self.compared.get(from)
            && asking.wanted.as_ref() != Some(&asked)
        {
            return;
        }
        let upto = marks.last().filter(|_| !last).map(|(key, _)| key.clone());
        if !last && upto.is_none() {
            return;
        }
        let theirs: BTreeMap<&[u8], &Mark> = marks.iter().map(|(key, mark)| (&**key, mark)).collect();
        let (mut give, mut distrusted) = (Vec::new(), Vec::new());
        for ((_, key), ours) in self.places(parts, after.as_deref(), upto.as_deref()) {
            let newer = theirs.get(&**key).is_none_or(|theirs| theirs.stamp < ours.stamp);
            match ours.stamp.time {
                HybridTime(0) if !theirs.contains_key(&**key) => distrusted.push(key.clone()),
                HybridTime(0) => {}
                _ if newer => give.push(key.clone()),
                _ => {}
            }
        }
        let wants = marks.iter().filter(|(key, mark)| self.is_news(key, mark, members));
        let wants: Vec<Box<[u8]>> = wants.map(|(key, _)| key.clone()).collect();
        for key in distrusted {
            self.remove(&key, members.settings.tombstone_keep_ms);
            out.push(Action::Forget { set: self.set, key });
        }
        if !give.is_empty() {
            self.give(from, give, out);
        }
        if let Some(Compared::Asking(asking)) = self.compared.get_mut(from) {
            asking.missing.extend(wants.iter().cloned());
            (asking.wanted, asking.since_ms, asking.seen) = (None, members.now_ms, last);
        }
        if !wants.is_empty() {
            out.push(Action::Send { to: from.clone(), control: Control::SetWanted { set: self.set, keys: wants } });
        }
        match upto {
            Some(key) => self.ask(from, parts, Some(key), members.now_ms, out),
            None => self.finish(from),
        }
    }

    /// What the other lacks: tombstones from here, values from the host.
    pub(super) fn give(&self, to: &NodeName, keys: Vec<Box<[u8]>>, out: &mut Vec<Action>) {
        let is_removed = |key: &[u8]| self.get(key).is_some_and(|mark| mark.removed);
        let (removed, there): (Vec<_>, Vec<_>) = keys.into_iter().partition(|key| is_removed(key));
        let tombstone = |key: Box<[u8]>| {
            let mark = self.get(&key)?.clone();
            Some(Entry { key, mark, value: Vec::new() })
        };
        for entries in parts(removed.into_iter().filter_map(tombstone).collect()) {
            out.push(Action::Send { to: to.clone(), control: Control::Put { set: self.set, entries } });
        }
        if !there.is_empty() {
            out.push(Action::Load { to: to.clone(), set: self.set, keys: there });
        }
    }

    /// Whether everything that was asked of a member is here.
    fn finish(&mut self, from: &NodeName) {
        let Some(Compared::Asking(asking)) = self.compared.get(from) else { return };
        if asking.seen && asking.missing.is_empty() {
            self.compared.insert(from.clone(), Compared::Once);
        }
    }

    /// Begins anew with a member that did not answer.
    pub(super) fn ask_again(&mut self, node: &NodeName, members: &Members, out: &mut Vec<Action>) {
        let wait_ms = members.settings.ask_again_ms;
        let Some(Compared::Asking(asking)) = self.compared.get_mut(node) else { return };
        if members.now_ms >= asking.since_ms + wait_ms {
            *asking = Asking::new(members.now_ms);
            out.push(Action::Send { to: node.clone(), control: Control::SetBucketsWanted { set: self.set } });
        }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.ends.first().map_or(u64::MAX, |(end, _)| *end)
    }
}
