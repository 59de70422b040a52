//! Sessions: one live one for each key in the whole cluster.
//!
//! Three parts play together, all in every node: who claims a session (`claims`), who keeps the books of a key (`keeper`) and
//! who owns a session (`owner`). The way of a takeover:
//!
//! 1. The claimant asks the keeper. It grants only if its members are those of the claimant and all of them have registered.
//! 2. Nobody owns the session, or the claimant does: granted, under a new epoch. Else the owner is told to hand over.
//! 3. The owner closes its client, gathers the state and offers it. The claimant fetches it, commits it, and owns the session
//!    from then on, which it tells the keeper. If it does not want it any more, the session stays where it was. If the keeper of now is
//!    not the one that promised it, or knows other members since, that is asked (1) before the client gets it.
//! 4. When every member routes to the new owner, it tells the old one, which forwards what came meanwhile, takes the session's filters
//!    out of its set, and forgets it when nothing comes by earlier ones any more (`drain`).
//!
//! Until step 4 the old owner keeps the session, so that whoever of the three dies, somebody has it; two that have it are told
//! apart by their epochs.

mod claims;
mod drain;
mod keeper;
mod leaving;
mod owner;

use super::action::Action;
use super::clock::Epoch;
use super::control::Control;
use super::forwards::Records;
use super::interest::Interests;
use super::members::Members;
use super::name::NodeName;
use super::words::{Owned, SessionKey, Will};
use claims::Claims;
use keeper::Keeper;
use leaving::Leaving;
use owner::Owner;

/// What was said to which node, which may be our own.
pub(crate) type Said = Vec<(NodeName, Control)>;

/// See the module.
#[derive(Default)]
pub(crate) struct Sessions {
    claims: Claims,
    keeper: Keeper,
    owner: Owner,
    /// Once we leave.
    leaving: Option<Leaving>,
    said: Said,
}

impl Sessions {
    /// The members are others, or the same in other processes.
    pub(crate) fn view_changed(&mut self, members: &mut Members, out: &mut Vec<Action>) {
        self.keeper.view_changed(members, &mut self.said);
        self.owner.register_all(members, &mut self.said);
        self.claims.ask_all(None, members, &mut self.said);
        self.deliver(members, out);
    }

    /// A member was lost: called when the members are without it, before [`Self::view_changed`].
    pub(crate) fn lost(
        &mut self,
        node: &NodeName,
        left: bool,
        keeps_hints: bool,
        records: &Records,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        self.keeper.lost(node, left, members);
        self.owner.lost(node, keeps_hints, records, members, out);
        self.claims.lost(node);
    }

    /// What was under way from it may be lost.
    pub(crate) fn reset(&mut self, node: &NodeName) {
        self.keeper.reset(node);
    }

    /// A member lost what was under way to it.
    pub(crate) fn tell(&mut self, to: &NodeName, members: &mut Members, out: &mut Vec<Action>) {
        self.owner.register(to, members, &mut self.said);
        self.owner.offer_again(to, members, &mut self.said);
        self.claims.ask_all(Some(to), members, &mut self.said);
        self.deliver(members, out);
    }

    pub(crate) fn claim(&mut self, request: u64, key: SessionKey, members: &mut Members, out: &mut Vec<Action>) {
        self.claims.claim(request, key, members, &mut self.said, out);
        self.deliver(members, out);
    }

    pub(crate) fn abandoned(&mut self, request: u64, members: &mut Members, out: &mut Vec<Action>) {
        self.claims.abandoned(request, members, &mut self.said);
        self.deliver(members, out);
    }

    pub(crate) fn restored(&mut self, owned: Owned, given: bool, members: &mut Members) {
        self.owner.restored(owned, given, members);
    }

    pub(crate) fn handed_over(
        &mut self,
        key: SessionKey,
        state: Option<Vec<u8>>,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        self.owner.handed_over(key, state, members, &mut self.said);
        self.deliver(members, out);
    }

    pub(crate) fn installed(
        &mut self,
        key: SessionKey,
        epoch: Epoch,
        taken: bool,
        interests: &mut Interests,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        // What was told of it travels now, so that its old owner is free soon.
        let seq = interests.flush(members, out);
        self.claims.installed(key, epoch, taken, seq, &mut self.owner, members, &mut self.said, out);
        self.deliver(members, out);
    }

    /// A session that moved wants nothing here any more.
    pub(crate) fn withdrawn(
        &mut self,
        key: &SessionKey,
        interests: &mut Interests,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        let seq = interests.flush(members, out);
        self.owner.withdrawn(key, seq, members, &mut self.said, out);
        self.deliver(members, out);
    }

    /// What this node has routed is with its sessions, as was asked under that number.
    pub(crate) fn own_routed(&mut self, request: u64) {
        self.owner.own_routed(request);
    }

    /// What follows a session that moved is sent, and with numbers up to `last` not answered.
    pub(crate) fn followed(
        &mut self,
        key: SessionKey,
        to: NodeName,
        epoch: Epoch,
        last: u64,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        self.owner.followed(key, to, epoch, last, members, &mut self.said);
        self.deliver(members, out);
    }

    /// Others are to take these sessions of ours.
    pub(crate) fn leave(&mut self, keys: Vec<SessionKey>, members: &mut Members, out: &mut Vec<Action>) {
        self.leaving = Some(Leaving::new(keys, members.now_ms));
        self.deliver(members, out);
    }

    /// How many of them are still here, or on their way.
    pub(crate) fn leaving(&self, records: &Records, members: &Members) -> usize {
        let left = self.leaving.as_ref().filter(|_| members.has_takers()).map_or(0, Leaving::left);
        left + self.owner.moving(records)
    }

    pub(crate) fn gone(&mut self, key: &SessionKey, members: &mut Members, out: &mut Vec<Action>) {
        self.owner.gone(key, members, &mut self.said);
        self.deliver(members, out);
    }

    pub(crate) fn will(&mut self, key: SessionKey, will: Option<Will>, members: &mut Members, out: &mut Vec<Action>) {
        self.owner.will(key, will, members, &mut self.said);
        self.deliver(members, out);
    }

    pub(crate) fn received(&mut self, from: &NodeName, control: Control, members: &mut Members, out: &mut Vec<Action>) {
        self.take(from, control, members, out);
        self.deliver(members, out);
    }

    fn take(&mut self, from: &NodeName, control: Control, members: &mut Members, out: &mut Vec<Action>) {
        let said = &mut self.said;
        match control {
            Control::Register { .. }
            | Control::Owns(_)
            | Control::Gone(_)
            | Control::MovedTo { .. }
            | Control::WillHeard { .. }
            | Control::Claim { .. }
            | Control::NotHere { .. } => self.keeper.received(from, control, members, said, out),
            Control::Will(ref kept) => {
                if kept.will.is_none() {
                    self.owner.will_taken(&kept.key, &kept.epoch, out);
                }
                self.keeper.received(from, control, members, said, out);
            }
            Control::WillDue { ref will, .. } => {
                let (key, epoch) = (will.key.clone(), will.epoch.clone());
                said.push((from.clone(), Control::WillHeard { key, epoch }));
                if !self.owner.has_live(&will.key, &will.epoch) {
                    self.owner.will_taken(&will.key, &will.epoch, out);
                    self.keeper.received(from, control, members, said, out);
                }
            }
            Control::RegisterNext { .. }
            | Control::HandOver { .. }
            | Control::StateWanted { .. }
            | Control::Routed { .. }
            | Control::Followed { .. } => self.owner.received(from, control, members, said, out),
            Control::Taken { ref key, .. } | Control::Superseded { ref key, .. } => {
                let key = key.clone();
                self.owner.received(from, control, members, said, out);
                // What a keeper said before it heard of this does not count: it may have granted what was ours.
                if self.owner.epoch(&key).is_none() {
                    self.claims.ask_anew(&key, members, said);
                }
            }
            Control::Declined { key, epoch } => {
                self.keeper.declined(&key, &epoch);
                self.owner.declined(from, key, &epoch, members, said, out);
            }
            Control::Granted { .. }
            | Control::Refused { .. }
            | Control::HandingOver { .. }
            | Control::Offer { .. }
            | Control::State { .. } => self.claims.received(from, control, &mut self.owner, members, said, out),
            // Who leaves takes no sessions of others.
            Control::Take { keys } if self.leaving.is_none() => {
                for key in keys {
                    self.claims.take(key, &self.owner, members, said);
                }
            }
            _ => {}
        }
    }

    /// Carries what was said: what is for ourselves at once.
    fn deliver(&mut self, members: &mut Members, out: &mut Vec<Action>) {
        while !self.said.is_empty() {
            for (to, control) in std::mem::take(&mut self.said) {
                if to == *members.own() {
                    self.take(&to, control, members, out);
                } else {
                    out.push(Action::Send { to, control });
                }
            }
        }
    }

    pub(crate) fn tick(
        &mut self,
        interests: &Interests,
        records: &Records,
        members: &mut Members,
        out: &mut Vec<Action>,
    ) {
        self.claims.tell_taken(interests, &self.owner, members, &mut self.said);
        self.claims.tick(members, &mut self.said, out);
        self.owner.tick(records, members, &mut self.said, out);
        self.keeper.tick(members, out);
        if let Some(leaving) = &mut self.leaving {
            leaving.tick(&self.owner, members, &mut self.said);
        }
        self.deliver(members, out);
    }

    /// Whether every member has heard of our sessions and wills, and so has said which of these are its to publish.
    pub(crate) fn is_registered(&self, members: &Members) -> bool {
        self.owner.is_registered(members)
    }

    pub(crate) fn due_ms(&self, members: &Members) -> u64 {
        let leaving = self.leaving.as_ref().map_or(u64::MAX, |leaving| leaving.due_ms(members));
        self.claims.due_ms(members).min(self.owner.due_ms()).min(self.keeper.due_ms()).min(leaving)
    }

    /// Where a session lives that was ours, for some minutes after it went.
    pub(crate) fn went(&self, key: &SessionKey) -> Option<&NodeName> {
        self.owner.went(key)
    }

    /// Whether something still follows a session of ours from where it was.
    pub(crate) fn is_followed(&self, key: &SessionKey, records: &Records, members: &Members) -> bool {
        self.owner.is_followed(key, records, members)
    }

    /// The epoch under which a session is ours.
    pub(crate) fn epoch(&self, key: &SessionKey) -> Option<&Epoch> {
        self.owner.epoch(key)
    }
}
