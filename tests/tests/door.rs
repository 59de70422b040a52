//! The door: who does not get as far as a CONNACK, and what is said of it.

use std::io::ErrorKind;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version, connect, packet};
use gatemq_tests::pki::{Credentials, Pki, from_pem};
use gatemq_tests::{PATIENCE, client};
use serde_json::Value;

type MakeTls = fn(&Pki, Option<&Credentials>) -> Tls;

const TLS: [MakeTls; 2] = [Tls::v1_2, Tls::v1_3];

fn setup(pki: &Pki) -> Setup {
    Setup::new().mqtts("secure", pki, "required", "").fleet(pki).tape()
}

fn start(pki: &Pki) -> Broker {
    setup(pki).start()
}

fn start_with_deadline(pki: &Pki, connect_ms_max: u32) -> Broker {
    setup(pki).argument("--set").argument(&format!("listeners.secure.connect_ms_max={connect_ms_max}")).start()
}

/// Whether the TLS handshake, which TLS 1.3 ends with the first byte from the server, fails.
fn is_shut_out(broker: &Broker, tls: &Tls) -> bool {
    let client = Client::tls(broker.address("secure"), tls, Version::V5);
    client.and_then(|mut client| client.connect("sensor-1")).is_err()
}

/// A certificate of another authority, an expired one, one for another purpose, one shown without its key, and none at all are
/// refused in the handshake, with an event that carries what was shown. The twin differs only in that.
#[test]
fn wrong_certificates_are_refused_in_the_handshake() {
    let (pki, other) = (Pki::new("Acme"), Pki::new("Stranger"));
    let for_servers = pki.client_with("sensor-1", |params| {
        params.extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ServerAuth];
    });
    let wrong = [
        ("of another authority", Some(other.client("sensor-1")), true),
        ("expired", Some(pki.expired_client("sensor-1")), true),
        ("for servers", Some(for_servers), true),
        ("without its key", Some(pki.client("sensor-1").stolen()), false),
        ("none", None, false),
    ];
    for (what, shown, has_key) in &wrong {
        for tls in TLS {
            let mut broker = start(&pki);
            assert!(is_shut_out(&broker, &tls(&pki, shown.as_ref())), "{what} is let in");
            let event = broker.tape().wait_for(what, |e| e["event"] == "TlsHandshakeFailed");
            assert!(!event["fields"]["error"].as_str().unwrap().is_empty(), "{what}");
            let pem: String = event["fields"]["chain"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
            let sent = shown.as_ref().map(|shown| shown.chain.clone()).unwrap_or_default();
            assert_eq!(from_pem(&pem), sent, "{what}");
            if !has_key {
                assert_eq!(event["fields"]["proven"], false, "{what}");
            }
            let twin = tls(&pki, Some(&pki.client("sensor-1")));
            Client::admitted(broker.address("secure"), &twin, Version::V5, "sensor-1");
        }
    }
}

/// Bytes that are not MQTT, or not in its order, close the connection, with an event that names the clause that was broken.
#[test]
fn bytes_that_are_not_mqtt_are_closed_with_their_clause() {
    let pki = Pki::new("Acme");
    let publish_first = packet(0x30, b"\0\x01a");
    let reserved_flag = {
        let mut bytes = connect(Version::V5, "sensor-1", None);
        // Connect flags: bit 0 is reserved.
        bytes[9] |= 1;
        bytes
    };
    for (what, bytes, clause) in [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(), "MQTT-3.1.0-1"),
        ("a PUBLISH before CONNECT", publish_first, "MQTT-3.1.0-1"),
        ("a reserved flag", reserved_flag, "MQTT-3.1.2-3"),
        ("a remaining length of five bytes", vec![0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0x01], "1.5.5"),
    ] {
        let mut broker = start(&pki);
        let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
        let mut client = Client::tls(broker.address("secure"), &tls, Version::V5).unwrap();
        client.send(&bytes).unwrap();
        end_of(&mut client, what);
        let event =
            broker.tape().wait_for(what, |e| e["event"] == "PacketMalformed" || e["event"] == "ProtocolViolated");
        assert_eq!(event["fields"]["clause"], clause, "{what}: {event}");
        Client::admitted(broker.address("secure"), &tls, Version::V5, "sensor-1");
    }
}

/// A second CONNECT is a breach, after which the client is gone; its twin that sends PINGREQ instead stays.
#[test]
fn a_second_connect_is_a_breach() {
    let pki = Pki::new("Acme");
    for version in Version::ALL {
        let mut broker = start(&pki);
        let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
        let mut client = Client::admitted(broker.address("secure"), &tls, version, "sensor-1");
        client.ping();
        client.send(&connect(version, "sensor-1", None)).unwrap();
        end_of(&mut client, "a second CONNECT");
        let event = broker.tape().wait_for_client("ProtocolViolated", "sensor-1");
        assert_eq!(event["fields"]["clause"], "MQTT-3.1.0-2");
    }
}

/// Reads up to the end of the connection; what comes before it can only be a goodbye.
fn end_of(client: &mut Client, what: &str) {
    loop {
        match client.receive(PATIENCE) {
            Ok(Received::Closed) => return,
            Ok(Received::Packet(packet)) if [2, 14].contains(&packet.kind()) => {}
            other => panic!("{what}: wanted the end, got {other:?}"),
        }
    }
}

/// Who takes too long is closed: for TLS, for CONNECT. Its twin takes its time as well, but less.
#[test]
fn connections_that_say_nothing_are_closed() {
    let pki = Pki::new("Acme");
    let mut broker = start_with_deadline(&pki, 500);
    let address = broker.address("secure");
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    for stage in ["tls", "connect"] {
        let mut client = match stage {
            "tls" => Client::tcp(address, Version::V5).unwrap(),
            _ => Client::tls(address, &tls, Version::V5).unwrap(),
        };
        client.expect_closed();
        let event = broker.tape().wait_for(stage, |e| e["event"] == "ConnectTimedOut" && e["fields"]["stage"] == stage);
        assert_eq!(event["fields"]["connect_ms_max"], 500);
    }
    Client::admitted(address, &tls, Version::V5, "sensor-1");
}

/// A client that was admitted is not closed by the deadline of those that were not.
#[test]
fn the_connect_deadline_ends_with_connect() {
    let pki = Pki::new("Acme");
    let broker = start_with_deadline(&pki, 200);
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    let mut client = Client::admitted(broker.address("secure"), &tls, Version::V5, "sensor-1");
    let waited = client.receive(std::time::Duration::from_millis(500));
    assert_eq!(waited.unwrap_err().kind(), ErrorKind::TimedOut);
    client.ping();
}

/// A client without TLS on a TLS listener is no client: closed, with an event.
#[test]
fn plain_mqtt_on_a_tls_listener_is_closed() {
    let pki = Pki::new("Acme");
    let mut broker = start(&pki);
    let mut client = Client::tcp(broker.address("secure"), Version::V5).unwrap();
    client.send(&client::connect(Version::V5, "sensor-1", None)).unwrap();
    // A TLS alert is no MQTT packet.
    assert!(!matches!(client.receive(PATIENCE), Ok(Received::Packet(packet)) if packet.kind() == 2));
    broker.tape().wait_for("TlsHandshakeFailed", |e| e["event"] == "TlsHandshakeFailed");
}

/// Peers that begin and fall silent hold up nobody: not the next client, though there are more of them than handshakes at a
/// time, and not the stop.
#[test]
fn silent_peers_hold_up_nobody() {
    let pki = Pki::new("Acme");
    let setup = setup(&pki).argument("--set").argument("listeners.secure.handshakes_max=1");
    let mut broker = setup.argument("--set").argument("listeners.secure.connect_ms_max=600000").start();
    let address = broker.address("secure");
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    let silent: Vec<_> = (0..8).map(|_| Client::tcp(address, Version::V5).unwrap()).collect();
    let without_connect = Client::tls(address, &tls, Version::V5).unwrap();
    Client::admitted(address, &tls, Version::V5, "sensor-1");
    broker.tape().wait_for_client("ClientDisconnected", "sensor-1");
    let ended = broker.stop();
    assert_eq!(ended.code, Some(0));
    assert!(!ended.log.contains("left behind"), "{}", ended.log);
    drop((silent, without_connect));
}

/// Who takes no CONNACK is refused with an event, and takes no session over.
#[test]
fn a_maximum_packet_size_without_room_for_a_connack_is_refused() {
    let pki = Pki::new("Acme");
    let mut broker = start(&pki);
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    let mut first = Client::admitted(broker.address("secure"), &tls, Version::V5, "sensor-1");
    let mut second = Client::tls(broker.address("secure"), &tls, Version::V5).unwrap();
    // Clean start, no keep alive, Maximum Packet Size 1.
    let mut body = b"\0\x04MQTT\x05\x02\0\0\x05\x27\0\0\0\x01".to_vec();
    client::text(&mut body, "sensor-1");
    second.send(&packet(0x10, &body)).unwrap();
    end_of(&mut second, "a Maximum Packet Size of 1");
    let event = broker.tape().wait_for_client("ClientRefused", "sensor-1");
    assert_eq!(event["fields"]["code"], 0x95);
    first.ping();
}
