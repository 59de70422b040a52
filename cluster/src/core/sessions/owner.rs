//! The sessions that are ours: registered with their keepers, handed over when a keeper says so.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use super::Said;
use super::drain::Drains;
use crate::core::action::Action;
use crate::core::clock::Epoch;
use crate::core::control::Control;
use crate::core::forwards::Records;
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::{Fault, PART_BYTES};
use crate::core::words::{Owned, SessionKey, Will, WillKept};

/// A session of ours.
struct Session {
    epoch: Epoch,
    /// The store had it at the start, and its client has not come since.
    restored: bool,
    /// When the process before this one ended, its state had been given away.
    given: bool,
}

/// A session that was taken from another node, also when it is over since.
struct Taken {
    epoch: Epoch,
    forget_ms: u64,
    /// What still follows it from there; `None`: nothing.
    follows: Option<Follows>,
}

/// What follows a session.
enum Follows {
    /// More may be sent.
    Some,
    /// It was sent, by that process with numbers up to that one.
    UpTo(Boot, u64),
}

/// How long it is remembered that a session was taken, in case that its old owner asks: it asks every few seconds.
pub(super) const TAKEN_KEEP_MS: u64 = 60_000;
/// How long it is remembered where a session went: what followed it here is sent on.
const WENT_KEEP_MS: u64 = 600_000;
/// How often it is looked which moves go on, and how many of them at most in each millisecond.
const LOOK_MS: u64 = 10;
const LOOKED_AT_PER_MS: u64 = 100;
/// How often it is looked what is to be forgotten.
const FORGETS_MS: u64 = 1_000;
/// How long it is in doubt whether a taker that is gone has the session. Less than the minute in which takers know what comes twice.
const DOUBT_MS: u64 = 30_000;

/// A session on its way to another node.
struct Move {
    to: NodeName,
    /// Of the first demand. Who takes it does so under this one, or under that of a later demand.
    first: Epoch,
    epoch: Epoch,
    /// Who was heard to have a later one while the other node was gone: that one, given on, or another. If the other node never
    /// says that it took it, what came since the state was given goes there.
    later: Option<(NodeName, Epoch)>,
    step: Step,
}

enum Step {
    /// The host gathers its state.
    Gathering,
    /// The other node fetches it.
    Offered { state: Vec<u8>, said_ms: u64 },
    /// The other node is gone, and may have taken it. Meanwhile it is ours, and whoever wants it gets it. When the other node is
    /// back it is offered it again, and says.
    Doubtful { state: Vec<u8>, until_ms: u64 },
    /// It lives there; what still comes for it goes there: until then, and until all has come that was routed here for it, as that drain
    /// says (`None`: it has not begun), or follows it here. Not longer than hints are kept.
    Lingering { until_ms: u64, at_most_ms: u64, drain: Option<u64> },
    /// It lives there, and the host sends what has come last.
    Following,
}

/// How far the registration with one keeper is.
struct Round {
    view: u64,
    round: u64,
    part: u32,
    /// `None`: everything was sent.
    next: Option<Place>,
    /// The keeper has it all.
    done: bool,
}

/// Where the next part of a registration begins.
#[derive(Clone)]
enum Place {
    Sessions(Option<SessionKey>),
    Wills(Option<SessionKey>),
}

/// See the module.
#[derive(Default)]
pub(super) struct Owner {
    sessions: BTreeMap<SessionKey, Session>,
    wills: BTreeMap<SessionKey, Will>,
    moves: BTreeMap<SessionKey, Move>,
    /// By session and old owner.
    taken: BTreeMap<(SessionKey, NodeName), Taken>,
    /// Where those live that moved and are not here any more, and until when that is remembered.
    went: BTreeMap<SessionKey, (NodeName, u64)>,
    /// When it is looked next which moves go on, and what is to be forgotten.
    looks_ms: u64,
    forgets_ms: u64,
    drains: Drains,
    rounds: BTreeMap<NodeName, Round>,
    last_round: u64,
}

impl Owner {
    pub(super) fn epoch(&self, key: &SessionKey) -> Option<&Epoch> {
        self.sessions.get(key).map(|session| &session.epoch)
    }

    /// Where a session lives that was here.
    pub(super) fn went(&self, key: &SessionKey) -> Option<&NodeName> {
        self.went.get(key).map(|(to, _)| to)
    }

    /// How many sessions are on their way to other nodes. Not those for which something comes only when a node is back that was lost.
    pub(super) fn moving(&self, records: &Records) -> usize {
        let moves = |moving: &&Move| match moving.step {
            Step::Lingering { drain: Some(drain), .. } => !self.drains.awaits_only_lost(drain, records),
            _ => true,
        };
        self.moves.values().filter(moves).count()
    }

    pub(super) fn restored(&mut self, owned: Owned, given: bool, members: &mut Members) {
        members.clock.see(owned.epoch.time, members.now_ms);
        self.sessions.insert(owned.key, Session { epoch: owned.epoch, restored: true, given });
    }

    /// A keeper gave us a session that nobody else has.
    pub(super) fn granted(
        &mut self,
        key: SessionKey,
        epoch: Epoch,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        self.went.remove(&key);
        // Its client is back; if it leaves another one, that is told.
        self.will(key.clone(), None, members, said);
        match self.moves.remove(&key) {
            Some(Move { step: Step::Doubtful { .. }, .. }) => out.push(Action::HandOverCancelled { key: key.clone() }),
            Some(Move { step: Step::Following, .. }) => {}
            // It moved and ended there, and its client is here again.
            Some(Move { to, epoch, .. }) => out.push(Action::MoveOver { key: key.clone(), to, epoch }),
            None => {}
        }
        self.sessions.insert(key, Session { epoch, restored: false, given: false });
    }

    /// Whether a session is ours, or was and moved a moment ago.
    pub(super) fn has(&self, key: &SessionKey) -> bool {
        self.sessions.contains_key(key) || self.moves.contains_key(key)
    }

    /// To whom a session of ours was offered that has not answered, and its epoch here.
    pub(super) fn offered(&self, key: &SessionKey) -> Option<(&NodeName, &Epoch)> {
        let asked = |moving: &&Move| matches!(moving.step, Step::Gathering | Step::Offered { .. });
        let moving = self.moves.get(key).filter(asked)?;
        Some((&moving.to, self.epoch(key)?))
    }

    /// We took a session from another node.
    pub(super) fn took(&mut self, key: SessionKey, epoch: Epoch, from: NodeName, members: &Members) {
        self.went.remove(&key);
        // It came back while we were lingering: what comes for it here is its own again.
        self.moves.remove(&key);
        let says = members.get(&from).is_some_and(|peer| peer.says_routed());
        let follows = says.then_some(Follows::Some);
        let taken = Taken { epoch: epoch.clone(), forget_ms: members.now_ms + TAKEN_KEEP_MS, follows };
        self.taken.insert((key.clone(), from), taken);
        self.sessions.insert(key, Session { epoch, restored: false, given: false });
    }

    /// Under which epoch a session was taken from a node that has it `since` an earlier one.
    pub(super) fn taken_from(&self, key: &SessionKey, from: &NodeName, since: &Epoch) -> Option<&Epoch> {
        let taken = self.taken.get(&(key.clone(), from.clone()))?;
        Some(&taken.epoch).filter(|epoch| *epoch > since)
    }

    pub(super) fn will(&mut self, key: SessionKey, will: Option<Will>, members: &Members, said: &mut Said) {
        let Some(session) = self.sessions.get(&key) else { return };
        let before = match &will {
            Some(will) => self.wills.insert(key.clone(), will.clone()),
            None => self.wills.remove(&key),
        };
        if before != will {
            let kept = WillKept { key, epoch: session.epoch.clone(), will };
            say_will(kept, members, said);
        }
    }

    /// Whether a will of that epoch is of a session whose client was here all the time.
    pub(super) fn has_live(&self, key: &SessionKey, epoch: &Epoch) -> bool {
        self.sessions.get(key).is_some_and(|session| !session.restored && session.epoch >= *epoch)
    }

    /// A keeper has published a will that the store still had, or will.
    pub(super) fn will_taken(&mut self, key: &SessionKey, epoch: &Epoch, out: &mut Vec<Action>) {
        let is_it = self.sessions.get(key).is_some_and(|session| session.restored && session.epoch == *epoch);
        if is_it && self.wills.remove(key).is_some() {
            out.push(Action::WillTaken { key: key.clone() });
        }
    }

    /// Whether every member has our registration.
    pub(super) fn is_registered(&self, members: &Members) -> bool {
        members.peers().all(|(node, _)| self.rounds.get(node).is_some_and(|round| round.done))
    }

    /// A session is over, or ours no more.
    pub(super) fn gone(&mut self, key: &SessionKey, members: &Members, said: &mut Said) {
        let Some(session) = self.sessions.remove(key) else { return };
        let owned = Owned { key: key.clone(), epoch: session.epoch };
        if self.wills.remove(key).is_some() {
            say_will(WillKept { key: key.clone(), epoch: owned.epoch.clone(), will: None }, members, said);
        }
        if let Some(Move { epoch, .. }) = self.moves.remove(key) {
            said.push((members.keeper(key, None).clone(), Control::NotHere { key: key.clone(), epoch }));
        }
        said.push((members.keeper(key, None).clone(), Control::Gone(owned)));
    }

    // ---- registration

    pub(super) fn register_all(&mut self, members: &Members, said: &mut Said) {
        self.rounds.clear();
        let nodes: Vec<NodeName> = members.peers().map(|(node, _)| node.clone()).collect();
        for node in nodes.iter().chain([members.own()]) {
            self.register(node, members, said);
        }
    }

    /// Begins to register with a keeper.
    pub(super) fn register(&mut self, to: &NodeName, members: &Members, said: &mut Said) {
        self.last_round += 1;
        let (view, round) = (members.view(), self.last_round);
        let next = Some(Place::Sessions(None));
        self.rounds.insert(to.clone(), Round { view, round, part: 0, next, done: false });
        self.say_part(to, members, said);
    }

    fn say_part(&mut self, to: &NodeName, members: &Members, said: &mut Said) {
        let Some(Round { view, round, part, next: Some(place), .. }) = self.rounds.get(to) else { return };
        let (view, round, part) = (*view, *round, *part);
        let (sessions, wills, next) = self.part(to, place.clone(), members);
        let last = next.is_none();
        if let Some(state) = self.rounds.get_mut(to) {
            state.next = next;
        }
        let clock = members.clock.last();
        said.push((to.clone(), Control::Register { view, round, part, last, clock, sessions, wills }));
    }

    /// As much of what a keeper keeps as fits a message, and where the rest begins.
    fn part(&self, to: &NodeName, place: Place, members: &Members) -> (Vec<Owned>, Vec<WillKept>, Option<Place>) {
        let behind =
            |key: &Option<SessionKey>| (key.clone().map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut sessions, mut wills, mut bytes) = (Vec::new(), Vec::new(), 0);
        let mut wills_from = None;
        if let Place::Wills(key) = &place {
            wills_from = key.clone();
        }
        if let Place::Sessions(key) = &place {
            for (key, session) in self.sessions.range(behind(key)) {
                if members.keeper(key, None) != to {
                    continue;
                }
                sessions.push(Owned { key: key.clone(), epoch: session.epoch.clone() });
                bytes += key.bytes() + 32;
                if bytes >= PART_BYTES {
                    return (sessions, wills, Some(Place::Sessions(Some(key.clone()))));
                }
            }
        }
        for (key, will) in self.wills.range(behind(&wills_from)) {
            let Some(session) = self.sessions.get(key) else { continue };
            if members.keeper(key, Some(members.own())) != to || to == members.own() {
                continue;
            }
            wills.push(WillKept { key: key.clone(), epoch: session.epoch.clone(), will: Some(will.clone()) });
            bytes += key.bytes() + 32 + will.bytes.len();
            if bytes >= PART_BYTES {
                return (sessions, wills, Some(Place::Wills(Some(key.clone()))));
            }
        }
        (sessions, wills, None)
    }

    // ---- hand-over

    pub(super) fn received(
        &mut self,
        from: &NodeName,
        control: Control,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        match control {
            Control::RegisterNext { view, round, part } => {
                let Some(state) = self.rounds.get_mut(from) else { return };
                if (state.view, state.round, state.part) == (view, round, part) {
                    state.part += 1;
                    state.done = state.next.is_none();
                    self.say_part(from, members, said);
                }
            }
            Control::HandOver { key, to, epoch } => self.hand_over(from, key, to, epoch, members, said, out),
            Control::StateWanted { key, epoch, offset } => self.state_wanted(from, key, epoch, offset, members, said),
            Control::Taken { key, epoch } => self.taken(from, key, &epoch, members, said, out),
            Control::Superseded { key, epoch, by } => self.superseded(from, key, epoch, by, members, said, out),
            Control::Routed { request, last } => self.drains.routed(from, request, last),
            Control::Followed { key, epoch, last } => {
                let (boot, of) = (members.boot_of(from), (key, from.clone()));
                if let Some(taken) = self.taken.get_mut(&of).filter(|taken| taken.epoch == epoch) {
                    taken.follows = boot.map(|boot| Follows::UpTo(boot, last));
                }
            }
            _ => {}
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn hand_over(
        &mut self,
        keeper: &NodeName,
        key: SessionKey,
        to: NodeName,
        epoch: Epoch,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        members.clock.see(epoch.time, members.now_ms);
        let Some(session) = self.sessions.get(&key) else {
            said.push((keeper.clone(), Control::NotHere { key, epoch }));
            return;
        };
        // The keeper does not know our last epoch: it was said to another one.
        if session.epoch > epoch {
            return say_kept(keeper, key, session.epoch.clone(), epoch, said);
        }
        if self.moves.get(&key).is_some_and(|moving| matches!(moving.step, Step::Doubtful { .. })) {
            self.moves.remove(&key);
            out.push(Action::HandOverCancelled { key: key.clone() });
        }
        let Some(moving) = self.moves.get_mut(&key) else {
            let step = Step::Gathering;
            let moving = Move { to: to.clone(), first: epoch.clone(), epoch: epoch.clone(), later: None, step };
            self.moves.insert(key.clone(), moving);
            return out.push(Action::HandOver { key, to, epoch });
        };
        // It was offered to another one, which may have taken it already: that one answers first.
        if moving.to != to {
            return say_kept(keeper, key, session.epoch.clone(), epoch, said);
        }
        // Asked again, perhaps by another keeper.
        moving.epoch = epoch.clone();
        if let Step::Offered { state, said_ms } = &mut moving.step {
            *said_ms = members.now_ms;
            let since = session.epoch.clone();
            said.push((to, Control::Offer { key, epoch, since, len: state.len() as u64 }));
        }
    }

    pub(super) fn handed_over(
        &mut self,
        key: SessionKey,
        state: Option<Vec<u8>>,
        members: &mut Members,
        said: &mut Said,
    ) {
        // Its taker is gone meanwhile: the host was told.
        let Some(moving) = self.moves.get_mut(&key) else { return };
        let Step::Gathering = moving.step else { return };
        let Some(state) = state else { return self.gone(&key, members, said) };
        let Some(since) = self.sessions.get(&key).map(|session| session.epoch.clone()) else { return };
        let (to, epoch, len) = (moving.to.clone(), moving.epoch.clone(), state.len() as u64);
        moving.step = Step::Offered { state, said_ms: members.now_ms };
        said.push((to, Control::Offer { key, epoch, since, len }));
    }

    fn state_wanted(
        &mut self,
        from: &NodeName,
        key: SessionKey,
        epoch: Epoch,
        offset: u64,
        members: &Members,
        said: &mut Said,
    ) {
        let Some(moving) = self.moves.get_mut(&key) else { return };
        let Step::Offered { state, said_ms } = &mut moving.step else { return };
        let Ok(start) = usize::try_from(offset) else { return };
        if moving.to != *from || moving.epoch != epoch || start > state.len() {
            return;
        }
        *said_ms = members.now_ms;
        let bytes = state[start..state.len().min(start + PART_BYTES)].to_vec();
        said.push((from.clone(), Control::State { key, epoch, offset, bytes }));
    }

    fn taken(
        &mut self,
        from: &NodeName,
        key: SessionKey,
        epoch: &Epoch,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        let Some(session) = self.sessions.get(&key) else { return };
        let of_it =
            |moving: &Move| moving.to == *from && matches!(moving.step, Step::Offered { .. } | Step::Doubtful { .. });
        // An earlier epoch is that of one that was ours before, and came back since.
        if session.epoch >= *epoch || !self.moves.get(&key).is_some_and(of_it) {
            return;
        }
        let Some(moving) = self.moves.remove(&key) else { return };
        if *epoch < moving.first {
            // It has a later one that is not this one.
            return self.stays(key, moving, members, said, out);
        }
        self.moved(key, Move { epoch: epoch.clone(), ..moving }, members, said, out);
    }

    /// A session was taken: its keeper hears who has it now, and its will is the other one's.
    fn moved(&mut self, key: SessionKey, moving: Move, members: &Members, said: &mut Said, out: &mut Vec<Action>) {
        let Move { to, epoch, .. } = &moving;
        out.push(Action::Moved { key: key.clone(), to: to.clone(), epoch: epoch.clone() });
        if let Some(session) = self.sessions.remove(&key) {
            let owned = Owned { key: key.clone(), epoch: session.epoch };
            if self.wills.remove(&key).is_some() {
                say_will(WillKept { key: key.clone(), epoch: owned.epoch.clone(), will: None }, members, said);
            }
            let moved = Control::MovedTo { owned, to: to.clone(), epoch: epoch.clone() };
            said.push((members.keeper(&key, None).clone(), moved));
        }
        // One that does not say what it has routed is given a moment.
        let all_say = members.peers().all(|(_, peer)| peer.says_routed());
        let linger_ms = if all_say { 0 } else { members.settings.linger_ms };
        let (until_ms, at_most_ms) = (members.now_ms + linger_ms, members.now_ms + members.settings.hint_keep_ms);
        let step = Step::Lingering { until_ms, at_most_ms, drain: None };
        self.moves.insert(key, Move { step, ..moving });
    }

    /// Who was to take a session has not done so, as far as we know.
    fn stays(&mut self, key: SessionKey, moving: Move, members: &Members, said: &mut Said, out: &mut Vec<Action>) {
        if let Some((to, epoch)) = moving.later.clone() {
            return self.moved(key, Move { to, epoch, ..moving }, members, said, out);
        }
        out.push(Action::HandOverCancelled { key: key.clone() });
        // If another node has a later one, we hear of it now.
        if let Some(session) = self.sessions.get(&key) {
            let keeper = members.keeper(&key, None);
            say_kept(keeper, key, session.epoch.clone(), moving.epoch, said);
        }
    }

    /// A node is there, perhaps back: what it may have taken is offered to it again.
    pub(super) fn offer_again(&mut self, to: &NodeName, members: &Members, said: &mut Said) {
        self.drains.ask(to, members, said);
        for (key, moving) in self.moves.iter_mut().filter(|(_, moving)| moving.to == *to) {
            let (Step::Doubtful { state, .. }, Some(session)) = (&mut moving.step, self.sessions.get(key)) else {
                continue;
            };
            let (state, said_ms) = (std::mem::take(state), members.now_ms);
            let (epoch, since, len) = (moving.epoch.clone(), session.epoch.clone(), state.len() as u64);
            moving.step = Step::Offered { state, said_ms };
            said.push((to.clone(), Control::Offer { key: key.clone(), epoch, since, len }));
        }
    }

    pub(super) fn declined(
        &mut self,
        from: &NodeName,
        key: SessionKey,
        epoch: &Epoch,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        let is_it = |moving: &Move| {
            let is_over = matches!(moving.step, Step::Lingering { .. } | Step::Following);
            moving.to == *from && moving.epoch == *epoch && !is_over
        };
        if !self.moves.get(&key).is_some_and(is_it) {
            return;
        }
        if let Some(moving) = self.moves.remove(&key) {
            self.stays(key, moving, members, said, out);
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn superseded(
        &mut self,
        keeper: &NodeName,
        key: SessionKey,
        epoch: Epoch,
        by: NodeName,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        members.clock.see(epoch.time, members.now_ms);
        let Some(session) = self.sessions.get(&key) else { return };
        if session.epoch > epoch && !members.settings.has(Fault::ReversedEpoch) {
            let owned = Owned { key, epoch: session.epoch.clone() };
            said.push((keeper.clone(), Control::Owns(owned)));
            return;
        }
        match self.moves.get_mut(&key) {
            Some(moving) if matches!(moving.step, Step::Doubtful { .. }) && moving.first <= epoch => {
                if moving.to != by {
                    moving.later = Some((by, epoch));
                } else if let Some(moving) = self.moves.remove(&key) {
                    self.moved(key, Move { epoch, ..moving }, members, said, out);
                }
                return;
            }
            // It was offered: who took it, perhaps to give it on, says so, and then what came meanwhile goes there. If nobody
            // took it, we say that it is ours, and hear of this again. Who might have taken it is later than this one.
            Some(_) => return,
            // It was taken, but not that we heard of it before we ended.
            None if session.given => {
                let moving = Move { to: by, first: epoch.clone(), epoch, later: None, step: Step::Gathering };
                return self.moved(key, moving, members, said, out);
            }
            None => {}
        }
        self.gone(&key, members, said);
        out.push(Action::Superseded { key, by, epoch });
    }

    /// A node that was to take sessions is gone: those that it was not offered stay.
    pub(super) fn lost(
        &mut self,
        node: &NodeName,
        keeps_hints: bool,
        records: &Records,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        self.rounds.remove(node);
        self.drains.lost(node, keeps_hints, records);
        self.taken.iter_mut().filter(|((_, from), _)| from == node).for_each(|(_, taken)| taken.follows = None);
        self.moves.retain(|key, moving| {
            if moving.to != *node {
                return true;
            }
            match moving.step {
                Step::Gathering => {
                    out.push(Action::HandOverCancelled { key: key.clone() });
                    return false;
                }
                Step::Offered { ref mut state, .. } => {
                    let (state, until_ms) = (std::mem::take(state), members.now_ms + DOUBT_MS);
                    moving.step = Step::Doubtful { state, until_ms };
                }
                Step::Doubtful { .. } | Step::Lingering { .. } | Step::Following => {}
            }
            true
        });
    }

    /// The host has taken back what a session that moved wanted: our set of that number is without it.
    pub(super) fn withdrawn(
        &mut self,
        key: &SessionKey,
        seq: u64,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        if let Some(Move { to, step: Step::Lingering { drain, .. }, .. }) = self.moves.get_mut(key) {
            *drain = Some(self.drains.begin(seq, to, members, said, out));
        }
    }

    pub(super) fn own_routed(&mut self, request: u64) {
        self.drains.own_routed(request);
    }

    /// The host has sent all that follows a session.
    pub(super) fn followed(
        &mut self,
        key: SessionKey,
        to: NodeName,
        epoch: Epoch,
        last: u64,
        members: &Members,
        said: &mut Said,
    ) {
        let is_it = |moving: &Move| matches!(moving.step, Step::Following) && moving.epoch == epoch;
        if self.moves.get(&key).is_some_and(is_it) {
            self.moves.remove(&key);
            self.went.insert(key.clone(), (to.clone(), members.now_ms + WENT_KEEP_MS));
        }
        if members.get(&to).is_some_and(|peer| peer.says_routed()) {
            said.push((to, Control::Followed { key, epoch, last }));
        }
    }

    pub(super) fn tick(&mut self, records: &Records, members: &Members, said: &mut Said, out: &mut Vec<Action>) {
        let (now_ms, wait_ms) = (members.now_ms, members.settings.ask_again_ms);
        // It costs what there is of them, and sessions may wait for a node that is away, while messages come and go.
        if now_ms < self.looks_ms {
            return;
        }
        self.looks_ms = now_ms + LOOK_MS + self.moves.len() as u64 / LOOKED_AT_PER_MS;
        if now_ms >= self.forgets_ms {
            self.forgets_ms = now_ms + FORGETS_MS;
            let Owner { taken, sessions, moves, .. } = self;
            // One that is over is not kept for what may follow it.
            let is_here = |key: &SessionKey| sessions.contains_key(key) || moves.contains_key(key);
            let is_followed =
                |(key, from): &(SessionKey, NodeName), taken: &Taken| is_here(key) && taken.is_followed(from, records);
            taken.retain(|of, taken| now_ms < taken.forget_ms || is_followed(of, taken));
            self.went.retain(|_, (_, forget_ms)| now_ms < *forget_ms);
        }
        let mut over = Vec::new();
        let lingers = members.awaits_old_hints();
        for (key, moving) in &mut self.moves {
            match &mut moving.step {
                Step::Doubtful { until_ms, .. } if now_ms >= *until_ms => over.push(key.clone()),
                Step::Lingering { until_ms, at_most_ms, drain: Some(drain) }
                    if now_ms >= *at_most_ms
                        || now_ms >= *until_ms
                            && !lingers
                            && self.drains.is_over(*drain, records)
                            && !is_followed(&self.taken, key, records, members) =>
                {
                    let (key, to, epoch) = (key.clone(), moving.to.clone(), moving.epoch.clone());
                    moving.step = Step::Following;
                    out.push(Action::MoveOver { key, to, epoch });
                }
                Step::Offered { state, said_ms } if now_ms >= *said_ms + wait_ms => {
                    *said_ms = now_ms;
                    let Some(since) = self.sessions.get(key).map(|session| session.epoch.clone()) else { continue };
                    let (key, epoch, len) = (key.clone(), moving.epoch.clone(), state.len() as u64);
                    said.push((moving.to.clone(), Control::Offer { key, epoch, since, len }));
                }
                _ => {}
            }
        }
        for key in over {
            if let Some(moving) = self.moves.remove(&key) {
                self.stays(key, moving, members, said, out);
            }
        }
        if !self.drains.is_empty() {
            let drain = |moving: &Move| match moving.step {
                Step::Lingering { drain, .. } => drain,
                _ => None,
            };
            let wanted: BTreeSet<u64> = self.moves.values().filter_map(drain).collect();
            self.drains.keep(|drain| wanted.contains(&drain));
        }
        self.drains.tick(records, members, said);
    }

    /// Whether something still follows a session of ours from where it was.
    pub(super) fn is_followed(&self, key: &SessionKey, records: &Records, members: &Members) -> bool {
        is_followed(&self.taken, key, records, members)
    }

    pub(super) fn due_ms(&self) -> u64 {
        if self.moves.is_empty() { u64::MAX } else { self.looks_ms }
    }
}

impl Taken {
    fn is_followed(&self, from: &NodeName, records: &Records) -> bool {
        match &self.follows {
            Some(Follows::Some) => true,
            Some(Follows::UpTo(boot, last)) => !records.has_all(from, *boot, *last),
            None => false,
        }
    }
}

/// Whether something still follows a session that was taken here from somewhere.
fn is_followed(
    taken: &BTreeMap<(SessionKey, NodeName), Taken>,
    key: &SessionKey,
    records: &Records,
    members: &Members,
) -> bool {
    let follows =
        |from: &NodeName| taken.get(&(key.clone(), from.clone())).is_some_and(|taken| taken.is_followed(from, records));
    members.peers().any(|(from, _)| follows(from))
}

/// Tells a keeper that a session stays ours, and that its demand is over: who still wants the session asks again.
fn say_kept(keeper: &NodeName, key: SessionKey, ours: Epoch, demand: Epoch, said: &mut Said) {
    let owned = Owned { key: key.clone(), epoch: ours };
    said.push((keeper.clone(), Control::Owns(owned)));
    said.push((keeper.clone(), Control::Declined { key, epoch: demand }));
}

/// Says a will to the member that would be the session's keeper without us.
fn say_will(kept: WillKept, members: &Members, said: &mut Said) {
    let keeper = members.keeper(&kept.key, Some(members.own()));
    if keeper != members.own() {
        said.push((keeper.clone(), Control::Will(kept)));
    }
}
