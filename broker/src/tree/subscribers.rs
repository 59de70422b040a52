//! Who subscribed to one filter: mostly nobody or one, sometimes many, then indexed by session.

use std::sync::Arc;

use gatemq_types::QoS;

use crate::addressed::{Addressed, ByAddress};
use crate::remote::{Remote, address_of_node};
use crate::session::Session;
use crate::shared::Group;

/// A session's subscription as the router needs it.
#[derive(Clone)]
pub struct Subscription {
    /// Who gets the message.
    pub session: Arc<Session>,
    /// QoS that was granted.
    pub qos: QoS,
    /// No Local (5.0, 3.8.3.1): not what the session itself published.
    pub no_local: bool,
    /// Retain As Published (5.0, 3.8.3.1).
    pub retain_as_published: bool,
    /// Subscription Identifier (5.0, 3.8.2.1.2); 0 is none.
    pub identifier: u32,
}

impl Subscription {
    /// Its subscription options as in MQTT 5 (3.8.3.1); how retained messages were to be sent is not known any more.
    pub(crate) fn options(&self) -> u8 {
        self.qos.bits() | u8::from(self.no_local) << 2 | u8::from(self.retain_as_published) << 3
    }
}

/// Who gets a message that a filter matches.
#[derive(Clone)]
pub enum Target {
    /// This session.
    Session(Subscription),
    /// One of the members of a shared subscription (4.8.2).
    Group(Arc<Group>),
    /// Clients of another node.
    Node(Arc<Remote>),
}

pub(crate) fn address_of(session: &Arc<Session>) -> usize {
    Arc::as_ptr(session) as usize
}

pub(crate) fn address_of_group(group: &Arc<Group>) -> usize {
    Arc::as_ptr(group) as usize
}

impl Addressed for Target {
    fn address(&self) -> usize {
        match self {
            Target::Session(subscription) => address_of(&subscription.session),
            Target::Group(group) => address_of_group(group),
            Target::Node(node) => address_of_node(node),
        }
    }
}

/// Targets of one filter, each session and each group once.
#[derive(Default)]
pub(super) enum Subscribers {
    #[default]
    None,
    One(Target),
    Many(Box<ByAddress<Target>>),
}

impl Subscribers {
    /// All of them, in no order.
    pub(super) fn all(&self) -> &[Target] {
        match self {
            Subscribers::None => &[],
            Subscribers::One(target) => std::slice::from_ref(target),
            Subscribers::Many(many) => many.all(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Subscribers::None)
    }

    /// That of a session or group.
    pub(super) fn get(&self, address: usize) -> Option<&Target> {
        match self {
            Subscribers::Many(many) => many.position(address).map(|at| &many.all()[at]),
            few => few.all().iter().find(|target| target.address() == address),
        }
    }

    /// True if it is new; an older subscription of the same session is replaced (5.0, 3.8.4).
    pub(super) fn put(&mut self, target: Target) -> bool {
        match self {
            Subscribers::None => *self = Subscribers::One(target),
            Subscribers::One(old) if old.address() == target.address() => {
                *old = target;
                return false;
            }
            Subscribers::One(_) => {
                if let Subscribers::One(old) = std::mem::take(self) {
                    let mut many = ByAddress::default();
                    many.put(old);
                    many.put(target);
                    *self = Subscribers::Many(Box::new(many));
                }
            }
            Subscribers::Many(many) => return many.put(target).is_none(),
        }
        true
    }

    /// Takes that of a session or group away; false if there was none.
    pub(super) fn remove(&mut self, address: usize) -> bool {
        match self {
            Subscribers::None => false,
            Subscribers::One(target) => {
                let found = target.address() == address;
                if found {
                    *self = Subscribers::None;
                }
                found
            }
            Subscribers::Many(many) => {
                let found = many.remove(address).is_some();
                if many.all().len() <= 1 {
                    *self = many.pop().map_or(Subscribers::None, Subscribers::One);
                }
                found
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::testing::session;

    fn target(session: &Arc<Session>, qos: QoS) -> Target {
        let (no_local, retain_as_published, identifier) = (false, false, 0);
        Target::Session(Subscription { session: session.clone(), qos, no_local, retain_as_published, identifier })
    }

    fn subscription(target: &Target) -> &Subscription {
        match target {
            Target::Session(subscription) => subscription,
            Target::Group(_) | Target::Node(_) => panic!("no session"),
        }
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
        assert!(subscribers.all().iter().all(|t| subscription(t).qos == QoS::AtLeastOnce));
        // 37 and 100 have no common divisor: an order that is neither first nor last.
        for left in (0..100).rev() {
            let s = &sessions[(left * 37) % 100];
            assert!(subscribers.remove(address_of(s)));
            assert!(!subscribers.remove(address_of(s)));
            assert_eq!(subscribers.all().len(), left);
            assert!(!subscribers.all().iter().any(|t| Arc::ptr_eq(&subscription(t).session, s)));
        }
        assert!(subscribers.is_empty());
    }

    /// Guards the memory of a subscription: a group among the targets costs the others nothing.
    #[test]
    fn a_target_is_two_words() {
        assert_eq!((size_of::<Target>(), size_of::<Subscribers>()), (16, 16));
    }
}
