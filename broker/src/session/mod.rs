//! A session: the one owner of everything that goes out to a client.
//!
//! One short lock guards the output bytes, what is in flight and the queue. Whoever delivers appends bytes under it; the
//! owning connection takes all bytes at once. No IO happens under the lock, and nobody ever holds two of them.
//!
//! | module | what it says |
//! |---|---|
//! | `attached` | what its connection may do, until another one has it |
//! | `deliver` | a message becomes bytes, or waits |
//! | `queue` | what waits becomes bytes |
//! | `settle`, `flights`, `packet_ids` | acknowledgements, and what is in flight |
//! | `resume` | between two connections |
//! | `stored` | what the store has of it |
//! | `own` | what only one receiver's packet has |
//! | `message` | what is kept: no version, no packet identifier |
//!
//! A session is *attached* to a connection, *away* (its connection has gone, it keeps its subscriptions and queues
//! QoS 1 and 2), or *closed*. One without expiry is closed with its connection and keeps nothing to send again.

mod attached;
mod deliver;
mod dropped;
mod flights;
mod message;
mod moving;
mod own;
mod packet_ids;
mod queue;
mod resume;
mod settle;
mod spare;
mod stored;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use gatemq_types::Protocol;
use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::changes::{Places, SessionNumber, StoredWill};
use crate::shared::Group;
use crate::tenant::Usage;
use crate::tree::Place;
use crate::{Hasher, SessionKey, Will};
pub use attached::Attached;
pub use deliver::Delivered;
use deliver::OUTPUT_BYTES_MAX;
pub(crate) use deliver::{Offer, Offered, qos_of};
pub use dropped::Dropped;
pub use flights::Received;
use flights::{Flights, Kept};
pub use message::Message;
pub(crate) use message::{Encoded, Source};
pub use moving::{Came, Cut, Late, Way};
use own::Aliases;
use queue::Queue;
pub use resume::Begun;
pub(crate) use resume::Opening;
pub use settle::Ack;
pub use spare::Spare;
pub use stored::RestoredMessage;
use stored::Stored;

/// Which connection of which worker writes for a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Home {
    /// Number of the worker.
    pub worker: u32,
    /// Number of the connection on that worker.
    pub connection: u32,
}

/// Bounds of one session, for as long as a connection has it and the time after it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// QoS 1 and 2 messages that may be unacknowledged towards the client: the lower of its Receive Maximum and the
    /// broker's own bound. 0 is taken as 1. A session that outlives its connection keeps that many to send them again.
    pub inflight_max: u16,
    /// QoS 2 messages of the client that may be unreleased: our Receive Maximum. An MQTT 3 client, which cannot be told of
    /// it, may have as many as there are packet identifiers; their set takes 8 KiB at most.
    pub receive_max: u16,
    /// The client's Maximum Packet Size in bytes; 0 is none. What is larger is dropped and counted (MQTT-3.1.2-24).
    pub packet_bytes_max: u32,
    /// Messages that may wait. What comes when that many do is dropped and counted. Retained messages that a SUBSCRIBE
    /// brings have a bound of their own: as many as the tenant may have.
    pub queue_messages_max: u32,
    /// Bytes of topics, properties and payloads that may wait. What comes when they do is dropped and counted.
    pub queue_bytes_max: u32,
    /// The client's Topic Alias Maximum; 0 is none. At most 32 topics get one.
    pub topic_alias_max: u16,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits {
            inflight_max: 100,
            receive_max: 100,
            packet_bytes_max: 0,
            queue_messages_max: 10_000,
            queue_bytes_max: 4 << 20,
            topic_alias_max: 0,
        }
    }
}

/// What waits, and for whom. In this order: what every delivery looks at is together at its beginning, in two cache lines
/// with the session's own fields (of a thousand receivers each line is a miss).
#[derive(Default)]
#[repr(C)]
struct Output {
    /// `None`: away or closed.
    home: Option<Home>,
    /// Which connection has it: each gets a number of its own.
    epoch: u32,
    bytes: Vec<u8>,
    /// Absent until first needed.
    flights: Option<Box<Flights>>,
    /// Present while messages wait, or while it is held.
    queue: Option<Box<Queue>>,
    /// Present if it is in the store.
    stored: Option<Box<Stored>>,
    /// Absent where its client allows none.
    aliases: Option<Box<Aliases>>,
    limits: SessionLimits,
    /// Session Expiry Interval in seconds; `u32::MAX` is never, 0 that it ends with its connection.
    expiry_s: u32,
    /// Not closed.
    open: bool,
    /// Attached, but not begun: what comes waits.
    held: bool,
    /// Shared subscriptions that had something when it had no room, each once. Changed under their locks too.
    groups: VecDeque<Arc<Group>>,
    will: Option<Box<Will>>,
    subscriptions: HashSet<Place, Hasher>,
    /// Filters that were taken away since the last begin.
    revoked: Vec<String>,
    dropped: u64,
    /// Of these.
    untold: Dropped,
}

/// Everything that goes out to one client.
#[repr(C)]
pub struct Session {
    /// Version of the client. Written under the lock; what was encoded for another one is encoded again.
    level: AtomicU8,
    /// Bytes wait and the owner has been told. Written under the lock, read without.
    armed: AtomicBool,
    /// It lives on another node.
    withdrawn: AtomicBool,
    output: Mutex<Output>,
    key: Arc<SessionKey>,
    number: SessionNumber,
}

/// Why a subscription cannot be added to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAdded {
    /// The session is closed, or another connection has it.
    Closed,
    /// It has as many as it may.
    TooMany,
    /// Its tenant has.
    QuotaExceeded,
}

/// What a session leaves when it ends.
pub(crate) struct Closed {
    /// Who wrote for it.
    pub(crate) home: Option<Home>,
    pub(crate) subscriptions: HashSet<Place, Hasher>,
    /// What others get now, that of each shared subscription together, in the order in which it was sent.
    pub(crate) shared: Vec<Returned>,
}

/// What a session that ended had by a shared subscription.
pub(crate) struct Returned {
    pub(crate) group: Arc<Group>,
    /// First byte of its PUBLISH.
    pub(crate) first: u8,
    pub(crate) message: Arc<Message>,
    /// Where the store has it, or may have it.
    pub(crate) places: Places,
}

impl Output {
    /// Whether it should come for what waits in its shared subscriptions.
    #[inline]
    fn has_room_to_share(&self) -> bool {
        !self.groups.is_empty() && self.home.is_some() && self.queue.is_none() && self.bytes.len() < OUTPUT_BYTES_MAX
    }
}

impl Session {
    /// Whose session it is.
    pub fn key(&self) -> &Arc<SessionKey> {
        &self.key
    }

    /// Its number in the store; 0: it is not stored.
    pub fn number(&self) -> SessionNumber {
        self.number
    }

    /// Version of the client that has it, or had it last.
    pub fn protocol(&self) -> Protocol {
        Protocol::from_level(self.level.load(Ordering::Relaxed)).unwrap_or(Protocol::V311)
    }

    #[inline]
    pub(crate) fn is_five(&self) -> bool {
        self.level.load(Ordering::Relaxed) == Protocol::V5.level()
    }

    /// Messages dropped because they were too large for the client, its queue was full, they expired in it, or the
    /// client may not have them any more.
    pub fn dropped(&self) -> u64 {
        self.output.lock().dropped
    }

    /// Who writes for it; `None`: its client is away, or it has ended. By the time that it is used its number may be another's.
    pub fn home(&self) -> Option<Home> {
        self.output.lock().home
    }

    /// How many subscriptions it has.
    pub fn subscriptions(&self) -> usize {
        self.output.lock().subscriptions.len()
    }

    /// Messages that wait, those in flight not counted.
    pub fn waiting(&self) -> usize {
        self.output.lock().queue.as_ref().map_or(0, |queue| queue.len())
    }

    /// Session Expiry Interval in seconds; `u32::MAX` is never, 0 that it ends with its connection.
    pub fn expiry_s(&self) -> u32 {
        self.output.lock().expiry_s
    }

    /// Its bounds.
    pub fn limits(&self) -> SessionLimits {
        self.output.lock().limits
    }

    /// Whether it outlives its connection.
    pub fn is_persistent(&self) -> bool {
        self.expiry_s() > 0
    }

    pub(crate) fn places(&self) -> Vec<Place> {
        self.output.lock().subscriptions.iter().copied().collect()
    }

    pub(crate) fn has_subscription(&self, place: Place) -> bool {
        self.output.lock().subscriptions.contains(&place)
    }

    #[inline]
    pub(crate) fn usage(&self) -> &Arc<Usage> {
        &self.key.tenant().usage
    }

    /// Messages and bytes that may wait for it.
    pub(crate) fn queue_limits(&self) -> (usize, usize) {
        let limits = self.output.lock().limits;
        (limits.queue_messages_max as usize, limits.queue_bytes_max as usize)
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.output.lock().home.is_some()
    }

    /// A shared subscription has something for it.
    pub(crate) fn list_group(&self, group: &Arc<Group>) {
        let mut output = self.output.lock();
        if output.open {
            output.groups.push_back(group.clone());
        }
    }

    /// Whether a shared subscription has something for it.
    pub(crate) fn has_group_waiting(&self) -> bool {
        !self.output.lock().groups.is_empty()
    }

    /// A shared subscription has nothing for it any more.
    pub(crate) fn forget_group(&self, group: &Arc<Group>) {
        let groups = &mut self.output.lock().groups;
        if let Some(at) = groups.iter().position(|known| Arc::ptr_eq(known, group)) {
            groups.remove(at);
        }
    }

    pub(crate) fn count_dropped(&self) {
        self.output.lock().count_dropped();
    }

    /// The will that its client left and that is not published yet, as it is stored.
    pub fn left_will(&self) -> Option<StoredWill> {
        self.output.lock().will.as_ref().map(|will| will.left())
    }

    /// Drops the will: another node publishes it. The store hears of it by [`Sessions::note`](crate::Sessions::note).
    pub fn drop_will(&self) {
        drop(self.take_will());
    }

    pub(crate) fn take_will(&self) -> Option<Box<Will>> {
        self.output.lock().will.take()
    }

    pub(crate) fn put_will(&self, will: Box<Will>) {
        self.output.lock().will = Some(will);
    }

    /// Ends it: what waits is gone, and nothing is appended from now on. What it had is returned once.
    pub(crate) fn close(&self) -> Closed {
        self.end().close()
    }

    fn end(&self) -> Output {
        let mut output = self.output.lock();
        let (epoch, dropped) = (output.epoch.wrapping_add(1), output.dropped);
        let old = std::mem::replace(&mut *output, Output { epoch, dropped, ..Output::default() });
        self.armed.store(false, Ordering::Release);
        old
    }
}

impl Output {
    /// Of a session that has ended.
    fn close(mut self) -> Closed {
        let mut shared = self.flights.as_mut().map(|flights| flights.take_shared()).unwrap_or_default();
        if let Some(queue) = self.queue.take() {
            // What was sent before what was not.
            shared.extend(queue.into_shared());
        }
        // Those of each together.
        shared.sort_by_key(|kept| kept.group.as_ref().map_or(0, |group| Arc::as_ptr(group) as usize));
        let mut stored = self.stored.take();
        let returned = |kept: Kept| {
            let Kept { first, message, group, seq, .. } = kept;
            let places = stored.as_mut().map(|stored| stored.places(seq)).unwrap_or_default();
            Some(Returned { group: group?, first, message, places })
        };
        let shared = shared.into_iter().filter_map(returned).collect();
        Closed { home: self.home, subscriptions: self.subscriptions, shared }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, MQTT {})", self.key, self.protocol().name())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Sessions for tests.

    use gatemq_mqtt::{PacketLimits, Publish, write};

    use super::*;
    use crate::identity::testing::key;

    pub(crate) const HOME: Home = Home { worker: 0, connection: 7 };

    pub(crate) fn with(protocol: Protocol, limits: SessionLimits) -> Attached {
        Attached::alone(key("c"), protocol, limits, HOME)
    }

    /// A message to topic `t`, for the version that the session has.
    pub(crate) fn deliver(session: &Attached, first: u8, payload: &[u8], spare: &mut Spare) -> Delivered {
        let (mut bytes, protocol) = (Vec::new(), session.protocol());
        let packet_id_at = write::publish(&mut bytes, protocol, first, "t", &[], payload);
        if first & 6 != 0 {
            bytes[packet_id_at + 1] = 9;
        }
        // Before the identifier are the topic and its length.
        let message = Publish::read(&bytes, packet_id_at - 3, protocol, &PacketLimits::default()).unwrap();
        let encoded = Encoded { bytes: &bytes, packet_id_at, five: session.is_five() };
        session.session().deliver(&encoded, first, 0, &mut Source::new("t", &message, 0), spare)
    }

    pub(crate) fn session_of(key: &Arc<SessionKey>, connection: u32) -> Attached {
        let home = Home { worker: 0, connection };
        Attached::alone(key.clone(), Protocol::V311, SessionLimits::default(), home)
    }

    pub(crate) fn session(connection: u32) -> Attached {
        session_of(&key("c"), connection)
    }
}
