//! PUBLISH (3.3): a message, in place.

use gatemq_types::{Protocol, QoS};

use crate::codec::properties::{self, Properties};
use crate::codec::read::Reader;
use crate::{Breach, PacketLimits};

/// A PUBLISH, borrowed from the bytes it came in.
#[derive(Clone, Copy, Debug)]
pub struct Publish<'a> {
    /// Quality of service.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// DUP.
    pub dup: bool,
    /// Topic name, valid. Empty only with a topic alias, which only comes where one was announced.
    pub topic: &'a str,
    /// Packet identifier; 0 at QoS 0.
    pub packet_id: u16,
    /// Topic alias; 0 is none.
    pub topic_alias: u16,
    /// Properties, checked; none in MQTT 3.
    pub properties: Properties<'a>,
    /// The payload.
    pub payload: &'a [u8],
    /// The packet as it came.
    pub frame: &'a [u8],
    /// Index of the packet identifier in `frame` (meaningless at QoS 0).
    pub packet_id_at: usize,
}

impl<'a> Publish<'a> {
    /// Reads a whole packet from a client; its body begins at `head`. Allocates nothing.
    ///
    /// # Errors
    /// What it breaks of 3.3 and of `limits`.
    #[inline]
    pub fn read(frame: &'a [u8], head: usize, protocol: Protocol, limits: &PacketLimits) -> Result<Self, Breach> {
        let first = *frame.first().ok_or(Breach::EndsEarly)?;
        let (retain, dup) = (first & 0b0001 != 0, first & 0b1000 != 0);
        let qos = QoS::from_bits(first >> 1 & 0b11).ok_or(Breach::QosReserved)?;
        if dup && qos == QoS::AtMostOnce {
            return Err(Breach::DupAtQos0);
        }
        let mut reader = Reader::new(frame, head);
        let name = reader.binary()?;
        let packet_id_at = reader.at();
        let packet_id = if qos == QoS::AtMostOnce { 0 } else { reader.packet_id()? };
        let properties = match protocol {
            Protocol::V5 => Properties::read(&mut reader, properties::PUBLISH, limits)?,
            Protocol::V31 | Protocol::V311 => Properties::default(),
        };
        let topic_alias = if properties.is_empty() { 0 } else { alias(properties, limits)? };
        let topic = match (name, topic_alias) {
            ([], 1..) => "",
            _ => limits.topic(name)?,
        };
        let payload = reader.rest();
        Ok(Publish { qos, retain, dup, topic, packet_id, topic_alias, properties, payload, frame, packet_id_at })
    }
}

/// The topic alias, 0 if there is none.
fn alias(properties: Properties<'_>, limits: &PacketLimits) -> Result<u16, Breach> {
    match properties.topic_alias() {
        None => Ok(0),
        Some(alias) if alias <= limits.topic_alias_max => Ok(alias),
        Some(_) => Err(Breach::TopicAliasTooLarge),
    }
}
