//! What a connection may do with its session.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use gatemq_types::Protocol;
use parking_lot::{Mutex, MutexGuard};

use super::own::Aliases;
use super::{Home, NotAdded, Opening, Output, Received, Session, SessionLimits, Spare, Stored};
use crate::changes::{Change, Changes, SessionNumber};
use crate::tree::Place;
use crate::{Identity, SessionKey};

/// A session in the hands of a connection. When another connection has taken it over, or it is closed, nothing can be
/// done through this one any more: it takes no bytes, settles nothing, registers nothing. Clones are of the same
/// connection.
#[derive(Clone, Debug)]
pub struct Attached {
    session: Arc<Session>,
    protocol: Protocol,
    epoch: u32,
}

impl Deref for Attached {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Attached {
    /// A new session that no registry knows and that ends with its connection.
    pub fn alone(key: Arc<SessionKey>, protocol: Protocol, limits: SessionLimits, home: Home) -> Self {
        Attached::new(key, Opening { protocol, limits, home, expiry_s: 0, will: None }, 0)
    }

    /// `number`: its own in the store, 0 where it is not to be there.
    pub(crate) fn new(key: Arc<SessionKey>, opening: Opening, number: SessionNumber) -> Self {
        let Opening { protocol, limits, home, expiry_s, will } = opening;
        let limits = SessionLimits { inflight_max: limits.inflight_max.max(1), ..limits };
        let aliases = Aliases::allowed(limits.topic_alias_max);
        let stored = Stored::numbered(number, home.worker);
        let (home, will) = (Some(home), will.map(Box::new));
        let output = Output { home, open: true, limits, expiry_s, will, aliases, stored, ..Output::default() };
        let (level, armed, output) = (AtomicU8::new(protocol.level()), AtomicBool::new(false), Mutex::new(output));
        let withdrawn = AtomicBool::new(false);
        Attached::to(&Arc::new(Session { key, number, level, armed, withdrawn, output }), protocol, 0)
    }

    pub(super) fn to(session: &Arc<Session>, protocol: Protocol, epoch: u32) -> Self {
        Attached { session: session.clone(), protocol, epoch }
    }

    /// The session, to name it.
    pub fn session(&self) -> &Arc<Session> {
        &self.session
    }

    /// Version of this connection.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The session's output, while it is this connection's.
    #[inline]
    pub(super) fn own(&self) -> Option<MutexGuard<'_, Output>> {
        let output = self.session.output.lock();
        (output.epoch == self.epoch).then_some(output)
    }

    /// Whether it is over: the session was closed, or another connection has it.
    pub fn is_closed(&self) -> bool {
        self.own().is_none()
    }

    /// All bytes that wait, for the owner to write; `None`, without a lock, if there are none. The owner takes again
    /// while [`Self::has_more`], and gives the buffer to its [`Spare`] when it is written.
    #[inline]
    pub fn take(&self, now_ms: u64, spare: &mut Spare) -> Option<Vec<u8>> {
        if !self.has_more() {
            return None;
        }
        let mut output = self.own()?;
        let bytes = std::mem::take(&mut output.bytes);
        if output.queue.is_some() {
            output.refill(&self.session, self.protocol == Protocol::V5, now_ms, spare);
        }
        self.session.armed.store(!output.bytes.is_empty(), Ordering::Release);
        if output.has_room_to_share() {
            drop(output);
            self.feed(now_ms, spare);
        }
        (!bytes.is_empty()).then_some(bytes)
    }

    /// Takes what waits in its shared subscriptions that had found no room here.
    #[cold]
    pub(crate) fn feed(&self, now_ms: u64, spare: &mut Spare) {
        loop {
            let group = match self.own() {
                Some(output) if output.has_room_to_share() => output.groups.front().cloned(),
                _ => None,
            };
            let Some(group) = group else { return };
            if !group.feed(&self.session, self.epoch, now_ms, spare) {
                // No room any more: next time the others come first.
                if let Some(mut output) = self.own()
                    && output.groups.front().is_some_and(|front| Arc::ptr_eq(front, &group))
                {
                    output.groups.rotate_left(1);
                }
                return;
            }
        }
    }

    /// Whether bytes wait: also right after a take, when messages that waited became bytes.
    #[inline]
    pub fn has_more(&self) -> bool {
        self.session.armed.load(Ordering::Acquire)
    }

    /// Registers an incoming QoS 2 message before it is decided on. Of one that is then refused the identifier is free
    /// again: [`Self::release`] it.
    #[inline]
    pub fn receive(&self, packet_id: u16, changes: &mut Changes) -> Received {
        let Some(mut output) = self.own() else { return Received::TakenOver };
        let receive_max = if self.protocol == Protocol::V5 { output.limits.receive_max } else { u16::MAX };
        let received = output.flights.get_or_insert_default().receive(packet_id, receive_max);
        if received == Received::Repeated && output.is_forwarding(packet_id) {
            return Received::UnderWay;
        }
        if self.number() != 0 && received == Received::New {
            // What is stored of the message goes with it, so no answer waits for this alone.
            changes.note(|| Change::Received { session: self.number(), packet_id });
        }
        received
    }

    /// Forgets an incoming QoS 2 message that was answered with a failure (4.3.3).
    pub fn release(&self, packet_id: u16, changes: &mut Changes) {
        if let Some(mut output) = self.own()
            && let Some(flights) = &mut output.flights
            && flights.release(packet_id)
            && self.number() != 0
        {
            changes.note(|| Change::ReceivedReleased { session: self.number(), packet_id });
        }
    }

    /// The client got another identity: its will, if it left one, is checked with that one when it is published.
    pub fn replace_will_identity(&self, identity: &Identity) {
        if let Some(mut output) = self.own()
            && let Some(will) = &mut output.will
        {
            will.replace_identity(identity);
        }
    }

    pub(crate) fn add_subscription(&self, place: Place, subscriptions_max: u32) -> Result<(), NotAdded> {
        let mut output = self.own().ok_or(NotAdded::Closed)?;
        if output.subscriptions.len() >= subscriptions_max as usize {
            return Err(NotAdded::TooMany);
        }
        if !self.usage().subscriptions.take(1) {
            return Err(NotAdded::QuotaExceeded);
        }
        output.subscriptions.insert(place);
        Ok(())
    }

    pub(crate) fn remove_subscription(&self, place: Place) -> bool {
        let had = self.own().is_some_and(|mut output| output.subscriptions.remove(&place));
        self.usage().subscriptions.give(had.into());
        had
    }

    /// Takes a subscription away that its client may not have any more; false if it had none.
    pub(crate) fn revoke(&self, place: Place, filter: &str) -> bool {
        let Some(mut output) = self.own() else { return false };
        let had = output.subscriptions.remove(&place);
        self.usage().subscriptions.give(had.into());
        if had {
            output.revoked.push(filter.to_owned());
        }
        had
    }

    /// Filters that were revoked since the last time.
    pub(crate) fn take_revoked(&self) -> Vec<String> {
        self.own().map(|mut output| std::mem::take(&mut output.revoked)).unwrap_or_default()
    }
}
