//! PUBACK, PUBREC, PUBREL and PUBCOMP (3.4 to 3.7) from a client; written by [`write::ack`](crate::codec::write::ack) and
//! [`write::ack_with_reason`](crate::codec::write::ack_with_reason).

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::{self, Properties};
use crate::codec::read::Reader;
use crate::packet::{flags_0000, flags_0010};
use crate::{Breach, PacketLimits, kind};

/// One of the four acknowledgements.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack<'a> {
    /// Packet identifier, not 0.
    pub packet_id: u16,
    /// Reason code; success in MQTT 3.
    pub reason: ReasonCode,
    /// Reason string and user properties.
    pub properties: Properties<'a>,
}

impl<'a> Ack<'a> {
    /// Reads a whole packet; its body begins at `head` and its type is one of the four.
    ///
    /// # Errors
    /// Wrong flags, a packet identifier of 0, a reason code that a client may not send in this packet, wrong properties.
    #[inline]
    pub fn read(frame: &'a [u8], head: usize, protocol: Protocol, limits: &PacketLimits) -> Result<Self, Breach> {
        let kind = frame.first().map_or(0, |first| first >> 4);
        match kind {
            kind::PUBREL => flags_0010(frame, protocol, Breach::PubRelFlags)?,
            _ => flags_0000(frame, protocol, Breach::FlagsReserved)?,
        }
        let mut reader = Reader::new(frame, head);
        let packet_id = reader.packet_id()?;
        let mut ack = Ack { packet_id, reason: ReasonCode::SUCCESS, properties: Properties::default() };
        if !reader.is_empty() {
            if protocol != Protocol::V5 {
                return Err(Breach::BytesLeft);
            }
            ack.read_reason(&mut reader, kind, limits)?;
        }
        Ok(ack)
    }

    /// Reason code and properties, of which each may be left out (3.4.2.1 and 3.4.2.2.1).
    #[cold]
    fn read_reason(&mut self, reader: &mut Reader<'a>, kind: u8, limits: &PacketLimits) -> Result<(), Breach> {
        self.reason = ReasonCode(reader.u8()?);
        check_reason(kind, self.reason)?;
        if !reader.is_empty() {
            self.properties = Properties::read(reader, properties::ACK, limits)?;
        }
        reader.end()
    }
}

/// Tables 3-4 to 3-7; No matching subscribers (0x10) is only a server's to say.
fn check_reason(kind: u8, reason: ReasonCode) -> Result<(), Breach> {
    let message = matches!(reason.0, 0x00 | 0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99);
    let release = matches!(reason.0, 0x00 | 0x92);
    match kind {
        kind::PUBACK if !message => Err(Breach::PubAckCode),
        kind::PUBREC if !message => Err(Breach::PubRecCode),
        kind::PUBREL if !release => Err(Breach::PubRelCode),
        kind::PUBCOMP if !release => Err(Breach::PubCompCode),
        _ => Ok(()),
    }
}
