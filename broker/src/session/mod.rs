//! A session: the one owner of everything that goes out to a client.
//!
//! One short lock guards the output bytes, what is in flight and the queue. Whoever delivers appends bytes under it; the
//! owning connection takes all bytes at once. No IO happens under the lock, and nobody ever holds two of them.
//!
//! A session ends with its connection: nothing of it is kept for a later one.

mod deliver;
mod encoded;
mod flights;
mod settle;
mod spare;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use gatemq_types::Protocol;
use hashbrown::HashSet;
use parking_lot::Mutex;

use crate::tree::Place;
use crate::{Hasher, SessionKey};
pub use deliver::Delivered;
pub(crate) use encoded::{Encoded, Stored};
use flights::Flights;
pub use flights::Received;
pub use settle::Ack;
pub use spare::Spare;

/// Which connection of which worker writes for a session.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Home {
    /// Number of the worker.
    pub worker: u32,
    /// Number of the connection on that worker.
    pub connection: u32,
}

/// Bounds of one session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SessionLimits {
    /// QoS 1 and 2 messages that may be unacknowledged towards the client: the lower of its Receive Maximum and the
    /// broker's own bound. 0 is taken as 1.
    pub inflight_max: u16,
    /// QoS 2 messages of the client that may be unreleased: our Receive Maximum.
    pub receive_max: u16,
    /// The client's Maximum Packet Size in bytes; 0 is none. What is larger is dropped and counted (MQTT-3.1.2-24).
    pub packet_bytes_max: u32,
    /// Messages that may wait. What comes when that many do is dropped and counted.
    pub queue_messages_max: u32,
    /// Bytes of messages that may wait. What comes when they do is dropped and counted.
    pub queue_bytes_max: u32,
}

impl Default for SessionLimits {
    fn default() -> Self {
        SessionLimits {
            inflight_max: 100,
            receive_max: 100,
            packet_bytes_max: 0,
            queue_messages_max: 10_000,
            queue_bytes_max: 4 << 20,
        }
    }
}

/// Messages that wait, each with the first byte that its packet gets.
type Queue = VecDeque<(u8, Arc<Stored>)>;

/// What waits, and for whom.
#[derive(Default)]
struct Output {
    /// `None`: closed, nothing is appended any more.
    home: Option<Home>,
    bytes: Vec<u8>,
    /// Absent until first needed.
    flights: Option<Box<Flights>>,
    /// Present while messages wait.
    queue: Option<Box<Queue>>,
    queue_bytes: usize,
    subscriptions: HashSet<Place, Hasher>,
    dropped: u64,
}

/// Everything that goes out to one client.
pub struct Session {
    key: Arc<SessionKey>,
    protocol: Protocol,
    limits: SessionLimits,
    /// Bytes wait and the owner has been told. Written under the lock, read without.
    armed: AtomicBool,
    output: Mutex<Output>,
}

/// Why a subscription cannot be added to a session.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NotAdded {
    /// The session is closed.
    Closed,
    /// It has as many as it may.
    TooMany,
}

impl Session {
    /// A session whose output is written by `home`.
    pub fn new(key: Arc<SessionKey>, protocol: Protocol, limits: SessionLimits, home: Home) -> Self {
        let limits = SessionLimits { inflight_max: limits.inflight_max.max(1), ..limits };
        let output = Mutex::new(Output { home: Some(home), ..Output::default() });
        Session { key, protocol, limits, armed: AtomicBool::new(false), output }
    }

    /// Whose session it is.
    pub fn key(&self) -> &Arc<SessionKey> {
        &self.key
    }

    /// Version of the client.
    #[inline]
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Messages dropped because they were too large for the client or its queue was full.
    pub fn dropped(&self) -> u64 {
        self.output.lock().dropped
    }

    /// How many subscriptions it has.
    pub fn subscriptions(&self) -> usize {
        self.output.lock().subscriptions.len()
    }

    /// Whether it ended: nothing is appended any more.
    pub fn is_closed(&self) -> bool {
        self.output.lock().home.is_none()
    }

    pub(crate) fn add_subscription(&self, place: Place, subscriptions_max: u32) -> Result<(), NotAdded> {
        let mut output = self.output.lock();
        if output.home.is_none() {
            return Err(NotAdded::Closed);
        }
        if output.subscriptions.len() >= subscriptions_max as usize {
            return Err(NotAdded::TooMany);
        }
        output.subscriptions.insert(place);
        Ok(())
    }

    pub(crate) fn remove_subscription(&self, place: Place) -> bool {
        self.output.lock().subscriptions.remove(&place)
    }

    /// Ends it: what waits is gone, and nothing is appended from now on. Returns who wrote for it, once, and its
    /// subscriptions.
    pub(crate) fn close(&self) -> (Option<Home>, HashSet<Place, Hasher>) {
        let mut output = self.output.lock();
        let dropped = output.dropped;
        let old = std::mem::replace(&mut *output, Output { dropped, ..Output::default() });
        self.armed.store(false, Ordering::Release);
        (old.home, old.subscriptions)
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Session({:?}, MQTT {})", self.key, self.protocol.name())
    }
}

#[cfg(test)]
pub(crate) mod testing {
    //! Sessions for tests.

    use super::*;
    use crate::identity::testing::key;

    pub(crate) const HOME: Home = Home { worker: 0, connection: 7 };

    pub(crate) fn with(protocol: Protocol, limits: SessionLimits) -> Session {
        Session::new(key("c"), protocol, limits, HOME)
    }

    pub(crate) fn session_of(key: &Arc<SessionKey>, connection: u32) -> Arc<Session> {
        let home = Home { worker: 0, connection };
        Arc::new(Session::new(key.clone(), Protocol::V311, SessionLimits::default(), home))
    }

    pub(crate) fn session(connection: u32) -> Arc<Session> {
        session_of(&key("c"), connection)
    }
}
