//! Who is there: sessions by tenant, user and client identifier.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::session::Home;
use crate::{Hasher, Session, SessionKey, router};

/// The live sessions of a node; as many as there are connections.
#[derive(Default)]
pub struct Sessions {
    hasher: Hasher,
    table: Mutex<HashTable<Arc<Session>>>,
}

impl Sessions {
    /// None yet.
    pub fn new() -> Self {
        Sessions::default()
    }

    /// Makes `session` the one of its key. The one before, if there was one, is ended: when this returns it gets no more
    /// bytes and has no subscriptions. Returns who wrote for it, to be closed with
    /// [`TakenOver`](gatemq_types::CloseReason::TakenOver) (MQTT-3.1.4-3).
    #[must_use]
    pub fn open(&self, session: &Arc<Session>) -> Option<Home> {
        let hash = self.hash(session.key());
        let previous = {
            let mut table = self.table.lock();
            match table.find_mut(hash, |known| known.key() == session.key()) {
                Some(known) => Some(std::mem::replace(known, session.clone())),
                None => {
                    table.insert_unique(hash, session.clone(), |known| self.hash(known.key()));
                    None
                }
            }
        };
        // Without the table's lock: ending many subscriptions takes its time.
        previous.filter(|previous| !Arc::ptr_eq(previous, session)).and_then(|previous| router::close(&previous))
    }

    /// Ends a session: no more bytes, no subscriptions. One that took its place stays.
    pub fn close(&self, session: &Arc<Session>) {
        let hash = self.hash(session.key());
        if let Ok(found) = self.table.lock().find_entry(hash, |known| Arc::ptr_eq(known, session)) {
            found.remove();
        }
        router::close(session);
    }

    /// The live session of a key.
    pub fn get(&self, key: &SessionKey) -> Option<Arc<Session>> {
        self.table.lock().find(self.hash(key), |known| **known.key() == *key).cloned()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.table.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn hash(&self, key: &SessionKey) -> u64 {
        self.hasher.hash_one(key)
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::Protocol;

    use super::*;
    use crate::identity::testing::{free, key};
    use crate::router::testing::{publish, subscribe};
    use crate::{Out, SessionLimits, Tenants, TopicCache};

    fn session(key: &Arc<SessionKey>, connection: u32) -> Arc<Session> {
        let home = Home { worker: 1, connection };
        Arc::new(Session::new(key.clone(), Protocol::V5, SessionLimits::default(), home))
    }

    /// Guards takeover (MQTT-3.1.4-3): the old session gets no more bytes and has no subscriptions, its owner is named
    /// once, and its late end does not touch the new one.
    #[test]
    fn takeover_ends_the_old_session() {
        let key = key("c");
        let identity = free(&key);
        let sessions = Sessions::new();
        let (old, new) = (session(&key, 1), session(&key, 2));
        let mut out = Out::new(TopicCache::new(8, 8));
        assert_eq!(sessions.open(&old), None);
        subscribe(&identity, &old, "a", 0);
        assert_eq!(publish(&identity, &new, "a", &mut out).delivered, 1);
        assert_eq!(sessions.open(&new), Some(Home { worker: 1, connection: 1 }));
        assert_eq!(old.take(&mut out.spare), None, "what waited is gone");
        assert_eq!(publish(&identity, &new, "a", &mut out).delivered, 0);
        assert_eq!(subscribe(&identity, &old, "a", 0), 0x80, "too late");
        subscribe(&identity, &new, "a", 0);
        sessions.close(&old);
        assert!(Arc::ptr_eq(&sessions.get(&key).unwrap(), &new));
        assert_eq!(publish(&identity, &new, "a", &mut out).delivered, 1);
        sessions.close(&new);
        assert!(sessions.is_empty() && key.tenant().tree.read().is_empty());
    }

    /// Guards section 5: the same client identifier of another user or tenant is another session.
    #[test]
    fn another_user_or_tenant_takes_nothing_over() {
        let tenants = Tenants::new(2);
        let sessions = Sessions::new();
        for (connection, (tenant, user)) in (0..).zip([("one", "u"), ("one", "v"), ("two", "u")]) {
            let tenant = tenants.get_or_create(tenant).unwrap();
            let key = Arc::new(SessionKey::new(tenant, user, "c").unwrap());
            assert_eq!(sessions.open(&session(&key, connection)), None);
            let again = sessions.open(&session(&key, connection + 10));
            assert_eq!(again, Some(Home { worker: 1, connection }), "twin: the same three names");
        }
        assert_eq!(sessions.len(), 3);
    }
}
