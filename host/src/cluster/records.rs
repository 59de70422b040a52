//! Records of what of other nodes' messages was committed here, in the store with the messages: what comes again after a crash is not
//! delivered again.
//!
//! A row is of the messages that one batch had of one process of a node. It is let go when that node says that nothing so low can
//! come again. How many there are is bounded by what a node may have unanswered.

use std::collections::{BTreeMap, HashMap, VecDeque};

use gatemq_cluster::core::{Boot, Forward, Input, NodeName};
use gatemq_store::{KeptValue, Op, Store, StoreError};

use super::MARKS;

/// Begins the key of a row, which has the node, its process and the highest number. No mark's key begins so.
const PREFIX: &str = "f/";
/// Rows of a process that are over before they are taken out of the store: each time is a commit.
const OVER_MAX: usize = 64;

type Process = (NodeName, Boot);

/// Rows in the store, by the highest number of each, in the order in which they came.
#[derive(Default)]
pub(super) struct Records(HashMap<Process, Rows>);

#[derive(Default)]
struct Rows {
    last: VecDeque<u64>,
    /// Nothing below it comes again.
    low: u64,
}

impl Records {
    /// Rows for messages that are now delivered, to be committed with them.
    pub(super) fn of(&mut self, numbers: &[(NodeName, Forward)]) -> Vec<Op> {
        let mut all: BTreeMap<Process, Vec<u64>> = BTreeMap::new();
        for (from, forward) in numbers {
            all.entry((from.clone(), forward.boot)).or_default().push(forward.seq);
        }
        let mut ops = Vec::with_capacity(all.len());
        for (of, numbers) in all {
            let last = numbers.iter().copied().max().unwrap_or_default();
            // A list of numbers has bytes.
            let value = KeptValue { until_ms: 0, bytes: postcard::to_allocvec(&numbers).unwrap_or_default().into() };
            ops.push(Op::PutValue { owner: MARKS.into(), key: key(&of, last), value });
            self.0.entry(of).or_default().last.push_back(last);
        }
        ops
    }

    /// A node says what may still come of one of its processes: what lets go of rows that are over.
    pub(super) fn raised(&mut self, from: &NodeName, boot: Boot, low: u64, ops: &mut Vec<Op>) {
        let of = (from.clone(), boot);
        let Some(rows) = self.0.get_mut(&of) else { return };
        if low <= rows.low {
            return;
        }
        rows.low = low;
        let over = rows.last.iter().take_while(|last| **last < low).count();
        if over >= OVER_MAX {
            ops.extend(rows.last.drain(..over).map(|last| delete(&of, last)));
        }
    }

    /// Nothing of that process can come any more.
    pub(super) fn forget(&mut self, from: NodeName, boot: Boot, ops: &mut Vec<Op>) {
        let of = (from, boot);
        let rows = self.0.remove(&of).unwrap_or_default();
        ops.extend(rows.last.into_iter().map(|last| delete(&of, last)));
    }

    /// What the store has, which the core is told before the node joins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn restored(&mut self, store: &dyn Store) -> Result<Vec<Input>, StoreError> {
        let mut found: BTreeMap<Process, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
        store.scan_values(&mut |owner, key, value| {
            let row = (owner == MARKS).then(|| read(key)).flatten();
            if let (Some((of, last)), Ok(numbers)) = (row, postcard::from_bytes(&value.bytes)) {
                found.entry(of).or_default().insert(last, numbers);
            }
            true
        })?;
        let inputs = found.into_iter().map(|(of, rows)| {
            self.0.entry(of.clone()).or_default().last.extend(rows.keys());
            let (from, boot) = of;
            Input::RecordRestored { from, boot, low: 0, committed: rows.into_values().flatten().collect() }
        });
        Ok(inputs.collect())
    }
}

fn key((node, boot): &Process, last: u64) -> Box<str> {
    format!("{PREFIX}{node}/{}/{last}", boot.0).into()
}

fn read(key: &str) -> Option<(Process, u64)> {
    let mut parts = key.strip_prefix(PREFIX)?.split('/');
    let (node, boot, last) = (parts.next()?, parts.next()?, parts.next()?);
    Some(((NodeName::new(node).ok()?, Boot(boot.parse().ok()?)), last.parse().ok()?))
}

fn delete(of: &Process, last: u64) -> Op {
    Op::DeleteValue { owner: MARKS.into(), key: key(of, last) }
}
