//! Whether what a client has had retained may still be there with the grants that it has now.

use gatemq_types::{ActionKind, Effect, QoS};

use super::Identity;
use crate::grants::Message;
use crate::permit::PublishAction;

impl Identity {
    /// What the rules say of a retained message that this client published, or left as its will: one of the two must be allowed.
    /// `Ask`: only a provider could say.
    pub(crate) fn may_have_retained(&self, topic: &str, qos: QoS, payload_bytes: u32) -> Effect {
        let action = PublishAction { topic, qos, retain: true, payload_bytes };
        let message = Message { topic, qos, retain: true, payload_bytes };
        let published = match self.ruled_out(&action) {
            Some(_) => Effect::Deny,
            None => self.grants.message(ActionKind::Publish, message, &self.values).effect.unwrap_or(self.unmatched()),
        };
        match (published, self.decide_will(action).unwrap_or(Effect::Deny)) {
            (Effect::Allow, _) | (_, Effect::Allow) => Effect::Allow,
            (Effect::Ask, _) | (_, Effect::Ask) => Effect::Ask,
            (Effect::Deny, Effect::Deny) => Effect::Deny,
        }
    }
}
