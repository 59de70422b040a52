//! What an operation means, over any ordered map.
//!
//! The engine holds what every operation needs of a session (epoch, position and size of its queue), so that an append
//! reads nothing. It stages what a group of batches changes; whoever has the map stores it in one go.
//!
//! | module | what it says |
//! |---|---|
//! | `apply` | an operation, checked and staged |
//! | `queue` | entries come and go |
//! | `purge` | what an ended session leaves is taken away bit by bit |
//! | `load` | the engine of what is stored |
//! | `read` | pages, sessions, scans |
//! | `entry` | bytes of an entry and of a position |
//! | `keys`, `ranges`, `staging` | the map's keys; numbers that are done with; the map as it will be |

mod apply;
mod entry;
pub(crate) mod keys;
mod load;
mod purge;
mod queue;
mod ranges;
pub(crate) mod read;
pub(crate) mod staging;

use std::collections::{BTreeSet, HashMap};

use crate::{Epoch, Record, SessionId};
use ranges::Ranges;

/// See the module.
#[derive(Default)]
pub(crate) struct Engine {
    sessions: HashMap<SessionId, State>,
    /// How many entries have each shared message.
    shared: HashMap<u64, u32>,
    next_shared: u64,
    next_session: u64,
    /// Sessions that ended, of which parts are left.
    ended: BTreeSet<SessionId>,
}

/// Of a session, what every operation needs.
#[derive(Default)]
struct State {
    epoch: Epoch,
    /// Of its record.
    version: u64,
    /// Entries up to this one are done with.
    acked: u64,
    /// No entry had a higher number.
    last: u64,
    /// Numbers behind `acked` that are done with.
    done: Ranges,
    messages: u32,
    bytes: u64,
}

/// Counts of what is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) sessions: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    pub(crate) shared: u64,
    pub(crate) ended: u64,
}

impl State {
    fn set(&mut self, record: &Record) {
        (self.epoch, self.version) = (record.epoch, record.version);
    }
}

impl Engine {
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals {
            sessions: self.sessions.len() as u64,
            shared: self.shared.len() as u64,
            ended: self.ended.len() as u64,
            ..Totals::default()
        };
        for state in self.sessions.values() {
            totals.messages += u64::from(state.messages);
            totals.bytes += state.bytes;
        }
        totals
    }

    pub(crate) fn next_session(&self) -> u64 {
        self.next_session
    }
}
