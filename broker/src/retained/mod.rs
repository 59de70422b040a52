//! The retained messages of a tenant: the last one of each topic, for those who subscribe later (3.3.1.3).

mod publisher;
mod revoked;
mod topics;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use gatemq_types::QoS;

use crate::SessionKey;
use crate::session::Message;
use crate::sessions::RestoredRetained;
use crate::tenant::TenantLimit;
pub use publisher::Publisher;
use publisher::Publishers;
pub(crate) use publisher::Who;
pub use revoked::{Readmitted, RevokedRetained};
use topics::Topics;

/// Messages whose time is over that are taken away at each store.
const EXPIRED_PER_STORE: usize = 16;

/// Bounds of one tenant's retained messages. What comes when one is reached is refused (0x97) and counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RetainedLimits {
    /// Messages.
    pub messages_max: u32,
    /// Bytes of their topics, properties and payloads.
    pub bytes_max: u64,
}

impl Default for RetainedLimits {
    fn default() -> Self {
        RetainedLimits { messages_max: 100_000, bytes_max: 64 << 20 }
    }
}

/// What became of a PUBLISH's wish to be retained.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Retention {
    /// It had none (MQTT-3.3.1-8).
    #[default]
    None,
    /// It is the retained message of its topic now (MQTT-3.3.1-5).
    Stored,
    /// Its payload is empty, so its topic has none any more, whether or not it had one (MQTT-3.3.1-6, -7).
    Cleared,
    /// The tenant has as many as it may, or the topic is too deep. The message went to nobody: 0x97.
    Refused,
}

/// A retained message.
pub(crate) struct Kept {
    /// Held by its topic alone, or by those for whom it became a message in flight or one that waits.
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    /// Goes to nobody who subscribes.
    withheld: bool,
    /// Shared by all that it has published.
    publisher: Arc<Publisher>,
}

impl Kept {
    /// Whether a client of the same tenant published it.
    pub(crate) fn is_from(&self, key: &SessionKey) -> bool {
        *self.publisher.client_id == *key.client_id() && *self.publisher.user == *key.user()
    }
}

impl Kept {
    pub(crate) fn restored(&self) -> RestoredRetained {
        let Kept { message, qos, withheld, publisher } = self;
        let (message, publisher) = (message.clone(), Publisher::clone(publisher));
        RestoredRetained { message, qos: *qos, publisher, withheld: *withheld }
    }
}

/// A message that is to be retained.
pub(crate) struct Stored<'a> {
    pub(crate) topic: &'a str,
    pub(crate) message: Arc<Message>,
    pub(crate) qos: QoS,
    pub(crate) who: Who<'a>,
    pub(crate) withheld: bool,
}

/// A retained message on its way to a subscriber, as the first byte of its PUBLISH, and the message as long as it is the
/// one of its topic: what replaced it reaches the subscriber as a message of its own.
pub(crate) type Sent = (u8, Weak<Message>);

/// See the module.
#[derive(Default)]
pub(crate) struct Retained {
    topics: Topics<Kept>,
    messages: u32,
    bytes: u64,
    /// Those whose time ends: when, and the number of their topic.
    expiring: BTreeSet<(u64, u32)>,
    publishers: Publishers,
    /// Numbers of the topics whose messages are withheld, by user and client identifier of their publisher.
    withheld: BTreeMap<(Box<str>, Box<str>), BTreeSet<u32>>,
}

impl Retained {
    pub(crate) fn messages(&self) -> u32 {
        self.messages
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes a message the one of its topic; returns who published it.
    ///
    /// # Errors
    /// The tenant's limit that was reached; `None`: the topic is too deep.
    pub(crate) fn store(
        &mut self,
        stored: Stored<'_>,
        limits: RetainedLimits,
        now_ms: u64,
    ) -> Result<Arc<Publisher>, Option<TenantLimit>> {
        let Stored { topic, message, qos, who, withheld } = stored;
        self.drop_expired(now_ms);
        let before = self.topics.find(topic).and_then(|at| self.topics.get(at));
        let (messages, bytes) = before.map_or((0, 0), |before| (1, before.message.len() as u64));
        let len = message.len() as u64;
        if self.messages - messages >= limits.messages_max {
            return Err(Some(TenantLimit::RetainedMessages));
        }
        if self.bytes - bytes + len > limits.bytes_max {
            return Err(Some(TenantLimit::RetainedBytes));
        }
        let at = self.topics.add(topic).ok_or(None)?;
        let (expires_ms, publisher) = (message.expires_ms(), self.publishers.get(who));
        if let Some(before) = self.topics.put(at, Kept { message, qos, withheld, publisher: publisher.clone() }) {
            self.forget(at, &before);
        }
        (self.messages, self.bytes) = (self.messages + 1, self.bytes + len);
        if expires_ms != u64::MAX {
            self.expiring.insert((expires_ms, at));
        }
        if withheld {
            self.withheld.entry(publisher.name()).or_default().insert(at);
        }
        Ok(publisher)
    }

    /// A topic's message.
    pub(crate) fn get(&self, topic: &str) -> Option<&Kept> {
        self.topics.get(self.topics.find(topic)?)
    }

    /// Takes a topic's message away, if it has one.
    pub(crate) fn clear(&mut self, topic: &str) {
        if let Some(at) = self.topics.find(topic) {
            self.remove(at);
        }
    }

    /// Calls `each` with every message whose topic `filter` matches, whose time is not over and that is not withheld.
    pub(crate) fn matching(&self, filter: &str, now_ms: u64, mut each: impl FnMut(&Kept)) {
        self.topics.matching(filter, &mut |kept: &Kept| {
            if now_ms < kept.message.expires_ms() && !kept.withheld {
                each(kept);
            }
        });
    }

    fn drop_expired(&mut self, now_ms: u64) {
        for _ in 0..EXPIRED_PER_STORE {
            match self.expiring.first() {
                Some((expires_ms, at)) if *expires_ms <= now_ms => self.remove(*at),
                _ => return,
            }
        }
    }

    fn remove(&mut self, at: u32) {
        if let Some(before) = self.topics.take(at) {
            self.forget(at, &before);
        }
    }

    fn forget(&mut self, at: u32, before: &Kept) {
        self.messages -= 1;
        self.bytes -= before.message.len() as u64;
        self.expiring.remove(&(before.message.expires_ms(), at));
        if before.withheld {
            self.not_withheld(at, &before.publisher);
        }
        self.publishers.release(&before.publisher);
    }
}

#[cfg(test)]
mod tests {
    use gatemq_mqtt::Properties;

    use super::*;

    fn stored<'a>(topic: &'a str, expiry_s: Option<u8>, payload: &[u8], now_ms: u64) -> Stored<'a> {
        let expiry = expiry_s.map(|s| [2, 0, 0, 0, s]);
        let properties = Properties::trusted(expiry.as_ref().map_or(&[], |e| &e[..]));
        let message = Arc::new(Message::new(topic, properties, payload, now_ms));
        let who = Who { user: "user", client_id: "p", marks: None };
        Stored { topic, message, qos: QoS::AtMostOnce, who, withheld: false }
    }

    fn count(retained: &Retained, now_ms: u64) -> usize {
        let mut count = 0;
        retained.matching("#", now_ms, |_| count += 1);
        count
    }

    /// Guards the bounds: what exceeds them is refused and changes nothing; a replacement is not one more; what is
    /// cleared makes room.
    #[test]
    fn bounded_by_messages_and_bytes() {
        let limits = RetainedLimits { messages_max: 3, bytes_max: 20 };
        let mut retained = Retained::default();
        let mut store = |topic: &str, payload: &[u8]| {
            let retention = retained.store(stored(topic, None, payload, 0), limits, 0).map(drop);
            (retention, retained.messages(), retained.bytes(), count(&retained, 0))
        };
        assert_eq!(store("a", &[0; 4]), (Ok(()), 1, 5, 1));
        assert_eq!(store("b", &[0; 4]), (Ok(()), 2, 10, 2));
        assert_eq!(store("c", &[0; 10]), (Err(Some(TenantLimit::RetainedBytes)), 2, 10, 2), "too many bytes");
        assert_eq!(store("c", &[0; 9]), (Ok(()), 3, 20, 3));
        assert_eq!(store("d", b""), (Err(Some(TenantLimit::RetainedMessages)), 3, 20, 3), "too many messages");
        assert_eq!(store("c", &[0; 10]), (Err(Some(TenantLimit::RetainedBytes)), 3, 20, 3), "the old one stays");
        assert_eq!(store("c", &[0; 1]), (Ok(()), 3, 12, 3));
        retained.clear("none");
        retained.clear("a");
        assert_eq!((retained.messages(), retained.bytes(), count(&retained, 0)), (2, 7, 2));
        let deep = vec!["x"; crate::TOPIC_LEVELS_MAX + 1].join("/");
        let deep = Stored { topic: &deep, ..stored("d", None, b"", 0) };
        assert_eq!(retained.store(deep, limits, 0).map(drop), Err(None));
        for topic in ["b", "c"] {
            retained.clear(topic);
        }
        assert_eq!((retained.messages(), retained.bytes()), (0, 0));
        assert!(retained.topics.is_empty() && retained.publishers.is_empty(), "no node and no publisher is left");
    }

    /// Guards message expiry (MQTT-3.3.2-5): what is over is not sent, gives its room to others, and a replacement has
    /// its own time.
    #[test]
    fn what_is_over_is_gone() {
        let limits = RetainedLimits { messages_max: 2, ..RetainedLimits::default() };
        let mut retained = Retained::default();
        retained.store(stored("a", Some(10), b"x", 0), limits, 0).unwrap();
        retained.store(stored("b", Some(5), b"x", 0), limits, 0).unwrap();
        assert_eq!(retained.store(stored("b", None, b"x", 1_000), limits, 1_000).map(drop), Ok(()));
        assert_eq!((count(&retained, 9_999), count(&retained, 10_000)), (2, 1));
        assert_eq!(
            retained.store(stored("c", None, b"x", 9_999), limits, 9_999).map(drop),
            Err(Some(TenantLimit::RetainedMessages))
        );
        assert_eq!(retained.store(stored("c", None, b"x", 10_000), limits, 10_000).map(drop), Ok(()));
        assert_eq!((retained.messages(), retained.expiring.len()), (2, 0));
    }
}
