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
    slots: [Slot<'a>; 4],
    scratch: &'a mut Vec<u8>,
    /// QoS and RETAIN of the permit, in whole words: they are read right after they are written.
    qos: u32,
    retain: u32,
    permit: &'a PublishPermit<'a>,
    from: Origin<'a>,
    message: &'a Publish<'a>,
}

enum Slot<'a> {
    Empty(&'a mut Layout),
    Ready(Encoded<'a>),
    /// Larger than MQTT can say (with its topic alias it was smaller).
    TooLarge,
}

impl<'a> Layouts<'a> {
    #[inline]
    pub(super) fn new(
        permit: &'a PublishPermit<'a>,
        from: Origin<'a>,
        message: &'a Publish<'a>,
        buffers: &'a mut Buffers,
    ) -> Self {
        let Buffers { layouts: [a, b, c, d], properties: scratch } = buffers;
        let slots = [Slot::Empty(a), Slot::Empty(b), Slot::Empty(c), Slot::Empty(d)];
        let (qos, retain) = (permit.qos().bits().into(), permit.retain().into());
        Layouts { slots, scratch, qos, retain, permit, from, message }
    }

    /// The first byte of the PUBLISH for whom this QoS was granted.
    #[inline]
    pub(crate) fn first(&self, granted: QoS, retain_as_published: bool) -> u8 {
        let qos = self.qos.min(granted.bits().into());
        (u32::from(kind::PUBLISH) << 4 | qos << 1 | self.retain & u32::from(retain_as_published)) as u8
    }

    /// For receivers of MQTT 5 (`five`) or 3. `None`: MQTT has no packet of that size.
    #[inline]
    pub(crate) fn encoded(&mut self, five: bool, first: u8) -> Option<&Encoded<'a>> {
        let at = usize::from(five) * 2 + usize::from(first & 0b0110 != 0);
        if let Slot::Empty(_) = self.slots[at] {
            self.encode(at, five, first);
        }
        match &self.slots[at] {
            Slot::Ready(encoded) => Some(encoded),
            _ => None,
        }
    }

    #[cold]
    fn encode(&mut self, at: usize, five: bool, first: u8) {
        let Slot::Empty(layout) = std::mem::replace(&mut self.slots[at], Slot::TooLarge) else { return };
        if let Some((bytes, packet_id_at)) =
            layout.encode(self.permit, self.from, self.message, five, first, self.scratch)
        {
            self.slots[at] = Slot::Ready(Encoded { bytes, packet_id_at, five });
        }
    }
}

/// A buffer for a message in one layout; empty between messages.
#[derive(Default)]
struct Layout {
    bytes: Vec<u8>,
}

impl Layout {
    /// Encodes for receivers of MQTT 5 (`to_5`) or 3; a Topic Alias stays behind, other properties pass unchanged
    /// (MQTT-3.3.2-7, -18). Returns the bytes, perhaps the publisher's own packet, and where their packet identifier is.
    #[inline]
    fn encode<'a>(
        &'a mut self,
        permit: &PublishPermit<'_>,
        from: Origin<'_>,
        message: &Publish<'a>,
        to_5: bool,
        first: u8,
        scratch: &mut Vec<u8>,
    ) -> Option<(&'a [u8], usize)> {
        let from_5 = from.five;
        let same_layout = from_5 == to_5 && (message.qos != QoS::AtMostOnce) == (first & 0b0110 != 0);
        // The very topic that was permitted, not merely one that could be.
        if same_layout && message.topic_alias == 0 && std::ptr::eq(message.topic, permit.topic()) {
            return Some((message.frame, message.packet_id_at));
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
            return None;
        }
        let to = if to_5 { Protocol::V5 } else { Protocol::V311 };
        let packet_id_at = write::publish(&mut self.bytes, to, first, permit.topic(), properties, message.payload);
        Some((&self.bytes, packet_id_at))
    }

    #[inline]
    fn clear(&mut self) {
        self.bytes.clear();
        if self.bytes.capacity() > LAYOUT_BYTES_MAX {
            self.bytes = Vec::new();
        }
    }
}
