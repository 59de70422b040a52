//! Bytes of the broker to fields: strictly, so that what it must not send does not pass.

use super::Version;
use super::named::KINDS;
use super::properties;
use super::raw::Reader;

/// A packet of the broker.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    /// Its kind.
    pub(crate) kind: &'static str,
    /// Its fields; those that have their usual value (QoS 0, no DUP, no RETAIN, code 0 of an acknowledgement) are left out.
    pub(crate) fields: Vec<(&'static str, Vec<u8>)>,
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.kind)?;
        for (name, value) in &self.fields {
            let shown = &value[..value.len().min(100)];
            write!(f, " {name}={}", shown.escape_ascii())?;
        }
        Ok(())
    }
}

type Fields = Vec<(&'static str, Vec<u8>)>;

fn numeric(name: &'static str, value: impl Into<u64>) -> (&'static str, Vec<u8>) {
    (name, value.into().to_string().into_bytes())
}

/// Reads a whole packet.
///
/// # Errors
/// A server of that version must not send it so.
pub(crate) fn decode(bytes: &[u8], version: Version) -> Result<Seen, String> {
    let mut reader = Reader(bytes);
    let first = reader.byte()?;
    let length = reader.variable()?;
    if reader.0.len() != length {
        return Err("another length than it says".into());
    }
    let (kind, _, _) = (first >> 4).checked_sub(1).and_then(|n| KINDS.get(usize::from(n))).ok_or("type 0")?;
    let mut fields = Vec::new();
    match *kind {
        "CONNACK" => connack(&mut reader, version, &mut fields)?,
        "PUBLISH" => publish(first, &mut reader, version, &mut fields)?,
        "PUBACK" | "PUBREC" | "PUBREL" | "PUBCOMP" => {
            fields.push(numeric("id", reader.two()?));
            code(&mut reader, version, &mut fields)?;
        }
        "SUBACK" | "UNSUBACK" => {
            fields.push(numeric("id", reader.two()?));
            if version.has_properties() {
                fields.extend(properties::read(&mut reader)?);
            }
            while let Ok(code) = reader.byte() {
                fields.push(numeric("code", code));
            }
            if *kind == "UNSUBACK" && !version.has_properties() && fields.len() > 1 {
                return Err("an UNSUBACK of 3.x has no codes".into());
            }
        }
        "PINGRESP" => {}
        "DISCONNECT" | "AUTH" if version.has_properties() => code(&mut reader, version, &mut fields)?,
        other => return Err(format!("a server of MQTT {} sends no {other}", version.name())),
    }
    let flags = if *kind == "PUBREL" { 2 } else { 0 };
    if *kind != "PUBLISH" && first & 0x0F != flags {
        return Err(format!("{kind} begins with {first:#04x}"));
    }
    if !reader.0.is_empty() {
        return Err(format!("{kind} has {} bytes too many", reader.0.len()));
    }
    Ok(Seen { kind, fields })
}

fn connack(reader: &mut Reader<'_>, version: Version, fields: &mut Fields) -> Result<(), String> {
    match reader.byte()? {
        0 => {}
        1 => fields.push(numeric("present", 1u8)),
        flags => return Err(format!("CONNACK with flags {flags:#04x}")),
    }
    fields.push(numeric("code", reader.byte()?));
    if version.has_properties() {
        fields.extend(properties::read(reader)?);
    }
    Ok(())
}

fn publish(first: u8, reader: &mut Reader<'_>, version: Version, fields: &mut Fields) -> Result<(), String> {
    let qos = first >> 1 & 3;
    fields.push(("topic", reader.text()?.to_vec()));
    if qos > 0 {
        fields.push(numeric("qos", qos));
        let id = reader.two()?;
        if id == 0 {
            return Err("packet id 0".into());
        }
        fields.push(numeric("id", id));
    }
    for (name, bit) in [("retain", 1), ("dup", 8)] {
        if first & bit != 0 {
            fields.push(numeric(name, 1u8));
        }
    }
    if version.has_properties() {
        fields.extend(properties::read(reader)?);
    }
    fields.push(("payload", std::mem::take(&mut reader.0).to_vec()));
    Ok(())
}

/// A code and properties, which may be left out from the end.
fn code(reader: &mut Reader<'_>, version: Version, fields: &mut Fields) -> Result<(), String> {
    if !version.has_properties() {
        return Ok(());
    }
    match reader.byte() {
        Ok(0) | Err(_) => {}
        Ok(code) => fields.push(numeric("code", code)),
    }
    if !reader.0.is_empty() {
        fields.extend(properties::read(reader)?);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the strictness: what a server must not send is no packet.
    #[test]
    fn what_a_server_must_not_send_is_refused() {
        for (version, wrong, right) in [
            (Version::V311, &b"\x20\x02\x02\0"[..], &b"\x20\x02\x01\0"[..]),
            (Version::V311, b"\x21\x02\0\0", b"\x20\x02\0\0"),
            (Version::V50, b"\x20\x02\0\0", b"\x20\x03\0\0\0"),
            (Version::V311, b"\x32\x05\0\x01t\0\0", b"\x32\x05\0\x01t\0\x01"),
            (Version::V311, b"\x60\x02\0\x01", b"\x62\x02\0\x01"),
            (Version::V311, b"\x40\x03\0\x01\0", b"\x40\x02\0\x01"),
            (Version::V311, b"\xB0\x03\0\x01\0", b"\xB0\x02\0\x01"),
            (Version::V311, b"\xE0\0", b"\xD0\0"),
            (Version::V50, b"\xE0\x80\0", b"\xE0\0"),
            (Version::V50, b"\xC0\0", b"\xD0\0"),
            (Version::V50, b"\x30\x04\0\x01t\x01", b"\x30\x04\0\x01t\0"),
            (Version::V50, b"\x30\x06\0\x01t\x02\x7F\0", b"\x30\x06\0\x01t\x02\x01\0"),
        ] {
            assert!(decode(wrong, version).is_err(), "{wrong:02X?}");
            assert!(decode(right, version).is_ok(), "{right:02X?}");
        }
    }
}
