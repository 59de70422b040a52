//! What is told of messages that go out: what a client does not get, and, while somebody wants events of class traffic, what it gets.

use gatemq_broker::session::{Ack, Dropped};
use gatemq_mqtt::codec::read::Reader;
use gatemq_mqtt::{Breach, kind};
use gatemq_types::QoS;
use gatemq_types::event::Fact;

use super::client::Client;
use crate::events::Events;

impl Client {
    /// Says what it did not get since the last time.
    pub(super) fn tell_dropped(&mut self, events: &Events) {
        let Some((Dropped { overflowed, denied, other }, limits)) = self.session.take_dropped() else { return };
        if overflowed > 0 {
            let fact = Fact::QueueOverflowed {
                count: overflowed.into(),
                queue_messages_max: limits.queue_messages_max.into(),
                queue_bytes_max: limits.queue_bytes_max.into(),
            };
            events.emit(Some(&self.peer), fact);
        }
        if denied > 0 {
            events.emit(Some(&self.peer), Fact::DeliveryDenied { count: denied.into() });
        }
        if other > 0 {
            let reason = "they are larger than it takes, they expired, or too much waits in its tenant".into();
            events.emit(Some(&self.peer), Fact::MessageDropped { count: other.into(), reason });
        }
    }

    /// Messages among the bytes that are about to be written for it.
    #[cold]
    pub(super) fn tell_written(&self, events: &Events, bytes: &[u8]) {
        let mut rest = Reader::new(bytes, 0);
        // They are our own packets, whole.
        while let Ok(Some(fact)) = next(&mut rest) {
            if let Some(fact) = fact {
                events.emit(Some(&self.peer), fact);
            }
        }
    }

    /// Messages that acknowledgements end, before they do.
    #[cold]
    pub(super) fn tell_acknowledged(&self, events: &Events, acks: &[Ack]) {
        for ack in acks.iter().filter(|ack| self.session.is_ended_by(ack)) {
            let qos = if ack.kind == kind::PUBACK { QoS::AtLeastOnce } else { QoS::ExactlyOnce };
            let fact = Fact::MessageDelivered {
                topic: "".into(),
                qos: qos.bits().into(),
                packet_id: ack.packet_id.into(),
                acknowledged: true,
                code: ack.reason.0.into(),
            };
            events.emit(Some(&self.peer), fact);
        }
    }
}

/// The next packet; `None`: there is none left. `Some(None)`: it is no PUBLISH.
fn next(rest: &mut Reader<'_>) -> Result<Option<Option<Fact>>, Breach> {
    let Ok(first) = rest.u8() else { return Ok(None) };
    let len = rest.varint()?;
    let mut packet = Reader::new(rest.take(len as usize)?, 0);
    if first >> 4 != kind::PUBLISH {
        return Ok(Some(None));
    }
    let qos = QoS::from_bits(first >> 1 & 0b11).ok_or(Breach::QosReserved)?;
    let topic = packet.string()?.to_owned();
    let packet_id = if qos == QoS::AtMostOnce { 0 } else { packet.packet_id()? };
    Ok(Some(Some(Fact::MessageDelivered {
        topic: topic.into(),
        qos: qos.bits().into(),
        packet_id: packet_id.into(),
        acknowledged: false,
        code: 0,
    })))
}
