//! Members of a shared subscription on other nodes: a message goes to a node, which gives it to one of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::Mutex;

use crate::remote::Remote;

/// Which nodes have how many members. Costs a look at a counter while there are none.
#[derive(Default)]
pub(super) struct Nodes {
    count: AtomicU32,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    members: Vec<(Arc<Remote>, u32)>,
    /// The whole filter, for the nodes that are told.
    filter: Option<Arc<str>>,
    turn: u32,
}

impl Nodes {
    pub(super) fn set(&self, node: &Arc<Remote>, members: u32, filter: &str) {
        let inner = &mut *self.inner.lock();
        inner.filter.get_or_insert_with(|| filter.into());
        match inner.members.iter_mut().find(|(known, _)| Arc::ptr_eq(known, node)) {
            Some((_, known)) => *known = members,
            None => inner.members.push((node.clone(), members)),
        }
        self.count.store(inner.members.len() as u32, Ordering::Relaxed);
    }

    pub(super) fn unset(&self, node: &Arc<Remote>) {
        let inner = &mut *self.inner.lock();
        inner.members.retain(|(known, _)| !Arc::ptr_eq(known, node));
        self.count.store(inner.members.len() as u32, Ordering::Relaxed);
    }

    pub(super) fn are_none(&self) -> bool {
        self.count.load(Ordering::Relaxed) == 0
    }

    /// Whose turn it is, each as often as it has members that are there; `None`: this node's, which has `own`.
    pub(super) fn turn(&self, own: impl FnOnce() -> u32) -> Option<(Arc<Remote>, Arc<str>)> {
        if self.are_none() {
            return None;
        }
        let own = own();
        let inner = &mut *self.inner.lock();
        let all = inner.members.iter().fold(own, |all, (_, members)| all.saturating_add(*members));
        if all == 0 {
            // All are away: one whose members are persistent keeps it for them.
            let (node, _) = inner.members.first()?;
            return Some((node.clone(), inner.filter.clone()?));
        }
        let turn = inner.turn % all;
        inner.turn = turn + 1;
        let mut left = turn.checked_sub(own)?;
        let filter = inner.filter.clone()?;
        let (node, _) = inner.members.iter().find(|(_, members)| match left.checked_sub(*members) {
            Some(rest) => {
                left = rest;
                false
            }
            None => true,
        })?;
        Some((node.clone(), filter))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards section 10: nodes take turns as their members do, this one first; one that is gone gets nothing more.
    #[test]
    fn turns_go_by_members() {
        let nodes = Nodes::default();
        assert!(nodes.turn(|| 1).is_none());
        let [a, b] = ["a", "b"].map(|name| Remote::pair(name)[0].clone());
        nodes.set(&a, 2, "$share/g/t");
        nodes.set(&b, 1, "$share/g/t");
        let turns = |own: u32, n: usize| -> Vec<String> {
            let name = |(node, _): (Arc<Remote>, Arc<str>)| node.name().to_owned();
            (0..n).map(|_| nodes.turn(|| own).map_or("-".to_owned(), name)).collect()
        };
        assert_eq!(turns(1, 8), ["-", "a", "a", "b", "-", "a", "a", "b"]);
        nodes.unset(&a);
        nodes.inner.lock().turn = 0;
        assert_eq!(turns(2, 6), ["-", "-", "b", "-", "-", "b"]);
        assert_eq!(turns(0, 2), ["b", "b"]);
        nodes.set(&b, 0, "$share/g/t");
        assert_eq!((turns(1, 2), turns(0, 1)), (vec!["-".to_owned(); 2], vec!["b".to_owned()]));
        nodes.unset(&b);
        assert!(nodes.are_none() && nodes.turn(|| 0).is_none());
    }
}
