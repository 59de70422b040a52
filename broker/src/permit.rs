//! Leave to act. The router demands it, and only an [`Identity`](crate::Identity) makes it: from its grants, or from a
//! provider's verdict that says Allow. Exceptions have no client: what the node publishes below `$SYS/`, what a plugin
//! has it publish outside of `$`, and what another node of the cluster has permitted.

use std::sync::Arc;

use gatemq_mqtt::Publish;
use gatemq_mqtt::topic::Filter;
use gatemq_types::{QoS, ReasonCode};

use crate::identity::Marks;
use crate::{Tenant, Will};

/// A message that a client wants to publish.
#[derive(Clone, Copy, Debug)]
pub struct PublishAction<'a> {
    /// Topic name, valid.
    pub topic: &'a str,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Payload size in bytes.
    pub payload_bytes: u32,
}

impl<'a> PublishAction<'a> {
    /// That of a PUBLISH without a topic alias, or of one with its alias resolved to `topic`.
    #[inline]
    pub fn new(message: &Publish<'a>, topic: &'a str) -> Self {
        let payload_bytes = u32::try_from(message.payload.len()).unwrap_or(u32::MAX);
        PublishAction { topic, qos: message.qos, retain: message.retain, payload_bytes }
    }

    /// What besides the topic a decision looked at.
    #[inline]
    pub(crate) fn how(&self) -> u8 {
        self.qos.bits() << 1 | u8::from(self.retain)
    }
}

/// A subscription that a client wants.
#[derive(Clone, Copy, Debug)]
pub struct SubscribeAction<'a> {
    /// Topic filter, valid.
    pub filter: Filter<'a>,
    /// QoS asked for.
    pub qos: QoS,
}

/// What an identity says of an action.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Decision<P> {
    /// It may; the router wants to see this.
    Permit(P),
    /// It may not.
    Denied(ReasonCode),
    /// The provider is to be asked, and the question handed back with its answer.
    Ask(Question),
}

/// Of a message. The codes are 0x87, and for what a CONNACK ruled out 0x9A and 0x9B, which belong in a DISCONNECT
/// (MQTT-3.2.2-12 and -14).
pub type PublishDecision<'a> = Decision<PublishPermit<'a>>;
/// Of a subscription. The codes are those of SUBACK.
pub type SubscribeDecision<'a> = Decision<SubscribePermit<'a>>;
/// Of a will. The codes are those of CONNACK.
pub type WillDecision = Decision<Will>;
/// Of the end of a subscription. The codes are those of UNSUBACK.
pub type UnsubscribeDecision<'a> = Decision<UnsubscribePermit<'a>>;

/// What a provider's answer answers. An answer to a question that was asked before the identity's verdicts became void
/// is not used, nor one to a question about something else.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Question {
    pub(crate) generation: u64,
    /// Hash of what was asked about.
    pub(crate) about: u64,
    /// Whether the answer may be remembered for other messages of the same topic.
    pub(crate) cacheable: bool,
}

/// Leave to publish one message to one topic of one tenant. What goes out has the topic, QoS and RETAIN named here, whatever
/// message it is used with.
#[derive(Clone, Copy, Debug)]
pub struct PublishPermit<'a> {
    tenant: &'a Arc<Tenant>,
    action: PublishAction<'a>,
    hash: u64,
    marks: Option<&'a Arc<Marks>>,
}

impl<'a> PublishPermit<'a> {
    /// Leave that no identity gives: for a message that a plugin has the node publish. Plugins are the operator's own code and
    /// decide what identities may do, so there is no grant to ask; but what begins with `$` is the node's alone.
    pub(crate) fn for_plugin(tenant: &'a Arc<Tenant>, action: PublishAction<'a>, hash: u64) -> Option<Self> {
        (!action.topic.starts_with('$')).then(|| PublishPermit::new(tenant, action, hash))
    }

    /// Leave that another node of the cluster gave: it authorized its client, and is believed (DESIGN section 3: no second
    /// authorization). What begins with `$` no client anywhere may publish.
    pub(crate) fn for_node(tenant: &'a Arc<Tenant>, action: PublishAction<'a>, hash: u64) -> Option<Self> {
        (!action.topic.starts_with('$')).then(|| PublishPermit::new(tenant, action, hash))
    }

    #[inline]
    pub(crate) fn new(tenant: &'a Arc<Tenant>, action: PublishAction<'a>, hash: u64) -> Self {
        PublishPermit { tenant, action, hash, marks: None }
    }

    /// The same, of a client that is found by these too.
    #[inline]
    pub(crate) fn marked(self, marks: Option<&'a Arc<Marks>>) -> Self {
        PublishPermit { marks, ..self }
    }

    /// What its client is found by besides its names.
    pub(crate) fn marks(&self) -> Option<&'a Arc<Marks>> {
        self.marks
    }

    /// Where.
    #[inline]
    pub fn tenant(&self) -> &'a Arc<Tenant> {
        self.tenant
    }

    /// Topic name.
    #[inline]
    pub fn topic(&self) -> &'a str {
        self.action.topic
    }

    /// QoS of the message.
    #[inline]
    pub fn qos(&self) -> QoS {
        self.action.qos
    }

    /// RETAIN of the message.
    #[inline]
    pub fn retain(&self) -> bool {
        self.action.retain
    }

    /// The topic's hash: made once, used by both caches.
    #[inline]
    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }
}

/// Leave to subscribe to one filter of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct SubscribePermit<'a> {
    tenant: &'a Arc<Tenant>,
    filter: Filter<'a>,
    qos: QoS,
    subscriptions_max: u32,
}

impl<'a> SubscribePermit<'a> {
    pub(crate) fn new(tenant: &'a Arc<Tenant>, filter: Filter<'a>, qos: QoS, subscriptions_max: u32) -> Self {
        SubscribePermit { tenant, filter, qos, subscriptions_max }
    }

    /// Where.
    pub fn tenant(&self) -> &'a Arc<Tenant> {
        self.tenant
    }

    /// Topic filter.
    pub fn filter(&self) -> Filter<'a> {
        self.filter
    }

    /// QoS granted.
    pub fn qos(&self) -> QoS {
        self.qos
    }

    /// Most subscriptions the session may have, this one included.
    pub fn subscriptions_max(&self) -> u32 {
        self.subscriptions_max
    }
}

/// Leave to end a subscription to one filter of one tenant.
#[derive(Clone, Copy, Debug)]
pub struct UnsubscribePermit<'a> {
    tenant: &'a Arc<Tenant>,
    filter: Filter<'a>,
}

impl<'a> UnsubscribePermit<'a> {
    pub(crate) fn new(tenant: &'a Arc<Tenant>, filter: Filter<'a>) -> Self {
        UnsubscribePermit { tenant, filter }
    }

    /// Where.
    pub fn tenant(&self) -> &'a Arc<Tenant> {
        self.tenant
    }

    /// Topic filter.
    pub fn filter(&self) -> Filter<'a> {
        self.filter
    }
}
