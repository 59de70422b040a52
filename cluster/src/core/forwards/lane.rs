//! The forwards to one node: those that it has to answer, and behind them its hints.
//!
//! While there are hints, new forwards become hints as well: so they arrive in the order in which they were published. A hint
//! goes out as soon as the node is there, in order, [`IN_FLIGHT_MAX`] at a time; when the last one is answered, forwards go
//! straight again. Both are bounded ([`Settings`](crate::core::Settings)); what does not fit is refused. A new one for a node that is there
//! is accepted when the node has it, or after the wait for an answer, as a forward that goes straight is: so nobody publishes faster for
//! long than the node takes, and the hints come to an end.

use std::collections::{BTreeMap, VecDeque};

use crate::core::action::{Action, Event, NotAccepted};
use crate::core::control::Control;
use crate::core::input::ForwardWanted;
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::Fault;
use crate::core::words::Forward;

/// Hints of one node that are read and sent before the first is answered.
const IN_FLIGHT_MAX: usize = 64;
/// Hints whose time is over that one tick takes away.
const EXPIRED_PER_TICK: usize = 1_000;

/// A forward that was sent and not answered.
struct Direct {
    id: u64,
    bytes: u32,
    durable: bool,
    sent_ms: u64,
}

/// Whether a hint is stored.
enum Stored {
    /// The store has it to do; the host's number of the forward.
    Not { id: u64, answered: bool },
    /// It is, and not accepted yet: the node is there, and is given a while to answer.
    Unaccepted { id: u64 },
    /// It is, and accepted.
    Yes,
}

impl Stored {
    fn is_stored(&self) -> bool {
        !matches!(self, Stored::Not { .. })
    }
}

/// A forward that waits in the store.
struct Hint {
    bytes: u32,
    since_ms: u64,
    stored: Stored,
    sent_ms: Option<u64>,
}

/// See the module.
#[derive(Default)]
pub(super) struct Lane {
    last: u64,
    direct: BTreeMap<u64, Direct>,
    hints: BTreeMap<Forward, Hint>,
    hint_bytes: u64,
    /// Those that are stored and not accepted, in the order in which they were stored; or were it a moment ago.
    unaccepted: VecDeque<Forward>,
    /// What the node was told last of its hints.
    told: Option<(bool, Boot)>,
}

impl Lane {
    pub(super) fn hints_len(&self) -> u64 {
        self.hints.len() as u64
    }

    pub(super) fn unanswered(&self) -> usize {
        self.direct.len() + self.hints.len()
    }

    /// The number of the last one, while one is not answered; else 0.
    pub(super) fn unanswered_up_to(&self) -> u64 {
        if self.unanswered() == 0 { 0 } else { self.last }
    }

    pub(super) fn hint_bytes(&self) -> u64 {
        self.hint_bytes
    }

    pub(super) fn oldest_ms(&self) -> u64 {
        self.hints.first_key_value().map_or(0, |(_, hint)| hint.since_ms)
    }

    fn oldest_boot(&self, own: Boot) -> Boot {
        self.hints.first_key_value().map_or(own, |(forward, _)| forward.boot.min(own))
    }

    /// The lowest number of a process that may still be sent.
    fn low(&self, boot: Boot, own: Boot) -> u64 {
        let hints = self.hints.range(Forward { boot, seq: 0 }..).next().map(|(forward, _)| *forward);
        let hint = hints.filter(|forward| forward.boot == boot).map(|forward| forward.seq);
        let direct = self.direct.keys().next().copied().filter(|_| boot == own);
        let lowest = [hint, direct].into_iter().flatten().min();
        lowest.unwrap_or(self.last + 1)
    }

    pub(super) fn forward(&mut self, to: &NodeName, wanted: ForwardWanted, members: &Members, out: &mut Vec<Action>) {
        let ForwardWanted { id, bytes, durable } = wanted;
        let live = members.is_live(to);
        if !live && !durable {
            return out.push(Action::Accepted { id });
        }
        let seq = self.last + 1;
        let own = members.boot;
        let fits = seq < self.low(own, own).saturating_add(members.settings.window);
        if live && self.hints.is_empty() && fits {
            self.last = seq;
            let (forward, sent_ms) = (Forward { boot: own, seq }, members.now_ms);
            self.direct.insert(seq, Direct { id, bytes, durable, sent_ms });
            let low = self.low(own, own);
            let behind = members.lacks_routes;
            return out.push(Action::Forward { to: to.clone(), id, forward, low, behind });
        }
        self.last = seq;
        self.hint(to, Forward { boot: own, seq }, (id, bytes), None, members, out);
    }

    /// A forward is to become a hint.
    fn hint(
        &mut self,
        to: &NodeName,
        forward: Forward,
        (id, bytes): (u64, u32),
        sent_ms: Option<u64>,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let settings = &members.settings;
        let full =
            self.hint_bytes + u64::from(bytes) > settings.hint_bytes_max || self.hints_len() >= settings.hints_max;
        if full {
            return out.push(Action::NotAccepted { id, why: NotAccepted::HintsFull });
        }
        if settings.has(Fault::AcknowledgedBeforeHint) {
            out.push(Action::Accepted { id });
        }
        self.hint_bytes += u64::from(bytes);
        let stored = Stored::Not { id, answered: false };
        self.hints.insert(forward, Hint { bytes, since_ms: members.now_ms, stored, sent_ms });
        out.push(Action::CommitHint { to: to.clone(), id, forward });
    }

    fn remove_hint(&mut self, forward: Forward) -> Option<Hint> {
        let hint = self.hints.remove(&forward)?;
        self.hint_bytes -= u64::from(hint.bytes);
        Some(hint)
    }

    pub(super) fn answered(&mut self, from: &NodeName, forward: Forward, own: Boot, out: &mut Vec<Action>) {
        if let Some(hint) = self.hints.get_mut(&forward) {
            match &mut hint.stored {
                // Dropped once the store has it.
                Stored::Not { answered: true, .. } => {}
                Stored::Not { id, answered } => {
                    *answered = true;
                    out.push(Action::Accepted { id: *id });
                }
                Stored::Unaccepted { .. } | Stored::Yes => {
                    if let Some(Hint { stored: Stored::Unaccepted { id }, .. }) = self.remove_hint(forward) {
                        out.push(Action::Accepted { id });
                    }
                    out.push(Action::DropHint { to: from.clone(), forward });
                }
            }
            return;
        }
        // Those of an earlier process were hints, which are answered twice when they were sent twice.
        if forward.boot == own
            && let Some(direct) = self.direct.remove(&forward.seq)
        {
            out.push(Action::Accepted { id: direct.id });
        }
    }

    pub(super) fn committed(
        &mut self,
        to: &NodeName,
        forward: Forward,
        stored: bool,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let Some(hint) = self.hints.get_mut(&forward) else { return };
        let Stored::Not { id, answered } = hint.stored else { return };
        if !stored || answered {
            self.remove_hint(forward);
            if stored {
                out.push(Action::DropHint { to: to.clone(), forward });
            } else if !answered {
                out.push(Action::NotAccepted { id, why: NotAccepted::StoreFailed });
            }
            return;
        }
        // What was sent before it was a hint has waited already.
        if members.is_live(to) && hint.sent_ms.is_none() && !members.settings.has(Fault::AcknowledgedBeforeHint) {
            hint.stored = Stored::Unaccepted { id };
            self.unaccepted.push_back(forward);
            return;
        }
        hint.stored = Stored::Yes;
        if !members.settings.has(Fault::AcknowledgedBeforeHint) {
            out.push(Action::Accepted { id });
        }
    }

    /// Accepts those that the node has not answered in time, or all where it is not there.
    fn accept(&mut self, live: bool, members: &Members, out: &mut Vec<Action>) {
        while let Some(forward) = self.unaccepted.front().copied() {
            if let Some(hint) = self.hints.get_mut(&forward)
                && let Stored::Unaccepted { id } = hint.stored
            {
                if live && members.now_ms < hint.since_ms + members.settings.ack_wait_ms {
                    return;
                }
                hint.stored = Stored::Yes;
                out.push(Action::Accepted { id });
            }
            self.unaccepted.pop_front();
        }
    }

    pub(super) fn restored(&mut self, forward: Forward, bytes: u32, since_ms: u64) {
        self.hint_bytes += u64::from(bytes);
        self.hints.insert(forward, Hint { bytes, since_ms, stored: Stored::Yes, sent_ms: None });
    }

    /// Sends hints in their order, as far as they are stored.
    pub(super) fn send_hints(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        if !members.is_live(to) {
            return;
        }
        let (now_ms, wait_ms) = (members.now_ms, members.settings.ask_again_ms);
        let direct = self.direct.keys().next().copied();
        let (mut ready, mut lowest) = (Vec::new(), Forward { boot: Boot(0), seq: 0 });
        for (forward, hint) in self.hints.iter_mut().take(IN_FLIGHT_MAX) {
            if lowest.boot != forward.boot {
                lowest = *forward;
                let direct = direct.filter(|_| forward.boot == members.boot);
                lowest.seq = direct.map_or(forward.seq, |direct| direct.min(forward.seq));
            }
            // The window is also that of hints: a receiver remembers no more of what it got behind one that it lacks.
            let fits = forward.seq < lowest.seq.saturating_add(members.settings.window);
            if !fits || !hint.stored.is_stored() {
                break;
            }
            if hint.sent_ms.is_none_or(|sent_ms| now_ms >= sent_ms + wait_ms) {
                hint.sent_ms = Some(now_ms);
                ready.push(*forward);
            }
        }
        for forward in ready {
            let low = self.low(forward.boot, members.boot);
            out.push(Action::SendHint { to: to.clone(), forward, low });
        }
    }

    /// Everything that was not answered goes again, in order.
    pub(super) fn again(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        out.push(Action::Abandon { to: to.clone() });
        if !self.hints.is_empty() {
            // Some of the hints are older than these.
            for (seq, direct) in std::mem::take(&mut self.direct) {
                self.give_up(to, seq, direct, members.is_live(to), members, out);
            }
        } else if members.is_live(to) {
            let low = self.low(members.boot, members.boot);
            for (seq, direct) in &self.direct {
                let forward = Forward { boot: members.boot, seq: *seq };
                out.push(Action::Forward { to: to.clone(), id: direct.id, forward, low, behind: true });
            }
        }
        self.hints.values_mut().for_each(|hint| hint.sent_ms = None);
        self.send_hints(to, members, out);
    }

    /// Nobody waits for the node: what a persistent session of it wants becomes a hint, the rest is let go.
    pub(super) fn away(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        out.push(Action::Abandon { to: to.clone() });
        for (seq, direct) in std::mem::take(&mut self.direct) {
            self.give_up(to, seq, direct, false, members, out);
        }
        self.accept(false, members, out);
    }

    fn give_up(
        &mut self,
        to: &NodeName,
        seq: u64,
        direct: Direct,
        live: bool,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let Direct { id, bytes, durable, sent_ms } = direct;
        if !durable && !live {
            return out.push(Action::Accepted { id });
        }
        self.hint(to, Forward { boot: members.boot, seq }, (id, bytes), Some(sent_ms), members, out);
    }

    pub(super) fn tick(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        let late = |direct: &Direct| members.now_ms >= direct.sent_ms + members.settings.ack_wait_ms;
        while let Some(first) = self.direct.first_entry().filter(|entry| late(entry.get())) {
            let (seq, direct) = first.remove_entry();
            self.give_up(to, seq, direct, members.is_live(to), members, out);
        }
        self.accept(members.is_live(to), members, out);
        self.expire(to, members, out);
        self.send_hints(to, members, out);
    }

    fn expire(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        let over =
            |hint: &Hint| hint.stored.is_stored() && members.now_ms >= hint.since_ms + members.settings.hint_keep_ms;
        let (mut count, mut bytes) = (0, 0);
        for _ in 0..EXPIRED_PER_TICK {
            let Some((forward, hint)) = self.hints.first_key_value().filter(|(_, hint)| over(hint)) else { break };
            let forward = *forward;
            (count, bytes) = (count + 1, bytes + u64::from(hint.bytes));
            self.remove_hint(forward);
            out.push(Action::DropHint { to: to.clone(), forward });
        }
        if count > 0 {
            out.push(Action::Event(Event::HintsExpired { node: to.clone(), count, bytes }));
        }
    }

    /// Tells the node whether hints wait for it, and of which processes of ours nothing comes any more.
    pub(super) fn tell(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        let (waiting, oldest) = (!self.hints.is_empty(), self.oldest_boot(members.boot));
        if members.get(to).is_some() {
            self.told = Some((waiting, oldest));
            out.push(Action::Send { to: to.clone(), control: Control::Hints { waiting, oldest } });
        }
    }

    /// As [`Self::tell`], if it is news.
    pub(super) fn tell_change(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        if self.told != Some((!self.hints.is_empty(), self.oldest_boot(members.boot))) {
            self.tell(to, members, out);
        }
    }

    pub(super) fn due_ms(&self, node: &NodeName, members: &Members) -> u64 {
        let settings = &members.settings;
        let late = self.direct.values().next().map(|direct| direct.sent_ms + settings.ack_wait_ms);
        let first = self.hints.values().next().filter(|hint| hint.stored.is_stored());
        let unaccepted = self.unaccepted.front().and_then(|forward| self.hints.get(forward));
        let accept = unaccepted.map(|hint| hint.since_ms + settings.ack_wait_ms);
        let over = first.map(|hint| hint.since_ms + settings.hint_keep_ms);
        let again = first.filter(|_| members.is_live(node)).map(|hint| match hint.sent_ms {
            Some(sent_ms) => sent_ms + settings.ask_again_ms,
            None => members.now_ms,
        });
        [late, over, again, accept].into_iter().flatten().min().unwrap_or(u64::MAX)
    }
}
