//! From what was permitted to the receivers' bytes.

mod close;
mod from_node;
mod late;
mod layouts;
#[cfg(test)]
mod own;
mod publish;
mod recheck;
#[cfg(test)]
mod retained;
#[cfg(test)]
mod shared;
mod subscribe;

pub(crate) use close::{close, end_moved, forget};
pub use from_node::{FromNode, publish_from_node};
pub use late::deliver_late;
pub(crate) use layouts::Layouts;
pub use publish::{NodeMessage, NotPublishable, Out, Routed, publish, publish_for_plugin, publish_own, publish_will};
pub use recheck::{AskedAgain, Rechecked, begin, drop_revoked, filters_of, recheck, revoke};
pub use subscribe::{Subscribed, subscribe, subscribe_with_identifier, unsubscribe};

#[cfg(test)]
pub(crate) mod testing {
    //! Permits and packets for tests.

    use gatemq_mqtt::packet::subscribe::SubscribeOptions;
    use gatemq_mqtt::topic::Filter;
    use gatemq_mqtt::{PacketLimits, Publish, write};
    use gatemq_types::{Protocol, QoS};

    use super::{Out, Routed};
    use crate::permit::{Decision, PublishAction, SubscribeAction};
    use crate::{Attached, Identity, Verdicts};

    /// A PUBLISH as a client sends it, with packet identifier 9 at QoS > 0.
    pub(crate) fn frame(protocol: Protocol, first: u8, topic: &str, properties: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = Vec::new();
        let at = write::publish(&mut frame, protocol, first, topic, properties, payload);
        if first & 6 != 0 {
            frame[at + 1] = 9;
        }
        frame
    }

    /// Sends it with its permit.
    pub(crate) fn send(identity: &Identity, from: &Attached, frame: &[u8], out: &mut Out) -> Routed {
        let limits = PacketLimits { topic_alias_max: 10, ..PacketLimits::default() };
        let head = 1 + frame[1..].iter().position(|byte| byte & 0x80 == 0).unwrap() + 1;
        let message = Publish::read(frame, head, from.protocol(), &limits).unwrap();
        let topic = if message.topic.is_empty() { "aliased" } else { message.topic };
        match identity.may_publish(&mut Verdicts::new(0), PublishAction::new(&message, topic), 0) {
            Decision::Permit(permit) => super::publish(&permit, from, &message, 0, out),
            other => panic!("{other:?}"),
        }
    }

    /// A QoS 0 message without much to it.
    pub(crate) fn publish(identity: &Identity, from: &Attached, topic: &str, out: &mut Out) -> Routed {
        send(identity, from, &frame(from.protocol(), 0x30, topic, &[], b"x"), out)
    }

    /// Returns the code for the SUBACK.
    pub(crate) fn subscribe(identity: &Identity, session: &Attached, filter: &str, options: u8) -> u8 {
        let mut out = Out::new(crate::TopicCache::new(0, 0));
        let options = SubscribeOptions::read(options, Protocol::V5).unwrap();
        let action = SubscribeAction { filter: Filter::trusted(filter), qos: options.qos() };
        match identity.may_subscribe(action) {
            Decision::Permit(permit) => super::subscribe(&permit, session, options, 0, &mut out).code.0,
            other => panic!("{other:?}"),
        }
    }

    /// Returns the code for the UNSUBACK.
    pub(crate) fn unsubscribe(identity: &Identity, session: &Attached, filter: &str) -> u8 {
        match identity.may_unsubscribe(Filter::trusted(filter)) {
            Decision::Permit(permit) => super::unsubscribe(&permit, session, &mut Default::default()).0,
            other => panic!("{other:?}"),
        }
    }

    /// Everything that waits for a session.
    pub(crate) fn drain(session: &Attached, out: &mut Out) -> Vec<u8> {
        let mut all = Vec::new();
        while let Some(bytes) = session.take(0, &mut out.spare) {
            all.extend_from_slice(&bytes);
            out.spare.put(bytes);
        }
        all
    }

    pub(crate) const QOS: [QoS; 3] = [QoS::AtMostOnce, QoS::AtLeastOnce, QoS::ExactlyOnce];
}
