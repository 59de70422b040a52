//! Enhanced authentication (MQTT 5, 4.12) before CONNACK, with a provider that does what its client says.

use std::collections::BTreeMap;
use std::time::Duration;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Tls, Version, connect, packet};
use gatemq_tests::pki::Pki;
use gatemq_tests::properties::{
    AUTH_DATA, AUTH_METHOD, Connect5, Properties, REASON_STRING, SERVER_REFERENCE, auth, told,
};
use gatemq_tests::{Kind, PATIENCE, at_once};

const CONTINUE: u8 = 0x18;

fn setup(kind: Kind, pki: &Pki) -> Setup {
    Setup::new().listener(kind, pki).faults("timeout_ms = 1000")
}

/// A client whose CONNECT has this method and data.
fn begin(broker: &Broker, client_id: &str, method: &str, data: &str) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    client.send(&Connect5::new(client_id, Properties::new().method(method, data)).bytes()).unwrap();
    client
}

/// The next packet, which must be an AUTH or CONNACK: type, code, properties.
fn next(client: &mut Client) -> (u8, u8, BTreeMap<u8, Vec<String>>) {
    let packet = client.packet();
    let (code, properties) = told(&packet);
    (packet.kind(), code, properties)
}

fn method_and_data(method: &str, data: &str) -> BTreeMap<u8, Vec<String>> {
    BTreeMap::from([(AUTH_METHOD, vec![method.to_owned()]), (AUTH_DATA, vec![data.to_owned()])])
}

/// The one-step twin: accepted at its CONNECT.
fn twin(broker: &Broker) {
    let mut client = begin(broker, "twin", "TEST", "accept");
    assert_eq!(next(&mut client).1, 0, "the twin");
    client.ping();
}

/// 4.12: as many rounds as the provider wants, each AUTH of the server with 0x18 and the client's method (MQTT-4.12.0-2,
/// -5), the last data in the CONNACK; then it is a client like any other. On every kind of listener.
#[test]
fn several_rounds_and_admitted() {
    at_once(&Kind::ALL, |&kind| {
        let pki = Pki::new("Acme");
        let mut broker = setup(kind, &pki).tape().start();
        let mut client = broker.open(kind, &Tls::new(&pki, None), Version::V5);
        client.send(&Connect5::new("c", Properties::new().method("TEST-1", "continue")).bytes()).unwrap();
        for round in 1..=3 {
            assert_eq!(next(&mut client), (15, CONTINUE, method_and_data("TEST-1", &format!("round {round}"))));
            let word = if round < 3 { "continue" } else { "accept user=alice" };
            client.send(&auth(CONTINUE, "TEST-1", word)).unwrap();
        }
        let (kind, code, properties) = next(&mut client);
        assert_eq!((kind, code), (2, 0));
        let proof = method_and_data("TEST-1", "after 3");
        assert!(proof.iter().all(|(id, value)| properties.get(id) == Some(value)), "{properties:?}");
        assert_eq!(client.subscribe("a", 0), 0);
        client.publish("a", 0, b"m").unwrap();
        assert_eq!(client.message(), ("a".to_owned(), b"m".to_vec()));
        assert_eq!(broker.tape().wait_for_client("ClientConnected", "c")["user"], "alice");
    });
}

/// MQTT-4.12.0-1, promise 1: a method that no provider offers is 0x8C, also with `--dev` and where a provider would have
/// admitted the client for another reason.
#[test]
fn promise_1_an_unknown_method_is_refused() {
    let broker = setup(Kind::Mqtt, &Pki::new("Acme")).start();
    for method in ["OTHER", "test", "TES"] {
        let mut client = begin(&broker, "c", method, "accept");
        assert_eq!(next(&mut client).1, 0x8C, "{method}");
        client.expect_closed();
    }
    twin(&broker);
    let dev = Setup::new().mqtt("mqtt").argument("--dev").start();
    assert_eq!(next(&mut begin(&dev, "c", "TEST", "accept")).1, 0x8C);
    let mut client = Client::tcp(dev.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect("twin").unwrap(), 0);
}

/// A certificate does not stand in for the proof that its client wanted to give.
#[test]
fn promise_1_a_provider_without_methods_is_passed_by() {
    let pki = Pki::new("Acme");
    let broker = Setup::new().mqtts("mqtts", &pki, "required", "").fleet(&pki).start();
    let tls = Tls::new(&pki, Some(&pki.client("sensor-1")));
    let mut client = Client::tls(broker.address("mqtts"), &tls, Version::V5).unwrap();
    client.send(&Connect5::new("sensor-1", Properties::new().method("TEST", "accept")).bytes()).unwrap();
    assert_eq!(next(&mut client).1, 0x8C);
    Client::admitted(broker.address("mqtts"), &tls, Version::V5, "sensor-1");
}

/// Promise 1: whatever is not an acceptance admits nobody, at the first step and later; each is an event. A refusal says no
/// more than its provider wants to be said.
#[test]
fn promise_1_only_an_acceptance_admits() {
    let mut broker = setup(Kind::Mqtt, &Pki::new("Acme")).tape().start();
    for (word, code, stands_in_for) in [
        ("reject", 0x86, "reject"),
        ("nonsense", 0x87, "reject"),
        ("unavailable", 0x88, "failure"),
        ("panic", 0x88, "failure"),
        ("hang", 0x88, "failure"),
        ("accept tenant=", 0x87, "identity"),
        ("accept allow=a/#/b", 0x87, "identity"),
    ] {
        for rounds in [0, 2] {
            let id = format!("{}-{rounds}", word.replace(['/', '#', ' ', '='], "-"));
            let mut client = begin(&broker, &id, "TEST", if rounds == 0 { word } else { "continue" });
            for round in 1..=rounds {
                assert_eq!(next(&mut client).0, 15);
                client.send(&auth(CONTINUE, "TEST", if round == rounds { word } else { "continue" })).unwrap();
            }
            let (kind, told, properties) = next(&mut client);
            assert_eq!((kind, told), (2, code), "{id}");
            let reason = properties.get(&REASON_STRING).map(|reason| reason[0].as_str());
            assert_eq!(reason, (word == "reject").then_some("for the client"), "{id}");
            client.expect_closed();
            let refused = broker.tape().wait_for_client("ClientRefused", &id);
            let stage = match (stands_in_for, rounds) {
                ("identity", _) => "identity",
                (_, 0) => "authenticate",
                _ => "exchange",
            };
            assert_eq!(refused["fields"]["stage"], stage, "{id}");
            if stands_in_for == "failure" && rounds > 0 {
                let aborted = broker.tape().wait_for_client("AuthExchangeAborted", &id);
                assert_eq!(
                    (&aborted["fields"]["rounds"], &aborted["blame"]),
                    (&rounds.into(), &"plugin".into()),
                    "{id}"
                );
            }
            twin(&broker);
        }
    }
    // In the middle of an exchange nobody else is asked.
    let mut client = begin(&broker, "next", "TEST", "continue");
    assert_eq!(next(&mut client).0, 15);
    client.send(&auth(CONTINUE, "TEST", "next")).unwrap();
    assert_eq!(next(&mut client).1, 0x87);
}

/// What a client may not do between CONNECT and CONNACK is answered with its clause's code, and closed: MQTT-3.1.2-30,
/// MQTT-4.12.0-3, -5, MQTT-3.15.2-1.
#[test]
fn rules_of_an_exchange() {
    let mut broker = setup(Kind::Mqtt, &Pki::new("Acme")).tape().start();
    let cases: [(&str, Vec<u8>, u8, &str); 8] = [
        ("other-method", auth(CONTINUE, "TEST-2", "accept"), 0x82, "MQTT-4.12.0-5"),
        ("again", auth(0x19, "TEST", "accept"), 0x82, "MQTT-3.15.2-1"),
        ("success", auth(0x00, "TEST", "accept"), 0x82, "MQTT-3.15.2-1"),
        ("no-method", packet(0xF0, &[CONTINUE, 0]), 0x82, "3.15.2.2.2"),
        ("ping", packet(0xC0, &[]), 0x82, "MQTT-3.1.2-30"),
        ("publish", packet(0x30, b"\0\x01a\0m"), 0x82, "MQTT-3.1.2-30"),
        ("connect", connect(Version::V5, "c", None), 0x82, "MQTT-3.1.0-2"),
        ("flags", packet(0xF1, &[CONTINUE, 0]), 0x81, "MQTT-3.15.1-1"),
    ];
    for (name, bytes, code, clause) in cases {
        let mut client = begin(&broker, name, "TEST", "continue");
        assert_eq!(next(&mut client).0, 15, "{name}");
        client.send(&bytes).unwrap();
        assert_eq!(next(&mut client), (2, code, BTreeMap::new()), "{name}");
        client.expect_closed();
        broker.tape().wait_for(name, |e| {
            let kind = if code == 0x81 { "PacketMalformed" } else { "ProtocolViolated" };
            e["event"] == kind && e["client_id"] == name && e["fields"]["clause"] == clause
        });
        let aborted = broker.tape().wait_for_client("AuthExchangeAborted", name);
        assert_eq!((&aborted["fields"]["method"], &aborted["blame"]), (&"TEST".into(), &"peer".into()));
        twin(&broker);
    }
    // Sent at once with the CONNECT.
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    let connect = Connect5::new("early", Properties::new().method("TEST", "accept")).bytes();
    client.send(&[connect, packet(0xC0, &[])].concat()).unwrap();
    assert_eq!(next(&mut client).1, 0x82);
}

/// A client that gives up, goes away, or says nothing for too long leaves nothing behind but an event.
#[test]
fn a_client_that_does_not_go_on() {
    let short = "[listeners.short]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\nconnect_ms_max = 500";
    let mut broker = setup(Kind::Mqtt, &Pki::new("Acme")).toml(short).tape().start();
    let begun = |broker: &Broker, listener: &str, id: &str| {
        let mut client = Client::tcp(broker.address(listener), Version::V5).unwrap();
        client.send(&Connect5::new(id, Properties::new().method("TEST", "continue")).bytes()).unwrap();
        assert_eq!(next(&mut client).0, 15, "{id}");
        client
    };
    let mut gives_up = begun(&broker, "mqtt", "gives-up");
    gives_up.send(&packet(0xE0, &[])).unwrap();
    gives_up.expect_closed();
    drop(begun(&broker, "mqtt", "goes"));
    let mut silent = begun(&broker, "short", "silent");
    assert_eq!(next(&mut silent), (2, 0x87, BTreeMap::new()));
    silent.expect_closed();
    // The provider's time counts as well.
    let mut slow = begun(&broker, "short", "slow");
    slow.send(&auth(CONTINUE, "TEST", "hang")).unwrap();
    assert_eq!(next(&mut slow).1, 0x88);
    for (id, part, blame) in [
        ("gives-up", "the client gave up", "peer"),
        ("goes", "the client has gone", "peer"),
        ("silent", "no AUTH within", "peer"),
        ("slow", "did not decide within", "plugin"),
    ] {
        let aborted = broker.tape().wait_for_client("AuthExchangeAborted", id);
        assert!(aborted["fields"]["reason"].as_str().unwrap().contains(part), "{aborted}");
        assert_eq!(aborted["blame"], blame, "{id}");
    }
    twin(&broker);
}

/// A provider that never comes to an end is cut off after `auth_rounds_max`; one that needs as many is not.
#[test]
fn rounds_are_bounded() {
    let broker = setup(Kind::Mqtt, &Pki::new("Acme")).toml("[limits]\nauth_rounds_max = 2").tape();
    let mut broker = broker.start();
    for (id, last, wanted) in [("endless", "continue", 0x87), ("just", "accept", 0)] {
        let mut client = begin(&broker, id, "TEST", "continue");
        assert_eq!(next(&mut client).0, 15);
        client.send(&auth(CONTINUE, "TEST", "continue")).unwrap();
        assert_eq!(next(&mut client).0, 15);
        client.send(&auth(CONTINUE, "TEST", last)).unwrap();
        let (kind, code, _) = next(&mut client);
        assert_eq!((kind, code), (2, wanted), "{id}");
    }
    let aborted = broker.tape().wait_for_client("AuthExchangeAborted", "endless");
    assert_eq!((&aborted["fields"]["rounds"], &aborted["blame"]), (&2.into(), &"limit".into()));
}

/// MQTT-4.12.0-6, -7: who names no method gets no AUTH, whatever its provider wants, and may send none; MQTT 3 has none.
#[test]
fn without_a_method_there_is_no_auth() {
    let broker = setup(Kind::Mqtt, &Pki::new("Acme")).start();
    for version in Version::ALL {
        let mut client = Client::tcp(broker.address("mqtt"), version).unwrap();
        assert_eq!(client.connect("fault-continue").unwrap(), version.connack(0x88));
        let mut client = Client::tcp(broker.address("mqtt"), version).unwrap();
        assert_eq!(client.connect("c").unwrap(), 0);
        client.send(&auth(0x19, "TEST", "accept")).unwrap();
        match version {
            Version::V5 => assert_eq!(told(&client.packet()).0, 0x82),
            Version::V3 => assert_eq!(client.receive(PATIENCE).unwrap(), Received::Closed),
        }
    }
}

/// A redirection may come in the middle as well; the client is told where to go.
#[test]
fn redirected_in_the_middle() {
    let mut broker = setup(Kind::Mqtt, &Pki::new("Acme")).tape().start();
    let mut client = begin(&broker, "c", "TEST", "continue");
    assert_eq!(next(&mut client).0, 15);
    client.send(&auth(CONTINUE, "TEST", "redirect b.example")).unwrap();
    let (_, code, properties) = next(&mut client);
    assert_eq!((code, &properties[&SERVER_REFERENCE][0][..]), (0x9C, "b.example"));
    broker.tape().wait_for_client("ClientRedirected", "c");
    assert!(broker.tape().find(Duration::ZERO, |e| e["event"] == "ClientRefused").is_none());
}
