//! The pure part of the cluster: messages and time in, actions out. No IO, no clock, no runtime.

mod action;
pub mod admission;
mod clock;
mod control;
mod forwards;
mod input;
mod interest;
mod member;
mod members;
pub mod name;
pub mod quota;
mod sessions;
mod sets;
mod settings;
pub mod share;
mod words;

pub use action::{Action, Event, NotAccepted, NotReady, Previous};
pub use admission::{Admitted, Hello, Refusal};
pub use clock::{AHEAD_MS_MAX, Epoch, HybridTime, Stamp};
pub use control::{Control, ControlError};
pub use input::{ForwardWanted, Input, Lost};
pub use member::{Boot, Member};
pub use name::{Name, NodeName, SpiffeId};
pub use settings::{PART_BYTES, Settings};
pub use words::{
    ClaimRefusal, Entry, FilterKey, Forward, Interest, InterestChange, Mark, Owned, SessionKey, Set, Standing, Will,
    WillKept,
};

#[cfg(test)]
pub(crate) use settings::Fault;

use forwards::{Forwards, Records};
use interest::Interests;
use members::Members;
use quota::Quotas;
use sessions::Sessions;
use sets::Sets;

/// How long members are waited for to say which of our wills are theirs, at the longest: one of an earlier version does not.
const WILLS_WAIT_MS: u64 = 10_000;

/// The core of one node: one process of it, from its start to its end.
pub struct Core {
    members: Members,
    interests: Interests,
    forwards: Forwards,
    records: Records,
    sessions: Sessions,
    sets: Sets,
    quotas: Quotas,
    /// Whether the first attempt to join is over.
    members_known: bool,
    /// Until when it is waited for what members say of wills that the store had; `None`: not known yet, or over.
    wills_until_ms: Option<u64>,
    /// What was said last of being ready.
    ready: Option<Result<(), NotReady>>,
}

impl Core {
    /// A node that knows nobody yet.
    pub fn new(settings: Settings, boot: Boot) -> Self {
        Core {
            members: Members::new(settings, boot),
            interests: Interests::new(),
            forwards: Forwards::default(),
            records: Records::default(),
            sessions: Sessions::default(),
            sets: Sets::new(),
            quotas: Quotas::default(),
            members_known: false,
            wills_until_ms: None,
            ready: None,
        }
    }

    /// Takes in what happened and says what is to be done. `now_ms` is the time of day in milliseconds since 1970; one that goes
    /// back is taken to stand still.
    pub fn handle(&mut self, now_ms: u64, input: Input, out: &mut Vec<Action>) {
        self.members.now_ms = self.members.now_ms.max(now_ms);
        match input {
            Input::PeerUp(member) => self.up(member, out),
            Input::PeerSuspected { node, boot } => self.suspected(&node, boot, out),
            Input::PeerLost { node, boot, how } => self.lost(&node, boot, how, out),
            Input::LinkReset { node } => self.reset(&node, out),
            Input::Received { from, boot, control } => self.received(&from, boot, control, out),
            Input::MembersKnown => {
                if !self.members_known {
                    self.wills_until_ms = Some(self.members.now_ms.saturating_add(WILLS_WAIT_MS));
                }
                self.members_known = true;
                self.sessions.view_changed(&mut self.members, out);
            }
            other => self.told(other, out),
        }
        self.tick(out);
    }

    /// The mark of an entry, its tombstone too; `None`: there is none.
    pub fn mark(&self, set: Set, key: &[u8]) -> Option<Mark> {
        self.sets.mark(set, key)
    }

    /// What the host tells.
    fn told(&mut self, input: Input, out: &mut Vec<Action>) {
        let Core { members, interests, forwards, records, sessions, sets, quotas, .. } = self;
        match input {
            Input::Interest(changes) => interests.change(changes, members),
            Input::RoutesRestored { node, keys } => {
                forwards.expect(&node);
                interests.restored(node, keys, out);
            }
            Input::Forward { to, wanted } => forwards.forward(&to, wanted, members, out),
            Input::NotDelivered { to } => forwards.reset(&to, members, out),
            Input::Answered { from, forwards: answered } => forwards.answered(&from, answered, members, out),
            Input::HintsCommitted { to, forwards: hints, stored } => {
                forwards.committed(&to, hints, stored, members, out);
            }
            Input::HintRestored { to, forward, bytes, since_ms } => forwards.restored(to, forward, bytes, since_ms),
            Input::Arrived { from, forward, low } => records.arrived(from, forward, low, members, out),
            Input::Settled { from, forward, stored } => records.settled(from, forward, stored, out),
            Input::RecordRestored { from, boot, low, committed } => records.restored(from, boot, low, committed),
            Input::Claim { request, key } => sessions.claim(request, key, members, out),
            Input::ClaimAbandoned { request } => sessions.abandoned(request, members, out),
            Input::SessionRestored { owned, given } => sessions.restored(owned, given, members),
            Input::HandedOver { key, state } => sessions.handed_over(key, state, members, out),
            Input::Withdrawn { key } => sessions.withdrawn(&key, interests, members, out),
            Input::BarrierPassed { node, request } => match node == *members.own() {
                true => sessions.own_routed(request),
                false => {
                    let last = forwards.unanswered_up_to(&node);
                    out.push(Action::Send { to: node, control: Control::Routed { request, last } });
                }
            },
            Input::Followed { key, to, epoch } => {
                let last = forwards.unanswered_up_to(&to);
                sessions.followed(key, to, epoch, last, members, out);
            }
            Input::Installed { key, epoch, taken } => sessions.installed(key, epoch, taken, interests, members, out),
            Input::Leave { keys } => sessions.leave(keys, members, out),
            Input::SessionGone { key } => sessions.gone(&key, members, out),
            Input::Will { key, will } => sessions.will(key, will, members, out),
            Input::Put { set, key, value, until_ms } => sets.put(set, key, value, until_ms, members, out),
            Input::SetRestored { set, marks } => sets.restored(set, marks, members),
            Input::ContactRestored { contact_ms, ran_ms } => sets.contact_restored(contact_ms, ran_ms, members),
            Input::Loaded { to, set, entries } => sets.loaded(to, set, entries, out),
            Input::Sessions(counts) => quotas.count(counts),
            Input::PeerUp(_)
            | Input::PeerSuspected { .. }
            | Input::PeerLost { .. }
            | Input::LinkReset { .. }
            | Input::Received { .. }
            | Input::MembersKnown
            | Input::Tick => {}
        }
    }

    fn up(&mut self, member: Member, out: &mut Vec<Action>) {
        let Settings { environment, cluster, node: own, .. } = &self.members.settings;
        // Admission has said so already; nothing is kept of who is not ours, whoever offers it.
        if member.environment != *environment || member.cluster != *cluster || member.node == *own {
            let Member { node, environment, cluster, .. } = member;
            return out.push(Action::Event(Event::MemberRefused { node, environment, cluster }));
        }
        let (node, boot) = (member.node.clone(), member.boot);
        let known = self.members.get(&node).map(|peer| (peer.member.boot, peer.live));
        match known {
            Some((known, _)) if known > boot => return,
            Some((known, live)) if known == boot => {
                self.members.set_live(&node, true);
                if !live {
                    self.forwards.up(&node, &self.members, out);
                }
                return;
            }
            Some((known, _)) => self.lost(&node, known, Lost::Dead, out),
            None => {}
        }
        self.members.insert(member);
        self.members.unsettle();
        self.interests.up(&node, boot, out);
        self.sets.reset(&node);
        self.sessions.view_changed(&mut self.members, out);
        self.greet(&node, out);
        self.forwards.up(&node, &self.members, out);
    }

    fn suspected(&mut self, node: &NodeName, boot: Boot, out: &mut Vec<Action>) {
        if self.members.get(node).is_some_and(|peer| peer.member.boot == boot) {
            self.members.set_live(node, false);
            self.forwards.away(node, &self.members, out);
        }
    }

    fn lost(&mut self, node: &NodeName, boot: Boot, how: Lost, out: &mut Vec<Action>) {
        let left = how == Lost::Left;
        if self.members.get(node).is_none_or(|peer| peer.member.boot != boot) {
            return;
        }
        let keeps_hints = self.members.get(node).is_some_and(|peer| peer.hints.0);
        self.members.remove(node);
        self.members.unsettle();
        self.interests.lost(node, left, out);
        self.forwards.away(node, &self.members, out);
        self.sets.reset(node);
        self.quotas.lost(node);
        self.sessions.lost(node, left, keeps_hints, &self.records, &self.members, out);
        self.sessions.view_changed(&mut self.members, out);
    }

    fn reset(&mut self, node: &NodeName, out: &mut Vec<Action>) {
        if self.members.get(node).is_none() {
            return;
        }
        self.members.unsettle();
        self.interests.reset(node);
        self.sets.reset(node);
        self.sessions.reset(node);
        self.greet(node, out);
        self.forwards.reset(node, &self.members, out);
    }

    /// Asks a member for everything that it knows, and tells it what it wants to know.
    fn greet(&mut self, node: &NodeName, out: &mut Vec<Action>) {
        out.push(Action::Send { to: node.clone(), control: Control::Sync });
        self.tell(node, out);
    }

    fn tell(&mut self, node: &NodeName, out: &mut Vec<Action>) {
        self.interests.tell(node, &self.members, out);
        self.sets.tell(node, &self.members, out);
        self.quotas.tell(node, out);
        self.forwards.tell(node, &self.members, out);
        self.sessions.tell(node, &mut self.members, out);
    }

    fn received(&mut self, from: &NodeName, boot: Boot, control: Control, out: &mut Vec<Action>) {
        // Nothing is taken from who is no member, or from a process that is over.
        if self.members.get(from).is_none_or(|peer| peer.member.boot != boot) {
            return;
        }
        match control {
            Control::Sync => self.tell(from, out),
            Control::InterestDelta { .. }
            | Control::InterestDigest { .. }
            | Control::InterestWanted { .. }
            | Control::InterestPart { .. }
            | Control::InterestApplied { .. }
            | Control::RoutedWanted { .. } => self.interests.received(from, control, &self.members, out),
            Control::Hints { waiting, oldest } => {
                self.members.set_hints(from, waiting, oldest);
                self.records.told(from, oldest, out);
            }
            Control::Put { .. }
            | Control::SetDigest { .. }
            | Control::SetBucketsWanted { .. }
            | Control::SetBuckets { .. }
            | Control::SetMarksWanted { .. }
            | Control::SetMarks { .. }
            | Control::SetWanted { .. } => self.sets.received(from, control, &mut self.members, out),
            Control::Sessions { all, counts } => self.quotas.received(from, all, counts),
            Control::Host { bytes } => out.push(Action::Host { from: from.clone(), bytes }),
            Control::Register { .. }
            | Control::RegisterNext { .. }
            | Control::Owns(_)
            | Control::Gone(_)
            | Control::MovedTo { .. }
            | Control::Will(_)
            | Control::WillDue { .. }
            | Control::WillHeard { .. }
            | Control::Claim { .. }
            | Control::HandingOver { .. }
            | Control::Granted { .. }
            | Control::Refused { .. }
            | Control::HandOver { .. }
            | Control::NotHere { .. }
            | Control::Offer { .. }
            | Control::StateWanted { .. }
            | Control::State { .. }
            | Control::Taken { .. }
            | Control::Declined { .. }
            | Control::Superseded { .. }
            | Control::Take { .. }
            | Control::Routed { .. }
            | Control::Followed { .. } => self.sessions.received(from, control, &mut self.members, out),
        }
    }

    fn tick(&mut self, out: &mut Vec<Action>) {
        self.interests.tick(&self.members, out);
        let unsettled = self.members.now_ms < self.members.unsettled_until_ms;
        self.members.lacks_routes = unsettled || self.interests.lacking(&self.members).is_some();
        self.forwards.tick(&self.members, out);
        self.sessions.tick(&self.interests, &self.records, &mut self.members, out);
        self.sets.tick(&self.members, out);
        self.quotas.tick(&self.members, out);
        self.say_ready(out);
        let heard = |until_ms| self.members.now_ms >= until_ms || self.sessions.is_registered(&self.members);
        if self.wills_until_ms.is_some_and(heard) {
            self.wills_until_ms = None;
            out.push(Action::WillsOurs);
        }
    }

    /// A node that was ready once stays so: what it lacks of others that come is theirs to tell.
    fn say_ready(&mut self, out: &mut Vec<Action>) {
        if self.ready == Some(Ok(())) {
            return;
        }
        let ready = match self.members_known {
            false => Err(NotReady::Joining),
            true => match (self.sets.lacking(&self.members), self.interests.lacking(&self.members)) {
                (Some(lacking), _) => Err(lacking),
                (None, Some(of)) => Err(NotReady::Routes { of }),
                (None, None) => Ok(()),
            },
        };
        if self.ready.as_ref() != Some(&ready) {
            self.ready = Some(ready.clone());
            out.push(Action::Ready(ready));
        }
    }

    /// When [`Input::Tick`] is due at the latest, in milliseconds since 1970; `u64::MAX`: not before something else happens.
    pub fn due_ms(&self) -> u64 {
        let members = &self.members;
        let due = [
            self.interests.due_ms(members),
            self.forwards.due_ms(members),
            self.sessions.due_ms(members),
            self.sets.due_ms(),
            self.quotas.due_ms(members),
            self.wills_until_ms.unwrap_or(u64::MAX),
        ];
        due.into_iter().min().unwrap_or(u64::MAX)
    }

    /// The members that answer or are suspected, without ourselves, and whether they answer.
    pub fn members(&self) -> impl Iterator<Item = (&Member, bool)> {
        self.members.peers().map(|(_, peer)| (&peer.member, peer.live))
    }

    /// Hints that wait here: for whom, how many, their bytes, and since when the oldest waits, in milliseconds since 1970.
    pub fn hints(&self) -> impl Iterator<Item = (&NodeName, u64, u64, u64)> {
        self.forwards.hints()
    }

    /// Whether somebody is there who takes sessions of ours when we leave.
    pub fn has_takers(&self) -> bool {
        self.members.has_takers()
    }

    /// After [`Input::Leave`]: how many sessions are still to be taken, if somebody takes them, or on their way; and what members
    /// that are there have not answered.
    pub fn leaving(&self) -> usize {
        self.sessions.leaving(&self.records, &self.members) + self.forwards.unanswered(&self.members)
    }

    /// Where a session lives that was ours, for some minutes after it went.
    pub fn went(&self, key: &SessionKey) -> Option<&NodeName> {
        self.sessions.went(key)
    }

    /// Whether something still follows a session of ours from where it was, or may.
    pub fn is_followed(&self, key: &SessionKey) -> bool {
        self.sessions.is_followed(key, &self.records, &self.members)
    }

    /// The epoch under which a session is ours.
    pub fn epoch(&self, key: &SessionKey) -> Option<&Epoch> {
        self.sessions.epoch(key)
    }
}

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod tests;
