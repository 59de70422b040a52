//! Claims: clients that have connected here and wait for their session.

use std::collections::BTreeMap;

use super::Said;
use super::owner::{Owner, TAKEN_KEEP_MS};
use crate::core::action::{Action, Event, Previous};
use crate::core::clock::Epoch;
use crate::core::control::Control;
use crate::core::interest::Interests;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::words::{ClaimRefusal, Owned, SessionKey};

/// How long a keeper that refused for the moment is left alone.
const RETRY_MS: u64 = 100;

/// A client that waits.
struct Claim {
    /// The host's number; `None`: no client waits. It went while its session was being installed, or the session's node leaves.
    request: Option<u64>,
    until_ms: u64,
    /// When the keeper is asked again.
    ask_ms: u64,
    /// Number of the last question. Answers to earlier ones do not count.
    asked: u64,
    /// Whose session the keeper has promised in its answer to that: until we have it, it grants the key to nobody else.
    promised: Option<NodeName>,
    /// Why it would be refused if its time were over now.
    why: ClaimRefusal,
    step: Step,
}

enum Step {
    /// The keeper was asked.
    Asked,
    /// The owner was told to hand over, says the keeper.
    Promised { from: NodeName, epoch: Epoch },
    /// The state is on its way.
    Fetching { from: NodeName, epoch: Epoch, len: u64, state: Vec<u8> },
    /// The host installs it.
    Installing { from: NodeName, epoch: Epoch },
}

/// A session that we own, whose old owner waits until everybody routes to us.
struct Untold {
    to: NodeName,
    epoch: Epoch,
    /// Number of our interest with its subscriptions.
    seq: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Claims {
    claims: BTreeMap<SessionKey, Claim>,
    last_asked: u64,
    untold: BTreeMap<SessionKey, Untold>,
    /// Under which epoch a session of a node was declined last, and until when that is remembered. What is offered under it
    /// again was sent before its owner heard of that: it serves the session since, and gives another state to who asks anew.
    declined: BTreeMap<(SessionKey, NodeName), (Epoch, u64)>,
}

impl Claims {
    /// A client wants its session. A second one for the same key takes the place of the first, which is refused.
    pub(super) fn claim(
        &mut self,
        request: u64,
        key: SessionKey,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        let until_ms = members.now_ms + members.settings.claim_ms_max;
        if let Some(claim) = self.claims.get_mut(&key) {
            if let Some(request) = claim.request.replace(request) {
                out.push(Action::ClaimRefused { request, why: ClaimRefusal::Contested });
            }
            claim.until_ms = until_ms;
            return;
        }
        if self.claims.len() >= members.settings.claims_max {
            return out.push(Action::ClaimRefused { request, why: ClaimRefusal::Full });
        }
        let (why, step) = (ClaimRefusal::NotSettled, Step::Asked);
        let mut claim = Claim { request: Some(request), until_ms, ask_ms: 0, asked: 0, promised: None, why, step };
        claim.ask(&key, &mut self.last_asked, members, said);
        self.claims.insert(key, claim);
    }

    /// A node leaves, and we are to have a session of it. What does not find room stays where it is. Its keeper is asked once: whoever
    /// comes for it meanwhile goes first, and is not to lose it to us; if it is still there its node says so again.
    pub(super) fn take(&mut self, key: SessionKey, owner: &Owner, members: &Members, said: &mut Said) {
        // The other half is for clients.
        let is_full = self.claims.len() >= members.settings.claims_max / 2;
        if is_full || owner.epoch(&key).is_some() || self.claims.contains_key(&key) {
            return;
        }
        let until_ms = members.now_ms + members.settings.claim_ms_max;
        let (why, step) = (ClaimRefusal::NotSettled, Step::Asked);
        let mut claim = Claim { request: None, until_ms, ask_ms: 0, asked: 0, promised: None, why, step };
        claim.ask(&key, &mut self.last_asked, members, said);
        self.claims.insert(key, claim);
    }

    /// The client went. A session that is being installed is taken all the same.
    pub(super) fn abandoned(&mut self, request: u64, members: &Members, said: &mut Said) {
        let found = self.claims.iter_mut().find(|(_, claim)| claim.request == Some(request));
        let Some((key, claim)) = found else { return };
        let key = key.clone();
        match &claim.step {
            Step::Installing { .. } => claim.request = None,
            _ => {
                if let Some(claim) = self.claims.remove(&key) {
                    self.decline(&claim, key, members, said);
                }
            }
        }
    }

    /// Tells owner and keeper that nobody waits any more.
    fn decline(&mut self, claim: &Claim, key: SessionKey, members: &Members, said: &mut Said) {
        let (from, epoch) = match &claim.step {
            Step::Asked => return,
            Step::Promised { from, epoch } => (from, epoch),
            Step::Fetching { from, epoch, .. } | Step::Installing { from, epoch } => (from, epoch),
        };
        self.say_declined(from, key, epoch.clone(), members, said);
    }

    fn say_declined(&mut self, from: &NodeName, key: SessionKey, epoch: Epoch, members: &Members, said: &mut Said) {
        let keeper = members.keeper(&key, None);
        for to in [from, keeper].into_iter().take(if keeper == from { 1 } else { 2 }) {
            said.push((to.clone(), Control::Declined { key: key.clone(), epoch: epoch.clone() }));
        }
        let forget_ms = members.now_ms + TAKEN_KEEP_MS;
        let last = self.declined.entry((key, from.clone())).or_insert_with(|| (epoch.clone(), forget_ms));
        *last = (last.0.clone().max(epoch), forget_ms);
    }

    /// The members are others, so their keepers may be too; or, with a keeper, that one has lost what was under way to it. What was
    /// promised before counts no more.
    pub(super) fn ask_all(&mut self, of: Option<&NodeName>, members: &Members, said: &mut Said) {
        let is_of_it = |key: &SessionKey| of.is_none_or(|of| members.keeper(key, None) == of);
        self.claims.retain(|key, claim| !claim.is_asked_once() || !is_of_it(key));
        for (key, claim) in self.claims.iter_mut().filter(|(key, _)| is_of_it(key)) {
            match claim.step {
                // Asked when it is here.
                Step::Installing { .. } => (claim.asked, claim.promised) = (0, None),
                _ => claim.ask(key, &mut self.last_asked, members, said),
            }
        }
    }

    /// The keeper of a session is asked anew.
    pub(super) fn ask_anew(&mut self, key: &SessionKey, members: &Members, said: &mut Said) {
        if let Some(claim) = self.claims.get_mut(key).filter(|claim| !matches!(claim.step, Step::Installing { .. })) {
            claim.ask(key, &mut self.last_asked, members, said);
        }
    }

    /// Nothing comes from a node that was lost.
    pub(super) fn lost(&mut self, node: &NodeName) {
        for claim in self.claims.values_mut() {
            match &claim.step {
                Step::Promised { from, .. } | Step::Fetching { from, .. } if from == node => claim.step = Step::Asked,
                _ => {}
            }
        }
        self.untold.retain(|_, untold| untold.to != *node);
    }

    pub(super) fn received(
        &mut self,
        from: &NodeName,
        control: Control,
        owner: &mut Owner,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        match control {
            Control::Granted { view, request, key, epoch } => {
                self.granted(from, (view, request), key, epoch, owner, members, said, out);
            }
            Control::Refused { request, key, why } => {
                let Some(claim) = self.of(&key, request) else { return };
                if claim.is_asked_once() {
                    self.claims.remove(&key);
                } else if let Step::Asked = claim.step {
                    claim.why = why;
                    claim.ask_ms = members.now_ms + RETRY_MS;
                }
            }
            Control::HandingOver { request, key, epoch, from } => {
                members.clock.see(epoch.time, members.now_ms);
                let wait_ms = members.settings.ask_again_ms;
                let Some(claim) = self.of(&key, request) else { return };
                claim.why = ClaimRefusal::HandOverUnfinished;
                claim.ask_ms = members.now_ms + wait_ms;
                claim.promised = Some(from.clone());
                if let Step::Asked | Step::Promised { .. } = claim.step {
                    claim.step = Step::Promised { from, epoch };
                }
            }
            Control::Offer { key, epoch, since, len } => {
                self.offered(from, key, (epoch, since), len, owner, members, said, out);
            }
            Control::State { key, epoch, offset, bytes } => {
                self.state(from, key, epoch, offset, bytes, members, said, out);
            }
            _ => {}
        }
    }

    fn of(&mut self, key: &SessionKey, request: u64) -> Option<&mut Claim> {
        self.claims.get_mut(key).filter(|claim| claim.asked == request)
    }

    #[allow(clippy::too_many_arguments)]
    fn granted(
        &mut self,
        keeper: &NodeName,
        (view, request): (u64, u64),
        key: SessionKey,
        epoch: Epoch,
        owner: &mut Owner,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        members.clock.see(epoch.time, members.now_ms);
        let wanted = view == members.view()
            && self
                .claims
                .get(&key)
                .is_some_and(|claim| claim.asked == request && !matches!(claim.step, Step::Installing { .. }));
        if !wanted {
            // A keeper of other members, or a client that did not wait. If we own it under an earlier epoch, it stays granted:
            // that it is gone under this one would mean that it is gone.
            if owner.epoch(&key).is_none_or(|ours| *ours > epoch) {
                said.push((keeper.clone(), Control::Gone(Owned { key, epoch })));
            }
            return;
        }
        // It was offered to somebody who may have taken it already: that is heard first.
        if let Some((_, epoch)) = owner.offered(&key) {
            let epoch = epoch.clone();
            said.push((keeper.clone(), Control::Owns(Owned { key: key.clone(), epoch })));
            if let Some(claim) = self.claims.get_mut(&key) {
                claim.why = ClaimRefusal::HandOverUnfinished;
                claim.ask_ms = members.now_ms + RETRY_MS;
            }
            return;
        }
        let Some(claim) = self.claims.remove(&key) else { return };
        let Some(request) = claim.request else {
            // It ended before it was taken, and no client wants a new one.
            said.push((keeper.clone(), Control::Gone(Owned { key, epoch })));
            return;
        };
        said.push((keeper.clone(), Control::Owns(Owned { key: key.clone(), epoch: epoch.clone() })));
        owner.granted(key, epoch.clone(), members, said, out);
        out.push(Action::Granted { request, epoch, previous: Previous::Nobody });
    }

    #[allow(clippy::too_many_arguments)]
    fn offered(
        &mut self,
        from: &NodeName,
        key: SessionKey,
        (epoch, since): (Epoch, Epoch),
        len: u64,
        owner: &Owner,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        members.clock.see(epoch.time, members.now_ms);
        if let Some(epoch) = owner.taken_from(&key, from, &since).cloned() {
            // Else it is told once everybody routes to us.
            if !self.untold.contains_key(&key) {
                said.push((from.clone(), Control::Taken { key, epoch }));
            }
            return;
        }
        // We took it before we started again, or have a later one.
        if let Some(ours) = owner.epoch(&key).filter(|ours| **ours > since) {
            return said.push((from.clone(), Control::Taken { key, epoch: ours.clone() }));
        }
        let was_declined = self.declined.get(&(key.clone(), from.clone())).is_some_and(|(last, _)| epoch <= *last);
        let Some(claim) = self.claims.get_mut(&key).filter(|_| !was_declined) else {
            if let Some(claim) = self.claims.get_mut(&key).filter(|claim| matches!(claim.step, Step::Promised { .. })) {
                // Under another epoch than the one that it was promised under.
                claim.ask_ms = claim.ask_ms.min(members.now_ms + RETRY_MS);
            }
            return self.say_declined(from, key, epoch, members, said);
        };
        if len > members.settings.state_bytes_max {
            let claim = self.claims.remove(&key);
            self.say_declined(from, key, epoch, members, said);
            if let Some(Claim { request: Some(request), .. }) = claim {
                out.push(Action::ClaimRefused { request, why: ClaimRefusal::HandOverUnfinished });
            }
            return;
        }
        claim.why = ClaimRefusal::HandOverUnfinished;
        // An older one of ours is on its way to somebody else, who answers first; then this is offered again.
        if owner.offered(&key).is_some_and(|(to, _)| to != from) {
            return;
        }
        let offset = match &claim.step {
            Step::Installing { .. } => return,
            // Of another length it was gathered anew: its hand-over was cancelled, and demanded again.
            Step::Fetching { from: node, epoch: under, len: known, state }
                if node == from && *under == epoch && *known == len =>
            {
                state.len() as u64
            }
            // A later demand than the one that is followed goes first.
            Step::Fetching { epoch: under, .. } if *under > epoch => {
                return self.say_declined(from, key, epoch, members, said);
            }
            _ => {
                let (from, epoch) = (from.clone(), epoch.clone());
                claim.step = Step::Fetching { from, epoch, len, state: Vec::new() };
                0
            }
        };
        said.push((from.clone(), Control::StateWanted { key, epoch, offset }));
    }

    #[allow(clippy::too_many_arguments)]
    fn state(
        &mut self,
        from: &NodeName,
        key: SessionKey,
        epoch: Epoch,
        offset: u64,
        bytes: Vec<u8>,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        let Some(claim) = self.claims.get_mut(&key) else { return };
        let Step::Fetching { from: node, epoch: under, len, state } = &mut claim.step else { return };
        if node != from || *under != epoch || offset != state.len() as u64 {
            return;
        }
        state.extend_from_slice(&bytes);
        let here = state.len() as u64;
        if here > *len || (bytes.is_empty() && here < *len) {
            out.push(Action::Event(Event::PeerMisbehaved { node: from.clone(), what: "a state of another length" }));
            claim.step = Step::Asked;
            return;
        }
        if here < *len {
            said.push((from.clone(), Control::StateWanted { key, epoch, offset: here }));
            return;
        }
        let state = std::mem::take(state);
        claim.ask_ms = members.now_ms;
        claim.step = Step::Installing { from: from.clone(), epoch: epoch.clone() };
        out.push(Action::Install { key, epoch, from: from.clone(), state });
    }

    /// The host has installed a session, or could not.
    #[allow(clippy::too_many_arguments)]
    pub(super) fn installed(
        &mut self,
        key: SessionKey,
        epoch: Epoch,
        taken: bool,
        seq: u64,
        owner: &mut Owner,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        let Some(mut claim) = self.claims.remove(&key) else { return };
        let from = match &claim.step {
            Step::Installing { from, epoch: under } if *under == epoch => from.clone(),
            _ => return drop(self.claims.insert(key, claim)),
        };
        if !taken {
            self.decline(&claim, key, members, said);
            if let Some(request) = claim.request {
                out.push(Action::ClaimRefused { request, why: ClaimRefusal::HandOverUnfinished });
            }
            return;
        }
        owner.took(key.clone(), epoch.clone(), from.clone(), members);
        let owned = Owned { key: key.clone(), epoch: epoch.clone() };
        said.push((members.keeper(&key, None).clone(), Control::Owns(owned)));
        if members.get(&from).is_some() {
            self.untold.insert(key.clone(), Untold { to: from.clone(), epoch: epoch.clone(), seq });
        }
        let Some(request) = claim.request else { return };
        if claim.promised.as_ref() == Some(&from) {
            return out.push(Action::Granted { request, epoch, previous: Previous::Taken { from } });
        }
        // A keeper of earlier members has promised it. That of now may know of another one, and grant that elsewhere at this moment:
        // it says whether this is the one that the client gets.
        (claim.why, claim.step) = (ClaimRefusal::NotSettled, Step::Asked);
        claim.ask(&key, &mut self.last_asked, members, said);
        self.claims.insert(key, claim);
    }

    /// Tells old owners whose sessions everybody finds here by now, or that are over.
    pub(super) fn tell_taken(&mut self, interests: &Interests, owner: &Owner, members: &Members, said: &mut Said) {
        let done = |(key, untold): &(&_, &Untold)| interests.is_applied(untold.seq, members) || !owner.has(key);
        let keys: Vec<_> = self.untold.iter().filter(done).map(|(key, _)| key.clone()).collect();
        for key in keys {
            if let Some(Untold { to, epoch, .. }) = self.untold.remove(&key) {
                said.push((to, Control::Taken { key, epoch }));
            }
        }
    }

    pub(super) fn tick(&mut self, members: &Members, said: &mut Said, out: &mut Vec<Action>) {
        let installing = |claim: &Claim| matches!(claim.step, Step::Installing { .. });
        self.declined.retain(|_, (_, forget_ms)| members.now_ms < *forget_ms);
        let mut over = Vec::new();
        for (key, claim) in self.claims.iter_mut().filter(|(_, claim)| !installing(claim)) {
            let unanswered = claim.is_asked_once() && members.now_ms >= claim.ask_ms;
            if members.now_ms >= claim.until_ms || unanswered {
                over.push(key.clone());
            } else if members.now_ms >= claim.ask_ms {
                claim.ask(key, &mut self.last_asked, members, said);
            }
        }
        for key in over {
            let Some(claim) = self.claims.remove(&key) else { continue };
            if let Some(request) = claim.request {
                out.push(Action::ClaimRefused { request, why: claim.why });
            }
            self.decline(&claim, key, members, said);
        }
    }

    pub(super) fn due_ms(&self, _members: &Members) -> u64 {
        let waiting = self.claims.values().filter(|claim| !matches!(claim.step, Step::Installing { .. }));
        waiting.map(|claim| claim.until_ms.min(claim.ask_ms)).min().unwrap_or(u64::MAX)
    }
}

impl Claim {
    /// No client waits, and nobody has promised anything.
    fn is_asked_once(&self) -> bool {
        self.request.is_none() && matches!(self.step, Step::Asked)
    }

    fn ask(&mut self, key: &SessionKey, last_asked: &mut u64, members: &Members, said: &mut Said) {
        *last_asked += 1;
        (self.asked, self.promised) = (*last_asked, None);
        self.ask_ms = members.now_ms + members.settings.ask_again_ms;
        let (view, request, key) = (members.view(), self.asked, key.clone());
        said.push((members.keeper(&key, None).clone(), Control::Claim { view, request, key }));
    }
}
