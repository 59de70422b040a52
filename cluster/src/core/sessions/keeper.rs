//! The books of the sessions whose keeper we are: who owns which, and since which epoch.

use std::collections::BTreeMap;

use super::Said;
use crate::core::action::{Action, Event};
use crate::core::clock::{AHEAD_MS_MAX, Epoch, HybridTime};
use crate::core::control::Control;
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;
use crate::core::settings::Fault;
use crate::core::words::{ClaimRefusal, Owned, SessionKey, Will, WillKept};

/// How long registrations of a member are waited for before it is asked for them, in milliseconds.
const REGISTER_WAIT_MS: u64 = 500;
/// How often it is looked what may be forgotten, in milliseconds.
const LOOK_MS: u64 = 60_000;
/// Wills that are remembered when they are over, for the node that comes back with one. Of more than these, and of those that a
/// keeper has forgotten because it started again itself, the node that comes back publishes its own.
const WILLS_OVER_MAX: usize = 100_000;

/// A session in the books.
#[derive(Default)]
struct Kept {
    /// Mostly one. More: all but the one with the highest epoch were told to end theirs.
    owners: BTreeMap<NodeName, Ownership>,
    moving: Option<Moving>,
}

impl Kept {
    fn forget(&mut self, node: &NodeName, forget: impl Fn(&mut Ownership)) {
        let Some(ownership) = self.owners.get_mut(node) else { return };
        forget(ownership);
        if ownership.latest().is_none() {
            self.owners.remove(node);
        }
    }
}

/// Since when a node owns a session.
#[derive(Default)]
struct Ownership {
    /// As it says itself.
    said: Option<Epoch>,
    /// As it was granted, later than that. It may not have heard of it.
    granted: Option<Epoch>,
}

impl Ownership {
    fn latest(&self) -> Option<&Epoch> {
        self.granted.as_ref().max(self.said.as_ref())
    }
}

/// A session that its owner was told to hand over.
struct Moving {
    to: NodeName,
    request: u64,
    epoch: Epoch,
    until_ms: u64,
}

/// A member's registration.
struct Registered {
    view: u64,
    round: u64,
    next_part: u32,
    complete: bool,
}

/// A will whose client's node died.
struct Due {
    at_ms: u64,
    epoch: Epoch,
    /// Process of the node: if that comes back, its client was there all the time.
    boot: Option<Boot>,
    will: Will,
    /// When it is said again to the keeper that its session has now, until that has heard it; `u64::MAX`: that is us.
    say_ms: u64,
}

impl Due {
    fn next_ms(&self) -> u64 {
        if self.say_ms == u64::MAX { self.at_ms } else { self.say_ms }
    }
}

/// A will of a node that died that was published or taken over, or whose client was back.
struct Over {
    epoch: Epoch,
    /// As in [`Due`].
    boot: Option<Boot>,
    forget_ms: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Keeper {
    kept: BTreeMap<SessionKey, Kept>,
    registered: BTreeMap<NodeName, Registered>,
    wills: BTreeMap<(NodeName, SessionKey), (Epoch, Option<Boot>, Will)>,
    due: BTreeMap<SessionKey, Due>,
    over: BTreeMap<SessionKey, Over>,
    /// When it is looked which of them may be forgotten.
    look_ms: u64,
    /// When members that have not registered are asked to; 0: not waited yet.
    ask_ms: u64,
}

impl Keeper {
    /// What was promised under the old members is asked for again under the new ones.
    pub(super) fn view_changed(&mut self, members: &Members, said: &mut Said) {
        self.ask_ms = 0;
        self.kept.retain(|_, kept| {
            kept.moving = None;
            !kept.owners.is_empty()
        });
        // Those of other members say nothing of these, even if they were the members once before. Who has registered with these
        // members already may have had others since: it is asked to do so again.
        let early = std::mem::take(&mut self.registered);
        for (node, _) in early.into_iter().filter(|(_, registered)| registered.view == members.view()) {
            if node != *members.own() {
                said.push((node, Control::Sync));
            }
        }
        self.due.values_mut().for_each(|due| due.say_ms = members.now_ms);
    }

    /// A will is not due any more, and is not to come back with its node.
    fn will_over(&mut self, key: &SessionKey, members: &Members) -> Option<Due> {
        let due = self.due.remove(key)?;
        if self.over.len() < WILLS_OVER_MAX {
            let forget_ms = members.now_ms.saturating_add(members.settings.hint_keep_ms);
            self.over.insert(key.clone(), Over { epoch: due.epoch.clone(), boot: due.boot, forget_ms });
        }
        Some(due)
    }

    /// A member is gone, and with it its sessions; their wills are due.
    pub(super) fn lost(&mut self, node: &NodeName, left: bool, members: &Members) {
        self.registered.remove(node);
        self.forget_owner(node, |ownership| *ownership = Ownership::default());
        let keys: Vec<_> = self.wills.keys().filter(|(owner, _)| owner == node).cloned().collect();
        for key in keys {
            let Some((epoch, boot, will)) = self.wills.remove(&key) else { continue };
            if !left {
                let at_ms = members.now_ms.saturating_add(will.delay_ms);
                self.due.insert(key.1, Due { at_ms, epoch, boot, will, say_ms: members.now_ms });
            }
        }
    }

    /// What it says next may have a gap before it.
    pub(super) fn reset(&mut self, node: &NodeName) {
        self.registered.remove(node);
    }

    /// Forgets of what a node owns.
    fn forget_owner(&mut self, node: &NodeName, forget: impl Fn(&mut Ownership)) {
        self.kept.retain(|_, kept| {
            kept.forget(node, &forget);
            !kept.owners.is_empty() || kept.moving.is_some()
        });
    }

    /// Whether every member has registered, as the member that it is now.
    fn is_settled(&self, members: &Members) -> bool {
        let view = members.view();
        let has = |node: &NodeName| self.registered.get(node).is_some_and(|r| r.complete && r.view == view);
        has(members.own()) && members.peers().all(|(node, _)| has(node))
    }

    pub(super) fn received(
        &mut self,
        from: &NodeName,
        control: Control,
        members: &mut Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) {
        match control {
            Control::Register { view, round, part, last, clock, sessions, wills } => {
                if !self.part(from, (view, round, part), last) {
                    return;
                }
                see(from, clock, members, out);
                for owned in sessions {
                    self.owns(from, owned, members, said, out);
                }
                wills.into_iter().for_each(|kept| self.keep_will(from, kept, members, said));
                // Of the last one, too: then it knows that it was heard.
                said.push((from.clone(), Control::RegisterNext { view, round, part }));
            }
            Control::Owns(owned) => self.owns(from, owned, members, said, out),
            Control::Gone(owned) => self.gone(from, &owned),
            Control::MovedTo { owned, to, epoch } => {
                self.gone(from, &owned);
                self.moved(owned.key, to, epoch, members);
            }
            Control::Will(kept) => self.keep_will(from, kept, members, said),
            Control::WillDue { will: WillKept { key, epoch, will: Some(will) }, boot, wait_ms } => {
                let at_ms = members.now_ms.saturating_add(wait_ms);
                if self.over.get(&key).is_none_or(|over| over.epoch != epoch || over.boot != boot) {
                    self.due.entry(key).or_insert(Due { at_ms, epoch, boot, will, say_ms: members.now_ms });
                }
            }
            Control::WillHeard { key, epoch } => {
                let given = |due: &Due| due.epoch == epoch && members.keeper(&key, None) == from;
                if self.due.get(&key).is_some_and(given) {
                    self.will_over(&key, members);
                }
            }
            Control::Claim { view, request, key } => self.claim(from, view, request, key, members, said),
            Control::NotHere { key, epoch } => self.not_here(from, key, &epoch, members, said),
            _ => {}
        }
    }

    /// Whether a part of a registration is the next one; 0 takes back what was there.
    fn part(&mut self, from: &NodeName, (view, round, part): (u64, u64, u32), last: bool) -> bool {
        if part == 0 {
            // A grant may be on its way to it: what it says next was said before it heard of that.
            self.forget_owner(from, |ownership| ownership.said = None);
            self.wills.retain(|(owner, _), _| owner != from);
            let registered = Registered { view, round, next_part: 1, complete: last };
            self.registered.insert(from.clone(), registered);
            return true;
        }
        let Some(registered) = self.registered.get_mut(from) else { return false };
        let next = (registered.view, registered.round, registered.next_part) == (view, round, part);
        if next {
            registered.next_part += 1;
            registered.complete = last;
        }
        next
    }

    /// A node says that a session is its own.
    fn owns(&mut self, from: &NodeName, owned: Owned, members: &mut Members, said: &mut Said, out: &mut Vec<Action>) {
        let Owned { key, epoch } = owned;
        see(from, epoch.time, members, out);
        let boot = members.boot_of(from);
        let is_back = |due: &Due| due.epoch < epoch || (due.epoch == epoch && due.boot == boot);
        if self.due.get(&key).is_some_and(is_back) {
            self.due.remove(&key);
        }
        let kept = self.kept.entry(key.clone()).or_default();
        let ownership = kept.owners.entry(from.clone()).or_default();
        ownership.granted.take_if(|granted| *granted <= epoch);
        ownership.said = ownership.said.take().max(Some(epoch));
        // It was taken.
        kept.moving.take_if(|moving| moving.to == *from);
        // After a partition, or at the end of a hand-over, there are two: the highest epoch wins.
        let known = || kept.owners.iter().filter_map(|(node, ownership)| Some((node, ownership.said.as_ref()?)));
        let by_epoch = |a: &(&NodeName, &Epoch), b: &(&NodeName, &Epoch)| a.1.cmp(b.1);
        let winner = match members.settings.has(Fault::ReversedEpoch) {
            false => known().max_by(by_epoch),
            true => known().min_by(by_epoch),
        };
        let winner = winner.map(|(node, epoch)| (node.clone(), epoch.clone()));
        let Some((by, epoch)) = winner else { return };
        for (loser, _) in known().filter(|(node, _)| **node != by) {
            let (key, epoch, by) = (key.clone(), epoch.clone(), by.clone());
            said.push((loser.clone(), Control::Superseded { key, epoch, by }));
        }
    }

    fn gone(&mut self, from: &NodeName, owned: &Owned) {
        let Some(kept) = self.kept.get_mut(&owned.key) else { return };
        kept.forget(from, |Ownership { said, granted }| {
            said.take_if(|said| *said <= owned.epoch);
            granted.take_if(|granted| *granted <= owned.epoch);
        });
        if kept.owners.is_empty() && kept.moving.is_none() {
            self.kept.remove(&owned.key);
        }
    }

    /// A session was taken by a node that may not have said so yet.
    fn moved(&mut self, key: SessionKey, to: NodeName, epoch: Epoch, members: &Members) {
        let is_member = to == *members.own() || members.get(&to).is_some();
        if is_member {
            let ownership = self.kept.entry(key).or_default().owners.entry(to).or_default();
            if ownership.latest().is_none_or(|latest| *latest < epoch) {
                ownership.granted = Some(epoch);
            }
        }
    }

    fn keep_will(&mut self, from: &NodeName, kept: WillKept, members: &Members, said: &mut Said) {
        let WillKept { key, epoch, will } = kept;
        let boot = members.boot_of(from);
        let Some(will) = will else { return drop(self.wills.remove(&(from.clone(), key))) };
        // Its node had died, and comes back with it: it is ours to publish, or was.
        let is_due = self.due.get(&key).is_some_and(|due| due.epoch == epoch && due.boot != boot);
        let is_over = self.over.get(&key).is_some_and(|over| over.epoch == epoch && over.boot != boot);
        if is_due || is_over {
            said.push((from.clone(), Control::Will(WillKept { key, epoch, will: None })));
            return;
        }
        self.wills.insert((from.clone(), key), (epoch, boot, will));
    }

    fn claim(
        &mut self,
        from: &NodeName,
        view: u64,
        request: u64,
        key: SessionKey,
        members: &mut Members,
        said: &mut Said,
    ) {
        let refused = |key: SessionKey, why| (from.clone(), Control::Refused { request, key, why });
        let unregistered = members.settings.has(Fault::UnregisteredKeeper);
        let settled = self.is_settled(members) || unregistered;
        if view != members.view() || !settled || members.keeper(&key, None) != members.own() {
            said.push(refused(key, ClaimRefusal::NotSettled));
            return;
        }
        let kept = self.kept.entry(key.clone()).or_default();
        if let Some(moving) = kept.moving.as_mut().filter(|moving| members.now_ms < moving.until_ms) {
            if moving.to != *from {
                said.push(refused(key, ClaimRefusal::Contested));
                return;
            }
            moving.request = request;
        }
        self.grant(from, request, key, members, said);
    }

    /// Gives a session to who asked, or asks its owner to.
    fn grant(&mut self, to: &NodeName, request: u64, key: SessionKey, members: &mut Members, said: &mut Said) {
        let kept = self.kept.entry(key.clone()).or_default();
        // It says so at once when it hears of a grant, so it did not hear of this one, and will not take it when it does.
        kept.forget(to, |ownership| ownership.granted = None);
        let owner = kept.owners.iter().max_by(|a, b| a.1.latest().cmp(&b.1.latest()));
        let owner = owner.and_then(|(node, ownership)| Some((node.clone(), ownership.latest()?.clone())));
        // Above every epoch that was seen, however far ahead its clock was.
        let above = owner.as_ref().map_or(HybridTime(0), |(_, epoch)| HybridTime(epoch.time.0.saturating_add(1)));
        let time = members.clock.next(members.now_ms).max(above);
        let epoch = Epoch { time, node: members.own().clone() };
        if let Some((owner, _)) = owner.filter(|(owner, _)| owner != to) {
            let until_ms = members.now_ms + 2 * members.settings.claim_ms_max;
            // Asked again: the same demand again.
            let epoch = kept.moving.take().filter(|moving| moving.to == *to).map_or(epoch, |moving| moving.epoch);
            kept.moving = Some(Moving { to: to.clone(), request, epoch: epoch.clone(), until_ms });
            let handing = Control::HandingOver { request, key: key.clone(), epoch: epoch.clone(), from: owner.clone() };
            said.push((to.clone(), handing));
            said.push((owner, Control::HandOver { key, to: to.clone(), epoch }));
            return;
        }
        kept.moving = None;
        kept.owners.entry(to.clone()).or_default().granted = Some(epoch.clone());
        // Its client is back.
        self.will_over(&key, members);
        said.push((to.clone(), Control::Granted { view: members.view(), request, key, epoch }));
    }

    /// The owner has no such session: it goes without.
    fn not_here(&mut self, from: &NodeName, key: SessionKey, epoch: &Epoch, members: &mut Members, said: &mut Said) {
        let Some(kept) = self.kept.get_mut(&key) else { return };
        if kept.moving.as_ref().is_none_or(|moving| moving.epoch != *epoch) {
            return;
        }
        kept.owners.remove(from);
        let Some(Moving { to, request, .. }) = kept.moving.take() else { return };
        self.grant(&to, request, key, members, said);
    }

    /// A claimant does not want a session any more that it was to get.
    pub(super) fn declined(&mut self, key: &SessionKey, epoch: &Epoch) {
        let Some(kept) = self.kept.get_mut(key) else { return };
        kept.moving.take_if(|moving| moving.epoch == *epoch);
        if kept.owners.is_empty() && kept.moving.is_none() {
            self.kept.remove(key);
        }
    }

    pub(super) fn tick(&mut self, members: &Members, out: &mut Vec<Action>) {
        self.ask_again(members, out);
        if members.now_ms >= self.look_ms {
            self.over.retain(|_, over| members.now_ms < over.forget_ms);
            self.look_ms = members.now_ms + LOOK_MS;
        }
        let mut over = Vec::new();
        for (key, due) in self.due.iter_mut().filter(|(_, due)| members.now_ms >= due.next_ms()) {
            let keeper = members.keeper(key, None);
            if keeper == members.own() {
                due.say_ms = u64::MAX;
                if members.now_ms >= due.at_ms {
                    over.push(key.clone());
                }
            } else {
                due.say_ms = members.now_ms + members.settings.ask_again_ms;
                let will = WillKept { key: key.clone(), epoch: due.epoch.clone(), will: Some(due.will.clone()) };
                let wait_ms = due.at_ms.saturating_sub(members.now_ms);
                let control = Control::WillDue { will, boot: due.boot, wait_ms };
                out.push(Action::Send { to: keeper.clone(), control });
            }
        }
        for key in over {
            if let Some(due) = self.will_over(&key, members) {
                out.push(Action::PublishWill { key, will: due.will });
            }
        }
    }

    pub(super) fn due_ms(&self) -> u64 {
        self.due.values().map(Due::next_ms).min().unwrap_or(u64::MAX).min(self.ask_ms)
    }

    /// Who sees members earlier than we do has registered for them already, and we forgot it when ours were still others: it is
    /// asked to do so again.
    fn ask_again(&mut self, members: &Members, out: &mut Vec<Action>) {
        if self.is_settled(members) {
            self.ask_ms = u64::MAX;
            return;
        }
        if members.now_ms < self.ask_ms {
            return;
        }
        if self.ask_ms > 0 {
            let view = members.view();
            let lacks = |node: &NodeName| self.registered.get(node).is_none_or(|r| r.view != view);
            for (node, _) in members.peers().filter(|(node, peer)| peer.live && lacks(node)) {
                out.push(Action::Send { to: node.clone(), control: Control::Sync });
            }
        }
        self.ask_ms = members.now_ms + REGISTER_WAIT_MS;
    }
}

/// Takes note of a time; one that is too far ahead is told.
fn see(from: &NodeName, time: HybridTime, members: &mut Members, out: &mut Vec<Action>) {
    if !members.clock.see(time, members.now_ms) {
        let ahead_ms = time.ms().saturating_sub(members.now_ms).max(AHEAD_MS_MAX);
        out.push(Action::Event(Event::ClockAhead { node: from.clone(), ahead_ms }));
    }
}
