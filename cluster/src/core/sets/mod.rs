//! Sets that every node has whole: denials, retained messages, what operators said of nodes.
//!
//! The last writer wins, by hybrid clock and node. What is written travels to every member at once; what somebody missed is
//! found by digests: of the whole, then of 256 parts, then the marks of those that differ. Only marks live here: the host has
//! the values. A removal leaves a tombstone, so that it wins against what others still have.

mod replica;

use super::action::{Action, NotReady};
use super::clock::Stamp;
use super::control::Control;
use super::members::Members;
use super::name::NodeName;
use super::settings::Fault;
use super::words::{Entry, Mark, Set, Standing};
use replica::Replica;

/// How often the times for a restart are kept.
const CONTACT_MS: u64 = 600_000;

/// See the module.
pub(crate) struct Sets {
    replicas: [Replica; 3],
    /// When we were last in contact with another member.
    contact_ms: u64,
    /// When we last ran before a rest that was longer than tombstones are kept; `None`: there was none.
    rested_since_ms: Option<u64>,
    next_digest_ms: u64,
    next_contact_ms: u64,
}

impl Sets {
    pub(crate) fn new() -> Self {
        Sets {
            replicas: Set::ALL.map(Replica::new),
            contact_ms: 0,
            // Nothing is known yet of a time before.
            rested_since_ms: Some(0),
            next_digest_ms: 0,
            next_contact_ms: 0,
        }
    }

    fn of(&mut self, set: Set) -> &mut Replica {
        let at = match set {
            Set::Denials => 0,
            Set::Retained => 1,
            Set::Nodes => 2,
        };
        &mut self.replicas[at]
    }

    pub(crate) fn mark(&self, set: Set, key: &[u8]) -> Option<Mark> {
        self.replicas.iter().find(|replica| replica.set() == set)?.get(key).cloned()
    }

    pub(crate) fn contact_restored(&mut self, contact_ms: u64, ran_ms: u64, members: &Members) {
        self.contact_ms = contact_ms;
        let rested = members.now_ms.saturating_sub(ran_ms) > members.settings.tombstone_keep_ms;
        self.rested_since_ms = rested.then_some(ran_ms);
    }

    pub(crate) fn restored(&mut self, set: Set, marks: Vec<(Box<[u8]>, Mark)>, members: &mut Members) {
        for (key, mark) in marks {
            members.clock.see(mark.stamp.time, members.now_ms);
            self.of(set).insert(key, mark, members.settings.tombstone_keep_ms);
        }
    }

    /// The host wrote or removed something.
    pub(crate) fn put(
        &mut self,
        set: Set,
        key: Box<[u8]>,
        value: Option<Vec<u8>>,
        until_ms: u64,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        let replica = self.of(set);
        // What nobody has needs no tombstone: so nobody can fill the set with removals.
        if value.is_none() && replica.get(&key).is_none_or(|mark| mark.removed) {
            return;
        }
        let stamp = Stamp { time: members.clock.next(members.now_ms), node: members.own().clone() };
        let mark = Mark { stamp, until_ms, removed: value.is_none() };
        let entry = Entry { key, mark, value: value.unwrap_or_default() };
        replica.apply(&entry, members);
        out.push(Action::Store { set, entry: entry.clone(), foreign: false });
        members.tell_all(&Control::Put { set, entries: vec![entry] }, out);
    }

    pub(crate) fn loaded(&mut self, to: NodeName, set: Set, entries: Vec<Entry>, out: &mut Vec<Action>) {
        let replica = self.of(set);
        // As it is now: what was removed since, or is distrusted, is not given.
        let current = |entry: Entry| Some(Entry { mark: replica.trusted(&entry.key)?.clone(), ..entry });
        let entries = entries.into_iter().filter_map(current).collect();
        for part in replica::parts(entries) {
            out.push(Action::Send { to: to.clone(), control: Control::Put { set, entries: part } });
        }
    }

    /// What was under way to or from a member may be lost, or it is a new one.
    pub(crate) fn reset(&mut self, node: &NodeName) {
        self.replicas.iter_mut().for_each(|replica| replica.doubt(node));
    }

    /// Tells a member what our sets are now.
    pub(crate) fn tell(&self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        let standing = self.standing(members);
        for replica in &self.replicas {
            out.push(Action::Send { to: to.clone(), control: replica.digest(standing) });
        }
    }

    fn standing(&self, members: &Members) -> Standing {
        Standing {
            horizon_ms: members.now_ms.saturating_sub(members.settings.tombstone_keep_ms),
            contact_ms: self.contact_ms,
            ran_ms: self.rested_since_ms.unwrap_or(members.now_ms),
        }
    }

    pub(crate) fn received(&mut self, from: &NodeName, control: Control, members: &mut Members, out: &mut Vec<Action>) {
        match control {
            Control::SetDigest { set, digest, standing } => {
                let was_away = self.was_away(standing, members);
                let replica = self.of(set);
                if was_away && !replica.is_compared(from) {
                    replica.distrust();
                }
                replica.compare(from, digest, members.now_ms, out);
            }
            Control::Put { set, entries } => self.of(set).received(from, entries, members, out),
            Control::SetBucketsWanted { set } => {
                let control = self.of(set).buckets();
                out.push(Action::Send { to: from.clone(), control });
            }
            Control::SetBuckets { set, digests } => self.of(set).differing(from, &digests, members.now_ms, out),
            Control::SetMarksWanted { set, parts, after } => {
                let control = self.of(set).marks(parts, after);
                out.push(Action::Send { to: from.clone(), control });
            }
            Control::SetMarks { set, parts, after, last, marks } => {
                self.of(set).marked(from, (parts, after), last, marks, members, out);
            }
            Control::SetWanted { set, keys } => self.of(set).give(from, keys, out),
            _ => {}
        }
    }

    /// Whether we, and not the other, may have what was removed long ago.
    fn was_away(&self, theirs: Standing, members: &Members) -> bool {
        let ours = self.standing(members);
        let (we, they) = (ours.contact_ms < theirs.horizon_ms, theirs.contact_ms < ours.horizon_ms);
        match (we, they) {
            (true, false) => true,
            (false, _) => false,
            // Both were alone: then who did not run.
            (true, true) => ours.ran_ms < theirs.horizon_ms && theirs.ran_ms >= ours.horizon_ms,
        }
    }

    /// What is not here as some live member has it.
    pub(crate) fn lacking(&self, members: &Members) -> Option<NotReady> {
        let live = || members.peers().filter(|(_, peer)| peer.live);
        let lacks = |replica: &&Replica| live().any(|(node, _)| !replica.is_compared(node));
        self.replicas.iter().find(lacks).map(|replica| NotReady::Sets { set: replica.set() })
    }

    pub(crate) fn tick(&mut self, members: &Members, out: &mut Vec<Action>) {
        let now_ms = members.now_ms;
        self.replicas.iter_mut().for_each(|replica| replica.expire(now_ms, out));
        let compared = |node: &NodeName| self.replicas.iter().all(|replica| replica.is_compared(node));
        if members.peers().any(|(node, peer)| peer.live && compared(node)) {
            self.contact_ms = now_ms;
            self.rested_since_ms = None;
            self.replicas.iter_mut().for_each(Replica::trust);
        }
        if now_ms >= self.next_digest_ms {
            self.next_digest_ms = now_ms + members.settings.digest_ms;
            let standing = self.standing(members);
            for replica in &self.replicas {
                members.tell_all(&replica.digest(standing), out);
            }
        }
        if now_ms >= self.next_contact_ms {
            self.next_contact_ms = now_ms + CONTACT_MS;
            if self.rested_since_ms.is_none() {
                out.push(Action::Contact { contact_ms: self.contact_ms, ran_ms: now_ms });
            }
        }
        for (node, _) in members.peers().filter(|(_, peer)| peer.live) {
            let ask_again = |replica: &mut Replica| replica.ask_again(node, members, out);
            self.replicas.iter_mut().for_each(ask_again);
        }
    }

    pub(crate) fn due_ms(&self) -> u64 {
        let replicas = self.replicas.iter().map(Replica::due_ms).min().unwrap_or(u64::MAX);
        replicas.min(self.next_digest_ms).min(self.next_contact_ms)
    }
}

/// Whether a removal is to be forgotten at once: only in the simulation.
fn forgets_removals(members: &Members) -> bool {
    members.settings.has(Fault::NoTombstone)
}
