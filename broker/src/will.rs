//! Wills: left with a CONNECT, published when the connection ends without goodbye (3.1.2.5).

use std::fmt;
use std::hash::BuildHasher;
use std::sync::Arc;

use gatemq_mqtt::packet::connect;
use gatemq_mqtt::{Properties, Publish, write};
use gatemq_types::{Protocol, QoS, ReasonCode};

use crate::changes::StoredWill;
use crate::permit::{PublishAction, PublishPermit};
use crate::sessions::Restored;
use crate::{Hasher, Identity, Session, SessionKey, SessionLimits};

/// A will that a client may leave, as [`Identity::may_leave_will`] said. Kept by its session.
pub struct Will {
    by: By,
    /// A provider had been asked, and allowed it.
    asked: bool,
    message: Arc<connect::Will>,
}

/// Who left it.
enum By {
    /// Whether it may is asked again when it is published.
    Identity(Identity),
    /// A client of an earlier run of the node, which had permitted it; of its rules nothing is left.
    Earlier(Arc<SessionKey>, Hasher),
}

impl fmt::Debug for Will {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = match &self.by {
            By::Identity(identity) => identity.key(),
            By::Earlier(key, _) => key,
        };
        write!(f, "Will({key:?}, {:?})", self.message.topic)
    }
}

impl Will {
    pub(crate) fn new(identity: Identity, message: &connect::Will, asked: bool) -> Self {
        Will { by: By::Identity(identity), asked, message: Arc::new(message.clone()) }
    }

    /// One that the store gives back, of the session with that key; `hasher` is the node's.
    pub fn restored(key: &Arc<SessionKey>, stored: StoredWill, hasher: &Hasher) -> Self {
        let StoredWill { message, asked } = stored;
        Will { by: By::Earlier(key.clone(), hasher.clone()), asked, message }
    }

    /// For the store.
    pub(crate) fn left(&self) -> StoredWill {
        StoredWill { message: self.message.clone(), asked: self.asked }
    }

    /// Topic name.
    pub fn topic(&self) -> &str {
        &self.message.topic
    }

    /// QoS.
    pub fn qos(&self) -> QoS {
        self.message.qos
    }

    /// Whether it is to be retained.
    pub fn retain(&self) -> bool {
        self.message.retain
    }

    /// Size of its payload.
    pub fn payload_bytes(&self) -> usize {
        self.message.payload.len()
    }

    /// Will Delay Interval in seconds.
    pub fn delay_s(&self) -> u32 {
        self.message.delay_s
    }

    /// From now on the identity is another one, and no provider has allowed it for that one.
    pub(crate) fn replace_identity(&mut self, identity: &Identity) {
        (self.by, self.asked) = (By::Identity(identity.again()), false);
    }

    /// Leave to publish it now.
    ///
    /// # Errors
    /// It may not be published any more.
    pub(crate) fn permit(&self) -> Result<PublishPermit<'_>, ReasonCode> {
        let connect::Will { topic, qos, retain, payload, .. } = &*self.message;
        let payload_bytes = u32::try_from(payload.len()).unwrap_or(u32::MAX);
        let action = PublishAction { topic, qos: *qos, retain: *retain, payload_bytes };
        match &self.by {
            By::Identity(identity) => identity.may_publish_will(action, self.asked),
            By::Earlier(key, hasher) => Ok(PublishPermit::new(key.tenant(), action, hasher.hash_one(topic.as_str()))),
        }
    }

    /// The PUBLISH that it is, in the layout of MQTT 5; `frame` is scratch.
    pub(crate) fn publish<'a>(&'a self, frame: &'a mut Vec<u8>) -> Publish<'a> {
        let connect::Will { topic, qos, retain, properties, payload, .. } = &*self.message;
        let first = gatemq_mqtt::kind::PUBLISH << 4 | qos.bits() << 1 | u8::from(*retain);
        let packet_id_at = write::publish(frame, Protocol::V5, first, topic, properties, payload);
        Publish {
            qos: *qos,
            retain: *retain,
            dup: false,
            topic,
            packet_id: u16::from(*qos != QoS::AtMostOnce),
            topic_alias: 0,
            properties: Properties::trusted(properties),
            payload,
            frame,
            packet_id_at,
        }
    }
}

/// A will that is to be published, with [`router::publish_will`](crate::router::publish_will).
#[derive(Debug)]
pub struct LeftWill {
    /// The will.
    pub will: Box<Will>,
    /// Whose it is.
    pub session: Arc<Session>,
}

impl LeftWill {
    /// A will of a client of a node that died: its session is not here. `hasher` is the node's.
    pub fn of_elsewhere(key: Arc<SessionKey>, stored: StoredWill, hasher: &Hasher) -> Self {
        let will = Box::new(Will::restored(&key, stored, hasher));
        let restored = Restored {
            number: 0,
            key,
            protocol: Protocol::V5,
            expiry_s: 0,
            away_since_ms: 0,
            limits: SessionLimits::default(),
            version: 0,
            last_seq: 0,
            subscriptions: Vec::new(),
            messages: Vec::new(),
            released: Vec::new(),
            received: Vec::new(),
            past: crate::Past::default(),
            will: None,
        };
        LeftWill { will, session: Session::restored(restored) }
    }
}
