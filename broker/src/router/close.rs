//! A session ends.

use std::sync::Arc;

use crate::changes::{Change, Changes};
use crate::remote::Interest;
use crate::session::{Closed, Home, Late, Session, Spare};
use crate::tree::{Place, Tree};

/// Subscriptions that are ended under one hold of the tree's lock.
const SUBSCRIPTIONS_PER_LOCK: usize = 256;

/// Takes a session's subscription out of its tenant's tree, and the queue in the store with it that a shared subscription
/// had for such members. False: there was none.
pub(super) fn end_subscription(tree: &mut Tree, place: Place, session: &Arc<Session>, changes: &mut Changes) -> bool {
    let group = tree.group_at(place).cloned();
    let filter = changes.notes_interests().then(|| tree.filter(place));
    let ended = tree.unsubscribe(place, session);
    if let Some(filter) = filter.filter(|filter| ended && !session.has_withdrawn(filter)) {
        let (tenant, durable) = (session.key().tenant().clone(), session.number() != 0);
        changes.interest(|| Interest { tenant, filter, added: false, durable });
    }
    if let Some(group) = group {
        group.hand_over(session.key().tenant(), changes);
        group.end_store(changes);
    }
    ended
}

/// Ends a session: no more bytes, no more subscriptions; what it was sent by shared subscriptions and did not acknowledge
/// goes to their other members, whose connections are appended to `armed`. Returns who wrote for it, to whoever ends it
/// first.
pub(crate) fn close(session: &Arc<Session>, now_ms: u64, armed: &mut Vec<Home>, spare: &mut Spare) -> Option<Home> {
    let Closed { home, subscriptions, shared } = session.close();
    let mut shared = shared.into_iter().peekable();
    while let Some(first) = shared.next() {
        let group = first.group.clone();
        let mut messages = vec![first];
        while let Some(next) = shared.next_if(|next| Arc::ptr_eq(&next.group, &group)) {
            messages.push(next);
        }
        group.take_back(messages, now_ms, spare, armed);
        // Of a shared subscription that it had ended before.
        group.hand_over(session.key().tenant(), &mut spare.changes);
    }
    // Behind it, so that what waits is handed to another node in order.
    end(session, subscriptions.into_iter(), spare);
    home
}

/// Ends a session that lives on another node from now on, with all that it has: nothing goes to others.
pub(crate) fn forget(session: &Arc<Session>, spare: &mut Spare) {
    let Closed { subscriptions, .. } = session.close();
    end(session, subscriptions.into_iter(), spare);
}

/// As [`forget`]; returns what came for it after the message with the number `seq`, and waited.
pub(crate) fn end_moved(session: &Arc<Session>, seq: u64, spare: &mut Spare) -> Vec<Late> {
    let (Closed { subscriptions, .. }, late) = session.close_moved(seq);
    end(session, subscriptions.into_iter(), spare);
    late
}

/// Takes it out of the tree and the store.
fn end(session: &Arc<Session>, subscriptions: impl ExactSizeIterator<Item = Place>, spare: &mut Spare) {
    let tenant = session.key().tenant();
    tenant.usage.subscriptions.give(subscriptions.len() as u64);
    let mut places = subscriptions.peekable();
    while places.peek().is_some() {
        let mut tree = tenant.tree.write();
        for place in places.by_ref().take(SUBSCRIPTIONS_PER_LOCK) {
            let filter = tree.filter(place);
            end_subscription(&mut tree, place, session, &mut spare.changes);
            tenant.generations.bump(&filter);
        }
    }
    if session.number() != 0 {
        spare.changes.rely_on(|| Change::SessionEnded(session.number()));
    }
    spare.changes.ended(session.key());
}
