//! UNSUBACK (3.11).

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::write;
use crate::kind;

/// Appends an UNSUBACK with a code for each filter, in their order (MQTT-3.11.3-1); MQTT 3 is told none. False, and nothing
/// appended, when it is larger than the client takes (`packet_bytes_max`, 0: any).
pub fn write(
    out: &mut Vec<u8>,
    protocol: Protocol,
    packet_id: u16,
    codes: &[ReasonCode],
    packet_bytes_max: u32,
) -> bool {
    let v5 = protocol == Protocol::V5;
    let body = if v5 { 3 + codes.len() } else { 2 };
    if !write::fits(body, packet_bytes_max) {
        return false;
    }
    out.push(kind::UNSUBACK << 4);
    write::varint(out, body);
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        out.push(0);
        out.extend(codes.iter().map(|code| code.0));
    }
    true
}
