//! Properties of MQTT 5, by hand: written as a test wants them, right or wrong, and read back strictly.

use std::collections::BTreeMap;

use crate::client::{Packet, packet, text};

/// Session Expiry Interval.
pub const SESSION_EXPIRY: u8 = 17;
/// Server Keep Alive.
pub const SERVER_KEEP_ALIVE: u8 = 19;
/// Authentication Method.
pub const AUTH_METHOD: u8 = 21;
/// Authentication Data.
pub const AUTH_DATA: u8 = 22;
/// Request Problem Information.
pub const REQUEST_PROBLEM_INFO: u8 = 23;
/// Request Response Information.
pub const REQUEST_RESPONSE_INFO: u8 = 25;
/// Response Information.
pub const RESPONSE_INFO: u8 = 26;
/// Server Reference.
pub const SERVER_REFERENCE: u8 = 28;
/// Reason String.
pub const REASON_STRING: u8 = 31;
/// User Property.
pub const USER_PROPERTY: u8 = 38;

/// Properties, one after the other, without their length.
#[derive(Clone, Default)]
pub struct Properties(Vec<u8>);

impl Properties {
    /// None yet.
    pub fn new() -> Properties {
        Properties::default()
    }

    /// And one of a single byte.
    pub fn byte(mut self, id: u8, value: u8) -> Properties {
        self.0.extend([id, value]);
        self
    }

    /// And one of four bytes.
    pub fn four(mut self, id: u8, value: u32) -> Properties {
        self.0.push(id);
        self.0.extend(value.to_be_bytes());
        self
    }

    /// And one of text or binary data.
    pub fn text(mut self, id: u8, value: &str) -> Properties {
        self.0.push(id);
        text(&mut self.0, value);
        self
    }

    /// And a method with data.
    pub fn method(self, method: &str, data: &str) -> Properties {
        self.text(AUTH_METHOD, method).text(AUTH_DATA, data)
    }

    fn write(&self, body: &mut Vec<u8>) {
        match u8::try_from(self.0.len()) {
            Ok(length) if length < 128 => body.push(length),
            _ => {
                assert!(self.0.len() < 16_384, "fewer than 16,384 bytes");
                body.extend([(self.0.len() & 0x7F) as u8 | 0x80, (self.0.len() >> 7) as u8]);
            }
        }
        body.extend_from_slice(&self.0);
    }
}

/// A CONNECT of MQTT 5.
pub struct Connect5<'a> {
    /// Client identifier.
    pub client_id: &'a str,
    /// Keep alive in seconds.
    pub keep_alive_s: u16,
    /// Topic of a will at QoS 0.
    pub will: Option<&'a str>,
    /// Properties.
    pub properties: Properties,
}

impl<'a> Connect5<'a> {
    /// A clean one, keep alive 60 s.
    pub fn new(client_id: &'a str, properties: Properties) -> Connect5<'a> {
        Connect5 { client_id, keep_alive_s: 60, will: None, properties }
    }

    /// Its bytes.
    pub fn bytes(&self) -> Vec<u8> {
        let mut body = Vec::new();
        text(&mut body, "MQTT");
        body.extend([5, if self.will.is_some() { 0b0000_0110 } else { 0b0000_0010 }]);
        body.extend(self.keep_alive_s.to_be_bytes());
        self.properties.write(&mut body);
        text(&mut body, self.client_id);
        if let Some(topic) = self.will {
            body.push(0);
            text(&mut body, topic);
            text(&mut body, "will");
        }
        packet(0x10, &body)
    }
}

/// An AUTH.
pub fn auth(code: u8, method: &str, data: &str) -> Vec<u8> {
    let mut body = vec![code];
    Properties::new().method(method, data).write(&mut body);
    packet(0xF0, &body)
}

/// Reason code and properties of a CONNACK, AUTH or DISCONNECT: values by identifier.
///
/// # Panics
/// When it is none, or its properties cannot be read.
pub fn told(packet: &Packet) -> (u8, BTreeMap<u8, Vec<String>>) {
    let body = match packet.first {
        0x20 => &packet.body[1..],
        0xE0 | 0xF0 => &packet.body[..],
        _ => panic!("no CONNACK, AUTH or DISCONNECT: {packet:?}"),
    };
    let rest = if body.len() > 1 { after_length(&body[1..]) } else { &[] };
    (body[0], read(rest))
}

fn after_length(bytes: &[u8]) -> &[u8] {
    let (length, digits) = match bytes {
        [low, high, ..] if low & 0x80 != 0 => (usize::from(low & 0x7F) | usize::from(*high) << 7, 2),
        [length, ..] => (usize::from(*length), 1),
        [] => panic!("no properties"),
    };
    assert_eq!(bytes.len(), length + digits, "they end with the packet");
    &bytes[digits..]
}

fn read(mut bytes: &[u8]) -> BTreeMap<u8, Vec<String>> {
    fn take<'a>(bytes: &mut &'a [u8], n: usize) -> &'a [u8] {
        let (taken, rest) = bytes.split_at(n);
        *bytes = rest;
        taken
    }
    fn word(bytes: &mut &[u8]) -> String {
        let length = take(bytes, 2);
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        String::from_utf8(take(bytes, length).to_vec()).expect("UTF-8")
    }
    let mut all: BTreeMap<u8, Vec<String>> = BTreeMap::new();
    while !bytes.is_empty() {
        let id = take(&mut bytes, 1)[0];
        let value = match id {
            36 | 37 | 40 | 41 | 42 => take(&mut bytes, 1)[0].to_string(),
            19 | 33 | 34 => u16::from_be_bytes(take(&mut bytes, 2).try_into().expect("two")).to_string(),
            17 | 39 => u32::from_be_bytes(take(&mut bytes, 4).try_into().expect("four")).to_string(),
            18 | 21 | 22 | 26 | 28 | 31 => word(&mut bytes),
            USER_PROPERTY => format!("{}={}", word(&mut bytes), word(&mut bytes)),
            other => panic!("property {other} from a server"),
        };
        all.entry(id).or_default().push(value);
    }
    all
}
