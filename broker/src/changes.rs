//! What must survive a restart, told to the host as it happens: the host brings it to its store, and answers a client that is to
//! rely on it only when it is there.
//!
//! A session that outlives its connection has a number in the store, and each of its messages at QoS 1 and 2 one in the
//! session. Several workers change a session, and their batches reach the store in any order, so what is said of a message is
//! so that the order does not matter, and a record has a version. The router, and whoever else is given an [`Out`](crate::Out), appends to its `changes`; nothing here waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_mqtt::packet::connect;
use gatemq_mqtt::topic::Filter;
use gatemq_types::QoS;
use parking_lot::Mutex;

use crate::remote::{Forward, Interest};
use crate::retained::Publisher;
use crate::session::{Message, Session};
use crate::{Past, SessionKey};

/// Number of a session in the store, or of a shared subscription that has a queue there; given out by [`Numbers`], never
/// twice.
pub type SessionNumber = u64;

/// Where the store has, or may still have, a message: in which queue, and its number there. A message that moves before the
/// store has its last move takes them along, so that whichever of its moves a crash leaves, it is in one queue only.
pub(crate) type Places = Vec<(SessionNumber, u64)>;

/// Numbers of a node's sessions in its store. Clones count on together.
#[derive(Clone, Default, Debug)]
pub struct Numbers(Arc<AtomicU64>);

impl Numbers {
    /// From this one on; it must not be 0.
    pub(crate) fn start(&self, next: SessionNumber) {
        self.0.store(next, Ordering::Relaxed);
    }

    /// The next one; 0: there is no store.
    pub fn next(&self) -> SessionNumber {
        match self.0.load(Ordering::Relaxed) {
            0 => 0,
            _ => self.0.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// One change.
#[derive(Debug)]
pub enum Change {
    /// A session is new, or something in its record is another.
    Session(Record),
    /// A session is no more, with everything that belongs to it.
    SessionEnded(SessionNumber),
    /// It subscribes, or subscribes anew.
    Subscribed {
        /// Which session.
        session: SessionNumber,
        /// The filter as it was subscribed, `$share/…` included.
        filter: String,
        /// Subscription options as in MQTT 5 (3.8.3.1), with the QoS that was granted.
        options: u8,
        /// Subscription Identifier; 0 is none.
        identifier: u32,
    },
    /// It unsubscribes.
    Unsubscribed {
        /// Which session.
        session: SessionNumber,
        /// The filter.
        filter: String,
    },
    /// It got a message. Nobody is to rely on that before it is stored; then [`Session::stored`] is to be told.
    Appended(Appended),
    /// A shared subscription with members in the store has a queue there from now on, which ends like a session.
    Group {
        /// Its number.
        group: SessionNumber,
        /// The tenant's name.
        tenant: String,
        /// Its filter, `$share/…` included.
        filter: String,
    },
    /// A message waits in it, because no member can have it now.
    Waits {
        /// Which.
        group: SessionNumber,
        /// The message's place.
        seq: u64,
        /// First byte of its PUBLISH, as it was published.
        first: u8,
        /// The message.
        message: Arc<Message>,
    },
    /// Nothing to store, but once all that was changed before is, [`Session::stored`] is to be told.
    Awaited(Arc<Session>, u64),
    /// A message is done with: acknowledged, expired, dropped, or of a shared subscription and given to a member.
    Done {
        /// Which session.
        session: SessionNumber,
        /// Which message.
        seq: u64,
        /// A session that is to be told when that is stored, by [`Session::stored`].
        tell: Option<Arc<Session>>,
    },
    /// PUBREC came for a message: from now on PUBREL is what is sent again.
    Released {
        /// Which session.
        session: SessionNumber,
        /// Which message.
        seq: u64,
        /// What has a lower one is sent again earlier.
        order: u64,
    },
    /// A QoS 2 message with this identifier came from the client.
    Received {
        /// Which session.
        session: SessionNumber,
        /// Packet identifier.
        packet_id: u16,
    },
    /// The client has released it.
    ReceivedReleased {
        /// Which session.
        session: SessionNumber,
        /// Packet identifier.
        packet_id: u16,
    },
    /// A topic has a retained message.
    Retained {
        /// The tenant's name.
        tenant: String,
        /// The message.
        message: Arc<Message>,
        /// QoS.
        qos: QoS,
        /// Who published it.
        publisher: Arc<Publisher>,
        /// It goes to nobody who subscribes.
        withheld: bool,
    },
    /// A topic has none any more.
    RetainedCleared {
        /// The tenant's name.
        tenant: String,
        /// The topic.
        topic: String,
    },
}

/// A session's record.
#[derive(Debug)]
pub struct Record {
    /// Its number.
    pub session: SessionNumber,
    /// Whose it is.
    pub key: Arc<SessionKey>,
    /// Protocol level of its client.
    pub level: u8,
    /// Session Expiry Interval in seconds; `u32::MAX` is never.
    pub expiry_s: u32,
    /// Since when its client is away, in milliseconds since 1970; 0: it is there.
    pub away_since_ms: u64,
    /// The later one of two is the one with the higher version; the first has 0. Workers bring them in any order.
    pub version: u64,
    /// The highest number of a message that was sent, as far as this record knows: while its client is there, later ones are.
    pub sent_seq: u64,
    /// Where it was in a cluster.
    pub past: Past,
    /// The will that is to be published.
    pub will: Option<StoredWill>,
}

/// A will as the store has it. Whoever left it was permitted to.
#[derive(Clone, Debug)]
pub struct StoredWill {
    /// As it was left.
    pub message: Arc<connect::Will>,
    /// A provider had been asked, and allowed it.
    pub asked: bool,
}

/// A message that a session got.
#[derive(Debug)]
pub struct Appended {
    /// The session.
    pub session: Arc<Session>,
    /// Its place in the session.
    pub seq: u64,
    /// First byte of its PUBLISH: QoS and RETAIN.
    pub first: u8,
    /// Subscription Identifier; 0 is none.
    pub identifier: u32,
    /// The shared subscription by which it came, where that has a queue in the store; 0: none.
    pub group: SessionNumber,
    /// The message, shared by all who got it.
    pub message: Arc<Message>,
}

/// Changes of retained messages of all workers, in the order in which they were made: a topic's last message is to be its last
/// in the store too. Whoever submits some holds the lock until the store has them.
pub type RetainedChanges = Arc<Mutex<Vec<Change>>>;

/// Changes of a worker, in order. Without a store there never are any.
#[derive(Default, Debug)]
pub struct Changes {
    retained: Option<RetainedChanges>,
    numbers: Numbers,
    relied_on: bool,
    of_retained: bool,
    list: Vec<Change>,
    /// How many of them wait to be submitted since earlier turns.
    waiting: usize,
    interests: Option<Vec<Interest>>,
    /// Keys of sessions that ended; only where interests are noted.
    ended: Vec<Arc<SessionKey>>,
    /// Messages of shared subscriptions for other nodes; only where interests are noted.
    handed: Vec<Forward>,
}

impl Changes {
    /// For a worker of a node that has a store; all have the same list of what is retained, and the numbers of
    /// [`Sessions::numbers`](crate::Sessions::numbers).
    pub fn kept(retained: RetainedChanges, numbers: Numbers) -> Self {
        Changes { retained: Some(retained), numbers, ..Changes::default() }
    }

    /// For a node of a cluster: from now on it is also noted who subscribes.
    pub fn note_interests(&mut self) {
        self.interests.get_or_insert_default();
    }

    /// Who subscribed and unsubscribed since the last time.
    pub fn take_interests(&mut self) -> Vec<Interest> {
        self.interests.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Whether somebody did, or a session ended.
    #[inline]
    pub fn have_interests(&self) -> bool {
        self.interests.as_ref().is_some_and(|interests| !interests.is_empty() || !self.ended.is_empty())
    }

    /// Somebody subscribed or unsubscribed. What is below `$` is of this node alone.
    pub(crate) fn interest(&mut self, interest: impl FnOnce() -> Interest) {
        if let Some(interests) = &mut self.interests {
            let interest = interest();
            if !Filter::trusted(&interest.filter).filter.starts_with('$') {
                interests.push(interest);
            }
        }
    }

    /// A session ended.
    pub(crate) fn ended(&mut self, key: &Arc<SessionKey>) {
        if self.interests.is_some() {
            self.ended.push(key.clone());
        }
    }

    /// Sessions that ended since the last time; perhaps there is a new one of the same key.
    pub fn take_ended(&mut self) -> Vec<Arc<SessionKey>> {
        std::mem::take(&mut self.ended)
    }

    /// A message that waited in a shared subscription goes to another node.
    pub(crate) fn hand_over(&mut self, forward: Forward) {
        if self.interests.is_some() {
            self.handed.push(forward);
        }
    }

    /// Messages that went to other nodes since the last time, to be forwarded as those of [`Out`](crate::Out).
    #[inline]
    pub fn take_handed(&mut self) -> Vec<Forward> {
        std::mem::take(&mut self.handed)
    }

    /// Whether [`Self::note_interests`] was called.
    pub(crate) fn notes_interests(&self) -> bool {
        self.interests.is_some()
    }

    /// A number for a queue in the store; 0: there is no store.
    pub(crate) fn number(&self) -> SessionNumber {
        self.numbers.next()
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty() && !self.of_retained
    }

    /// Whether somebody is to be answered only when they are stored.
    #[inline]
    pub fn are_relied_on(&self) -> bool {
        self.relied_on
    }

    /// Takes them all, and has `submit` bring them to the store, those of retained messages included that other workers made
    /// before.
    pub fn submit(&mut self, submit: impl FnOnce(Vec<Change>)) {
        let mut list = std::mem::take(&mut self.list);
        (self.relied_on, self.waiting) = (false, 0);
        match &self.retained {
            Some(retained) if std::mem::take(&mut self.of_retained) => {
                let mut retained = retained.lock();
                list.append(&mut retained);
                submit(list);
            }
            _ => submit(list),
        }
    }

    /// A turn is over, and what changed in it is to be submitted later, with what changes then.
    pub fn wait(&mut self) {
        self.waiting = self.list.len();
    }

    /// Takes back which QoS 2 messages of a session came in this turn, for other nodes are to have them first. None of a session that is
    /// not stored.
    pub fn take_received(&mut self, of: SessionNumber) -> Vec<u16> {
        let is_its = |change: &mut Change| matches!(change, Change::Received { session, .. } if *session == of);
        let taken = self.list.extract_if(self.waiting.., is_its).filter_map(|change| match change {
            Change::Received { packet_id, .. } => Some(packet_id),
            _ => None,
        });
        taken.collect()
    }

    /// They have them: an answer waits for this.
    pub fn received(&mut self, session: SessionNumber, packet_ids: &[u16]) {
        for packet_id in packet_ids {
            self.rely_on(|| Change::Received { session, packet_id: *packet_id });
        }
    }

    /// One that an answer waits for.
    pub(crate) fn rely_on(&mut self, change: impl FnOnce() -> Change) {
        if self.retained.is_some() {
            self.relied_on = true;
            self.list.push(change());
        }
    }

    /// One that no answer waits for: should it be lost, something is sent again.
    pub(crate) fn note(&mut self, change: impl FnOnce() -> Change) {
        if self.retained.is_some() {
            self.list.push(change());
        }
    }

    /// A message is in none of these places any more.
    pub(crate) fn note_moved(&mut self, places: &Places) {
        for (session, seq) in places {
            self.note(|| Change::Done { session: *session, seq: *seq, tell: None });
        }
    }

    /// As [`Self::rely_on`], of something that is perhaps not stored.
    pub(crate) fn rely_on_some(&mut self, change: impl FnOnce() -> Option<Change>) {
        if self.retained.is_some()
            && let Some(change) = change()
        {
            self.relied_on = true;
            self.list.push(change);
        }
    }

    /// As [`Self::note`], of something that is perhaps not stored.
    pub(crate) fn note_some(&mut self, change: impl FnOnce() -> Option<Change>) {
        if self.retained.is_some() {
            self.list.extend(change());
        }
    }

    /// One of a retained message; called under the lock of the tenant's retained messages. An answer waits for it.
    pub(crate) fn retain(&mut self, change: impl FnOnce() -> Change) {
        if let Some(retained) = &self.retained {
            (self.relied_on, self.of_retained) = (true, true);
            retained.lock().push(change());
        }
    }
}
