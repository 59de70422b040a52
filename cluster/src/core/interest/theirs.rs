//! The interest of another node, as it told it.
//!
//! A set that is not known is fetched in parts, each asked for when the one before is here, so that one message is under way.
//! Deltas that come meanwhile are applied at once: the channel keeps the order, so a part that comes later has them in it,
//! and filters of parts that are here already are changed by them. Each part replaces its range, so that routes that stay are
//! not touched.

use std::collections::BTreeMap;
use std::ops::Bound;

use super::digest_of;
use crate::core::action::{Action, Event};
use crate::core::control::Control;
use crate::core::member::Boot;
use crate::core::name::NodeName;
use crate::core::words::{FilterKey, Interest};

/// What is known of a set.
enum State {
    /// Nothing is known to be as it is there.
    Doubtful,
    /// Parts are on their way.
    Fetching {
        /// Behind which filter the next part begins.
        after: Option<FilterKey>,
        asked_ms: u64,
    },
    /// It is here whole.
    Synced,
}

/// See the module.
pub(super) struct Theirs {
    boot: Boot,
    filters: BTreeMap<FilterKey, Interest>,
    digest: u64,
    seq: u64,
    state: State,
}

impl Theirs {
    pub(super) fn new(boot: Boot) -> Self {
        Theirs { boot, filters: BTreeMap::new(), digest: 0, seq: 0, state: State::Doubtful }
    }

    pub(super) fn is_synced(&self) -> bool {
        matches!(self.state, State::Synced)
    }

    /// Whether routes are by its set of this number.
    pub(super) fn is_applied(&self, seq: u64) -> bool {
        self.is_synced() && self.seq >= seq
    }

    pub(super) fn has(&self, key: &FilterKey) -> bool {
        self.filters.contains_key(key)
    }

    pub(super) fn len(&self) -> u64 {
        self.filters.len() as u64
    }

    pub(super) fn doubt(&mut self) {
        self.state = State::Doubtful;
    }

    /// What our store had of its durable part.
    pub(super) fn restored(&mut self, node: &NodeName, keys: Vec<FilterKey>, out: &mut Vec<Action>) {
        for key in keys {
            self.set(node, key, Some(Interest { durable: true, members: 0 }), out);
        }
    }

    /// Another process begins with another set, of which nothing is known; the durable part of the one before is right until
    /// its set is here, since it is made from what it has stored.
    pub(super) fn up(&mut self, node: &NodeName, boot: Boot, out: &mut Vec<Action>) {
        self.doubt();
        if self.boot != boot {
            self.away(node, out);
            self.boot = boot;
            self.seq = 0;
        }
    }

    /// Takes away what nobody waits for while the node is away.
    pub(super) fn away(&mut self, node: &NodeName, out: &mut Vec<Action>) {
        self.doubt();
        let all: Vec<_> = self.filters.iter().map(|(key, interest)| (key.clone(), *interest)).collect();
        for (key, interest) in all {
            let kept = interest.durable.then_some(Interest { durable: true, members: 0 });
            self.set(node, key, kept, out);
        }
    }

    fn set(&mut self, node: &NodeName, key: FilterKey, interest: Option<Interest>, out: &mut Vec<Action>) {
        let before = match interest {
            Some(interest) => {
                self.digest = self.digest.wrapping_add(digest_of(&key, interest));
                self.filters.insert(key.clone(), interest)
            }
            None => self.filters.remove(&key),
        };
        if let Some(before) = before {
            self.digest = self.digest.wrapping_sub(digest_of(&key, before));
        }
        if before != interest {
            out.push(Action::Route { node: node.clone(), key, interest });
        }
    }

    /// Takes a message about the set. What to answer.
    pub(super) fn received(
        &mut self,
        node: &NodeName,
        control: Control,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) -> Option<Control> {
        match control {
            Control::InterestDelta { seq, changes } => self.delta(node, seq, changes, now_ms, out),
            Control::InterestDigest { seq, digest } => {
                let same = (self.seq, self.digest) == (seq, digest);
                match self.state {
                    State::Fetching { .. } => None,
                    // Nothing was missed while nobody looked, too.
                    _ if same => {
                        self.state = State::Synced;
                        Some(Control::InterestApplied { seq })
                    }
                    _ => self.fetch(now_ms),
                }
            }
            Control::InterestPart { seq, after, last, entries } => {
                self.part(node, seq, after, last, entries, now_ms, out)
            }
            _ => None,
        }
    }

    /// Begins to fetch the set.
    fn fetch(&mut self, now_ms: u64) -> Option<Control> {
        self.state = State::Fetching { after: None, asked_ms: now_ms };
        Some(Control::InterestWanted { after: None })
    }

    fn delta(
        &mut self,
        node: &NodeName,
        seq: u64,
        changes: Vec<(FilterKey, Option<Interest>)>,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) -> Option<Control> {
        match self.state {
            // Its digest is on the way, or the first part, with these changes in it.
            State::Doubtful | State::Fetching { after: None, .. } => return None,
            _ if seq <= self.seq => return None,
            _ if seq != self.seq + 1 => return self.fetch(now_ms),
            _ => {}
        }
        self.seq = seq;
        for (key, interest) in changes {
            self.set(node, key, interest, out);
        }
        self.is_synced().then_some(Control::InterestApplied { seq })
    }

    #[allow(clippy::too_many_arguments)]
    fn part(
        &mut self,
        node: &NodeName,
        seq: u64,
        after: Option<FilterKey>,
        last: bool,
        entries: Vec<(FilterKey, Interest)>,
        now_ms: u64,
        out: &mut Vec<Action>,
    ) -> Option<Control> {
        match &self.state {
            State::Fetching { after: wanted, .. } if *wanted == after => {}
            // Asked for twice, or before the channel broke.
            _ => return None,
        }
        let in_order = entries.first().is_none_or(|(key, _)| Some(key) > after.as_ref());
        if !in_order || !entries.is_sorted_by(|a, b| a.0 < b.0) || (entries.is_empty() && !last) {
            out.push(Action::Event(Event::PeerMisbehaved {
                node: node.clone(),
                what: "a part of a set without order",
            }));
            return None;
        }
        if after.is_some() && seq != self.seq {
            return self.fetch(now_ms);
        }
        self.seq = seq;
        let from = after.as_ref().map_or(Bound::Unbounded, Bound::Excluded);
        let end = entries.last().filter(|_| !last).map(|(key, _)| key.clone());
        let upto = end.as_ref().map_or(Bound::Unbounded, Bound::Included);
        let stays: std::collections::BTreeSet<&FilterKey> = entries.iter().map(|(key, _)| key).collect();
        let range = self.filters.range((from, upto)).map(|(key, _)| key);
        let gone: Vec<FilterKey> = range.filter(|key| !stays.contains(key)).cloned().collect();
        for key in gone {
            self.set(node, key, None, out);
        }
        for (key, interest) in entries {
            self.set(node, key, Some(interest), out);
        }
        if last {
            self.state = State::Synced;
            return Some(Control::InterestApplied { seq });
        }
        self.state = State::Fetching { after: end.clone(), asked_ms: now_ms };
        Some(Control::InterestWanted { after: end })
    }

    pub(super) fn asked_ms(&self) -> Option<u64> {
        match self.state {
            State::Fetching { asked_ms, .. } => Some(asked_ms),
            _ => None,
        }
    }

    /// Asks again for a part that did not come.
    pub(super) fn ask_again(&mut self, now_ms: u64, wait_ms: u64) -> Option<Control> {
        match &mut self.state {
            State::Fetching { after, asked_ms } if now_ms >= *asked_ms + wait_ms => {
                *asked_ms = now_ms;
                Some(Control::InterestWanted { after: after.clone() })
            }
            _ => None,
        }
    }
}
