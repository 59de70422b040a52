//! What may still come for a session that has left: what was routed to us before the others knew.
//!
//! When a session has left, our set of filters is without those that it alone wanted, and every member routes what it wants to its new
//! place. Each is asked then, and answers when it routes by that set and by that of the new place: up to which number it has sent us
//! anything by then. When all of that is committed here, nothing comes for the session any more. Of whoever is lost before it may come as
//! hints, when it is back.

use std::collections::{BTreeMap, BTreeSet};

use super::Said;
use crate::core::action::Action;
use crate::core::control::Control;
use crate::core::forwards::Records;
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;

/// What had been routed when a session left.
struct Drain {
    /// Our set without it.
    seq: u64,
    /// Where it lives.
    to: NodeName,
    /// Who may have routed something to us.
    left: BTreeMap<NodeName, Left>,
    /// What this node has routed is with the session.
    own: bool,
    asked_ms: u64,
}

/// What may come from a node.
enum Left {
    /// It has not said.
    Asked(Boot),
    /// What that process has sent up to that number.
    UpTo(Boot, u64),
    /// It was lost, and keeps what it had not sent.
    Away,
}

impl Drain {
    fn question(&self, request: u64) -> Control {
        Control::RoutedWanted { request, seq: self.seq, to: self.to.clone() }
    }
}

/// Each has a number, under which it is asked for.
#[derive(Default)]
pub(super) struct Drains {
    drains: BTreeMap<u64, Drain>,
    last: u64,
    /// Those who kept hints for us when they were lost, and are not back.
    keep_hints: BTreeSet<NodeName>,
}

impl Drains {
    /// Asks what has been routed to us. The number of the drain.
    pub(super) fn begin(
        &mut self,
        seq: u64,
        to: &NodeName,
        members: &Members,
        said: &mut Said,
        out: &mut Vec<Action>,
    ) -> u64 {
        self.last += 1;
        let request = self.last;
        let asked = members.peers().filter(|(_, peer)| peer.says_routed());
        let asked = asked.map(|(node, peer)| (node.clone(), Left::Asked(peer.member.boot)));
        let mut drain = Drain { seq, to: to.clone(), left: asked.collect(), own: false, asked_ms: members.now_ms };
        said.extend(drain.left.keys().map(|node| (node.clone(), drain.question(request))));
        drain.left.extend(self.keep_hints.iter().map(|node| (node.clone(), Left::Away)));
        out.push(Action::Barrier { node: members.own().clone(), request });
        self.drains.insert(request, drain);
        request
    }

    /// A member says it.
    pub(super) fn routed(&mut self, from: &NodeName, request: u64, last: u64) {
        let Some(drain) = self.drains.get_mut(&request) else { return };
        match drain.left.get_mut(from) {
            Some(left @ Left::Asked(_)) => {
                let Left::Asked(boot) = *left else { return };
                *left = Left::UpTo(boot, last);
            }
            // Asked again, it may have sent more since; or have let go of what it had sent.
            Some(Left::UpTo(_, known)) => *known = last.min(*known),
            Some(Left::Away) | None => {}
        }
    }

    /// What this node has routed is with its sessions.
    pub(super) fn own_routed(&mut self, request: u64) {
        if let Some(drain) = self.drains.get_mut(&request) {
            drain.own = true;
        }
    }

    /// A member is there, perhaps back from where it did not hear us: it may have routed by what it knew before. Or the channel to it broke.
    pub(super) fn ask(&mut self, node: &NodeName, members: &Members, said: &mut Said) {
        let Some(peer) = members.get(node) else { return };
        self.keep_hints.remove(node);
        if !peer.says_routed() {
            // It says of hints alone.
            return self.drains.values_mut().for_each(|drain| _ = drain.left.remove(node));
        }
        for (request, drain) in &mut self.drains {
            let left = drain.left.entry(node.clone()).or_insert(Left::Away);
            if let Left::Away = left {
                *left = Left::Asked(peer.member.boot);
            }
            said.push((node.clone(), drain.question(*request)));
        }
    }

    /// It is no member any more.
    pub(super) fn lost(&mut self, node: &NodeName, keeps_hints: bool, records: &Records) {
        if keeps_hints {
            self.keep_hints.insert(node.clone());
        }
        for drain in self.drains.values_mut() {
            match drain.left.get_mut(node) {
                Some(left) if keeps_hints || !left.has_come(node, records) => *left = Left::Away,
                Some(_) => _ = drain.left.remove(node),
                None => {}
            }
        }
    }

    /// Whether something is still to come, but only from who is no member now.
    pub(super) fn awaits_only_lost(&self, drain: u64, records: &Records) -> bool {
        let is_away = |left: &Left| matches!(left, Left::Away);
        let is_no_member = |(node, left): (&NodeName, &Left)| is_away(left) || left.has_come(node, records);
        let awaits = |drain: &Drain| drain.left.values().any(is_away) && drain.left.iter().all(is_no_member);
        self.drains.get(&drain).is_some_and(|drain| drain.own && awaits(drain))
    }

    /// Whether all has come.
    pub(super) fn is_over(&self, drain: u64, records: &Records) -> bool {
        let drain = self.drains.get(&drain);
        drain.is_none_or(|drain| drain.own && drain.left.iter().all(|(node, left)| left.has_come(node, records)))
    }

    /// Asks those again who have not answered, or whose forwards have not come.
    pub(super) fn tick(&mut self, records: &Records, members: &Members, said: &mut Said) {
        let wait_ms = members.settings.ask_again_ms;
        for (request, drain) in self.drains.iter_mut().filter(|(_, drain)| members.now_ms >= drain.asked_ms + wait_ms) {
            drain.asked_ms = members.now_ms;
            let is_asked = |node: &NodeName, left: &Left| !matches!(left, Left::Away) && !left.has_come(node, records);
            let left = drain.left.iter().filter(|(node, left)| is_asked(node, left));
            said.extend(left.map(|(node, _)| (node.clone(), drain.question(*request))));
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.drains.is_empty()
    }

    /// Lets go of those that nobody waits for.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(u64) -> bool) {
        self.drains.retain(|drain, _| is_wanted(*drain));
    }
}

impl Left {
    fn has_come(&self, node: &NodeName, records: &Records) -> bool {
        match self {
            Left::UpTo(boot, last) => records.has_all(node, *boot, *last),
            Left::Asked(_) | Left::Away => false,
        }
    }
}
