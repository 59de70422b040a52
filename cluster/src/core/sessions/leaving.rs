//! A node that leaves has others take its sessions: it asks for that, some at a time, and they claim them as for a client. Before, it
//! waits a while for hints that others keep for it: they are for these sessions, and what follows a session may overtake.

use std::collections::{BTreeMap, VecDeque};

use super::Said;
use super::owner::Owner;
use crate::core::control::Control;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::words::SessionKey;

/// Sessions that are asked for at a time: as many states of them are in memory, and parts of them on the links.
const ASKED_MAX: usize = 64;
/// How long it waits for hints. Others make more of them as long as sessions are here, which may be faster than they come.
const HINTS_WAIT_MS: u64 = 3_000;

/// See the module.
pub(super) struct Leaving {
    /// Nobody was asked yet, or not again.
    waiting: VecDeque<SessionKey>,
    /// Somebody was; asked again at that time, behind the others.
    asked: BTreeMap<SessionKey, u64>,
    /// Until when hints are waited for.
    hints_until_ms: u64,
}

impl Leaving {
    pub(super) fn new(keys: Vec<SessionKey>, now_ms: u64) -> Self {
        Leaving { waiting: keys.into(), asked: BTreeMap::new(), hints_until_ms: now_ms.saturating_add(HINTS_WAIT_MS) }
    }

    /// How many are not taken yet.
    pub(super) fn left(&self) -> usize {
        self.waiting.len() + self.asked.len()
    }

    pub(super) fn tick(&mut self, owner: &Owner, members: &Members, said: &mut Said) {
        let Leaving { waiting, asked, hints_until_ms } = self;
        let waits_for_hints = members.awaits_hints() && members.now_ms < *hints_until_ms;
        asked.retain(|key, again_ms| {
            let is_here = owner.epoch(key).is_some();
            let waits = is_here && members.now_ms < *again_ms;
            if is_here && !waits {
                waiting.push_back(key.clone());
            }
            waits
        });
        let mut takes: BTreeMap<&NodeName, Vec<SessionKey>> = BTreeMap::new();
        while asked.len() < ASKED_MAX
            && !waits_for_hints
            && let Some(key) = waiting.pop_front()
        {
            if owner.epoch(&key).is_none() {
                continue;
            }
            // On its way to somebody already, whose client has come.
            let again_ms = members.now_ms + members.settings.ask_again_ms;
            if owner.offered(&key).is_some() {
                asked.insert(key, again_ms);
                continue;
            }
            let Some(taker) = members.taker(&key) else {
                waiting.push_front(key);
                break;
            };
            takes.entry(taker).or_default().push(key.clone());
            asked.insert(key, again_ms);
        }
        said.extend(takes.into_iter().map(|(to, keys)| (to.clone(), Control::Take { keys })));
    }

    pub(super) fn due_ms(&self, members: &Members) -> u64 {
        let again = self.asked.values().min().copied().unwrap_or(u64::MAX);
        let waits = !self.waiting.is_empty() && members.now_ms < self.hints_until_ms;
        if waits { again.min(self.hints_until_ms) } else { again }
    }
}
