//! An event as one line of JSON.

use std::io::{self, Write};

use gatemq_plugin_api::{Event, Value};
use serde::ser::{Serialize, SerializeMap, SerializeSeq, Serializer};
use serde_json::ser::Formatter;
use sha2::{Digest, Sha256};

use crate::config::ChainForm;
use crate::rfc3339;

/// Appends an event and a newline.
pub(crate) fn append(lines: &mut Vec<u8>, event: &Event<'_>, chain: ChainForm) {
    let start = lines.len();
    let mut serializer = serde_json::Serializer::with_formatter(&mut *lines, Escaping);
    if let Err(e) = (Line { event, chain }).serialize(&mut serializer) {
        // Writing maps with text keys into memory does not fail; half a line would spoil the file if it did.
        lines.truncate(start);
        gatemq_plugin_api::tracing::error!("an event that cannot be written as JSON: {e}");
        return;
    }
    lines.push(b'\n');
}

/// JSON that is also harmless on a terminal: besides what JSON demands, every control character and every character that
/// breaks lines or turns the direction of text is escaped. Peers choose this text.
struct Escaping;

impl Formatter for Escaping {
    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        let mut plain = 0;
        for (at, c) in fragment.char_indices().filter(|(_, c)| is_unsafe(*c)) {
            writer.write_all(&fragment.as_bytes()[plain..at])?;
            // None of them lies beyond the first plane.
            write!(writer, "\\u{:04x}", u32::from(c))?;
            plain = at + c.len_utf8();
        }
        writer.write_all(&fragment.as_bytes()[plain..])
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn protocol(level: u8) -> Option<&'static str> {
    gatemq_plugin_api::Protocol::from_level(level).map(gatemq_plugin_api::Protocol::name)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

struct Line<'a> {
    event: &'a Event<'a>,
    chain: ChainForm,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.event;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("time", &rfc3339::format(event.time_ms()))?;
        map.serialize_entry("time_ms", &event.time_ms())?;
        map.serialize_entry("node", event.node())?;
        map.serialize_entry("sequence", &event.sequence())?;
        map.serialize_entry("event", event.name())?;
        map.serialize_entry("number", &event.kind())?;
        map.serialize_entry("class", event.class())?;
        // A kind's blame is what it mostly is; an event of some kinds knows better.
        map.serialize_entry(
            "blame",
            match event.field("blame") {
                Some(Value::Text(blame)) => blame,
                _ => event.blame(),
            },
        )?;
        if let Some(connection) = event.connection() {
            map.serialize_entry("connection", &connection)?;
        }
        for (name, text) in [
            ("listener", event.listener()),
            ("transport", event.transport()),
            ("remote", event.remote()),
            ("tenant", event.tenant()),
            ("user", event.user()),
            ("client_id", event.client_id()),
            ("protocol", protocol(event.protocol()).unwrap_or("")),
        ] {
            if !text.is_empty() {
                map.serialize_entry(name, text)?;
            }
        }
        if let Some(sha256) = event.leaf_sha256() {
            map.serialize_entry("leaf_sha256", &hex(sha256))?;
        }
        map.serialize_entry("fields", &FieldsOf(self))?;
        map.end()
    }
}

struct FieldsOf<'a>(&'a Line<'a>);

impl Serialize for FieldsOf<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.event.fields() {
            match value {
                Value::Number(number) => map.serialize_entry(name, &number)?,
                Value::Flag(flag) => map.serialize_entry(name, &flag)?,
                Value::Text(text) => map.serialize_entry(name, text)?,
                Value::Chain(chain) => match self.0.chain {
                    ChainForm::None => {}
                    form => map.serialize_entry(name, &Certificates { ders: chain.iter().collect(), form })?,
                },
            }
        }
        map.end()
    }
}

struct Certificates<'a> {
    ders: Vec<&'a [u8]>,
    form: ChainForm,
}

impl Serialize for Certificates<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut list = serializer.serialize_seq(Some(self.ders.len()))?;
        for der in &self.ders {
            list.serialize_element(&match self.form {
                ChainForm::Pem => pem::encode(&pem::Pem::new("CERTIFICATE", *der)),
                ChainForm::Sha256 | ChainForm::None => hex(&Sha256::digest(der)),
            })?;
        }
        list.end()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use gatemq_plugin_api::abi::entry::events_ref;
    use gatemq_plugin_api::abi::v1_0::{EventView, FieldTag, FieldView};

    fn text_field<'a>(name: &'a str, text: &'a str) -> FieldView<'a> {
        FieldView { name: name.into(), tag: FieldTag::TEXT, number: 0, text: text.into(), chain: (&[][..]).into() }
    }

    fn view<'a>(fields: &'a [FieldView<'a>]) -> EventView<'a> {
        EventView {
            kind: 202,
            class: 1,
            blame: 3,
            name: "ClientRefused".into(),
            sequence: 7,
            time_ms: 951_782_400_007,
            node: "n1".into(),
            connection: 5,
            listener: "tls".into(),
            transport: "mqtts".into(),
            remote: "[2001:db8::1]:4711".into(),
            tenant: "".into(),
            user: "".into(),
            client_id: "c".into(),
            protocol: 4,
            leaf_sha256: (&[0xab; 32][..]).into(),
            fields: fields.into(),
            attributes: (&[][..]).into(),
        }
    }

    fn line(view: EventView<'_>, chain: ChainForm) -> String {
        let mut lines = Vec::new();
        append(&mut lines, &events_ref(&[view])[0], chain);
        String::from_utf8(lines).unwrap()
    }

    /// Guards the form that operators' tools read: every key, in its order; what is not known is left out.
    #[test]
    fn a_line_has_its_keys_in_order() {
        let fields = [
            FieldView { tag: FieldTag::NUMBER, number: 135, ..text_field("code", "") },
            FieldView { tag: FieldTag::FLAG, number: 1, ..text_field("proven", "") },
            text_field("reason", "no"),
            FieldView { tag: FieldTag(99), ..text_field("later", "") },
        ];
        assert_eq!(
            line(view(&fields), ChainForm::Sha256),
            format!(
                concat!(
                    r#"{{"time":"2000-02-29T00:00:00.007Z","time_ms":951782400007,"node":"n1","sequence":7,"#,
                    r#""event":"ClientRefused","number":202,"class":"security","blame":"policy","connection":5,"#,
                    r#""listener":"tls","transport":"mqtts","remote":"[2001:db8::1]:4711","client_id":"c","#,
                    r#""protocol":"3.1.1","leaf_sha256":"{}","fields":{{"code":135,"proven":true,"reason":"no"}}}}"#,
                    "\n"
                ),
                "ab".repeat(32)
            )
        );
        let about_nobody = EventView {
            connection: 0,
            listener: "".into(),
            transport: "".into(),
            remote: "".into(),
            client_id: "".into(),
            protocol: 0,
            leaf_sha256: (&[][..]).into(),
            ..view(&[])
        };
        let tail = &line(about_nobody, ChainForm::None);
        assert!(tail.ends_with("\"blame\":\"policy\",\"fields\":{}}\n"), "{tail}");
    }

    /// Guards that a client cannot forge a line, hide in one, or send commands to the terminal of whoever reads it.
    #[test]
    fn text_of_peers_is_escaped() {
        let evil = "a\"\\\n\r\u{0}\u{1b}[2J\u{7f}\u{9b}2J\u{2028}\u{202e}\u{feff}é🔒";
        let fields = [text_field("reason", evil)];
        let line = line(EventView { client_id: evil.into(), user: "u\nu".into(), ..view(&fields) }, ChainForm::None);
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.trim_end().chars().any(is_unsafe), "{line:?}");
        let back: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(back["client_id"], evil);
        assert_eq!(back["fields"]["reason"], evil);
        assert!(line.contains("é🔒"), "ordinary text stays readable");
    }

    /// Guards that the event's own blame is not hidden by its kind's.
    #[test]
    fn an_events_own_blame_counts() {
        let fields = [text_field("blame", "limit")];
        let back: serde_json::Value = serde_json::from_str(&line(view(&fields), ChainForm::None)).unwrap();
        assert_eq!(back["blame"], "limit");
    }

    /// Guards the three forms of a chain; the digest is that of `printf abc | sha256sum`.
    #[test]
    fn chains_are_written_as_configured() {
        let ders = [(&b"abc"[..]).into(), (&b""[..]).into()];
        let chain = [FieldView { tag: FieldTag::CHAIN, chain: (&ders[..]).into(), ..text_field("chain", "") }];
        let of = |form| {
            let back: serde_json::Value = serde_json::from_str(&line(view(&chain), form)).unwrap();
            back["fields"].get("chain").cloned()
        };
        assert_eq!(of(ChainForm::None), None);
        let digests = of(ChainForm::Sha256).unwrap();
        assert_eq!(digests[0], "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
        assert_eq!(digests.as_array().map(Vec::len), Some(2));
        let text = of(ChainForm::Pem).unwrap()[0].as_str().map(str::to_owned).unwrap();
        let back = pem::parse(text).unwrap();
        assert_eq!((back.tag(), back.contents()), ("CERTIFICATE", &b"abc"[..]));
    }
}
