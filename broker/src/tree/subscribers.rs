//! Who subscribed to one filter: mostly nobody or one, sometimes many, then indexed by session.

use std::sync::Arc;

use gatemq_types::QoS;
use hashbrown::HashMap;

use crate::Hasher;
use crate::session::Session;

/// A receiver as the router needs it.
#[derive(Clone)]
pub struct Target {
    /// Who gets the message.
    pub session: Arc<Session>,
    /// QoS that was granted.
    pub qos: QoS,
    /// No Local (5.0, 3.8.3.1): not what the session itself published.
    pub no_local: bool,
    /// Retain As Published (5.0, 3.8.3.1).
    pub retain_as_published: bool,
}

/// From here on a filter's subscribers are indexed; below, looking through them is cheaper.
const INDEXED_FROM: usize = 16;

/// Subscribers of one filter, each session once.
#[derive(Default)]
pub(super) enum Subscribers {
    #[default]
    None,
    One(Target),
    Many(Box<Many>),
}

#[derive(Default)]
pub(super) struct Many {
    targets: Vec<Target>,
    /// Address of a session (kept alive by its target) to its place in `targets`; empty for few.
    index: HashMap<usize, u32, Hasher>,
}

fn address(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session) as usize
}

impl Subscribers {
    /// All of them, in no order.
    pub(super) fn all(&self) -> &[Target] {
        match self {
            Subscribers::None => &[],
            Subscribers::One(target) => std::slice::from_ref(target),
            Subscribers::Many(many) => &many.targets,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Subscribers::None)
    }

    /// The session's subscription.
    pub(super) fn get(&self, session: &Arc<Session>) -> Option<&Target> {
        match self {
            Subscribers::Many(many) => many.position(session).map(|at| &many.targets[at]),
            few => few.all().iter().find(|target| Arc::ptr_eq(&target.session, session)),
        }
    }

    /// True if it is new; an older subscription of the same session is replaced (5.0, 3.8.4).
    pub(super) fn put(&mut self, target: Target) -> bool {
        match self {
            Subscribers::None => *self = Subscribers::One(target),
            Subscribers::One(old) if Arc::ptr_eq(&old.session, &target.session) => {
                *old = target;
                return false;
            }
            Subscribers::One(_) => {
                if let Subscribers::One(old) = std::mem::take(self) {
                    let many = Many { targets: vec![old, target], index: HashMap::default() };
                    *self = Subscribers::Many(Box::new(many));
                }
            }
            Subscribers::Many(many) => return many.put(target),
        }
        true
    }

    /// Takes the session's subscription away; false if it had none.
    pub(super) fn remove(&mut self, session: &Arc<Session>) -> bool {
        match self {
            Subscribers::None => false,
            Subscribers::One(target) => {
                let found = Arc::ptr_eq(&target.session, session);
                if found {
                    *self = Subscribers::None;
                }
                found
            }
            Subscribers::Many(many) => {
                let found = many.remove(session);
                if many.targets.len() <= 1 {
                    *self = many.targets.pop().map_or(Subscribers::None, Subscribers::One);
                }
                found
            }
        }
    }
}

impl Many {
    fn position(&self, session: &Arc<Session>) -> Option<usize> {
        if self.index.is_empty() {
            return self.targets.iter().position(|t| Arc::ptr_eq(&t.session, session));
        }
        self.index.get(&address(session)).map(|at| *at as usize)
    }

    fn put(&mut self, target: Target) -> bool {
        if let Some(at) = self.position(&target.session) {
            self.targets[at] = target;
            return false;
        }
        if !self.index.is_empty() {
            self.index.insert(address(&target.session), self.targets.len() as u32);
        }
        self.targets.push(target);
        if self.index.is_empty() && self.targets.len() >= INDEXED_FROM {
            self.index.extend(self.targets.iter().enumerate().map(|(at, t)| (address(&t.session), at as u32)));
        }
        true
    }

    fn remove(&mut self, session: &Arc<Session>) -> bool {
        let Some(at) = self.position(session) else { return false };
        self.targets.swap_remove(at);
        if !self.index.is_empty() {
            self.index.remove(&address(session));
            if let Some(moved) = self.targets.get(at) {
                self.index.insert(address(&moved.session), at as u32);
            }
            // Half the size that made it: a filter that hovers there does not rebuild it each time.
            if self.targets.len() < INDEXED_FROM / 2 {
                self.index = HashMap::default();
            }
        }
        if self.targets.len() < self.targets.capacity() / 4 {
            self.targets.shrink_to(self.targets.len() * 2);
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::session;

    fn target(session: &Arc<Session>, qos: QoS) -> Target {
        Target { session: session.clone(), qos, no_local: false, retain_as_published: false }
    }

    /// Guards the index: whichever subscriber leaves, in whichever order, it and only it is gone.
    #[test]
    fn many_are_replaced_and_removed_one_by_one() {
        let sessions: Vec<_> = (0..100).map(|n| session(n).session().clone()).collect();
        let mut subscribers = Subscribers::default();
        for s in &sessions {
            assert!(subscribers.put(target(s, QoS::AtMostOnce)));
        }
        for s in &sessions {
            assert!(!subscribers.put(target(s, QoS::AtLeastOnce)), "replaced");
        }
        assert_eq!(subscribers.all().len(), 100);
        assert!(subscribers.all().iter().all(|t| t.qos == QoS::AtLeastOnce));
        // 37 and 100 have no common divisor: an order that is neither first nor last.
        for left in (0..100).rev() {
            let s = &sessions[(left * 37) % 100];
            assert!(subscribers.remove(s));
            assert!(!subscribers.remove(s));
            assert_eq!(subscribers.all().len(), left);
            assert!(!subscribers.all().iter().any(|t| Arc::ptr_eq(&t.session, s)));
        }
        assert!(subscribers.is_empty());
    }
}
