//! Values to bytes, appended to the caller's buffer.

use gatemq_types::{Protocol, ReasonCode};

use crate::codec::properties::Words;
use crate::kind;

/// Largest value of a Variable Byte Integer (1.5.5).
pub const VARINT_MAX: u32 = 268_435_455;

/// Appends a Variable Byte Integer (1.5.5); `n` is at most [`VARINT_MAX`].
#[inline]
pub fn varint(out: &mut Vec<u8>, mut n: usize) {
    debug_assert!(n <= VARINT_MAX as usize);
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// How many bytes [`varint`] appends.
#[inline]
pub const fn varint_len(n: usize) -> usize {
    match n {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
    }
}

/// Whether a packet whose body has `body_bytes` may be sent to a client whose Maximum Packet Size is `packet_bytes_max`
/// (0: none). MQTT-3.1.2-24.
#[inline]
pub const fn fits(body_bytes: usize, packet_bytes_max: u32) -> bool {
    let whole = 1 + varint_len(body_bytes) + body_bytes;
    body_bytes <= VARINT_MAX as usize && (packet_bytes_max == 0 || whole <= packet_bytes_max as usize)
}

/// Appends a UTF-8 Encoded String (1.5.4) of at most 65,535 bytes; more is cut off before the character that does not fit.
#[inline]
pub fn string(out: &mut Vec<u8>, text: &str) {
    let end = text.floor_char_boundary(usize::from(u16::MAX));
    binary(out, &text.as_bytes()[..end]);
}

/// Appends Binary Data (1.5.6) of at most 65,535 bytes; more is cut off, so that a length never lies.
#[inline]
pub fn binary(out: &mut Vec<u8>, bytes: &[u8]) {
    let len = bytes.len().min(usize::from(u16::MAX));
    out.extend_from_slice(&(len as u16).to_be_bytes());
    out.extend_from_slice(&bytes[..len]);
}

/// Appends a PUBLISH with the first byte `first` (type, DUP, QoS, RETAIN) and packet identifier 0; returns the index in
/// `out` of the packet identifier (meaningless at QoS 0). `properties` are 5.0 property bytes without their length;
/// other versions leave them out. `topic` has at most 65,535 bytes (more is cut off, so that a length never lies); the
/// whole packet at most 268,435,460.
#[inline]
pub fn publish(
    out: &mut Vec<u8>,
    protocol: Protocol,
    first: u8,
    topic: &str,
    properties: &[u8],
    payload: &[u8],
) -> usize {
    let has_id = first & 0b0110 != 0;
    let topic = &topic.as_bytes()[..topic.len().min(usize::from(u16::MAX))];
    let mut len = 2 + topic.len() + 2 * usize::from(has_id) + payload.len();
    if protocol == Protocol::V5 {
        len += varint_len(properties.len()) + properties.len();
    }
    out.reserve(5 + len);
    out.push(first);
    varint(out, len);
    binary(out, topic);
    let packet_id_at = out.len();
    if has_id {
        out.extend_from_slice(&[0, 0]);
    }
    if protocol == Protocol::V5 {
        varint(out, properties.len());
        out.extend_from_slice(properties);
    }
    out.extend_from_slice(payload);
    packet_id_at
}

/// As [`publish`] for MQTT 5, with `own` property bytes before the others: what only one receiver's packet has. The topic
/// may be empty where they have a Topic Alias.
pub fn publish_with(out: &mut Vec<u8>, first: u8, topic: &str, own: &[u8], properties: &[u8], payload: &[u8]) -> usize {
    let topic = &topic.as_bytes()[..topic.len().min(usize::from(u16::MAX))];
    let has_id = first & 0b0110 != 0;
    let properties_len = own.len() + properties.len();
    let len = publish_body(topic.len(), has_id, properties_len, payload.len());
    out.reserve(5 + len);
    out.push(first);
    varint(out, len);
    binary(out, topic);
    let packet_id_at = out.len();
    if has_id {
        out.extend_from_slice(&[0, 0]);
    }
    varint(out, properties_len);
    out.extend_from_slice(own);
    out.extend_from_slice(properties);
    out.extend_from_slice(payload);
    packet_id_at
}

/// Length of the body of an MQTT 5 PUBLISH with a topic of at most 65,535 bytes.
#[inline]
pub const fn publish_body(topic_bytes: usize, has_id: bool, properties_bytes: usize, payload_bytes: usize) -> usize {
    let id_bytes = if has_id { 2 } else { 0 };
    2 + topic_bytes + id_bytes + varint_len(properties_bytes) + properties_bytes + payload_bytes
}

/// The first byte of PUBACK, PUBREC, PUBREL and PUBCOMP.
#[inline]
const fn ack_first(kind: u8) -> u8 {
    let flags = if kind == kind::PUBREL { 0b0010 } else { 0 };
    kind << 4 | flags
}

/// Appends PUBACK, PUBREC, PUBREL or PUBCOMP (`kind`) with success; the same bytes in every version.
#[inline]
pub fn ack(out: &mut Vec<u8>, kind: u8, packet_id: u16) {
    let [hi, lo] = packet_id.to_be_bytes();
    out.extend_from_slice(&[ack_first(kind), 2, hi, lo]);
}

/// As [`ack`], with a reason code; MQTT 3 has none and is told success.
#[inline]
pub fn ack_with_reason(out: &mut Vec<u8>, protocol: Protocol, kind: u8, packet_id: u16, reason: ReasonCode) {
    if protocol != Protocol::V5 || reason == ReasonCode::SUCCESS {
        return ack(out, kind, packet_id);
    }
    let [hi, lo] = packet_id.to_be_bytes();
    out.extend_from_slice(&[ack_first(kind), 3, hi, lo, reason.0]);
}

/// As [`ack_with_reason`] for MQTT 5, with as much in words as its client takes (`packet_bytes_max`, 0: any; MQTT-3.4.2-2,
/// MQTT-3.5.2-2).
pub fn ack_with_words(
    out: &mut Vec<u8>,
    kind: u8,
    packet_id: u16,
    reason: ReasonCode,
    words: Words<'_>,
    packet_bytes_max: u32,
) {
    let mut said = Vec::new();
    words.append(&mut said, 3, packet_bytes_max);
    if said.is_empty() {
        return ack_with_reason(out, Protocol::V5, kind, packet_id, reason);
    }
    out.push(ack_first(kind));
    varint(out, 3 + varint_len(said.len()) + said.len());
    out.extend_from_slice(&packet_id.to_be_bytes());
    out.push(reason.0);
    properties(out, &said);
}

/// Appends PINGRESP.
#[inline]
pub fn ping_resp(out: &mut Vec<u8>) {
    out.extend_from_slice(&[kind::PINGRESP << 4, 0]);
}

/// Appends properties with their length before them.
#[inline]
pub fn properties(out: &mut Vec<u8>, properties: &[u8]) {
    varint(out, properties.len());
    out.extend_from_slice(properties);
}
