//! A message as it is kept: without version of the protocol, packet identifier and receiver.

use std::fmt;

use super::bytes::{Reader, Writer};

/// Version of a stored message, and of one that has the number of its publication.
const VERSION: u8 = 1;
const NUMBERED: u8 = 2;
/// Version, moment of expiry, lengths of topic and properties.
const HEAD_BYTES: usize = 1 + 8 + 2 + 4;
/// The same with a number behind it.
const NUMBERED_BYTES: usize = HEAD_BYTES + 8;

/// Topic, properties and payload in one piece, as they are on disk.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    bytes: Box<[u8]>,
    topic_bytes: u16,
    properties_bytes: u32,
    expires_ms: u64,
    publication: u64,
}

impl Message {
    /// `properties` are those of MQTT 5, encoded, without their length. `expires_ms` is the moment when its time is over, in
    /// milliseconds since 1970, `u64::MAX` for never. `None`: the topic is longer than 65,535 bytes.
    pub fn new(topic: &str, properties: &[u8], payload: &[u8], expires_ms: u64) -> Option<Self> {
        Self::of_publication(0, topic, properties, payload, expires_ms)
    }

    /// The same of a publication that has a number in a cluster; 0: it has none.
    pub fn of_publication(
        publication: u64,
        topic: &str,
        properties: &[u8],
        payload: &[u8],
        expires_ms: u64,
    ) -> Option<Self> {
        let topic_bytes = u16::try_from(topic.len()).ok()?;
        let properties_bytes = u32::try_from(properties.len()).ok()?;
        let mut writer = Writer::new(if publication == 0 { VERSION } else { NUMBERED });
        writer.u64(expires_ms).u16(topic_bytes).u32(properties_bytes);
        if publication != 0 {
            writer.u64(publication);
        }
        writer.raw(topic.as_bytes()).raw(properties).raw(payload);
        Some(Message { bytes: writer.into_bytes().into(), topic_bytes, properties_bytes, expires_ms, publication })
    }

    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let (version, mut reader) = Reader::new(bytes)?;
        let (expires_ms, topic_bytes, properties_bytes) = (reader.u64()?, reader.u16()?, reader.u32()?);
        let publication = match version {
            VERSION => 0,
            NUMBERED => reader.u64().filter(|number| *number != 0)?,
            _ => return None,
        };
        std::str::from_utf8(reader.raw(usize::from(topic_bytes))?).ok()?;
        reader.raw(usize::try_from(properties_bytes).ok()?)?;
        Some(Message { bytes: bytes.into(), topic_bytes, properties_bytes, expires_ms, publication })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes before the topic.
    fn head_bytes(version: Option<&u8>) -> usize {
        if version == Some(&NUMBERED) { NUMBERED_BYTES } else { HEAD_BYTES }
    }

    /// Topic, properties and payload.
    fn body(&self) -> &[u8] {
        self.bytes.get(Self::head_bytes(self.bytes.first())..).unwrap_or_default()
    }

    /// Topic name.
    pub fn topic(&self) -> &str {
        std::str::from_utf8(self.body().get(..usize::from(self.topic_bytes)).unwrap_or_default()).unwrap_or_default()
    }

    /// Properties, encoded, without their length.
    pub fn properties(&self) -> &[u8] {
        let from = usize::from(self.topic_bytes);
        self.body().get(from..from + self.properties_bytes as usize).unwrap_or_default()
    }

    /// Payload.
    pub fn payload(&self) -> &[u8] {
        self.body().get(usize::from(self.topic_bytes) + self.properties_bytes as usize..).unwrap_or_default()
    }

    /// When its time is over, in milliseconds since 1970; `u64::MAX`: never.
    pub fn expires_ms(&self) -> u64 {
        self.expires_ms
    }

    /// The number that tells its publication from all others of a cluster; 0: it has none.
    pub fn publication(&self) -> u64 {
        self.publication
    }

    /// Bytes of topic, properties and payload.
    pub fn len(&self) -> usize {
        self.body().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What [`Self::len`] is of a message that is stored as this.
    pub(crate) fn len_of(stored: &[u8]) -> u64 {
        stored.len().saturating_sub(Self::head_bytes(stored.first())) as u64
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Message({:?}, {} bytes)", self.topic(), self.len())
    }
}

/// How one receiver gets a message.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Delivery {
    /// First byte of its PUBLISH: QoS and RETAIN.
    pub first: u8,
    /// Subscription identifiers that go with it; at most 255, more are not stored.
    pub identifiers: Box<[u32]>,
    /// The shared subscription by which it came, where that has a queue in the store; 0: none.
    pub group: u64,
}

impl Delivery {
    pub(crate) fn write(&self, writer: &mut Writer) {
        let count = self.identifiers.len().min(usize::from(u8::MAX));
        writer.u8(self.first).u8(count as u8);
        for identifier in self.identifiers.iter().take(count) {
            writer.u32(*identifier);
        }
        writer.u8(u8::from(self.group != 0));
        if self.group != 0 {
            writer.u64(self.group);
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (first, count) = (reader.u8()?, reader.u8()?);
        let identifiers = (0..count).map(|_| reader.u32()).collect::<Option<_>>()?;
        let group = if reader.flag()? { reader.u64()? } else { 0 };
        Some(Delivery { first, identifiers, group })
    }
}
