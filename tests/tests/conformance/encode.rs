//! Packets by name to bytes, as a client sends them.

use super::Version;
use super::named::{KINDS, Named, Value};
use super::properties::{self, is_property, write_text, write_variable};
use super::raw::number;
use super::run::Variables;

/// The values of a packet that is to be sent.
struct Fields<'a> {
    fields: Vec<(&'a str, Vec<u8>)>,
    version: Version,
}

impl Fields<'_> {
    fn all<'b>(&'b self, name: &'b str) -> impl Iterator<Item = &'b [u8]> {
        self.fields.iter().filter(move |(n, _)| *n == name).map(|(_, value)| &value[..])
    }

    fn get<'b>(&'b self, name: &'b str) -> Option<&'b [u8]> {
        self.all(name).next()
    }

    fn number(&self, name: &str, default: u64) -> Result<u64, String> {
        let Some(value) = self.get(name) else { return Ok(default) };
        number(value).ok_or_else(|| format!("{name} wants a number"))
    }

    fn id(&self) -> Result<[u8; 2], String> {
        let id = self.get("id").and_then(number).ok_or("it wants a packet id")?;
        Ok((id as u16).to_be_bytes())
    }

    /// Properties whose names begin with `prefix`, with their length; nothing in versions that have none.
    fn properties(&self, out: &mut Vec<u8>, prefix: &str) -> Result<(), String> {
        let mut all = Vec::new();
        for (name, value) in &self.fields {
            if let Some(name) = name.strip_prefix(prefix).filter(|n| is_property(n)) {
                properties::write(&mut all, name, value)?;
            }
        }
        if self.version.has_properties() {
            write_variable(out, all.len());
            out.extend(all);
        } else if !all.is_empty() {
            return Err("this version has no properties".into());
        }
        Ok(())
    }
}

/// The bytes of a packet.
///
/// # Errors
/// Something that it needs is missing, or cannot be sent.
pub(crate) fn encode(named: &Named, version: Version, variables: &Variables) -> Result<Vec<u8>, String> {
    let mut fields = Vec::new();
    for (name, value) in &named.fields {
        let value = match value {
            Value::Is(value) => value.clone(),
            Value::Variable(variable) => {
                variables.get(variable).ok_or_else(|| format!("@{variable} is not known"))?.clone()
            }
            _ => return Err(format!("{name}: only a value can be sent")),
        };
        fields.push((name.as_str(), value));
    }
    if let Some(at) = fields.iter().position(|(name, _)| *name == "persistent") {
        fields[at] = match version.has_properties() {
            true => ("session-expiry-interval", b"600".to_vec()),
            false => ("clean", b"0".to_vec()),
        };
        fields.push(("clean", b"0".to_vec()));
    }
    let fields = Fields { fields, version };
    let kind = KINDS.iter().position(|(name, _, _)| *name == named.kind).ok_or("no such packet")? as u8 + 1;
    let mut body = Vec::new();
    let flags = match named.kind {
        "CONNECT" => connect(&fields, &mut body).map(|()| 0)?,
        "PUBLISH" => publish(&fields, &mut body)?,
        "SUBSCRIBE" => subscribe(&fields, &mut body).map(|()| 2)?,
        "UNSUBSCRIBE" => unsubscribe(&fields, &mut body).map(|()| 2)?,
        "PUBACK" | "PUBREC" | "PUBCOMP" => acknowledge(&fields, &mut body).map(|()| 0)?,
        "PUBREL" => acknowledge(&fields, &mut body).map(|()| 2)?,
        "PINGREQ" => 0,
        "DISCONNECT" | "AUTH" => code(&fields, &mut body).map(|()| 0)?,
        other => return Err(format!("a client that sends {other} writes its bytes")),
    };
    let mut packet = vec![kind << 4 | flags];
    write_variable(&mut packet, body.len());
    packet.extend(body);
    Ok(packet)
}

fn connect(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<(), String> {
    let (name, level) = match fields.version {
        Version::V31 => ("MQIsdp", 3),
        Version::V311 => ("MQTT", 4),
        Version::V50 => ("MQTT", 5),
    };
    write_text(body, name.as_bytes())?;
    let mut flags = (fields.number("clean", 1)? as u8) << 1;
    flags |= u8::from(fields.get("will").is_some()) << 2;
    flags |= (fields.number("will-qos", 0)? as u8) << 3 | (fields.number("will-retain", 0)? as u8) << 5;
    flags |= u8::from(fields.get("password").is_some()) << 6 | u8::from(fields.get("user").is_some()) << 7;
    body.extend([level, flags]);
    body.extend((fields.number("keep-alive", 60)? as u16).to_be_bytes());
    fields.properties(body, "")?;
    write_text(body, fields.get("client-id").ok_or("it wants a client id")?)?;
    if let Some(topic) = fields.get("will") {
        fields.properties(body, "will.")?;
        write_text(body, topic)?;
        write_text(body, fields.get("will-payload").unwrap_or_default())?;
    }
    for name in ["user", "password"] {
        if let Some(text) = fields.get(name) {
            write_text(body, text)?;
        }
    }
    Ok(())
}

fn publish(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<u8, String> {
    let qos = fields.number("qos", 0)? as u8;
    write_text(body, fields.get("topic").ok_or("it wants a topic")?)?;
    if qos > 0 {
        body.extend(fields.id()?);
    }
    fields.properties(body, "")?;
    body.extend_from_slice(fields.get("payload").unwrap_or_default());
    Ok((fields.number("dup", 0)? as u8) << 3 | qos << 1 | fields.number("retain", 0)? as u8)
}

/// Filters are `FILTER:QOS`, in 5.0 with more options: `a/b:1,nl,rap,rh=2`.
fn subscribe(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<(), String> {
    body.extend(fields.id()?);
    fields.properties(body, "")?;
    for filter in fields.all("filter") {
        let at = filter.iter().rposition(|b| *b == b':').ok_or("a filter is FILTER:QOS")?;
        write_text(body, &filter[..at])?;
        let options = std::str::from_utf8(&filter[at + 1..]).map_err(|e| e.to_string())?;
        let mut byte = 0;
        for option in options.split(',') {
            byte |= match option {
                "nl" => 4,
                "rap" => 8,
                "rh=1" => 0x10,
                "rh=2" => 0x20,
                qos => qos.parse::<u8>().map_err(|e| format!("{qos:?}: {e}"))?,
            };
        }
        body.push(byte);
    }
    Ok(())
}

fn unsubscribe(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<(), String> {
    body.extend(fields.id()?);
    fields.properties(body, "")?;
    fields.all("filter").try_for_each(|filter| write_text(body, filter))
}

/// A code of 0 without properties is left out, as 5.0 allows and 3.x demands.
fn acknowledge(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<(), String> {
    body.extend(fields.id()?);
    code(fields, body)
}

fn code(fields: &Fields<'_>, body: &mut Vec<u8>) -> Result<(), String> {
    let code = fields.number("code", 0)? as u8;
    if code != 0 || fields.fields.iter().any(|(name, _)| is_property(name)) {
        body.push(code);
        fields.properties(body, "")?;
    }
    Ok(())
}
