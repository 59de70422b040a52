//! AUTH (3.15), both ways; 5.0 only.

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::{self, Properties, Property};
use crate::codec::read::Reader;
use crate::codec::write;
use crate::packet::flags_0000;
use crate::{Breach, PacketLimits, kind};

/// AUTH from a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Auth<'a> {
    /// Continue authentication (0x18) or re-authenticate (0x19).
    pub reason: ReasonCode,
    /// Authentication Method.
    pub method: &'a str,
    /// Authentication Data.
    pub data: Option<&'a [u8]>,
    /// All properties.
    pub properties: Properties<'a>,
}

impl<'a> Auth<'a> {
    /// Reads a whole packet; its body begins at `head`.
    ///
    /// # Errors
    /// [`Breach::AuthFlags`] (MQTT-3.15.1-1), [`Breach::AuthCode`] (MQTT-3.15.2-1: success is only a server's to say),
    /// [`Breach::AuthMethodMissing`] (3.15.2.2.2), wrong properties.
    pub fn read(frame: &'a [u8], head: usize, limits: &PacketLimits) -> Result<Self, Breach> {
        flags_0000(frame, Protocol::V5, Breach::AuthFlags)?;
        let mut reader = Reader::new(frame, head);
        // An empty body means success without properties (3.15.2.1).
        let reason = if reader.is_empty() { ReasonCode::SUCCESS } else { ReasonCode(reader.u8()?) };
        if !matches!(reason, ReasonCode::CONTINUE_AUTHENTICATION | ReasonCode::RE_AUTHENTICATE) {
            return Err(Breach::AuthCode);
        }
        let properties = match reader.is_empty() {
            true => Properties::default(),
            false => Properties::read(&mut reader, properties::AUTH, limits)?,
        };
        reader.end()?;
        let (mut method, mut data) = (None, None);
        for property in properties {
            match property {
                Property::AuthMethod(name) => method = Some(name),
                Property::AuthData(bytes) => data = Some(bytes),
                _ => {}
            }
        }
        let method = method.ok_or(Breach::AuthMethodMissing)?;
        Ok(Auth { reason, method, data, properties })
    }
}

/// Appends an AUTH from the server (`method` as the client named it, MQTT-4.12.0-5). False, and nothing appended, when it
/// is larger than the client takes (`packet_bytes_max`, 0: any).
pub fn write(out: &mut Vec<u8>, reason: ReasonCode, method: &str, data: Option<&[u8]>, packet_bytes_max: u32) -> bool {
    let mut properties = Vec::new();
    Property::AuthMethod(method).write(&mut properties);
    if let Some(bytes) = data {
        Property::AuthData(bytes).write(&mut properties);
    }
    let body = 1 + write::varint_len(properties.len()) + properties.len();
    if !write::fits(body, packet_bytes_max) {
        return false;
    }
    out.push(kind::AUTH << 4);
    write::varint(out, body);
    out.push(reason.0);
    write::properties(out, &properties);
    true
}
