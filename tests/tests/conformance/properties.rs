//! The properties of MQTT 5.0, by the standard's names.

use super::raw::{Reader, number};

/// How a property's value is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Byte,
    Two,
    Four,
    Variable,
    Text,
    Pair,
}

/// Identifier, name, kind of value (2.2.2.2).
const PROPERTIES: [(u8, &str, Kind); 27] = [
    (1, "payload-format-indicator", Kind::Byte),
    (2, "message-expiry-interval", Kind::Four),
    (3, "content-type", Kind::Text),
    (8, "response-topic", Kind::Text),
    (9, "correlation-data", Kind::Text),
    (11, "subscription-identifier", Kind::Variable),
    (17, "session-expiry-interval", Kind::Four),
    (18, "assigned-client-identifier", Kind::Text),
    (19, "server-keep-alive", Kind::Two),
    (21, "authentication-method", Kind::Text),
    (22, "authentication-data", Kind::Text),
    (23, "request-problem-information", Kind::Byte),
    (24, "will-delay-interval", Kind::Four),
    (25, "request-response-information", Kind::Byte),
    (26, "response-information", Kind::Text),
    (28, "server-reference", Kind::Text),
    (31, "reason-string", Kind::Text),
    (33, "receive-maximum", Kind::Two),
    (34, "topic-alias-maximum", Kind::Two),
    (35, "topic-alias", Kind::Two),
    (36, "maximum-qos", Kind::Byte),
    (37, "retain-available", Kind::Byte),
    (38, "user-property", Kind::Pair),
    (39, "maximum-packet-size", Kind::Four),
    (40, "wildcard-subscription-available", Kind::Byte),
    (41, "subscription-identifier-available", Kind::Byte),
    (42, "shared-subscription-available", Kind::Byte),
];

/// Whether there is a property of this name.
pub(crate) fn is_property(name: &str) -> bool {
    PROPERTIES.iter().any(|(_, n, _)| *n == name)
}

/// A variable byte integer in the fewest bytes.
pub(crate) fn write_variable(out: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = (value & 0x7F) as u8;
        value >>= 7;
        out.push(if value > 0 { digit | 0x80 } else { digit });
        if value == 0 {
            return;
        }
    }
}

/// Two bytes of length, and the bytes.
///
/// # Errors
/// More than 65,535 bytes.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &[u8]) -> Result<(), String> {
    let length = u16::try_from(text.len()).map_err(|_| format!("{} bytes are too many for a string", text.len()))?;
    out.extend(length.to_be_bytes());
    out.extend_from_slice(text);
    Ok(())
}

/// Appends a property.
///
/// # Errors
/// It has no such name or value.
pub(crate) fn write(out: &mut Vec<u8>, name: &str, value: &[u8]) -> Result<(), String> {
    let property = PROPERTIES.iter().find(|(_, n, _)| *n == name);
    let (id, _, kind) = property.ok_or_else(|| format!("there is no property {name:?}"))?;
    out.push(*id);
    let as_number = || number(value).ok_or_else(|| format!("{name} wants a number"));
    match kind {
        Kind::Byte => out.push(as_number()? as u8),
        Kind::Two => out.extend((as_number()? as u16).to_be_bytes()),
        Kind::Four => out.extend((as_number()? as u32).to_be_bytes()),
        Kind::Variable => write_variable(out, as_number()? as usize),
        Kind::Text => write_text(out, value)?,
        Kind::Pair => {
            let at = value.iter().position(|b| *b == b':').ok_or("a user property is NAME:VALUE")?;
            write_text(out, &value[..at])?;
            write_text(out, &value[at + 1..])?;
        }
    }
    Ok(())
}

/// Reads properties with their length before them, each as name and value.
///
/// # Errors
/// They are not well-formed.
pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let length = reader.variable()?;
    let mut inner = Reader(reader.take(length)?);
    let mut found = Vec::new();
    while !inner.0.is_empty() {
        let id = inner.byte()?;
        let property = PROPERTIES.iter().find(|(n, _, _)| *n == id);
        let (_, name, kind) = property.ok_or_else(|| format!("there is no property {id:#04x}"))?;
        let value = match kind {
            Kind::Byte => inner.byte()?.to_string().into_bytes(),
            Kind::Two => inner.two()?.to_string().into_bytes(),
            Kind::Four => inner.four()?.to_string().into_bytes(),
            Kind::Variable => inner.variable()?.to_string().into_bytes(),
            Kind::Text => inner.text()?.to_vec(),
            Kind::Pair => [inner.text()?, b":", inner.text()?].concat(),
        };
        found.push((*name, value));
    }
    Ok(found)
}
