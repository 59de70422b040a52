//! What a store gives back when a node starts: sessions whose clients are away.

use std::collections::HashSet;
use std::sync::Arc;

use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_types::Protocol;

use super::{Away, Entry, Sessions, leave};
use crate::changes::{Changes, SessionNumber};
use crate::remote::Interest;
use crate::retained::{Publisher, Stored, Who};
use crate::session::{Came, Late, Message, RestoredMessage, Session, SessionLimits, Spare};
use crate::tree::Subscription;
use crate::{Past, SessionKey, Will, router};

/// A session as the store had it.
#[derive(Debug)]
pub struct Restored {
    /// Its number in the store.
    pub number: SessionNumber,
    /// Whose it is.
    pub key: Arc<SessionKey>,
    /// Version of its client.
    pub protocol: Protocol,
    /// Session Expiry Interval in seconds; `u32::MAX` is never.
    pub expiry_s: u32,
    /// Since when its client is away, in milliseconds since 1970.
    pub away_since_ms: u64,
    /// Bounds until its client is back.
    pub limits: SessionLimits,
    /// Version of its next record.
    pub version: u64,
    /// Number of the last message that it ever got.
    pub last_seq: u64,
    /// Its subscriptions: filter as it was subscribed, options as in MQTT 5, Subscription Identifier (0: none).
    pub subscriptions: Vec<(String, u8, u32)>,
    /// What waits, in order. What had been sent and was not acknowledged is in it too, and is sent again.
    pub messages: Vec<RestoredMessage>,
    /// Messages for which PUBREL is to be sent again: number, and order.
    pub released: Vec<(u64, u64)>,
    /// Packet identifiers of QoS 2 messages of the client that it has not released.
    pub received: Vec<u16>,
    /// Where it was in a cluster.
    pub past: Past,
    /// The will that is to be published, when its delay is over since the client went away.
    pub will: Option<Will>,
}

impl Sessions {
    /// Takes a session that the store gives back. To be called before the first client comes. Filters that cannot be
    /// subscribed any more are left out; interests in the others are noted in `changes`.
    ///
    /// # Errors
    /// There is a later one of its key, so this one had ended, and a crash took only that: [`Self::end_restored`].
    pub fn restore(&self, restored: Restored, changes: &mut Changes) -> Result<Arc<Session>, Arc<Session>> {
        let (returned, subscriptions) = Returned::new(restored);
        if !self.take_in(&returned, None) {
            return Err(returned.session);
        }
        subscribe_all(&returned.session, subscriptions, changes);
        Ok(returned.session)
    }

    /// Takes a session that comes from another node, in place of `before`, if there is one: that went there, and what came for it since
    /// is for this one. Both have their subscriptions and whoever looks finds one of them, so that nothing comes between; then
    /// [`Self::end_moved`] ends the one before. `came`: what is known where it comes from of publications that may come once more.
    ///
    /// # Errors
    /// There is another one of its key, of which nothing changes.
    pub fn move_in(
        &self,
        restored: Restored,
        came: &[Came],
        before: Option<&Arc<Session>>,
        spare: &mut Spare,
    ) -> Result<Arc<Session>, Arc<Session>> {
        let (returned, subscriptions) = Returned::new(restored);
        returned.session.moves_in(came);
        subscribe_all(&returned.session, subscriptions, &mut spare.changes);
        if self.take_in(&returned, before) {
            return Ok(returned.session);
        }
        router::forget(&returned.session, spare);
        Err(returned.session)
    }

    /// From now on it is found, and `before` is not. False: there is another one of its key.
    fn take_in(&self, returned: &Returned, before: Option<&Arc<Session>>) -> bool {
        let Returned { session, expires_ms, due_ms } = returned;
        let hash = self.hash(session.key());
        if let Some(before) = before {
            // A will that waits is the other node's.
            drop(before.take_will());
        }
        {
            let mut guard = self.inner.lock();
            let inner = &mut *guard;
            if let Some(before) = before {
                inner.remove(hash, before);
            }
            if inner.table.find(hash, |known| known.is_of(session.key())).is_some() {
                return false;
            }
            let expires = inner.moment(*expires_ms);
            inner.expiring.insert(expires, session.clone());
            let will_due = due_ms.map(|due_ms| inner.moment(due_ms));
            if let Some(due) = will_due {
                inner.wills.insert(due, session.clone());
            }
            let entry = Entry { session: session.clone(), away: Some(Away { expires, will_due }) };
            inner.table.insert_unique(hash, entry, |known| self.hash(known.session.key()));
        }
        session.key().tenant().usage.sessions.take_anyway(1);
        true
    }

    /// Ends a session that lives on another node from now on, with all that it has. Its client is away.
    pub fn forget(&self, session: &Arc<Session>, spare: &mut Spare) {
        self.take_out(session);
        router::forget(session, spare);
    }

    /// Ends one in whose place another is. What came for it after the message with the number `seq`, and waited, is for that one.
    pub fn end_moved(&self, session: &Arc<Session>, seq: u64, spare: &mut Spare) -> Vec<Late> {
        router::end_moved(session, seq, spare)
    }

    /// Nobody finds it any more; it has what it has until it is [forgotten](Self::forget).
    pub fn take_out(&self, session: &Arc<Session>) {
        // A will that waits is the other node's.
        drop(session.take_will());
        self.inner.lock().remove(self.hash(session.key()), session);
    }

    /// Tells the store how a session is now.
    pub fn note(&self, session: &Session, spare: &mut Spare) {
        spare.changes.note_some(|| session.record());
    }

    /// The keys of all sessions.
    pub fn keys(&self) -> Vec<Arc<SessionKey>> {
        self.inner.lock().table.iter().map(|entry| entry.session.key().clone()).collect()
    }

    /// The keys of the sessions that can go to another node: their clients are away and have left no will that waits, and no shared
    /// subscription has something for them here. Those that live on another node already are none.
    pub fn movable(&self) -> Vec<Arc<SessionKey>> {
        let inner = self.inner.lock();
        let away = inner.table.iter().filter(|entry| entry.away.is_some_and(|away| away.will_due.is_none()));
        let away: Vec<_> = away.map(|entry| entry.session.clone()).collect();
        drop(inner);
        let is_here = |session: &&Arc<Session>| !session.lives_elsewhere() && !session.has_group_waiting();
        away.iter().filter(is_here).map(|session| session.key().clone()).collect()
    }

    /// Ends a session that [`Self::restore`] did not take, when all shared subscriptions have come back: what it had by them
    /// goes back to them, as it did before the crash.
    pub fn end_restored(&self, session: &Arc<Session>, now_ms: u64, spare: &mut Spare) {
        // Nobody is connected.
        router::close(session, now_ms, &mut Vec::new(), spare);
    }
}

/// A session as it comes back, whose client is away.
struct Returned {
    session: Arc<Session>,
    expires_ms: u64,
    due_ms: Option<u64>,
}

impl Returned {
    /// And what it has subscribed.
    fn new(restored: Restored) -> (Self, Vec<(String, u8, u32)>) {
        let expires_ms = leave::moment_ms(restored.expiry_s, restored.away_since_ms);
        let due_ms = restored.will.as_ref().map(|will| leave::moment_ms(will.delay_s(), restored.away_since_ms));
        let subscriptions = restored.subscriptions.clone();
        (Returned { session: Session::restored(restored), expires_ms, due_ms }, subscriptions)
    }
}

fn subscribe_all(session: &Arc<Session>, subscriptions: Vec<(String, u8, u32)>, changes: &mut Changes) {
    for (filter, options, identifier) in subscriptions {
        subscribe(session, &filter, options, identifier, changes);
    }
}

fn subscribe(session: &Arc<Session>, filter: &str, options: u8, identifier: u32, changes: &mut Changes) {
    let Ok(options) = SubscribeOptions::read(options, Protocol::V5) else { return };
    let tenant = session.key().tenant();
    let subscription = Subscription {
        session: session.clone(),
        qos: options.qos(),
        no_local: options.no_local(),
        retain_as_published: options.retain_as_published(),
        identifier,
    };
    let mut tree = tenant.tree.write();
    if let Ok((place, true)) = tree.subscribe(filter, subscription) {
        session.restore_subscription(place);
        tenant.usage.subscriptions.take_anyway(1);
        tenant.generations.bump(filter);
        let (tenant, filter) = (tenant.clone(), filter.to_owned());
        changes.interest(|| Interest { tenant, filter, added: true, durable: session.number() != 0 });
    }
}

/// The queue of a shared subscription as the store had it.
#[derive(Debug)]
pub struct RestoredGroup {
    /// Its number in the store.
    pub number: SessionNumber,
    /// Its filter, `$share/…` included.
    pub filter: String,
    /// Number of the last message that ever waited in it.
    pub last_seq: u64,
    /// What waits, in order: number, first byte of its PUBLISH as it was published, message.
    pub messages: Vec<(u64, u8, Arc<Message>)>,
    /// Sessions with numbers of the messages that they had been given, whether they are still members or not.
    pub given: Vec<(Arc<Session>, HashSet<u64>)>,
}

impl crate::Tenant {
    /// Takes the queue of a shared subscription that the store gives back, after all sessions; of several those with higher
    /// numbers first. False: it has no members.
    pub fn restore_group(&self, restored: RestoredGroup) -> bool {
        let RestoredGroup { number, filter, last_seq, messages, given } = restored;
        let tree = self.tree.read();
        let group = tree.find(&filter).and_then(|place| tree.group_at(place));
        group.map(|group| group.restore((number, last_seq), messages, &given)).is_some()
    }

    /// Takes a retained message that the store gives back, whatever the bounds. False: its time is over, or its topic is too
    /// deep.
    pub fn restore_retained(&self, restored: RestoredRetained, now_ms: u64) -> bool {
        let RestoredRetained { message, qos, publisher: Publisher { user, client_id, marks }, withheld } = restored;
        if now_ms >= message.expires_ms() {
            return false;
        }
        let unbounded = crate::RetainedLimits { messages_max: u32::MAX, bytes_max: u64::MAX };
        let (of, who) = (message.clone(), Who { user: &user, client_id: &client_id, marks: marks.as_ref() });
        let stored = Stored { topic: of.topic(), message, qos, who, withheld };
        self.retained.write().store(stored, unbounded, now_ms).is_ok()
    }

    /// The retained message of a topic, withheld or not.
    pub fn retained_of(&self, topic: &str) -> Option<RestoredRetained> {
        self.retained.read().get(topic).map(|kept| kept.restored())
    }

    /// Takes the retained message of a topic away, if it has one; the store hears nothing of it.
    pub fn clear_retained(&self, topic: &str) {
        self.retained.write().clear(topic);
    }
}

/// A retained message as the store has it.
#[derive(Debug)]
pub struct RestoredRetained {
    /// The message.
    pub message: Arc<Message>,
    /// QoS.
    pub qos: gatemq_types::QoS,
    /// Who published it.
    pub publisher: Publisher,
    /// It goes to nobody who subscribes.
    pub withheld: bool,
}
