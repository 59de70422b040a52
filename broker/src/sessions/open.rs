//! A connection gets its session.

use std::sync::Arc;

use gatemq_types::Protocol;

use super::{Entry, Sessions};
use crate::session::{self, Attached, Home, SessionLimits, Spare};
use crate::tenant::TenantLimit;
use crate::will::{LeftWill, Will};
use crate::{SessionKey, router};

/// What a client that was let in brings.
#[derive(Debug)]
pub struct Opening<'a> {
    /// Whose session it is.
    pub key: &'a Arc<SessionKey>,
    /// Version.
    pub protocol: Protocol,
    /// Bounds of the session.
    pub limits: SessionLimits,
    /// Who writes for it.
    pub home: Home,
    /// Clean Start, or Clean Session of MQTT 3: nothing is resumed (MQTT-3.1.2-4).
    pub clean_start: bool,
    /// Session Expiry Interval in seconds, already lowered to what is allowed; `u32::MAX` is never, 0 ends the session with
    /// its connection. Of MQTT 3: 0 with Clean Session, else as long as allowed.
    pub expiry_s: u32,
    /// Its will, which [`Identity::may_leave_will`](crate::Identity::may_leave_will) permitted.
    pub will: Option<Will>,
}

/// What it gets.
#[derive(Debug)]
pub struct Opened {
    /// Its session.
    pub session: Attached,
    /// Session Present. A resumed session sends nothing before it is checked and begun: [`router::recheck`], then
    /// [`router::begin`].
    pub resumed: bool,
    /// Whose connection is to be closed with [`TakenOver`](gatemq_types::CloseReason::TakenOver) (MQTT-3.1.4-3). It can do
    /// nothing to the session any more.
    pub taken_over: Option<Home>,
    /// An earlier session of the same key ended.
    pub ended: bool,
    /// A will that is to be published now: of the connection that was taken over, or of the session that ended.
    pub will: Option<LeftWill>,
    /// Connections that have something to write now, because messages of shared subscriptions went on to them: to be woken
    /// like [`Out::armed`](crate::Out::armed).
    pub armed: Vec<Home>,
}

impl Sessions {
    /// Gives a client its session. The one before is resumed if it was to outlive its connection and has not expired, and
    /// Clean Start is not set; else, if there is one, it ends: when this returns it gets no more bytes and has no
    /// subscriptions.
    #[must_use]
    pub fn open(&self, opening: Opening<'_>, now_ms: u64, spare: &mut Spare) -> Opened {
        opening.key.tenant().usage.sessions.take_anyway(1);
        self.open_counted(opening, now_ms, spare)
    }

    /// As [`Self::open`], within the bounds of the tenant.
    ///
    /// # Errors
    /// [`TenantLimit::Sessions`]; nothing has changed.
    pub fn try_open(&self, opening: Opening<'_>, now_ms: u64, spare: &mut Spare) -> Result<Opened, TenantLimit> {
        let sessions = &opening.key.tenant().usage.sessions;
        // Where there is one of its key, none is added.
        match sessions.take(1) {
            true => {}
            false if self.get(opening.key).is_some() => sessions.take_anyway(1),
            false => return Err(TenantLimit::Sessions),
        }
        Ok(self.open_counted(opening, now_ms, spare))
    }

    /// The tenant has counted one session more; of the one before it is taken back.
    fn open_counted(&self, opening: Opening<'_>, now_ms: u64, spare: &mut Spare) -> Opened {
        let opened = self.find_or_make(opening, now_ms, spare);
        spare.changes.rely_on_some(|| opened.session.record());
        opened
    }

    fn find_or_make(&self, opening: Opening<'_>, now_ms: u64, spare: &mut Spare) -> Opened {
        let Opening { key, protocol, limits, home, clean_start, expiry_s, will } = opening;
        let hash = self.hash(key);
        let opening = session::Opening { protocol, limits, home, expiry_s, will };
        let mut guard = self.inner.lock();
        let inner = &mut *guard;
        let Some(entry) = inner.table.find_mut(hash, |known| known.is_of(key)) else {
            let session = Attached::new(key.clone(), opening, self.number(expiry_s));
            let entry = Entry { session: session.session().clone(), away: None };
            inner.table.insert_unique(hash, entry, |known| self.hash(known.session.key()));
            return Opened { session, resumed: false, taken_over: None, ended: false, will: None, armed: Vec::new() };
        };
        key.tenant().usage.sessions.give(1);
        let away = entry.away.take();
        let expired = away.is_some_and(|away| away.expires.0 <= now_ms);
        let resumed = !clean_start && !expired && entry.session.is_persistent();
        let before = entry.session.clone();
        if !resumed {
            let session = Attached::new(key.clone(), opening, self.number(expiry_s));
            entry.session = session.session().clone();
            if let Some(away) = away {
                inner.forget(away);
            }
            let will = before.take_will().map(|will| LeftWill { will, session: before.clone() });
            drop(guard);
            // Without the registry's lock: ending many subscriptions takes its time.
            let mut armed = Vec::new();
            let taken_over = router::close(&before, now_ms, &mut armed, spare);
            return Opened { session, resumed: false, taken_over, ended: true, will, armed };
        }
        if let Some(away) = away {
            inner.forget(away);
        }
        let (session, taken_over, will) = before.attach(opening);
        // A delayed will is not published when its client is back in time (MQTT-3.1.3-9); one without delay is still here
        // only if its connection is closed just now.
        let will = will.filter(|will| will.delay_s() == 0);
        let will = will.map(|will| LeftWill { will, session: before });
        Opened { session, resumed: true, taken_over, ended: false, will, armed: Vec::new() }
    }
}
