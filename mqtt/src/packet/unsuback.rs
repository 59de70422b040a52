//! UNSUBACK (3.11).

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::Words;
use crate::codec::write;
use crate::kind;

/// Appends an UNSUBACK with a code for each filter, in their order (MQTT-3.11.3-1); MQTT 3 is told none. Of `words` MQTT 5 is
/// told what fits (MQTT-3.11.2-1). False, and nothing
/// appended, when it is larger than the client takes (`packet_bytes_max`, 0: any).
pub fn write(
    out: &mut Vec<u8>,
    protocol: Protocol,
    packet_id: u16,
    codes: &[ReasonCode],
    words: Words<'_>,
    packet_bytes_max: u32,
) -> bool {
    let v5 = protocol == Protocol::V5;
    let mut properties = Vec::new();
    if v5 {
        words.append(&mut properties, 2 + codes.len(), packet_bytes_max);
    }
    let body = if v5 { 2 + write::varint_len(properties.len()) + properties.len() + codes.len() } else { 2 };
    if !write::fits(body, packet_bytes_max) {
        return false;
    }
    out.push(kind::UNSUBACK << 4);
    write::varint(out, body);
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        write::properties(out, &properties);
        out.extend(codes.iter().map(|code| code.0));
    }
    true
}
