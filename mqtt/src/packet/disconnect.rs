//! DISCONNECT (3.14), both ways.

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::{self, Properties, Property, Words};
use crate::codec::read::Reader;
use crate::codec::write;
use crate::packet::flags_0000;
use crate::{Breach, PacketLimits, kind};

/// DISCONNECT from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Disconnect<'a> {
    /// Reason code; success in MQTT 3. Anything but success leaves the will in force.
    pub reason: ReasonCode,
    /// New Session Expiry Interval in seconds.
    pub session_expiry_s: Option<u32>,
    /// All properties.
    pub properties: Properties<'a>,
}

impl<'a> Disconnect<'a> {
    /// Reads a whole packet; its body begins at `head`. `expires_at_once` says that the CONNECT had a Session Expiry
    /// Interval of 0, which DISCONNECT may not raise.
    ///
    /// # Errors
    /// [`Breach::DisconnectFlags`] (MQTT-3.14.1-1), [`Breach::DisconnectCode`] (MQTT-3.14.2-1),
    /// [`Breach::SessionExpiryRaised`] (3.14.2.2.2), wrong properties.
    pub fn read(
        frame: &'a [u8],
        head: usize,
        protocol: Protocol,
        limits: &PacketLimits,
        expires_at_once: bool,
    ) -> Result<Self, Breach> {
        flags_0000(frame, protocol, Breach::DisconnectFlags)?;
        let mut reader = Reader::new(frame, head);
        let mut packet =
            Disconnect { reason: ReasonCode::SUCCESS, session_expiry_s: None, properties: Properties::default() };
        if protocol != Protocol::V5 || reader.is_empty() {
            reader.end()?;
            return Ok(packet);
        }
        packet.reason = ReasonCode(reader.u8()?);
        // Table 3-10, what a client may send.
        if !matches!(packet.reason.0, 0x00 | 0x04 | 0x80..=0x83 | 0x90 | 0x93..=0x99) {
            return Err(Breach::DisconnectCode);
        }
        if !reader.is_empty() {
            packet.properties = Properties::read(&mut reader, properties::DISCONNECT, limits)?;
            reader.end()?;
        }
        packet.session_expiry_s = packet.properties.iter().find_map(|property| match property {
            Property::SessionExpiry(seconds) => Some(seconds),
            _ => None,
        });
        match packet.session_expiry_s {
            Some(1..) if expires_at_once => Err(Breach::SessionExpiryRaised),
            _ => Ok(packet),
        }
    }
}

/// Appends a DISCONNECT from the server, with the server to use instead where `reason` says so. False, and nothing
/// appended, when there is none to send: MQTT 3 has no such packet, or it is larger than the client takes
/// (`packet_bytes_max`, 0: any).
pub fn write(
    out: &mut Vec<u8>,
    protocol: Protocol,
    reason: ReasonCode,
    server_reference: Option<&str>,
    words: Words<'_>,
    packet_bytes_max: u32,
) -> bool {
    if protocol != Protocol::V5 {
        return false;
    }
    let mut properties = Vec::new();
    if let Some(server) = server_reference {
        Property::ServerReference(server).write(&mut properties);
    }
    words.append(&mut properties, 1, packet_bytes_max);
    // The length of no properties may be left out (3.14.2.2.1), but there are clients that read nothing then.
    let body = 1 + write::varint_len(properties.len()) + properties.len();
    if !write::fits(body, packet_bytes_max) {
        return false;
    }
    out.push(kind::DISCONNECT << 4);
    write::varint(out, body);
    out.push(reason.0);
    write::properties(out, &properties);
    true
}
