//! Input that no ordinary client sends, and some that no client can send: the border must bear it all.

use gatemq_types::{Action, ActionKind, Connect, Der, Protocol, QoS, Secret, Tls, Transport, Will};
use serde_json::{Value, json};

/// Longest text of MQTT, in bytes.
const TEXT_MAX: usize = 65_535;

/// Texts that trip up whoever takes them for names, patterns, paths, markup or numbers.
pub(super) fn texts() -> Vec<String> {
    let mut texts: Vec<String> = [
        "",
        " ",
        "#",
        "+",
        "/",
        "$",
        "$SYS/#",
        "a/#/b",
        "${client_id}",
        "${attr.}",
        "${",
        "*",
        "..",
        "../../etc/passwd",
        "'",
        "\"",
        "\\",
        "%s%n",
        "\0",
        "\n",
        "\r\n\r\n",
        "\u{1b}[2J",
        "\u{feff}",
        "\u{fffd}",
        "\u{ffff}",
        "\u{202e}",
        "é",
        "e\u{301}",
        "İ",
        "ß",
        "🦀",
        "null",
        "true",
        "-1",
        "1e999",
        "NaN",
        "{}",
        "[",
        "a.b.c",
        "eyJhbGciOiJub25lIn0.e30.",
        "$argon2id$v=19$m=4294967295,t=4294967295,p=1$YWFhYWFhYWE$YWFhYQ",
    ]
    .map(str::to_owned)
    .into();
    texts.extend(["x", "/", "é", "${", "*"].map(|unit| unit.repeat(TEXT_MAX / unit.len())));
    texts
}

/// What may stand where a certificate should.
pub(super) fn certificates() -> Vec<Der> {
    let sequence = |length: &[u8]| [&[0x30][..], length].concat();
    [
        Vec::new(),
        vec![0],
        vec![0xff; 100],
        sequence(&[0x80]),
        sequence(&[0x84, 0xff, 0xff, 0xff, 0xff]),
        sequence(&[0x82, 0x10, 0x00]),
        // As deep as it is long.
        [0x30, 0x7f].repeat(5_000),
        vec![0; 70_000],
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_vec(),
    ]
    .iter()
    .map(|der| Der::new(der))
    .collect()
}

/// A configuration that is none, as JSON, and what is wrong with it.
pub(super) fn wrong_configs(good: &Value) -> Vec<(&'static str, String)> {
    let mut unknown = good.clone();
    if let Some(table) = unknown.as_object_mut() {
        table.insert("there_is_no_such_key".into(), json!(1));
    }
    vec![
        ("an unknown key", unknown.to_string()),
        ("nothing", String::new()),
        ("null", "null".into()),
        ("a number", "7".into()),
        ("text", "\"x\"".into()),
        ("no end", "{\"a\": [".into()),
        ("too deep", format!("{}{}", "{\"a\":".repeat(20_000), "1")),
        ("no JSON", "\u{0}\u{1}".into()),
    ]
}

fn tls(chain: Vec<Der>, verified: bool, path: Vec<u32>) -> Tls {
    let anchor = verified.then(|| gatemq_types::Anchor { subject: String::new(), spki_sha256: [0; 32] });
    let leaf_sha256 = chain.first().map(|_| [7; 32]);
    let cipher = "TLS13_AES_128_GCM_SHA256".into();
    let (server_name, alpn) = (Some("\u{0}".into()), Some("mqtt".into()));
    Tls { version: 0xffff, cipher, server_name, alpn, resumed: true, chain, verified, path, anchor, leaf_sha256 }
}

/// Chains that are none, verified ones too: a listener would not say so.
fn chains(of: &Connect) -> Vec<Tls> {
    let mut chains = vec![tls(Vec::new(), false, Vec::new()), tls(Vec::new(), true, vec![0])];
    for der in certificates() {
        chains.push(tls(vec![der.clone()], true, vec![0]));
        chains.push(tls(vec![der], false, Vec::new()));
    }
    chains.push(tls(certificates(), true, vec![u32::MAX, 0, 0]));
    chains.push(tls(vec![Der::new(b"x"); 1_000], true, (0..1_000).collect()));
    if let Some(good) = &of.tls {
        let no_anchor = Tls { anchor: None, ..good.clone() };
        let no_path = Tls { path: Vec::new(), ..good.clone() };
        let backwards = Tls { chain: good.chain.iter().rev().cloned().collect(), ..good.clone() };
        let cut_off = |der: &Der| Der::new(&der.as_bytes()[..der.as_bytes().len() / 2]);
        let halves = Tls { chain: good.chain.iter().map(cut_off).collect(), ..good.clone() };
        chains.extend([no_anchor, no_path, backwards, halves]);
    }
    chains
}

/// Clients that begin with `of` and are odd in one respect.
pub(super) fn clients(of: &Connect) -> Vec<Connect> {
    let mut odd = Vec::new();
    for text in texts() {
        // The broker gives an identifier to who has none.
        let client_id = if text.is_empty() { "x".into() } else { text.clone() };
        odd.push(Connect { client_id, ..of.clone() });
        odd.push(Connect { user_name: Some(text.clone()), ..of.clone() });
        odd.push(Connect { password: Some(Secret::new(text.clone().into_bytes())), ..of.clone() });
        odd.push(Connect { user_name: Some(text.clone()), password: None, ..of.clone() });
        odd.push(Connect { listener: text.clone(), ..of.clone() });
        odd.push(Connect { user_properties: vec![(text.clone(), text.clone()); 3], ..of.clone() });
        let data = Some(Secret::new(text.clone().into_bytes()));
        odd.push(Connect { auth_method: Some(text.clone()), auth_data: data, ..of.clone() });
        let will = Will {
            topic: text.clone(),
            qos: QoS::ExactlyOnce,
            retain: true,
            payload_bytes: u32::MAX,
            delay_s: u32::MAX,
            user_properties: vec![(text.clone(), text)],
        };
        odd.push(Connect { will: Some(will), ..of.clone() });
    }
    odd.extend(chains(of).into_iter().map(|tls| Connect { tls: Some(tls), transport: Transport::Tls, ..of.clone() }));
    let not_text = Some(Secret::new((0..=255).cycle().take(TEXT_MAX).collect()));
    odd.push(Connect { password: not_text.clone(), auth_data: not_text, ..of.clone() });
    odd.push(Connect { user_properties: vec![("n".into(), "v".into()); 5_000], ..of.clone() });
    odd.push(Connect { protocol: Protocol::V31, transport: Transport::SecureWebSocket, ..of.clone() });
    odd.push(Connect { remote: ([0; 16], 0).into(), proxied_by: Some(([255; 4], 0).into()), ..of.clone() });
    odd.push(Connect {
        connection: u64::MAX,
        client_id_assigned: true,
        clean_start: false,
        keep_alive_s: u16::MAX,
        session_expiry_s: u32::MAX,
        receive_max: 0,
        packet_bytes_max: 1,
        failures: u32::MAX,
        deadline_ms: 0,
        ..of.clone()
    });
    odd
}

/// Actions that are odd in one respect, of every kind.
pub(super) fn actions() -> Vec<Action> {
    let kinds =
        [ActionKind::Publish, ActionKind::Subscribe, ActionKind::Unsubscribe, ActionKind::Receive, ActionKind::Will];
    let of = |(n, topic): (usize, String)| Action {
        kind: kinds[n % kinds.len()],
        share_group: n.is_multiple_of(2).then(|| topic.clone()),
        qos: QoS::ExactlyOnce,
        retain: true,
        payload_bytes: u32::MAX,
        options: u8::MAX,
        user_properties: vec![(topic.clone(), topic.clone())],
        topic,
    };
    texts().into_iter().flat_map(|topic| [topic.clone(), topic]).enumerate().map(of).collect()
}
