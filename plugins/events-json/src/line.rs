//! An event as one line of JSON.
//!
//! Written by hand: three lines a connection are a good part of what connecting costs.

use gatemq_plugin_api::{Event, Protocol, Value};
use sha2::{Digest, Sha256};

use crate::config::ChainForm;
use crate::rfc3339;

/// Appends an event and a newline.
pub(crate) fn append(lines: &mut Vec<u8>, event: &Event<'_>, chain: ChainForm) {
    lines.extend_from_slice(b"{\"time\":\"");
    rfc3339::append(lines, event.time_ms());
    lines.extend_from_slice(b"\",\"time_ms\":");
    number(lines, event.time_ms());
    entry(lines, "node", event.node());
    numbered(lines, "sequence", event.sequence());
    word(lines, "event", event.name());
    numbered(lines, "number", event.kind().into());
    word(lines, "class", event.class());
    // A kind's blame is what it mostly is; an event of some kinds knows better.
    entry(
        lines,
        "blame",
        match event.field("blame") {
            Some(Value::Text(blame)) => blame,
            _ => event.blame(),
        },
    );
    if let Some(connection) = event.connection() {
        numbered(lines, "connection", connection);
    }
    for (name, value) in [
        ("listener", event.listener()),
        ("transport", event.transport()),
        ("remote", event.remote()),
        ("tenant", event.tenant()),
        ("user", event.user()),
        ("client_id", event.client_id()),
    ] {
        if !value.is_empty() {
            entry(lines, name, value);
        }
    }
    if let Some(protocol) = Protocol::from_level(event.protocol()) {
        word(lines, "protocol", protocol.name());
    }
    if let Some(sha256) = event.leaf_sha256() {
        key(lines, "leaf_sha256");
        hex(lines, sha256);
    }
    key(lines, "fields");
    fields(lines, event, chain);
    lines.extend_from_slice(b"}\n");
}

fn fields(out: &mut Vec<u8>, event: &Event<'_>, form: ChainForm) {
    out.push(b'{');
    let opened = out.len();
    for (name, value) in event.fields() {
        if matches!((&value, form), (Value::Chain(_), ChainForm::None)) {
            continue;
        }
        if out.len() > opened {
            out.push(b',');
        }
        quoted(out, name);
        out.push(b':');
        match value {
            Value::Number(value) => number(out, value),
            Value::Flag(flag) => out.extend_from_slice(if flag { b"true" } else { b"false" }),
            Value::Text(value) => text(out, value),
            Value::Chain(chain) => certificates(out, chain.iter(), form),
        }
    }
    out.push(b'}');
}

fn certificates<'a>(out: &mut Vec<u8>, chain: impl Iterator<Item = &'a [u8]>, form: ChainForm) {
    out.push(b'[');
    for (at, der) in chain.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        match form {
            ChainForm::Pem => text(out, &pem::encode(&pem::Pem::new("CERTIFICATE", der))),
            ChainForm::Sha256 | ChainForm::None => hex(out, &Sha256::digest(der)),
        }
    }
    out.push(b']');
}

/// `,"name":`.
fn key(out: &mut Vec<u8>, name: &str) {
    out.push(b',');
    quoted(out, name);
    out.push(b':');
}

/// A name of the event table or of ours: nothing in it needs escaping.
fn quoted(out: &mut Vec<u8>, name: &str) {
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.push(b'"');
}

/// An entry whose value is such a name too.
fn word(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    quoted(out, value);
}

fn entry(out: &mut Vec<u8>, name: &str, value: &str) {
    key(out, name);
    text(out, value);
}

fn numbered(out: &mut Vec<u8>, name: &str, value: u64) {
    key(out, name);
    number(out, value);
}

fn number(out: &mut Vec<u8>, mut value: u64) {
    // As many digits as the largest has.
    let (mut digits, mut from) = ([0; 20], 20);
    loop {
        from -= 1;
        digits[from] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            return out.extend_from_slice(&digits[from..]);
        }
    }
}

fn hex(out: &mut Vec<u8>, bytes: &[u8]) {
    let digit = |value: u8| b"0123456789abcdef"[usize::from(value)];
    out.push(b'"');
    out.extend(bytes.iter().flat_map(|b| [digit(b >> 4), digit(b & 15)]));
    out.push(b'"');
}

/// JSON that is also harmless on a terminal: besides what JSON demands, every control character and every character that
/// breaks lines or turns the direction of text is escaped. Peers choose this text.
fn text(out: &mut Vec<u8>, value: &str) {
    out.push(b'"');
    // All bytes are looked at, without a way out of the loop: several at a time.
    let is_plain = |b: &u8| (b' '..=b'~').contains(b) & (*b != b'"') & (*b != b'\\');
    if value.as_bytes().iter().fold(true, |plain, b| plain & is_plain(b)) {
        out.extend_from_slice(value.as_bytes());
    } else {
        escaped(out, value);
    }
    out.push(b'"');
}

fn escaped(out: &mut Vec<u8>, value: &str) {
    for c in value.chars() {
        match c {
            '"' | '\\' => out.extend_from_slice(&[b'\\', c as u8]),
            '\n' => out.extend_from_slice(b"\\n"),
            '\r' => out.extend_from_slice(b"\\r"),
            '\t' => out.extend_from_slice(b"\\t"),
            // None of them lies beyond the first plane.
            c if is_unsafe(c) => out.extend_from_slice(format!("\\u{:04x}", u32::from(c)).as_bytes()),
            c => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
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

    /// Guards every character of the first plane, alone and beside others: it is read back as it was.
    #[test]
    fn every_character_comes_back() {
        for c in ('\0'..='\u{ffff}').chain(['\u{10000}', '\u{10ffff}']) {
            let said = format!("{c}a{c}");
            let line = line(EventView { user: said.as_str().into(), ..view(&[]) }, ChainForm::None);
            let back: serde_json::Value = serde_json::from_str(&line).unwrap();
            assert_eq!(back["user"], said, "{line}");
            assert!(!line.trim_end().contains(is_unsafe), "{line:?}");
        }
        for value in [0, 9, 10, u64::MAX] {
            let mut out = Vec::new();
            number(&mut out, value);
            assert_eq!(String::from_utf8(out).unwrap(), value.to_string());
        }
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
