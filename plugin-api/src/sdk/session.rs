//! An admitted client and what it wants, as `authorize` sees them: borrowed, nothing is copied for a question.

use abi_stable::std_types::{ROption, RSlice, RStr, RVec};
use gatemq_types::{ActionKind, Connect, QoS, Secret};

use crate::abi::convert;
use crate::abi::v1_0::{ActionView, Pair, SessionRecord};

/// An admitted client.
#[repr(transparent)]
pub struct Session(SessionRecord);

impl Session {
    pub(crate) fn owned(record: &SessionRecord) -> Self {
        Session(record.clone())
    }

    /// Number of the connection on this node.
    pub fn connection(&self) -> u64 {
        self.0.connect.connection
    }

    /// Name of the listener.
    pub fn listener(&self) -> &str {
        &self.0.connect.listener
    }

    /// Tenant, as the provider said it.
    pub fn tenant(&self) -> &str {
        &self.0.identity.tenant
    }

    /// User, as the provider said it.
    pub fn user(&self) -> &str {
        &self.0.identity.user
    }

    /// Client identifier in force.
    pub fn client_id(&self) -> &str {
        match &self.0.identity.client_id {
            ROption::RSome(id) => id,
            ROption::RNone => &self.0.connect.client_id,
        }
    }

    /// An attribute that the provider gave the identity.
    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.0.identity.attributes.iter().find(|p| p.name == name).map(|p| p.value.as_str())
    }

    /// Tags of the identity.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.0.identity.tags.iter().map(|t| t.as_str())
    }

    /// Everything that was known at CONNECT, but for password and authentication data. Makes a copy.
    pub fn connect(&self) -> Connect {
        convert::connect_from(&self.0.connect)
    }

    /// SHA-256 of the leaf certificate, if it was verified.
    pub fn leaf_sha256(&self) -> Option<[u8; 32]> {
        match &self.0.connect.tls {
            ROption::RSome(tls) if tls.verified => tls.leaf_sha256.into_option(),
            _ => None,
        }
    }
}

/// What a session wants to do.
#[derive(Clone, Copy)]
pub struct Action<'a>(ActionView<'a>);

impl<'a> Action<'a> {
    pub(crate) fn new(view: ActionView<'a>) -> Self {
        Action(view)
    }

    /// What. `None`: something that this plugin was built before; deny it.
    pub fn kind(&self) -> Option<ActionKind> {
        Some(match self.0.kind {
            1 => ActionKind::Publish,
            2 => ActionKind::Subscribe,
            4 => ActionKind::Unsubscribe,
            8 => ActionKind::Receive,
            16 => ActionKind::Will,
            _ => return None,
        })
    }

    /// Topic name; topic filter for Subscribe and Unsubscribe, without `$share/…/`.
    pub fn topic(&self) -> &'a str {
        self.0.topic.as_str()
    }

    /// Share group of a shared subscription.
    pub fn share_group(&self) -> Option<&'a str> {
        Some(self.0.share_group.as_str()).filter(|s| !s.is_empty())
    }

    /// QoS of the message, or asked for.
    pub fn qos(&self) -> QoS {
        QoS::from_bits(self.0.qos).unwrap_or(QoS::ExactlyOnce)
    }

    /// Retain flag of the message.
    pub fn retain(&self) -> bool {
        self.0.retain
    }

    /// Payload size in bytes.
    pub fn payload_bytes(&self) -> u32 {
        self.0.payload_bytes
    }

    /// Subscription options as on the wire (5.0, 3.8.3.1).
    pub fn options(&self) -> u8 {
        self.0.options
    }

    /// User properties.
    pub fn user_properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.0.user_properties.as_slice().iter().map(|p| (p.name.as_str(), p.value.as_str()))
    }
}

/// One more round of enhanced authentication (5.0, 4.12).
#[derive(Debug)]
pub struct AuthExchange {
    /// The CONNECT of this connection, with its Authentication Method; without password and Authentication Data.
    pub connect: Connect,
    /// Authentication Data that the client sent; empty if it sent none. This copy is wiped when it is dropped.
    pub data: Secret,
    /// What the last [`Continue`](crate::AuthOutcome::Continue) said; 0 where a re-authentication begins, so begin with
    /// another number to tell them apart.
    pub state: u64,
    /// Whether an admitted client authenticates again. Accept it with the same tenant, user and client identifier as
    /// before (no [`client_id`](crate::Identity::client_id) is the same): the grants become the new ones. Anything but
    /// that disconnects it.
    pub reauthentication: bool,
}

/// An action for as long as a future takes.
pub(crate) struct OwnedAction {
    topic: String,
    share_group: String,
    user_properties: RVec<Pair>,
    kind: u32,
    qos: u8,
    retain: bool,
    options: u8,
    payload_bytes: u32,
}

impl OwnedAction {
    pub(crate) fn new(view: &ActionView<'_>) -> Self {
        OwnedAction {
            topic: view.topic.to_string(),
            share_group: view.share_group.to_string(),
            user_properties: view.user_properties.iter().cloned().collect(),
            kind: view.kind,
            qos: view.qos,
            retain: view.retain,
            options: view.options,
            payload_bytes: view.payload_bytes,
        }
    }

    pub(crate) fn action(&self) -> Action<'_> {
        Action(ActionView {
            kind: self.kind,
            topic: RStr::from_str(&self.topic),
            share_group: RStr::from_str(&self.share_group),
            qos: self.qos,
            retain: self.retain,
            options: self.options,
            payload_bytes: self.payload_bytes,
            user_properties: RSlice::from_slice(&self.user_properties),
            attributes: RSlice::EMPTY,
        })
    }
}
