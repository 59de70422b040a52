//! A resumed session is checked with the identity that its client has now, before it sends anything.

use std::sync::Arc;

use gatemq_mqtt::topic::Filter;
use gatemq_types::{QoS, ReasonCode};

use super::close::end_subscription;
use crate::changes::{Change, Changes};
use crate::session::{Attached, Begun, Session, Spare};
use crate::tree::{Place, Subscription, Tree};
use crate::{Decision, Identity, Question, SubscribeAction};

/// Subscriptions looked at under one hold of the tree's lock.
const SUBSCRIPTIONS_PER_LOCK: usize = 256;

/// What the check of a session's subscriptions found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Rechecked {
    /// Subscriptions that stay, some perhaps at a lower QoS.
    pub kept: usize,
    /// Filters that were taken away, and why.
    pub revoked: Vec<(String, ReasonCode)>,
    /// Those that a provider is to be asked about; they stay, and send nothing before the session begins.
    pub ask: Vec<AskedAgain>,
}

/// A subscription that a provider is asked about again. With anything but a permit of
/// [`Identity::answer_subscribe`] it is to be [revoked](revoke).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedAgain {
    /// Its filter.
    pub filter: String,
    /// QoS that was granted.
    pub qos: QoS,
    /// To be handed back with the answer.
    pub question: Question,
}

/// Checks every subscription of a resumed session as if it were made now (section 5). It changes nothing for a session
/// that another connection has. How many it may have is not looked at: those above a lower bound stay.
pub fn recheck(identity: &Identity, session: &Attached, changes: &mut Changes) -> Rechecked {
    let mut found = Rechecked::default();
    if session.is_closed() || session.key() != identity.key() {
        return found;
    }
    let places = session.places();
    for places in places.chunks(SUBSCRIPTIONS_PER_LOCK) {
        for (place, filter, subscription) in subscriptions(session, places) {
            check(identity, session, place, filter, subscription, &mut found, changes);
        }
    }
    found
}

/// Filters that a session, whose client may be away, has subscribed to, with the QoS that was granted: at most `filters_max`.
pub fn filters_of(session: &Arc<Session>, filters_max: usize) -> Vec<(String, QoS)> {
    let mut places = session.places();
    places.truncate(filters_max);
    let mut filters = Vec::with_capacity(places.len());
    for places in places.chunks(SUBSCRIPTIONS_PER_LOCK) {
        let tree = session.key().tenant().tree.read();
        let found = |place: &Place| Some((tree.filter(*place), tree.subscription(*place, session)?.qos));
        filters.extend(places.iter().filter_map(found));
    }
    filters.sort();
    filters
}

/// What is subscribed at these places.
fn subscriptions(session: &Attached, places: &[Place]) -> Vec<(Place, String, Subscription)> {
    let tree = session.key().tenant().tree.read();
    let found = |place: &Place| Some((*place, tree.filter(*place), tree.subscription(*place, session.session())?));
    places.iter().filter_map(found).collect()
}

fn check(
    identity: &Identity,
    session: &Attached,
    place: Place,
    filter: String,
    subscription: Subscription,
    found: &mut Rechecked,
    changes: &mut Changes,
) {
    let granted = subscription.qos;
    let action = SubscribeAction { filter: Filter::trusted(&filter), qos: granted };
    match identity.may_subscribe(action) {
        Decision::Permit(permit) => {
            found.kept += 1;
            if permit.qos() < granted {
                let tenant = session.key().tenant();
                let lowered = Subscription { qos: permit.qos(), ..subscription };
                if session.number() != 0 {
                    let (session, identifier) = (session.number(), lowered.identifier);
                    let (options, filter) = (lowered.options(), filter.clone());
                    changes.note(|| Change::Subscribed { session, filter, options, identifier });
                }
                // It is there, so this replaces it.
                if tenant.tree.write().subscribe(&filter, lowered).is_ok() {
                    tenant.generations.bump(&filter);
                }
            }
        }
        Decision::Denied(code) => {
            revoke_at(session, place, &filter, changes);
            found.revoked.push((filter, code));
        }
        Decision::Ask(question) => found.ask.push(AskedAgain { filter, qos: granted, question }),
    }
}

/// Takes a subscription away that the session's client may not have any more, and with its begin what waits because of it.
/// False: there was none.
pub fn revoke(session: &Attached, filter: &str, changes: &mut Changes) -> bool {
    let place = session.key().tenant().tree.read().find(filter);
    !session.is_closed() && place.is_some_and(|place| revoke_at(session, place, filter, changes))
}

fn revoke_at(session: &Attached, place: Place, filter: &str, changes: &mut Changes) -> bool {
    let tenant = session.key().tenant();
    let mut tree = tenant.tree.write();
    let had = session.revoke(place, filter);
    if had {
        end_subscription(&mut tree, place, session.session(), changes);
        tenant.generations.bump(filter);
        if session.number() != 0 {
            let (session, filter) = (session.number(), filter.to_owned());
            changes.rely_on(|| Change::Unsubscribed { session, filter });
        }
    }
    had
}

/// A resumed session begins to send: what was in flight again, in order, then what waits. What came only by subscriptions
/// that were revoked is dropped. Take afterwards, when the CONNACK is written.
pub fn begin(session: &Attached, now_ms: u64, spare: &mut Spare) -> Begun {
    match Left::of(session) {
        None => session.begin(now_ms, spare, &mut |_| true),
        Some(left) => session.begin(now_ms, spare, &mut |topic| left.has(topic)),
    }
}

/// The same for a session whose client has been there all the time: what waits, and came only by subscriptions that were revoked,
/// is dropped. What is in flight stays, for its receiver may have it. Returns how many messages that were.
pub fn drop_revoked(session: &Attached, now_ms: u64, spare: &mut Spare) -> usize {
    Left::of(session).map_or(0, |left| session.drop_waiting(now_ms, spare, &mut |topic| left.has(topic)))
}

/// What is left of a session's subscriptions.
struct Left {
    kept: Tree,
    revoked: Tree,
}

impl Left {
    /// `None`: none was revoked since the last time.
    fn of(session: &Attached) -> Option<Left> {
        let revoked = session.take_revoked();
        if revoked.is_empty() {
            return None;
        }
        let tree_of = |filters: &mut dyn Iterator<Item = String>| {
            let mut tree = Tree::default();
            for filter in filters {
                let (session, qos) = (session.session().clone(), QoS::AtMostOnce);
                let subscription =
                    Subscription { session, qos, no_local: false, retain_as_published: false, identifier: 0 };
                // Whoever else shares it does not matter. A filter that was in one tree fits into a smaller one.
                let _ = tree.subscribe(Filter::trusted(&filter).filter, subscription);
            }
            tree
        };
        let places = session.places();
        let kept = places.chunks(SUBSCRIPTIONS_PER_LOCK).flat_map(|places| subscriptions(session, places));
        let kept = tree_of(&mut kept.map(|(_, filter, _)| filter));
        Some(Left { kept, revoked: tree_of(&mut revoked.into_iter()) })
    }

    /// Whether a message of that topic may still have come by a subscription that is there.
    fn has(&self, topic: &str) -> bool {
        self.kept.matches(topic) || !self.revoked.matches(topic)
    }
}
