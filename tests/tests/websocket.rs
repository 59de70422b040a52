//! WebSocket listeners: what is no MQTT over WebSocket is closed, counted, and an event. Each refusal has its twin.

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version, connect, packet};
use gatemq_tests::pki::Pki;
use gatemq_tests::websocket::{BINARY, PING, TEXT, frame, request, subprotocol};
use gatemq_tests::{Kind, PATIENCE, at_once};

const KINDS: [Kind; 2] = [Kind::Ws, Kind::Wss];

/// Largest frame of somebody who is not admitted.
const STRANGER_BYTES_MAX: usize = 64 << 10;
/// `limits.packet_bytes_max` of these tests.
const PACKET_BYTES_MAX: usize = 128 << 10;

struct Web {
    broker: Broker,
    kind: Kind,
    tls: Tls,
}

impl Web {
    fn start(kind: Kind) -> Web {
        let pki = Pki::new("Acme");
        let setup = Setup::new().listener(kind, &pki).faults("").tape();
        let setup = setup.toml(&format!("[listeners.{}.websocket]\norigins = [\"https://a.example\"]", kind.name()));
        let limit = format!("limits.packet_bytes_max={PACKET_BYTES_MAX}");
        Web { broker: setup.argument("--set").argument(&limit).start(), kind, tls: Tls::new(&pki, None) }
    }

    /// Before the upgrade.
    fn plain(&self) -> Client {
        let address = self.broker.address(self.kind.name());
        let client = if self.kind.has_tls() {
            Client::tls(address, &self.tls, Version::V5)
        } else {
            Client::tcp(address, Version::V5)
        };
        client.unwrap()
    }

    fn admitted(&self, client_id: &str) -> Client {
        self.broker.admitted(self.kind, &self.tls, Version::V5, client_id)
    }

    /// How often the event has been counted, as is told at the end.
    fn count(self, event: &str) -> u64 {
        let ended = self.broker.stop();
        let is_total = |line: &&str| line.contains("gatemq::total") && line.contains(event);
        let line = ended.log.lines().find(is_total).unwrap_or_else(|| panic!("no total of {event}:\n{}", ended.log));
        line.rsplit("n=").next().and_then(|n| n.trim().parse().ok()).unwrap_or_else(|| panic!("{line}"))
    }
}

/// Reads up to the end of the connection; what comes before it can only be a goodbye.
fn end_of(client: &mut Client, what: &str) {
    loop {
        match client.receive(PATIENCE) {
            Ok(Received::Closed) => return,
            Ok(Received::Packet(packet)) if packet.kind() == 14 => {}
            other => panic!("{what}: wanted the end, got {other:?}"),
        }
    }
}

/// Another path, another subprotocol or none, another origin, and what is no request at all: refused with its status,
/// before any MQTT, and each is an event.
#[test]
fn upgrades_that_are_not_offered_are_refused() {
    at_once(&KINDS, |&kind| {
        let mut web = Web::start(kind);
        let mqtt = subprotocol("mqtt");
        let other_origin = format!("{mqtt}Origin: https://b.example\r\n");
        let refused = [
            (request("/other", &mqtt), 404, "another path"),
            (request("/mqtt/", &mqtt), 404, "another path"),
            (request("/mqtt", &subprotocol("amqp, mqttx")), 400, "subprotocol"),
            (request("/mqtt", ""), 400, "subprotocol"),
            (request("/mqtt", &other_origin), 403, "another origin"),
            ("GET /mqtt HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n".into(), 426, "WebSocket"),
            ("MQTT\r\n\r\n".into(), 400, "not an HTTP request"),
        ];
        for (request, status, _) in &refused {
            let mut client = web.plain();
            assert_eq!(client.upgrade(request).unwrap(), *status, "{request}");
            client.expect_closed();
            let twin = format!("{}Origin: https://a.example\r\n", subprotocol("amqp, mqtt"));
            let mut twin_client = web.plain();
            assert_eq!(twin_client.upgrade(&gatemq_tests::websocket::request("/mqtt?x", &twin)).unwrap(), 101);
            assert_eq!(twin_client.connect("twin").unwrap(), 0);
        }
        for (request, _, reason) in &refused {
            web.broker.tape().wait_for(request, |e| {
                e["event"] == "UpgradeFailed" && e["fields"]["reason"].as_str().is_some_and(|r| r.contains(reason))
            });
        }
        assert_eq!(web.count("UpgradeFailed"), refused.len() as u64);
    });
}

/// Frames that MQTT or WebSocket forbids, or that are more than anybody needs, end the connection before CONNECT and
/// after it; each is an event that names the clause. The twins do almost the same.
#[test]
fn frames_that_are_forbidden_are_closed() {
    at_once(&KINDS, |&kind| {
        let mut web = Web::start(kind);
        let ping = frame(PING, b"p");
        // Announced is enough: nothing of it need arrive.
        let announced = |bytes: usize| frame(BINARY, &vec![0; bytes])[..14].to_vec();
        // Both are UTF-8, and right in a binary frame.
        let (connect, publish) = (connect(Version::V5, "text", None), packet(0x30, b"\0\x01t\0"));
        let forbidden: [(&str, Vec<u8>, Vec<u8>, &str); 6] = [
            ("text", frame(TEXT, &connect), frame(TEXT, &publish), "MQTT-6.0.0-1"),
            ("text that is none", frame(TEXT, b"\xC0\0"), frame(TEXT, b"\xC0\0"), "MQTT-6.0.0-1"),
            ("too large", announced(STRANGER_BYTES_MAX + 1), announced(PACKET_BYTES_MAX + 1), "RFC 6455, 10.4"),
            ("pings", ping.repeat(65), ping.repeat(65), "RFC 6455, 5.5.2"),
            ("not masked", vec![BINARY, 1, 0], vec![BINARY, 1, 0], "RFC 6455, 5.2"),
            ("reserved", frame(0xF2, b""), frame(0xF2, b""), "RFC 6455, 5.2"),
        ];
        for (what, of_stranger, of_client, clause) in &forbidden {
            let mut stranger = web.broker.open(kind, &web.tls, Version::V5);
            stranger.send_raw(of_stranger).unwrap();
            end_of(&mut stranger, what);
            let name = format!("client {what}");
            let mut client = web.admitted(&name);
            client.send_raw(of_client).unwrap();
            end_of(&mut client, what);
            let event = web.broker.tape().wait_for_client("ProtocolViolated", &name);
            assert_eq!(event["fields"]["clause"], *clause, "{event}");
            let of_nobody = |e: &serde_json::Value| {
                e["event"] == "ProtocolViolated"
                    && e["fields"]["clause"] == *clause
                    && e["client_id"].as_str().is_none_or(str::is_empty)
            };
            web.broker.tape().wait_for(what, of_nobody);
            web.broker.tape().wait_for_client("ClientDisconnected", &name);
        }
        let mut twin = web.admitted("twin");
        twin.send_raw(&ping.repeat(60)).unwrap();
        twin.ping();
        twin.send_raw(&ping.repeat(60)).unwrap();
        assert_eq!(twin.subscribe("a", 0), 0);
        let large = vec![7; STRANGER_BYTES_MAX + 1];
        twin.publish("a", 0, &large).unwrap();
        assert_eq!(twin.message(), ("a".to_owned(), large));
        assert_eq!(web.count("ProtocolViolated"), 2 * forbidden.len() as u64);
    });
}

/// Packets need not fit frames (MQTT-6.0.0-2): one in two frames, two in one, a frame of nothing.
#[test]
fn packets_need_not_fit_frames() {
    at_once(&KINDS, |&kind| {
        let web = Web::start(kind);
        let mut client = web.broker.open(kind, &web.tls, Version::V5);
        let connect = connect(Version::V5, "pieces", None);
        let pings = packet(0xC0, &[]).repeat(2);
        for part in [&connect[..5], &[], &[&connect[5..], &pings[..3]].concat(), &pings[3..]] {
            client.send(part).unwrap();
        }
        assert_eq!([client.packet().kind(), client.packet().kind(), client.packet().kind()], [2, 13, 13]);
    });
}
