//! What a client wants to do.

use crate::{Actions, QoS, UserProperty};

/// Kind of an action.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u32)]
pub enum ActionKind {
    /// PUBLISH.
    Publish = 1,
    /// SUBSCRIBE, one filter.
    Subscribe = 2,
    /// UNSUBSCRIBE, one filter.
    Unsubscribe = 4,
    /// A delivery.
    Receive = 8,
    /// The will of a CONNECT, or its publication.
    Will = 16,
}

impl ActionKind {
    /// As a set of one.
    pub const fn set(self) -> Actions {
        Actions(self as u32)
    }

    /// Lower-case name.
    pub const fn name(self) -> &'static str {
        match self {
            ActionKind::Publish => "publish",
            ActionKind::Subscribe => "subscribe",
            ActionKind::Unsubscribe => "unsubscribe",
            ActionKind::Receive => "receive",
            ActionKind::Will => "will",
        }
    }
}

/// Something that a session wants to do; asked only where a grant says Ask.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Action {
    /// What.
    pub kind: ActionKind,
    /// Topic name, or topic filter for Subscribe and Unsubscribe (without `$share/…/`).
    pub topic: String,
    /// Share group of a shared subscription.
    pub share_group: Option<String>,
    /// QoS of the message, or asked for.
    pub qos: QoS,
    /// Retain flag of the message.
    pub retain: bool,
    /// Payload size in bytes.
    pub payload_bytes: u32,
    /// Subscription options as on the wire (5.0, 3.8.3.1).
    pub options: u8,
    /// User properties.
    pub user_properties: Vec<UserProperty>,
}
