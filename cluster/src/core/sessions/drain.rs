//! What may still come for a session that has left: what was routed to us before the others knew.
//!
//! When a session has left, our set of filters is without those that it alone wanted, and every member routes what it wants to its new
//! place. Each is asked then, and answers when it routes by that set and by that of the new place: up to which number it has sent us
//! anything by then. When all of that is committed here, nothing comes for the session any more. Whoever is lost is not waited for: what
//! it had not sent it has as hints, should it come back.

use std::collections::BTreeMap;

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
    /// Who may have routed something to us, and up to which number, once it has said so.
    left: BTreeMap<NodeName, (Boot, Option<u64>)>,
    /// What this node has routed is with the session.
    own: bool,
    asked_ms: u64,
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
        let left: BTreeMap<_, _> = asked.map(|(node, peer)| (node.clone(), (peer.member.boot, None))).collect();
        let drain = Drain { seq, to: to.clone(), left, own: false, asked_ms: members.now_ms };
        said.extend(drain.left.keys().map(|node| (node.clone(), drain.question(request))));
        out.push(Action::Barrier { node: members.own().clone(), request });
        self.drains.insert(request, drain);
        request
    }

    /// A member says it.
    pub(super) fn routed(&mut self, from: &NodeName, request: u64, last: u64) {
        let Some(drain) = self.drains.get_mut(&request) else { return };
        if let Some((_, known)) = drain.left.get_mut(from) {
            // Asked again, it may have sent more since; or have let go of what it had sent.
            *known = Some(known.map_or(last, |known| known.min(last)));
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
        let Some(peer) = members.get(node).filter(|peer| peer.says_routed()) else { return };
        for (request, drain) in &mut self.drains {
            drain.left.entry(node.clone()).or_insert((peer.member.boot, None));
            said.push((node.clone(), drain.question(*request)));
        }
    }

    pub(super) fn lost(&mut self, node: &NodeName) {
        self.drains.values_mut().for_each(|drain| _ = drain.left.remove(node));
    }

    /// Whether all has come.
    pub(super) fn is_over(&self, drain: u64, records: &Records) -> bool {
        let drain = self.drains.get(&drain);
        drain.is_none_or(|drain| drain.own && drain.left.iter().all(|left| has_come(left, records)))
    }

    /// Asks those again who have not answered, or whose forwards have not come.
    pub(super) fn tick(&mut self, records: &Records, members: &Members, said: &mut Said) {
        let wait_ms = members.settings.ask_again_ms;
        for (request, drain) in self.drains.iter_mut().filter(|(_, drain)| members.now_ms >= drain.asked_ms + wait_ms) {
            drain.asked_ms = members.now_ms;
            let left = drain.left.iter().filter(|left| !has_come(*left, records));
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

    pub(super) fn due_ms(&self, members: &Members) -> u64 {
        let asked_ms = self.drains.values().map(|drain| drain.asked_ms).min();
        asked_ms.map_or(u64::MAX, |asked_ms| asked_ms + members.settings.ask_again_ms)
    }
}

fn has_come((node, (boot, last)): (&NodeName, &(Boot, Option<u64>)), records: &Records) -> bool {
    last.is_some_and(|last| records.has_all(node, *boot, last))
}
