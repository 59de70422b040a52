//! Sessions that have come to this node: what came for them lately may come by another way too, so for a while they know it.

use std::sync::Arc;

use gatemq_broker::{Session, SessionKey};

use super::claim::key_of;
use super::driver::Driver;
use crate::clock;

/// How long after something has come from where a session was more may, in milliseconds.
const LATE_MS: u64 = 60_000;
/// How often it is looked, in milliseconds.
const LOOK_MS: u64 = 5_000;
/// Publications that all of them together know after a start, and beyond that time, because something follows them still: a node that
/// sends it may be cut off for long. Each takes about 100 bytes.
const KNOWN_MAX: usize = 1 << 18;

/// See the module.
#[derive(Default)]
pub(super) struct MovedIn {
    /// With the time when it may forget what came.
    sessions: Vec<(Arc<Session>, u64)>,
    looks_ms: u64,
}

impl MovedIn {
    /// It has come.
    pub(super) fn push(&mut self, session: Arc<Session>, now_ms: u64) {
        self.sessions.push((session, now_ms + LATE_MS));
    }

    /// They were here when the node started: they know what waits.
    pub(super) fn restored(&mut self, sessions: impl IntoIterator<Item = Arc<Session>>, now_ms: u64) {
        let mut room = KNOWN_MAX;
        for session in sessions {
            room -= session.knows_what_waits(room);
            self.push(session, now_ms);
            if room == 0 {
                break;
            }
        }
    }

    /// Lets those forget what came for which nothing came in the last minute, and nothing follows, or too much is known.
    fn look(&mut self, now_ms: u64, known_max: usize, is_followed: impl Fn(&SessionKey) -> bool) {
        if self.sessions.is_empty() || now_ms < self.looks_ms {
            return;
        }
        self.looks_ms = now_ms + LOOK_MS;
        // A client may come and go all the time, while something follows each of its sessions.
        self.sessions.retain(|(session, _)| !session.has_ended());
        let mut known: usize = self.sessions.iter().map(|(session, _)| session.came()).sum();
        self.sessions.retain_mut(|(session, until_ms)| {
            let is_due = now_ms >= *until_ms && (known > known_max || !is_followed(session.key()));
            let came = session.came();
            if !is_due || !session.has_moved_in() {
                *until_ms = if is_due { now_ms + LATE_MS } else { *until_ms };
                return true;
            }
            known -= came;
            false
        });
    }
}

impl Driver {
    pub(super) fn look_at_moved_in(&mut self) {
        let core = &self.core;
        self.moved_in.look(clock::now_ms(), KNOWN_MAX, |key| core.is_followed(&key_of(key)));
    }
}

#[cfg(test)]
mod tests {
    use gatemq_broker::session::{Message, RestoredMessage};
    use gatemq_broker::sessions::Restored;
    use gatemq_broker::{Past, SessionLimits, Sessions, Tenants};
    use gatemq_types::Protocol;

    use super::*;

    /// One for which a publication waits.
    fn session(client_id: &str) -> Arc<Session> {
        let message = Arc::new(Message::restored("t", &[], b"x", u64::MAX).numbered(7));
        let waits = RestoredMessage { seq: 1, first: 0x32, identifier: 0, may_be_sent: false, message };
        let restored = Restored {
            number: 1,
            key: Arc::new(SessionKey::new(Tenants::new(1).get_or_create("t").unwrap(), "u", client_id).unwrap()),
            protocol: Protocol::V5,
            expiry_s: 60,
            away_since_ms: 1,
            limits: SessionLimits::default(),
            version: 1,
            last_seq: 1,
            subscriptions: Vec::new(),
            messages: vec![waits],
            released: Vec::new(),
            received: Vec::new(),
            past: Past::default(),
            will: None,
        };
        Sessions::default().restore(restored, &mut Default::default()).unwrap()
    }

    /// Guards promise 5 where a link is cut for long, and memory then: what came is known for as long as something follows, as far as
    /// there is room for it; without that for a minute.
    #[test]
    fn what_came_is_known_while_something_follows_and_there_is_room() {
        let (a, b, mut moved_in) = (session("a"), session("b"), MovedIn::default());
        moved_in.restored([a.clone(), b.clone()], 0);
        let known = || [a.came(), b.came()];
        moved_in.look(LATE_MS - 1, 0, |_| false);
        assert_eq!(known(), [1, 1]);
        let now_ms = LATE_MS + LOOK_MS;
        moved_in.look(now_ms, 2, |_| true);
        assert_eq!(known(), [1, 1]);
        moved_in.look(now_ms + LOOK_MS, 1, |_| true);
        assert_eq!(known(), [0, 1], "there is room for one");
        moved_in.look(now_ms + 2 * LOOK_MS, 1, |key| key.client_id() == "a");
        assert_eq!((known(), moved_in.sessions.len()), ([0, 0], 0));
        // One that has gone on is not kept for what may follow it.
        moved_in.push(a.clone(), now_ms);
        Sessions::default().forget(&a, &mut Default::default());
        moved_in.look(now_ms + 3 * LOOK_MS, 1, |_| true);
        assert!(moved_in.sessions.is_empty());
    }
}
