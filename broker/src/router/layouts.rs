//! A message in the layouts that its receivers need, each made once.

use gatemq_mqtt::{Publish, kind, write};
use gatemq_types::{Protocol, QoS};

use super::publish::Origin;
use crate::PublishPermit;
use crate::session::Encoded;

/// Layouts of a larger message are given back to the allocator.
pub(super) const LAYOUT_BYTES_MAX: usize = 256 << 10;

/// Buffers of a worker: MQTT 3 or 5, each without and with packet identifier. Empty between messages.
#[derive(Default)]
pub(super) struct Buffers {
    layouts: [Layout; 4],
    properties: Vec<u8>,
}

impl Buffers {
    #[inline]
    pub(super) fn clear(&mut self) {
        for layout in &mut self.layouts {
            layout.clear();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.layouts.iter().map(|layout| layout.bytes.capacity()).sum()
    }
}

/// The layouts of one message. A layout is encoded when the first receiver needs it.
pub(crate) struct Layouts<'a> {
    pub(super) permit: &'a PublishPermit<'a>,
    pub(super) from: Origin<'a>,
    pub(super) message: &'a Publish<'a>,
    pub(super) buffers: &'a mut Buffers,
}

impl Layouts<'_> {
    /// The first byte of the PUBLISH for whom this QoS was granted.
    #[inline]
    pub(crate) fn first(&self, granted: QoS, retain_as_published: bool) -> u8 {
        let retain = self.permit.retain() && retain_as_published;
        kind::PUBLISH << 4 | self.permit.qos().min(granted).bits() << 1 | u8::from(retain)
    }

    /// For receivers of MQTT 5 (`five`) or 3. `None`: it is larger than MQTT can say (with its topic alias it was smaller).
    #[inline]
    pub(crate) fn encoded(&mut self, five: bool, first: u8, identifier: u32) -> Option<Encoded<'_>> {
        let Buffers { layouts, properties } = &mut *self.buffers;
        let layout = &mut layouts[usize::from(five) * 2 + usize::from(first & 0b0110 != 0)];
        if layout.state == State::Empty {
            layout.encode(self.permit, self.from, self.message, five, first, properties);
        }
        let bytes = match layout.state {
            State::Encoded => &layout.bytes[..],
            State::Passed => self.message.frame,
            State::Empty | State::TooLarge => return None,
        };
        Some(Encoded { bytes, packet_id_at: layout.packet_id_at, five, identifier })
    }
}

/// A message in one layout; empty between messages.
#[derive(Default)]
struct Layout {
    state: State,
    bytes: Vec<u8>,
    packet_id_at: usize,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Empty,
    /// In `bytes`.
    Encoded,
    /// The publisher's own packet.
    Passed,
    /// Larger than MQTT can say (with its topic alias it was smaller).
    TooLarge,
}

impl Layout {
    /// Encodes for receivers of MQTT 5 (`to_5`) or 3; a Topic Alias stays behind, other properties pass unchanged (MQTT-3.3.2-7, -18).
    fn encode(
        &mut self,
        permit: &PublishPermit<'_>,
        from: Origin<'_>,
        message: &Publish<'_>,
        to_5: bool,
        first: u8,
        scratch: &mut Vec<u8>,
    ) {
        let from_5 = from.five;
        let same_layout = from_5 == to_5 && (message.qos != QoS::AtMostOnce) == (first & 0b0110 != 0);
        // The very topic that was permitted, not merely one that could be.
        if same_layout && message.topic_alias == 0 && std::ptr::eq(message.topic, permit.topic()) {
            (self.state, self.packet_id_at) = (State::Passed, message.packet_id_at);
            return;
        }
        scratch.clear();
        let properties = match message.topic_alias {
            _ if !from_5 || !to_5 => &[],
            0 => message.properties.as_bytes(),
            _ => {
                message.properties.forward(scratch, None);
                &scratch[..]
            }
        };
        // Besides: the topic's length, the packet identifier, the properties' length.
        let body = 2 + permit.topic().len() + 2 + 4 + properties.len() + message.payload.len();
        if !write::fits(body, 0) {
            self.state = State::TooLarge;
            return;
        }
        let to = if to_5 { Protocol::V5 } else { Protocol::V311 };
        self.state = State::Encoded;
        self.packet_id_at = write::publish(&mut self.bytes, to, first, permit.topic(), properties, message.payload);
    }

    #[inline]
    fn clear(&mut self) {
        if self.state == State::Empty {
            return;
        }
        self.state = State::Empty;
        self.bytes.clear();
        if self.bytes.capacity() > LAYOUT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}
