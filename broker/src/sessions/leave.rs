//! A connection ends; its session stays for a while, or ends with it.

use std::sync::Arc;

use super::{Away, Sessions};
use crate::session::{Attached, Home, Spare};
use crate::will::LeftWill;
use crate::{Session, router};

/// How a connection ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Leave {
    /// Its will is to be published: not after DISCONNECT 0x00, nor when the client was denied (MQTT-3.1.2-8, -10).
    pub publish_will: bool,
    /// Session Expiry Interval of the DISCONNECT, already lowered to what is allowed. It cannot raise one of 0.
    pub expiry_s: Option<u32>,
    /// The session ends, whatever its expiry.
    pub end: bool,
}

/// What became of its session.
#[derive(Debug, Default)]
pub struct Left {
    /// It stays, and waits for its client.
    pub stays: bool,
    /// It ended. Neither: another connection has it, or it was closed before.
    pub ended: bool,
    /// Wills that are to be published now: its own, and that of `evicted`.
    pub wills: Vec<LeftWill>,
    /// A session that had to end because more than allowed are away: the one that would have expired first, perhaps this
    /// one.
    pub evicted: Option<Arc<Session>>,
    /// Connections that have something to write now, because messages of shared subscriptions went on to them: to be woken
    /// like [`Out::armed`](crate::Out::armed).
    pub armed: Vec<Home>,
}

impl Sessions {
    /// Ends a connection's hold of its session. Every connection ends with this, also one that was taken over.
    #[must_use]
    pub fn leave(&self, attached: &Attached, leave: Leave, now_ms: u64, spare: &mut Spare) -> Left {
        let session = attached.session();
        let mut left = Left::default();
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        // Under this lock nobody else gets the session.
        let Some(before_s) = attached.own_expiry_s() else { return left };
        let expiry_s = if before_s == 0 || leave.end { 0 } else { leave.expiry_s.unwrap_or(before_s) };
        let will = session.take_will().filter(|_| leave.publish_will);
        let hash = self.hash(session.key());
        if expiry_s == 0 {
            inner.remove(hash, session);
            drop(guard);
            left.wills.extend(will.map(|will| LeftWill { will, session: session.clone() }));
            left.ended = true;
            router::close(session, now_ms, &mut left.armed, spare);
            return left;
        }
        session.detach(expiry_s, now_ms);
        left.stays = true;
        let expires = inner.moment(moment_ms(expiry_s, now_ms));
        inner.expiring.insert(expires, session.clone());
        let mut will_due = None;
        match will {
            // The session's end publishes it, should that come first (MQTT-3.1.3-9).
            Some(will) if will.delay_s() > 0 => {
                let due = inner.moment(moment_ms(will.delay_s(), now_ms));
                will_due = Some(due);
                session.put_will(will);
                inner.wills.insert(due, session.clone());
            }
            will => left.wills.extend(will.map(|will| LeftWill { will, session: session.clone() })),
        }
        if let Some(entry) = inner.table.find_mut(hash, |known| Arc::ptr_eq(&known.session, session)) {
            entry.away = Some(Away { expires, will_due });
        }
        if inner.expiring.len() > self.detached_max
            && let Some(first) = inner.expiring.first_key_value().map(|(_, session)| session.clone())
        {
            inner.remove(self.hash(first.key()), &first);
            left.wills.extend(first.take_will().map(|will| LeftWill { will, session: first.clone() }));
            left.stays = !Arc::ptr_eq(&first, session);
            left.ended = !left.stays;
            left.evicted = Some(first);
        }
        drop(guard);
        session.trim();
        // Should it be the evicted one, its end comes behind it.
        spare.changes.note_some(|| session.record());
        if let Some(evicted) = &left.evicted {
            router::close(evicted, now_ms, &mut left.armed, spare);
        }
        left
    }
}

/// In `seconds`, where `u32::MAX` is never.
pub(super) fn moment_ms(seconds: u32, now_ms: u64) -> u64 {
    match seconds {
        u32::MAX => u64::MAX,
        seconds => now_ms.saturating_add(u64::from(seconds) * 1000),
    }
}
