//! Forwards: publications on their way to other nodes, the hints that they become, and the records that keep repeats away.

mod lane;
mod records;

use std::collections::BTreeMap;

use super::action::{Action, NotAccepted};
use super::input::ForwardWanted;
use super::members::Members;
use super::name::NodeName;
use super::words::Forward;
use lane::Lane;
pub(crate) use records::Records;

/// The forwards to all nodes.
#[derive(Default)]
pub(crate) struct Forwards {
    /// Of dead nodes, too: their hints wait.
    lanes: BTreeMap<NodeName, Lane>,
}

impl Forwards {
    /// A member is there (again): what waits for it goes.
    pub(crate) fn up(&mut self, node: &NodeName, members: &Members, out: &mut Vec<Action>) {
        self.lanes.entry(node.clone()).or_default().again(node, members, out);
    }

    /// The links to it were replaced: everything that it did not answer goes again, and it is told of its hints.
    pub(crate) fn reset(&mut self, node: &NodeName, members: &Members, out: &mut Vec<Action>) {
        self.lanes.entry(node.clone()).or_default().again(node, members, out);
    }

    /// Tells a member whether hints wait for it.
    pub(crate) fn tell(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        self.lanes.entry(to.clone()).or_default().tell(to, members, out);
    }

    /// It does not answer any more: nobody waits for it.
    pub(crate) fn away(&mut self, node: &NodeName, members: &Members, out: &mut Vec<Action>) {
        if let Some(lane) = self.lanes.get_mut(node) {
            lane.away(node, members, out);
        }
    }

    /// The host wants to forward publications, in this order.
    pub(crate) fn forward(
        &mut self,
        to: &NodeName,
        wanted: Vec<ForwardWanted>,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(to) else {
            let refused = |wanted: ForwardWanted| Action::NotAccepted { id: wanted.id, why: NotAccepted::NoSuchNode };
            return out.extend(wanted.into_iter().map(refused));
        };
        for wanted in wanted {
            lane.forward(to, wanted, members, out);
        }
        lane.tell_change(to, members, out);
    }

    pub(crate) fn answered(
        &mut self,
        from: &NodeName,
        forwards: Vec<Forward>,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(from) else { return };
        for forward in forwards {
            lane.answered(from, forward, members.boot, out);
        }
        lane.send_hints(from, members, out);
        lane.tell_change(from, members, out);
    }

    pub(crate) fn committed(
        &mut self,
        to: &NodeName,
        forwards: Vec<Forward>,
        stored: bool,
        members: &Members,
        out: &mut Vec<Action>,
    ) {
        let Some(lane) = self.lanes.get_mut(to) else {
            // It is not known.
            let dropped = |forward| Action::DropHint { to: to.clone(), forward };
            return out.extend(forwards.into_iter().filter(|_| stored).map(dropped));
        };
        for forward in forwards {
            lane.committed(to, forward, stored, members, out);
        }
        lane.send_hints(to, members, out);
        lane.tell_change(to, members, out);
    }

    /// A node that is away is to have what its persistent sessions want.
    pub(crate) fn expect(&mut self, node: &NodeName) {
        self.lanes.entry(node.clone()).or_default();
    }

    pub(crate) fn restored(&mut self, to: NodeName, forward: Forward, bytes: u32, since_ms: u64) {
        self.lanes.entry(to).or_default().restored(forward, bytes, since_ms);
    }

    pub(crate) fn tick(&mut self, members: &Members, out: &mut Vec<Action>) {
        for (node, lane) in &mut self.lanes {
            if members.now_ms >= lane.due_ms(node, members) {
                lane.tick(node, members, out);
                lane.tell_change(node, members, out);
            }
        }
    }

    pub(crate) fn due_ms(&self, members: &Members) -> u64 {
        self.lanes.iter().map(|(node, lane)| lane.due_ms(node, members)).min().unwrap_or(u64::MAX)
    }

    /// What members that are there have not answered yet.
    pub(crate) fn unanswered(&self, members: &Members) -> usize {
        self.lanes.iter().filter(|(node, _)| members.is_live(node)).map(|(_, lane)| lane.unanswered()).sum()
    }

    /// The number of the last forward to a node, while it has not answered one; else 0.
    pub(crate) fn unanswered_up_to(&self, node: &NodeName) -> u64 {
        self.lanes.get(node).map_or(0, Lane::unanswered_up_to)
    }

    /// Hints of each node for `cluster status`: number, bytes, and since when the oldest waits.
    pub(crate) fn hints(&self) -> impl Iterator<Item = (&NodeName, u64, u64, u64)> {
        let lanes = self.lanes.iter();
        lanes.map(|(node, lane)| (node, lane.hints_len(), lane.hint_bytes(), lane.oldest_ms()))
    }
}
