//! What may still come for sessions that have left: what was routed to us before the others knew.
//!
//! When a session has left, our set of filters is without those that it alone wanted. Each member says when it routes by that set, and up
//! to which number it has sent us anything by earlier ones: when all of that is committed here, nothing comes for the session any more.
//! Whoever is lost is not waited for: what it had not sent it has as hints, if it is back.

use std::collections::BTreeMap;

use super::Said;
use crate::core::action::Action;
use crate::core::control::Control;
use crate::core::forwards::Records;
use crate::core::member::Boot;
use crate::core::members::Members;
use crate::core::name::NodeName;

/// What comes by sets before one of ours.
struct Drain {
    /// Those who route to us, and up to which number they have sent by earlier sets.
    left: BTreeMap<NodeName, (Boot, Option<u64>)>,
    /// What this node has routed is with the sessions.
    own: bool,
    asked_ms: u64,
}

/// By the number of our set.
#[derive(Default)]
pub(super) struct Drains(BTreeMap<u64, Drain>);

impl Drains {
    /// Asks what comes by sets before that one, if nobody has.
    pub(super) fn begin(&mut self, seq: u64, members: &Members, said: &mut Said, out: &mut Vec<Action>) {
        if self.0.contains_key(&seq) {
            return;
        }
        let asked = members.peers().filter(|(_, peer)| peer.says_routed());
        let left: BTreeMap<_, _> = asked.map(|(node, peer)| (node.clone(), (peer.member.boot, None))).collect();
        said.extend(left.keys().map(|node| (node.clone(), Control::RoutedWanted { seq })));
        out.push(Action::Barrier { node: members.own().clone(), seq });
        self.0.insert(seq, Drain { left, own: false, asked_ms: members.now_ms });
    }

    /// A member says it.
    pub(super) fn routed(&mut self, from: &NodeName, seq: u64, last: u64) {
        for (_, drain) in self.0.range_mut(..=seq) {
            if let Some((_, known)) = drain.left.get_mut(from) {
                // Asked again, it may have sent more by later sets; or have let go of what it had sent.
                *known = Some(known.map_or(last, |known| known.min(last)));
            }
        }
    }

    /// What this node has routed before it is with the sessions.
    pub(super) fn own_routed(&mut self, seq: u64) {
        self.0.range_mut(..=seq).for_each(|(_, drain)| drain.own = true);
    }

    pub(super) fn lost(&mut self, node: &NodeName) {
        self.0.values_mut().for_each(|drain| _ = drain.left.remove(node));
    }

    /// Whether all has come.
    pub(super) fn is_over(&self, seq: u64, records: &Records) -> bool {
        self.0.get(&seq).is_none_or(|drain| drain.own && drain.left.iter().all(|left| has_come(left, records)))
    }

    /// Asks those again who have not answered, or whose forwards have not come.
    pub(super) fn tick(&mut self, records: &Records, members: &Members, said: &mut Said) {
        let wait_ms = members.settings.ask_again_ms;
        for (seq, drain) in self.0.iter_mut().filter(|(_, drain)| members.now_ms >= drain.asked_ms + wait_ms) {
            drain.asked_ms = members.now_ms;
            let left = drain.left.iter().filter(|left| !has_come(*left, records));
            said.extend(left.map(|(node, _)| (node.clone(), Control::RoutedWanted { seq: *seq })));
        }
    }

    /// Lets go of those that nobody waits for.
    pub(super) fn keep(&mut self, is_wanted: impl Fn(u64) -> bool) {
        self.0.retain(|seq, _| is_wanted(*seq));
    }

    pub(super) fn due_ms(&self, members: &Members) -> u64 {
        self.0.values().map(|drain| drain.asked_ms + members.settings.ask_again_ms).min().unwrap_or(u64::MAX)
    }
}

fn has_come((node, (boot, last)): (&NodeName, &(Boot, Option<u64>)), records: &Records) -> bool {
    last.is_some_and(|last| records.has_all(node, *boot, last))
}
