//! What the server is asked: JSON texts. `README.md` shows them.

use std::net::SocketAddr;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::{Protocol, Secret, Tls, UserProperty, Will};
use serde::Serialize;

/// A client at its CONNECT, or one that is asked about again.
#[derive(Serialize)]
pub(crate) struct Client<'a> {
    call: &'static str,
    connection: u64,
    listener: &'a str,
    transport: &'static str,
    local: SocketAddr,
    remote: SocketAddr,
    proxied_by: Option<SocketAddr>,
    tls: Option<TlsText<'a>>,
    protocol: &'static str,
    client_id: &'a str,
    client_id_assigned: bool,
    user_name: Option<&'a str>,
    password: Option<&'a str>,
    /// Where it is no text.
    password_hex: Option<String>,
    clean_start: bool,
    keep_alive_s: u16,
    session_expiry_s: u32,
    receive_max: u16,
    packet_bytes_max: u32,
    user_properties: &'a [UserProperty],
    will: Option<WillText<'a>>,
    failures: u32,
    session: Option<SessionText<'a>>,
}

#[derive(Serialize)]
struct TlsText<'a> {
    version: &'static str,
    cipher: &'a str,
    server_name: Option<&'a str>,
    alpn: Option<&'a str>,
    resumed: bool,
    verified: bool,
    chain_pem: String,
    path: &'a [u32],
    anchor: Option<AnchorText<'a>>,
    leaf_sha256: Option<String>,
}

#[derive(Serialize)]
struct AnchorText<'a> {
    subject: &'a str,
    spki_sha256: String,
}

#[derive(Serialize)]
struct WillText<'a> {
    topic: &'a str,
    qos: u8,
    retain: bool,
    payload_bytes: u32,
    delay_s: u32,
    user_properties: &'a [UserProperty],
}

/// Who an admitted client is.
#[derive(Serialize)]
struct SessionText<'a> {
    connection: u64,
    listener: &'a str,
    tenant: &'a str,
    user: &'a str,
    client_id: &'a str,
    tags: Vec<&'a str>,
    leaf_sha256: Option<String>,
}

/// Something that an admitted client wants to do.
#[derive(Serialize)]
struct Act<'a> {
    call: &'static str,
    session: SessionText<'a>,
    action: ActionText<'a>,
}

#[derive(Serialize)]
struct ActionText<'a> {
    kind: &'static str,
    topic: &'a str,
    share_group: Option<&'a str>,
    qos: u8,
    retain: bool,
    payload_bytes: u32,
    options: u8,
    user_properties: Vec<(&'a str, &'a str)>,
}

impl<'a> Client<'a> {
    /// A client at its CONNECT.
    pub(crate) fn new(connect: &'a Connect) -> Self {
        let password = connect.password.as_ref().map(Secret::as_bytes);
        let text = password.map(std::str::from_utf8);
        Client {
            call: "authenticate",
            connection: connect.connection,
            listener: &connect.listener,
            transport: connect.transport.name(),
            local: connect.local,
            remote: connect.remote,
            proxied_by: connect.proxied_by,
            tls: connect.tls.as_ref().map(TlsText::new),
            protocol: match connect.protocol {
                Protocol::V31 => "3.1",
                Protocol::V311 => "3.1.1",
                Protocol::V5 => "5.0",
            },
            client_id: &connect.client_id,
            client_id_assigned: connect.client_id_assigned,
            user_name: connect.user_name.as_deref(),
            password: text.and_then(Result::ok),
            password_hex: password.filter(|_| text.is_some_and(|text| text.is_err())).map(hex),
            clean_start: connect.clean_start,
            keep_alive_s: connect.keep_alive_s,
            session_expiry_s: connect.session_expiry_s,
            receive_max: connect.receive_max,
            packet_bytes_max: connect.packet_bytes_max,
            user_properties: &connect.user_properties,
            will: connect.will.as_ref().map(WillText::new),
            failures: connect.failures,
            session: None,
        }
    }

    /// An admitted client that is asked about again; `connect` is its CONNECT, without password.
    pub(crate) fn again(connect: &'a Connect, session: &'a Session) -> Self {
        Client { call: "refresh", session: Some(SessionText::new(session)), ..Client::new(connect) }
    }

    pub(crate) fn json(&self) -> Result<Vec<u8>, String> {
        serde_json::to_vec(self).map_err(|e| e.to_string())
    }

    /// What an answer that is kept is an answer to: everything but what no two connections have in common. Wiped when it is
    /// dropped.
    pub(crate) fn in_common(&mut self) -> Result<Secret, String> {
        self.connection = 0;
        // What others at the same address did must not void what is kept.
        self.failures = 0;
        self.remote.set_port(0);
        if let Some(proxy) = &mut self.proxied_by {
            proxy.set_port(0);
        }
        self.json().map(Secret::new)
    }
}

impl<'a> TlsText<'a> {
    fn new(tls: &'a Tls) -> Self {
        let lf = pem::EncodeConfig::new().set_line_ending(pem::LineEnding::LF);
        let pem_of = |der: &Der| pem::encode_config(&pem::Pem::new("CERTIFICATE", der.as_bytes()), lf);
        TlsText {
            version: match tls.version {
                0x0303 => "1.2",
                0x0304 => "1.3",
                _ => "",
            },
            cipher: &tls.cipher,
            server_name: tls.server_name.as_deref(),
            alpn: tls.alpn.as_deref(),
            resumed: tls.resumed,
            verified: tls.verified,
            chain_pem: tls.chain.iter().map(pem_of).collect(),
            path: &tls.path,
            anchor: tls
                .anchor
                .as_ref()
                .map(|anchor| AnchorText { subject: &anchor.subject, spki_sha256: hex(&anchor.spki_sha256) }),
            leaf_sha256: tls.leaf_sha256.map(|sha256| hex(&sha256)),
        }
    }
}

impl<'a> WillText<'a> {
    fn new(will: &'a Will) -> Self {
        WillText {
            topic: &will.topic,
            qos: will.qos.bits(),
            retain: will.retain,
            payload_bytes: will.payload_bytes,
            delay_s: will.delay_s,
            user_properties: &will.user_properties,
        }
    }
}

impl<'a> SessionText<'a> {
    fn new(session: &'a Session) -> Self {
        SessionText {
            connection: session.connection(),
            listener: session.listener(),
            tenant: session.tenant(),
            user: session.user(),
            client_id: session.client_id(),
            tags: session.tags().collect(),
            leaf_sha256: session.leaf_sha256().map(|sha256| hex(&sha256)),
        }
    }
}

/// What an admitted client wants to do; `kind` is that of `action`.
pub(crate) fn act(session: &Session, kind: ActionKind, action: &Action<'_>) -> Result<Vec<u8>, String> {
    let question = Act {
        call: "authorize",
        session: SessionText::new(session),
        action: ActionText {
            kind: kind.name(),
            topic: action.topic(),
            share_group: action.share_group(),
            qos: action.qos().bits(),
            retain: action.retain(),
            payload_bytes: action.payload_bytes(),
            options: action.options(),
            user_properties: action.user_properties().collect(),
        },
    };
    serde_json::to_vec(&question).map_err(|e| e.to_string())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use gatemq_plugin_api::{Anchor, Transport};
    use serde_json::{Value, json};

    pub(crate) fn connect() -> Connect {
        Connect {
            connection: 7,
            listener: "secure".into(),
            transport: Transport::Tls,
            local: ([127, 0, 0, 1], 8883).into(),
            remote: ([192, 0, 2, 1], 4711).into(),
            proxied_by: Some(([10, 0, 0, 1], 999).into()),
            tls: Some(Tls {
                version: 0x0304,
                cipher: "TLS13_AES_128_GCM_SHA256".into(),
                server_name: Some("mqtt.example.com".into()),
                alpn: None,
                resumed: false,
                chain: vec![Der::new(b"leaf"), Der::new(b"sent")],
                verified: true,
                path: vec![0],
                anchor: Some(Anchor { subject: "CN=Root".into(), spki_sha256: [0xAB; 32] }),
                leaf_sha256: Some([1; 32]),
            }),
            protocol: Protocol::V311,
            client_id: "c".into(),
            client_id_assigned: false,
            user_name: Some("u".into()),
            password: Some(Secret::new(b"p".to_vec())),
            clean_start: true,
            keep_alive_s: 60,
            session_expiry_s: 1,
            receive_max: 100,
            packet_bytes_max: 0,
            user_properties: vec![("a".into(), "1".into()), ("a".into(), "2".into())],
            auth_method: None,
            auth_data: None,
            will: Some(Will {
                topic: "w".into(),
                qos: QoS::AtLeastOnce,
                retain: true,
                payload_bytes: 9,
                delay_s: 2,
                user_properties: Vec::new(),
            }),
            failures: 3,
            deadline_ms: 5000,
        }
    }

    /// Guards the form of the question, which servers are written for: a change of it is a break.
    #[test]
    fn the_question_has_its_form() {
        let found: Value = serde_json::from_slice(&Client::new(&connect()).json().unwrap()).unwrap();
        assert_eq!(
            found,
            json!({
                "call": "authenticate", "connection": 7, "listener": "secure", "transport": "mqtts",
                "local": "127.0.0.1:8883", "remote": "192.0.2.1:4711", "proxied_by": "10.0.0.1:999",
                "tls": {
                    "version": "1.3", "cipher": "TLS13_AES_128_GCM_SHA256", "server_name": "mqtt.example.com",
                    "alpn": null, "resumed": false, "verified": true, "path": [0],
                    "chain_pem": "-----BEGIN CERTIFICATE-----\nbGVhZg==\n-----END CERTIFICATE-----\n\
                                  -----BEGIN CERTIFICATE-----\nc2VudA==\n-----END CERTIFICATE-----\n",
                    "anchor": {"subject": "CN=Root", "spki_sha256": "ab".repeat(32)}, "leaf_sha256": "01".repeat(32),
                },
                "protocol": "3.1.1", "client_id": "c", "client_id_assigned": false, "user_name": "u", "password": "p",
                "password_hex": null, "clean_start": true, "keep_alive_s": 60, "session_expiry_s": 1,
                "receive_max": 100, "packet_bytes_max": 0, "user_properties": [["a", "1"], ["a", "2"]],
                "will": {
                    "topic": "w", "qos": 1, "retain": true, "payload_bytes": 9, "delay_s": 2, "user_properties": [],
                },
                "failures": 3, "session": null,
            })
        );
        let bytes = Connect { password: Some(Secret::new(vec![0xFF, 0])), ..connect() };
        let found: Value = serde_json::from_slice(&Client::new(&bytes).json().unwrap()).unwrap();
        assert_eq!((&found["password"], &found["password_hex"]), (&Value::Null, &json!("ff00")));
    }

    /// Promise 1: an answer that is kept is for the same question only: whatever a server can go by makes it another one, but for
    /// the number of the connection, the ports that its peer happens to have, and what others at its address did.
    #[test]
    fn promise_1_kept_answers_are_for_the_same_question() {
        let key = |connect: &Connect| Client::new(connect).in_common().unwrap().as_bytes().to_vec();
        let own = key(&connect());
        let same = Connect {
            connection: 8,
            remote: ([192, 0, 2, 1], 1).into(),
            proxied_by: Some(([10, 0, 0, 1], 1).into()),
            failures: 4,
            ..connect()
        };
        assert_eq!(key(&same), own);
        let tls = |change: &dyn Fn(&mut Tls)| {
            let mut other = connect();
            change(other.tls.as_mut().unwrap());
            other
        };
        for (n, other) in [
            Connect { password: Some(Secret::new(b"q".to_vec())), ..connect() },
            Connect { password: None, ..connect() },
            Connect { user_name: Some("v".into()), ..connect() },
            Connect { client_id: "d".into(), ..connect() },
            Connect { client_id_assigned: true, ..connect() },
            Connect { listener: "other".into(), ..connect() },
            Connect { remote: ([192, 0, 2, 2], 4711).into(), ..connect() },
            Connect { tls: None, ..connect() },
            tls(&|tls| tls.verified = false),
            tls(&|tls| tls.chain.truncate(1)),
            tls(&|tls| tls.anchor = None),
            tls(&|tls| tls.server_name = None),
            Connect { user_properties: Vec::new(), ..connect() },
            Connect { will: None, ..connect() },
        ]
        .iter()
        .enumerate()
        {
            assert_ne!(key(other), own, "number {n}");
        }
    }
}
