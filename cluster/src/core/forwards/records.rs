//! Records: what of other nodes' forwards was committed here, so that what comes twice is not delivered twice.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::action::{Action, Event};
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::Fault;
use crate::core::words::Forward;

/// Processes of a node of which forwards are told apart: one is over when nothing of it is kept for us any more.
const PROCESSES_MAX: usize = 1_024;

/// One process of one origin.
struct Record {
    /// Nothing below it needs to be delivered any more.
    low: u64,
    /// Committed, above `low`. Their number is bounded by the origin's window.
    committed: BTreeSet<u64>,
    /// Given to the host and not yet settled.
    under_way: BTreeSet<u64>,
}

impl Default for Record {
    fn default() -> Self {
        Record { low: 1, committed: BTreeSet::new(), under_way: BTreeSet::new() }
    }
}

impl Record {
    fn raise(&mut self, low: u64) {
        if low > self.low {
            self.low = low;
            self.committed = self.committed.split_off(&low);
        }
        while self.committed.remove(&self.low) {
            self.low = self.low.saturating_add(1);
        }
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Records {
    records: BTreeMap<(NodeName, Boot), Record>,
    /// The lowest process of each node of which something may still come, as it says.
    oldest: BTreeMap<NodeName, Boot>,
}

impl Records {
    /// A forward came in.
    pub(crate) fn arrived(
        &mut self,
        from: NodeName,
        forward: Forward,
        low: u64,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        // Not answered: it comes again once its node is a member.
        if members.get(&from).is_none() {
            return;
        }
        // Everything of that process was answered: what comes now comes twice.
        if self.oldest.get(&from).is_some_and(|oldest| forward.boot < *oldest) {
            return out.push(Action::Answer { from, forward });
        }
        if self.has_too_many(&from, forward.boot) {
            return not_taken(from, forward, "a forward of one process too many", out);
        }
        let record = self.records.entry((from.clone(), forward.boot)).or_default();
        if members.settings.has(Fault::NoRepeatCheck) {
            return out.push(Action::Deliver { from, forward });
        }
        record.raise(low);
        if forward.seq < record.low || record.committed.contains(&forward.seq) {
            return out.push(Action::Answer { from, forward });
        }
        // Its origin keeps to its window, and what it gave up early is twice as far at most.
        if forward.seq - record.low > 4 * members.settings.window {
            return not_taken(from, forward, "a forward beyond its window", out);
        }
        if record.under_way.insert(forward.seq) {
            out.push(Action::Deliver { from, forward });
        }
    }

    /// Whether a process is one too many.
    fn has_too_many(&self, from: &NodeName, boot: Boot) -> bool {
        let of_node = || self.records.range((from.clone(), Boot(0))..=(from.clone(), Boot(u64::MAX)));
        !self.records.contains_key(&(from.clone(), boot)) && of_node().take(PROCESSES_MAX).count() == PROCESSES_MAX
    }

    /// The host has committed it, or could not.
    pub(crate) fn settled(&mut self, from: NodeName, forward: Forward, stored: bool, out: &mut Vec<Action>) {
        // Forgotten: its process is over.
        let Some(record) = self.records.get_mut(&(from.clone(), forward.boot)) else { return };
        record.under_way.remove(&forward.seq);
        if stored {
            if forward.seq >= record.low {
                record.committed.insert(forward.seq);
                record.raise(record.low);
            }
            out.push(Action::Answer { from, forward });
        }
    }

    /// Whether every forward of a process with a number up to `last` has come, and is committed or needs not be.
    pub(crate) fn has_all(&self, from: &NodeName, boot: Boot, last: u64) -> bool {
        last == 0 || self.records.get(&(from.clone(), boot)).is_some_and(|record| record.low > last)
    }

    pub(crate) fn restored(&mut self, from: NodeName, boot: Boot, low: u64, committed: Vec<u64>) {
        let record = self.records.entry((from, boot)).or_default();
        record.committed.extend(committed);
        record.raise(low.max(record.low));
    }

    /// A node says of which of its processes something may still come.
    pub(crate) fn told(&mut self, from: &NodeName, oldest: Boot, out: &mut Vec<Action>) {
        self.oldest.insert(from.clone(), oldest);
        let first = (from.clone(), Boot(0));
        let over: Vec<_> = self.records.range(first..(from.clone(), oldest)).map(|(key, _)| key.clone()).collect();
        for key in over {
            self.records.remove(&key);
            let (from, boot) = key;
            out.push(Action::ForgetRecord { from, boot });
        }
    }
}

fn not_taken(from: NodeName, forward: Forward, what: &'static str, out: &mut Vec<Action>) {
    out.push(Action::NotTaken { from: from.clone(), forward });
    out.push(Action::Event(Event::PeerMisbehaved { node: from, what }));
}
