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
/// Publications that all of them together know beyond that, because something follows them still: a node that sends it may be cut off for
/// long. Each takes about 100 bytes.
const KNOWN_MAX: usize = 1 << 18;

/// See the module.
#[derive(Default)]
pub(super) struct MovedIn {
    /// With the time when it may forget what came.
    sessions: Vec<(Arc<Session>, u64)>,
    looks_ms: u64,
}

impl MovedIn {
    /// They have come, or were here when the node started.
    pub(super) fn extend(&mut self, sessions: impl IntoIterator<Item = Arc<Session>>, now_ms: u64) {
        self.sessions.extend(sessions.into_iter().map(|session| (session, now_ms + LATE_MS)));
    }

    /// Lets those forget what came for which nothing came in the last minute, and nothing follows, or too much is known.
    fn look(&mut self, now_ms: u64, is_followed: impl Fn(&SessionKey) -> bool) {
        if self.sessions.is_empty() || now_ms < self.looks_ms {
            return;
        }
        self.looks_ms = now_ms + LOOK_MS;
        let mut known: usize = self.sessions.iter().map(|(session, _)| session.came()).sum();
        self.sessions.retain_mut(|(session, until_ms)| {
            let is_due = now_ms >= *until_ms && (known > KNOWN_MAX || !is_followed(session.key()));
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
        self.moved_in.look(clock::now_ms(), |key| core.is_followed(&key_of(key)));
    }
}
