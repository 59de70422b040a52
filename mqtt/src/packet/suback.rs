//! SUBACK (3.9).

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::Words;
use crate::codec::write;
use crate::kind;

/// Appends a SUBACK with a code for each filter, in their order (MQTT-3.9.3-1); MQTT 3 knows only 0x80 as a failure. Of `words`
/// MQTT 5 is told what fits (MQTT-3.9.2-1). False,
/// and nothing appended, when it is larger than the client takes (`packet_bytes_max`, 0: any).
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
    let body = 2 + usize::from(v5) * (write::varint_len(properties.len()) + properties.len()) + codes.len();
    if !write::fits(body, packet_bytes_max) {
        return false;
    }
    out.push(kind::SUBACK << 4);
    write::varint(out, body);
    out.extend_from_slice(&packet_id.to_be_bytes());
    if v5 {
        write::properties(out, &properties);
    }
    out.extend(codes.iter().map(|code| if v5 { code.0 } else { code.suback_v3() }));
    true
}
