//! Promise 2: the chain is whole. What the plugin sees is what the client sent, over TLS and over WebSocket on TLS.

use gatemq_tests::Kind;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Tls, Version};
use gatemq_tests::pki::{Credentials, Pki, from_pem};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

type MakeTls = fn(&Pki, Option<&Credentials>) -> Tls;

/// TLS 1.2 and 1.3, by the numbers that they have on the wire.
const TLS: [(u64, MakeTls); 2] = [(0x0303, Tls::v1_2), (0x0304, Tls::v1_3)];

/// The kinds of listeners that speak it.
const KINDS: [Kind; 2] = [Kind::Mqtts, Kind::Wss];

/// Every kind with every version.
fn doors() -> impl Iterator<Item = (Kind, u64, MakeTls)> {
    KINDS.into_iter().flat_map(|kind| TLS.into_iter().map(move |(version, tls)| (kind, version, tls)))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn chain(sent: &Credentials) -> Value {
    sent.chain.iter().map(|der| hex(der)).collect()
}

fn start(pki: &Pki, client_auth: &str, more: &str) -> Broker {
    let setup = KINDS.iter().fold(Setup::new(), |setup, kind| setup.secure(*kind, kind.name(), pki, client_auth, more));
    setup.faults("").tape().start()
}

/// Connects, and what the plugin was shown of its TLS.
fn shown(broker: &Broker, kind: Kind, tls: &Tls, client_id: &str) -> Value {
    broker.admitted(kind, tls, Version::V5, client_id).disconnect();
    broker.seen(client_id)["tls"].clone()
}

/// Three certificates arrive byte for byte, leaf first, with verified path and anchor, and with all that TLS tells besides.
#[test]
fn promise_2_three_certificates_arrive_byte_for_byte() {
    let pki = Pki::new("Acme");
    let mut broker = start(&pki, "required", "");
    for (kind, version, tls) in doors() {
        let (name, sent) = (format!("sensor-{version}-{kind:?}"), pki.client("sensor-1"));
        let seen = shown(&broker, kind, &tls(&pki, Some(&sent)).alpn(&["mqtt"]), &name);
        assert_eq!(sent.chain.len(), 3);
        assert_eq!(seen["chain"], chain(&sent));
        assert_eq!((&seen["verified"], &seen["path"]), (&json!(true), &json!([0, 1, 2])));
        assert_eq!(seen["anchor"]["subject"], "CN=Acme Root, O=Acme");
        assert_eq!(seen["anchor"]["spki_sha256"], hex(&Sha256::digest(pki.root_key_info())));
        assert_eq!(seen["leaf_sha256"], hex(&Sha256::digest(&sent.chain[0])));
        assert_eq!((&seen["version"], &seen["resumed"]), (&json!(version), &json!(false)));
        assert_eq!((&seen["server_name"], &seen["alpn"]), (&json!("localhost"), &json!("mqtt")));
        assert!(
            seen["cipher"].as_str().unwrap().contains("AES") || seen["cipher"].as_str().unwrap().contains("CHACHA"),
            "{seen}"
        );
        let client = broker.seen(&name);
        assert_eq!((&client["listener"], &client["transport"]), (&json!(kind.name()), &json!(kind.name())));
        // Collectors see the same chain.
        let event = broker.tape().wait_for_client("ClientConnected", &name);
        let pem: String = event["fields"]["chain"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
        assert_eq!(from_pem(&pem), sent.chain);
        assert_eq!(event["leaf_sha256"], seen["leaf_sha256"]);
    }
}

/// A certificate that does not belong into the chain is shown like the others, and not counted as verified.
#[test]
fn promise_2_what_was_merely_sent_is_shown_but_not_verified() {
    let (pki, other) = (Pki::new("Acme"), Pki::new("Stranger"));
    let broker = start(&pki, "required", "");
    for (kind, version, tls) in doors() {
        let mut sent = pki.client("sensor-1");
        sent.chain.insert(1, other.client("sensor-1").chain.remove(1));
        let seen = shown(&broker, kind, &tls(&pki, Some(&sent)), &format!("sensor-{version}-{kind:?}"));
        assert_eq!(seen["chain"], chain(&sent));
        assert_eq!((&seen["verified"], &seen["path"]), (&json!(true), &json!([0, 2, 3])));
    }
}

/// A resumed handshake carries no certificates; the plugin sees the whole chain all the same, verified. Where resumption is
/// off, the default with client certificates, there is none.
#[test]
fn promise_2_a_resumed_handshake_shows_the_whole_chain() {
    let pki = Pki::new("Acme");
    for (resumption, expected) in [("resumption = true", true), ("", false)] {
        let broker = start(&pki, "required", resumption);
        for (kind, version, tls) in doors() {
            let sent = pki.client("sensor-1");
            let tls = tls(&pki, Some(&sent));
            let first = shown(&broker, kind, &tls, &format!("first-{version}-{kind:?}"));
            let mut again = broker.open(kind, &tls, Version::V5);
            assert_eq!(again.resumed(), expected, "{kind:?} {version:#x} {resumption}");
            let name = format!("again-{version}-{kind:?}");
            assert_eq!(again.connect(&name).unwrap(), 0);
            let second = &broker.seen(&name)["tls"];
            assert_eq!((&first["resumed"], &second["resumed"]), (&json!(false), &json!(expected)));
            for what in ["chain", "verified", "path", "anchor", "leaf_sha256"] {
                assert_eq!(second[what], first[what], "{what} of {version:#x} on {kind:?}");
            }
            assert_eq!(second["chain"], chain(&sent));
        }
    }
}

/// Without a certificate, where that is allowed, there is no chain, no path and no anchor: nothing that could be mistaken for
/// a verified client. The twin shows one on the same listener.
#[test]
fn promise_2_no_certificate_is_no_chain() {
    let pki = Pki::new("Acme");
    let broker = start(&pki, "optional", "");
    for (kind, version, tls) in doors() {
        let seen = shown(&broker, kind, &tls(&pki, None), &format!("nobody-{version}-{kind:?}"));
        assert_eq!((&seen["chain"], &seen["verified"], &seen["path"]), (&json!([]), &json!(false), &json!([])));
        assert_eq!((&seen["anchor"], &seen["leaf_sha256"]), (&Value::Null, &Value::Null));
        let sent = pki.client("sensor-1");
        let twin = shown(&broker, kind, &tls(&pki, Some(&sent)), &format!("twin-{version}-{kind:?}"));
        assert_eq!((&twin["chain"], &twin["verified"]), (&chain(&sent), &json!(true)));
    }
}

/// What the client did not ask for is absent, not guessed.
#[test]
fn promise_2_no_server_name_and_no_protocol_are_absent() {
    let pki = Pki::new("Acme");
    let broker = start(&pki, "none", "");
    for kind in KINDS {
        let seen = shown(&broker, kind, &Tls::new(&pki, None).server_name("127.0.0.1"), "plain");
        assert_eq!((&seen["server_name"], &seen["alpn"]), (&Value::Null, &Value::Null));
        let twin = shown(&broker, kind, &Tls::new(&pki, None).alpn(&["h2", "mqtt"]), "twin");
        assert_eq!((&twin["server_name"], &twin["alpn"]), (&json!("localhost"), &json!("mqtt")));
    }
}
