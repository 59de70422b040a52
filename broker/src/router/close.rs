//! A session ends.

use std::sync::Arc;

use crate::session::{Home, Session};

/// Subscriptions that are ended under one hold of the tree's lock.
const SUBSCRIPTIONS_PER_LOCK: usize = 256;

/// Ends a session: no more bytes, no more subscriptions. Returns who wrote for it, to whoever ends it first.
pub(crate) fn close(session: &Arc<Session>) -> Option<Home> {
    let (home, subscriptions) = session.close();
    let tenant = session.key().tenant();
    let mut places = subscriptions.into_iter().peekable();
    while places.peek().is_some() {
        let mut tree = tenant.tree.write();
        for place in places.by_ref().take(SUBSCRIPTIONS_PER_LOCK) {
            let filter = tree.filter(place);
            tree.unsubscribe(place, session);
            tenant.generations.bump(&filter);
        }
    }
    home
}
