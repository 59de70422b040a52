//! What only one receiver's packet has: its Subscription Identifier (3.3.2.3.8) and its Topic Alias (3.3.2.3.4).
//!
//! A message goes out once for each subscription that it matches, so each packet has the identifier of one (MQTT-3.3.4-5).
//! Receivers with neither get the bytes that all get.

use gatemq_mqtt::codec::read::Reader;
use gatemq_mqtt::write;
use hashbrown::HashMap;

use super::{Encoded, Output};
use crate::Hasher;

/// Topics that have an alias on one connection, at most; first come, first served.
const ALIASES_MAX: u16 = 32;
/// Bytes of all of them.
const ALIAS_BYTES_MAX: usize = 8 << 10;
/// An alias costs three bytes.
const ALIASED_FROM_BYTES: usize = 5;

/// Aliases that one connection's client knows, or will know when it has read its output.
#[derive(Default)]
pub(super) struct Aliases {
    max: u16,
    bytes: usize,
    known: HashMap<Box<str>, u16, Hasher>,
}

impl Aliases {
    /// Of a client with that Topic Alias Maximum; absent where that is 0.
    pub(super) fn allowed(topic_alias_max: u16) -> Option<Box<Self>> {
        let max = topic_alias_max.min(ALIASES_MAX);
        (max > 0).then(|| Box::new(Aliases { max, ..Aliases::default() }))
    }

    /// The alias of a topic, and whether the client knows it. Not kept before [`Self::keep`].
    fn of(&self, topic: &str) -> Option<(u16, bool)> {
        if topic.len() < ALIASED_FROM_BYTES {
            return None;
        }
        if let Some(alias) = self.known.get(topic) {
            return Some((*alias, true));
        }
        let next = self.known.len() as u16 + 1;
        (next <= self.max && self.bytes + topic.len() <= ALIAS_BYTES_MAX).then_some((next, false))
    }

    fn keep(&mut self, topic: &str, alias: u16) {
        self.bytes += topic.len();
        self.known.insert(topic.into(), alias);
    }
}

/// Property bytes of one receiver.
#[derive(Clone, Copy, Default)]
pub(super) struct Own {
    bytes: [u8; 8],
    len: u8,
    alias: Alias,
}

#[derive(Clone, Copy, PartialEq, Eq, Default)]
enum Alias {
    #[default]
    None,
    /// Its client learns it by this packet.
    New(u16),
    /// Its client knows it, so the topic is left out.
    Known,
}

impl Own {
    fn new(identifier: u32, alias: Option<(u16, bool)>) -> Self {
        let mut own = Own::default();
        if identifier != 0 {
            own.push(11);
            let mut rest = identifier;
            while rest >= 0x80 {
                own.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            own.push(rest as u8);
        }
        if let Some((alias, known)) = alias {
            let [hi, lo] = alias.to_be_bytes();
            [35, hi, lo].into_iter().for_each(|byte| own.push(byte));
            own.alias = if known { Alias::Known } else { Alias::New(alias) };
        }
        own
    }

    /// At most 5 bytes for an identifier, and 3 for an alias.
    fn push(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(usize::from(self.len)) {
            *place = byte;
            self.len += 1;
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The topic as this packet has it.
    pub(super) fn topic<'a>(&self, topic: &'a str) -> &'a str {
        if self.alias == Alias::Known { "" } else { topic }
    }
}

impl Output {
    /// What a packet has besides what all get. Where that would make it larger than the client takes, it teaches no alias.
    pub(super) fn own(&self, five: bool, identifier: u32, topic: &str, fits: impl FnOnce(&Own) -> bool) -> Own {
        if !five || identifier == 0 && self.aliases.is_none() {
            return Own::default();
        }
        let own = Own::new(identifier, self.aliases.as_ref().and_then(|aliases| aliases.of(topic)));
        match own.alias {
            Alias::New(_) if !fits(&own) => Own::new(identifier, None),
            _ => own,
        }
    }

    /// The packet with these bytes is on its way.
    pub(super) fn keep_alias(&mut self, own: &Own, topic: &str) {
        if let (Alias::New(alias), Some(aliases)) = (own.alias, &mut self.aliases) {
            aliases.keep(topic, alias);
        }
    }
}

/// A PUBLISH of MQTT 5, taken apart.
pub(super) struct Parts<'a> {
    topic: &'a str,
    first: u8,
    properties: &'a [u8],
    payload: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Of an encoded packet to `topic`.
    pub(super) fn new(message: &Encoded<'a>, topic: &'a str, first: u8) -> Self {
        let id_bytes = if first & 0b0110 != 0 { 2 } else { 0 };
        let mut reader = Reader::new(message.bytes, message.packet_id_at + id_bytes);
        let properties = reader.varint().and_then(|len| reader.take(len as usize)).unwrap_or_default();
        Parts { topic, first, properties, payload: reader.rest() }
    }

    /// Bytes of the packet that [`Self::write`] appends; `None`: more than MQTT has, or than the client takes (0: any;
    /// MQTT-3.1.2-24).
    pub(super) fn fits(&self, own: &Own, packet_bytes_max: u32) -> Option<usize> {
        let topic_bytes = own.topic(self.topic).len();
        let properties_bytes = own.bytes().len() + self.properties.len();
        let has_id = self.first & 0b0110 != 0;
        let body = write::publish_body(topic_bytes, has_id, properties_bytes, self.payload.len());
        write::fits(body, packet_bytes_max).then(|| 1 + write::varint_len(body) + body)
    }

    /// Returns the index of the packet identifier.
    pub(super) fn write(&self, out: &mut Vec<u8>, own: &Own) -> usize {
        write::publish_with(out, self.first, own.topic(self.topic), own.bytes(), self.properties, self.payload)
    }
}
