//! A message as everyone shares it who cannot have its bytes at once: no version, no packet identifier.

use std::str;
use std::sync::Arc;

use gatemq_mqtt::codec::properties::{Properties, Property};
use gatemq_mqtt::{PacketLimits, Publish, write};
use gatemq_types::Protocol;

use super::own::Own;
use crate::Publication;

/// Neutral, so that a session may come back with another version than the one it left with. Made once for all that
/// wait for it.
#[derive(Debug)]
pub struct Message {
    /// Topic name, properties without their length, payload.
    bytes: Box<[u8]>,
    topic_bytes: u16,
    properties_bytes: u32,
    /// Where in the properties the four bytes of the Message Expiry Interval are; 0: it has none.
    expiry_at: u32,
    expires_ms: u64,
    /// In a cluster: a number that no other publication has; 0: none.
    publication: u64,
}

impl Message {
    /// Of a PUBLISH that came now. Its Topic Alias and Will Delay Interval stay behind (MQTT-3.3.2-7).
    pub(crate) fn new(topic: &str, properties: Properties<'_>, payload: &[u8], now_ms: u64) -> Self {
        let topic = &topic.as_bytes()[..topic.len().min(usize::from(u16::MAX))];
        let mut bytes = Vec::with_capacity(topic.len() + properties.as_bytes().len() + payload.len());
        bytes.extend_from_slice(topic);
        let (mut expiry_at, mut expires_ms) = (0, u64::MAX);
        for property in properties {
            match property {
                Property::TopicAlias(_) | Property::WillDelay(_) => continue,
                Property::MessageExpiry(seconds) => {
                    // Behind its identifier.
                    expiry_at = (bytes.len() - topic.len() + 1) as u32;
                    expires_ms = now_ms.saturating_add(u64::from(seconds) * 1000);
                }
                _ => {}
            }
            property.write(&mut bytes);
        }
        let properties_bytes = (bytes.len() - topic.len()) as u32;
        bytes.extend_from_slice(payload);
        let (topic_bytes, publication) = (topic.len() as u16, 0);
        Message { bytes: bytes.into(), topic_bytes, properties_bytes, expiry_at, expires_ms, publication }
    }

    /// One that comes back from the store, as it was taken apart.
    pub fn restored(topic: &str, properties: &[u8], payload: &[u8], expires_ms: u64) -> Self {
        Message { expires_ms, ..Message::new(topic, Properties::trusted(properties), payload, 0) }
    }

    /// The same as that publication; 0: of none.
    pub fn numbered(self, publication: u64) -> Self {
        Message { publication, ..self }
    }

    /// Bytes of topic, properties and payload.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// When its time is over, in milliseconds since 1970; `u64::MAX`: never.
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// In a cluster: the number that tells its publication from all others; 0: it has none.
    pub fn publication(&self) -> u64 {
        self.publication
    }

    /// Topic name.
    pub fn topic(&self) -> &str {
        let topic = self.bytes.get(..usize::from(self.topic_bytes)).unwrap_or_default();
        str::from_utf8(topic).unwrap_or_default()
    }

    /// Its properties, encoded, without their length.
    pub fn properties(&self) -> &[u8] {
        let from = usize::from(self.topic_bytes);
        self.bytes.get(from..from + self.properties_bytes as usize).unwrap_or_default()
    }

    /// Payload.
    pub fn payload(&self) -> &[u8] {
        self.bytes.get(usize::from(self.topic_bytes) + self.properties_bytes as usize..).unwrap_or_default()
    }

    /// Of a PUBLISH that [`Self::packet`] wrote, which came now; `None`: it is none.
    pub fn of_packet(packet: &[u8], publication: u64, now_ms: u64) -> Option<Self> {
        let head = 2 + packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
        let publish = Publish::read(packet, head, Protocol::V5, &PacketLimits::default()).ok()?;
        let message = Message::new(publish.topic, publish.properties, publish.payload, now_ms);
        Some(Message { publication, ..message })
    }

    /// Its PUBLISH of MQTT 5 for another node: the time that remains is in it, and at QoS > 0 a packet identifier that means
    /// nothing.
    pub fn packet(&self, first: u8, now_ms: u64) -> Vec<u8> {
        let own = Own::default();
        let mut packet = Vec::with_capacity(self.packet_bytes(true, first, &own));
        let packet_id_at = self.write(&mut packet, true, first, now_ms, &own);
        if first & 0b0110 != 0 {
            packet[packet_id_at + 1] = 1;
        }
        packet
    }

    /// Bytes of the PUBLISH that [`Self::write`] appends.
    pub(super) fn packet_bytes(&self, five: bool, first: u8, own: &Own) -> usize {
        let has_id = first & 0b0110 != 0;
        let (topic, payload) = (own.topic(self.topic()).len(), self.payload().len());
        let body = match five {
            true => write::publish_body(topic, has_id, own.bytes().len() + self.properties_bytes as usize, payload),
            false => 2 + topic + 2 * usize::from(has_id) + payload,
        };
        1 + write::varint_len(body) + body
    }

    /// Whether MQTT has a packet of this size, and the client takes it (MQTT-3.1.2-24).
    pub(super) fn fits(packet_bytes: usize, packet_bytes_max: u32) -> bool {
        packet_bytes <= 5 + write::VARINT_MAX as usize
            && (packet_bytes_max == 0 || packet_bytes <= packet_bytes_max as usize)
    }

    /// Appends its PUBLISH with the time that remains (MQTT-3.3.2-6); `own` is empty for MQTT 3. Returns the index of the
    /// packet identifier.
    pub(super) fn write(&self, out: &mut Vec<u8>, five: bool, first: u8, now_ms: u64, own: &Own) -> usize {
        let (topic, properties, payload) = (self.topic(), self.properties(), self.payload());
        if !five {
            return write::publish(out, Protocol::V311, first, topic, &[], payload);
        }
        let packet_id_at = write::publish_with(out, first, own.topic(topic), own.bytes(), properties, payload);
        if self.expiry_at != 0 {
            let has_id = usize::from(first & 0b0110 != 0);
            let before = own.bytes().len();
            let length = write::varint_len(before + properties.len());
            let at = packet_id_at + 2 * has_id + length + before + self.expiry_at as usize;
            // Rounded up: what has not expired has a second left.
            let remains_s = self.expires_ms.saturating_sub(now_ms).div_ceil(1000);
            if let Some(place) = out.get_mut(at..at + 4) {
                place.copy_from_slice(&u32::try_from(remains_s).unwrap_or(u32::MAX).to_be_bytes());
            }
        }
        packet_id_at
    }
}

/// A message ready to be copied to receivers of one version: only the first byte and the packet identifier differ.
#[derive(Clone, Copy)]
pub(crate) struct Encoded<'a> {
    pub(crate) bytes: &'a [u8],
    /// Meaningless at QoS 0.
    pub(crate) packet_id_at: usize,
    /// Whether it is for MQTT 5.
    pub(crate) five: bool,
}

/// What a message is made of for those who must keep it; made when the first one must.
pub(crate) struct Source<'a> {
    topic: &'a str,
    message: &'a Publish<'a>,
    now_ms: u64,
    publication: Publication,
    made: Option<Arc<Message>>,
}

impl<'a> Source<'a> {
    /// `topic` is the one that was permitted.
    #[inline]
    pub(crate) fn new(topic: &'a str, message: &'a Publish<'a>, now_ms: u64) -> Self {
        Source { topic, message, now_ms, publication: Publication::NONE, made: None }
    }

    /// Of that publication of a cluster.
    #[inline]
    pub(crate) fn numbered(self, publication: Publication) -> Self {
        Source { publication, ..self }
    }

    /// Which one it is.
    pub(super) fn publication(&self) -> Publication {
        self.publication
    }

    /// Topic name.
    #[inline]
    pub(super) fn topic(&self) -> &'a str {
        self.topic
    }

    /// An upper bound of its [`Message::len`].
    pub(crate) fn len(&self) -> usize {
        self.topic.len() + self.message.properties.as_bytes().len() + self.message.payload.len()
    }

    #[cold]
    pub(crate) fn message(&mut self) -> Arc<Message> {
        let Publish { properties, payload, .. } = *self.message;
        let publication = self.publication.number;
        let make = || Arc::new(Message { publication, ..Message::new(self.topic, properties, payload, self.now_ms) });
        self.made.get_or_insert_with(make).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &Message, five: bool, first: u8, now_ms: u64) -> Vec<u8> {
        let mut out = vec![0xEE];
        let at = message.write(&mut out, five, first, now_ms, &Own::default());
        assert_eq!(out.len() - 1, message.packet_bytes(five, first, &Own::default()), "as announced");
        assert!(first & 6 == 0 || out[at..at + 2] == [0, 0]);
        out.split_off(1)
    }

    /// Guards MQTT-3.3.2-6, -7 and -18: what comes out is what went in, in every version, without the alias, and with the
    /// time that remains.
    #[test]
    fn comes_out_as_it_went_in() {
        let user = [38, 0, 1, b'k', 0, 1, b'v'];
        let sent = [&[35, 0, 7][..], &user, &[2, 0, 0, 0, 10], &[1, 1]].concat();
        let message = Message::new("a/b", Properties::trusted(&sent), b"pay", 1_000);
        assert_eq!((message.topic(), message.expires_ms()), ("a/b", 11_000));
        for first in [0x30, 0x31, 0x32, 0x3C] {
            for (now_ms, remains) in [(1_000, 10), (1_001, 10), (10_999, 1), (20_000, 0)] {
                let kept = [&user[..], &[2, 0, 0, 0, remains], &[1, 1]].concat();
                let mut want = Vec::new();
                write::publish(&mut want, Protocol::V5, first, "a/b", &kept, b"pay");
                assert_eq!(written(&message, true, first, now_ms), want);
            }
            let mut want = Vec::new();
            write::publish(&mut want, Protocol::V311, first, "a/b", &[], b"pay");
            assert_eq!(written(&message, false, first, 0), want);
        }
        let long = Message::new(&"t".repeat(300), Properties::trusted(&user.repeat(50)), &[7; 20_000], 0);
        assert_eq!(
            (written(&long, true, 0x30, 0).len(), long.expires_ms()),
            (1 + 3 + 2 + 300 + 2 + 350 + 20_000, u64::MAX)
        );
    }
}
