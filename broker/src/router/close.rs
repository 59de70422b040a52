//! A session ends.

use std::sync::Arc;

use crate::changes::Change;
use crate::session::{Closed, Home, Session, Spare};

/// Subscriptions that are ended under one hold of the tree's lock.
const SUBSCRIPTIONS_PER_LOCK: usize = 256;

/// Ends a session: no more bytes, no more subscriptions; what it was sent by shared subscriptions and did not acknowledge
/// goes to their other members, whose connections are appended to `armed`. Returns who wrote for it, to whoever ends it
/// first.
pub(crate) fn close(session: &Arc<Session>, now_ms: u64, armed: &mut Vec<Home>, spare: &mut Spare) -> Option<Home> {
    let Closed { home, subscriptions, shared } = session.close();
    let tenant = session.key().tenant();
    tenant.usage.subscriptions.give(subscriptions.len() as u64);
    let mut places = subscriptions.into_iter().peekable();
    while places.peek().is_some() {
        let mut tree = tenant.tree.write();
        for place in places.by_ref().take(SUBSCRIPTIONS_PER_LOCK) {
            let filter = tree.filter(place);
            tree.unsubscribe(place, session);
            tenant.generations.bump(&filter);
        }
    }
    if session.number() != 0 {
        spare.changes.rely_on(|| Change::SessionEnded(session.number()));
    }
    let mut shared = shared.into_iter().peekable();
    while let Some((group, first, message)) = shared.next() {
        let mut messages = vec![(first, message)];
        while let Some((_, first, message)) = shared.next_if(|(next, ..)| Arc::ptr_eq(next, &group)) {
            messages.push((first, message));
        }
        group.take_back(messages, now_ms, spare, armed);
    }
    home
}
