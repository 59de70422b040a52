//! What a CONNACK tells besides its code.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Version, connect, packet};
use gatemq_tests::properties::{
    Connect5, Properties, REASON_STRING, REQUEST_PROBLEM_INFO, REQUEST_RESPONSE_INFO, RESPONSE_INFO, SERVER_KEEP_ALIVE,
    SERVER_REFERENCE, told,
};

fn open(broker: &Broker, connect: &Connect5) -> (Client, u8, BTreeMap<u8, Vec<String>>) {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    client.send(&connect.bytes()).unwrap();
    let (code, properties) = told(&client.packet());
    (client, code, properties)
}

/// The first value of a property.
fn first(properties: &BTreeMap<u8, Vec<String>>, id: u8) -> Option<&str> {
    properties.get(&id).map(|values| values[0].as_str())
}

fn faults(more: &str) -> Setup {
    Setup::new().mqtt("mqtt").faults(more)
}

/// MQTT-3.2.2-21, -22: none or a longer keep alive becomes the limit, and the client is told; a shorter one stays, and so does
/// everyone's where there is no limit. The identity may lower it, not raise it.
#[test]
fn server_keep_alive() {
    for (limit, of_identity, wanted) in [
        (0, None, [(0, None), (90, None), (65_535, None)]),
        (60, None, [(0, Some("60")), (60, None), (61, Some("60"))]),
        (60, Some(30), [(0, Some("30")), (30, None), (60, Some("30"))]),
        (60, Some(90), [(0, Some("60")), (59, None), (90, Some("60"))]),
    ] {
        let identity = of_identity.map(|s: u16| format!("config.keep_alive_s_max = {s}")).unwrap_or_default();
        let limits = format!("[limits]\nkeep_alive_s_max = {limit}");
        let mut broker = faults(&identity).toml(&limits).tape().start();
        for (keep_alive_s, told) in wanted {
            let id = format!("c-{keep_alive_s}");
            let (_client, code, properties) =
                open(&broker, &Connect5 { keep_alive_s, ..Connect5::new(&id, Properties::new()) });
            assert_eq!(
                (code, first(&properties, SERVER_KEEP_ALIVE)),
                (0, told),
                "{limit} {of_identity:?} {keep_alive_s}"
            );
            let event = broker.tape().wait_for_client("ClientConnected", &id);
            let in_force: u64 = told.map_or(keep_alive_s.into(), |s| s.parse().unwrap());
            assert_eq!(event["fields"]["keep_alive_s"], in_force);
        }
    }
}

/// The keep alive that the client was told is the one that it is held to (MQTT-3.1.2-22); an MQTT 3 client, which cannot be
/// told, is held to its own.
#[test]
fn the_keep_alive_that_was_told_is_in_force() {
    let broker = faults("").toml("[limits]\nkeep_alive_s_max = 1").start();
    let mut three = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
    three.send(&connect(Version::V3, "three", None)).unwrap();
    assert_eq!(three.packet().body, [0, 0]);
    let began = Instant::now();
    let (mut five, ..) = open(&broker, &Connect5 { keep_alive_s: 0, ..Connect5::new("five", Properties::new()) });
    assert_eq!(told(&five.packet()).0, 0x8D);
    assert!(began.elapsed() >= Duration::from_millis(1400), "after {:?}", began.elapsed());
    five.expect_closed();
    three.ping();
}

/// MQTT-3.1.2-28: Response Information goes to who asks for it, and only there.
#[test]
fn response_information() {
    let ask = |wanted| Properties::new().byte(REQUEST_RESPONSE_INFO, wanted);
    let broker = faults("config.response_info = \"replies/\"").start();
    for (properties, wanted) in [(ask(1), Some("replies/")), (ask(0), None), (Properties::new(), None)] {
        let (_client, code, told) = open(&broker, &Connect5::new("c", properties));
        assert_eq!((code, first(&told, RESPONSE_INFO)), (0, wanted));
    }
    let none = faults("").start();
    assert_eq!(first(&open(&none, &Connect5::new("c", ask(1))).2, RESPONSE_INFO), None, "the identity has none");
}

/// A refusal says to the client what its provider wants to be said, if the client wants to hear it; the rest is in the event.
#[test]
fn reason_strings() {
    let mut broker = faults("").tape().start();
    let ask = |wanted| Properties::new().byte(REQUEST_PROBLEM_INFO, wanted);
    for (id, properties, wanted) in [
        ("fault-reject-aloud-1", Properties::new(), Some("for the client")),
        ("fault-reject-aloud-2", ask(1), Some("for the client")),
        ("fault-reject-aloud-3", ask(0), None),
    ] {
        let (mut client, code, told) = open(&broker, &Connect5::new(id, properties));
        assert_eq!((code, first(&told, REASON_STRING)), (0x8A, wanted), "{id}");
        client.expect_closed();
        assert_eq!(broker.tape().wait_for_client("ClientRefused", id)["fields"]["reason"], "for the log");
    }
    let (_client, code, told) = open(&broker, &Connect5::new("fault-reject", Properties::new()));
    assert_eq!((code, told), (0x86, BTreeMap::new()), "its provider lets nothing be said");
}

/// MQTT-3.4.2-2, MQTT-3.5.2-2, MQTT-3.9.2-1, MQTT-3.11.2-1, MQTT-3.14.2-3, MQTT-3.2.2-19, MQTT-3.1.2-29: what a verdict lets be told
/// comes in the packet that has its code, where the client takes so large a one and wants it; else the code comes alone. What is
/// for the log is not told.
#[test]
fn reason_strings_of_verdicts() {
    const DENIED: u8 = 0x97;
    let mut broker = faults("").tape().start();
    let said = |text: &str| [&[3 + text.len() as u8, REASON_STRING, 0, text.len() as u8], text.as_bytes()].concat();
    let aloud = said("enough for today");
    let filter = |flags: &[u8]| [&[0, 1, 0, 0, 14], &b"ask/deny-aloud"[..], flags].concat();
    // All are 25 bytes long with it, CONNACK is 24, DISCONNECT 29.
    for (properties, acks, connack, disconnect) in [
        (Properties::new(), true, true, true),
        (Properties::new().four(39, 29), true, true, true),
        (Properties::new().four(39, 28), true, true, false),
        (Properties::new().four(39, 25), true, true, false),
        (Properties::new().four(39, 24), false, true, false),
        (Properties::new().four(39, 23), false, false, false),
        (Properties::new().byte(REQUEST_PROBLEM_INFO, 0), false, false, false),
    ] {
        let (mut client, code, _) = open(&broker, &Connect5::new("c", properties.clone()));
        assert_eq!(code, 0);
        let bare = |with: bool, without: &[u8]| if with { aloud.clone() } else { without.to_vec() };
        for (first, ack) in [(0x32, 0x40), (0x34, 0x50)] {
            client.send(&packet(first, &[&[0, 14], &b"ask/deny-aloud"[..], &[0, 3, 0]].concat())).unwrap();
            let answer = client.packet();
            assert_eq!((answer.first, answer.body), (ack, [&[0, 3, DENIED], &bare(acks, &[])[..]].concat()));
        }
        for (first, bytes, ack) in [(0x82, filter(&[0]), 0x90), (0xA2, filter(&[]), 0xB0)] {
            client.send(&packet(first, &bytes)).unwrap();
            let answer = client.packet();
            assert_eq!((answer.first, answer.body), (ack, [&[0, 1], &bare(acks, &[0])[..], &[DENIED]].concat()));
        }
        client.publish("ask/deny-disconnect", 0, b"x").unwrap();
        let (code, told) = told(&client.packet());
        assert_eq!((code, first(&told, REASON_STRING)), (0x87, disconnect.then_some("go away and stay there")));
        let with_will = Connect5 { will: Some("ask/deny-aloud"), ..Connect5::new("w", properties) };
        let (_client, code, told) = open(&broker, &with_will);
        assert_eq!((code, first(&told, REASON_STRING)), (DENIED, connack.then_some("enough for today")));
    }
    let denied = broker.tape().wait_for_client("PublishDenied", "c");
    assert_eq!(denied["fields"]["reason"], "denied on demand, aloud");
}

/// MQTT-3.9.2-1: of several filters of a SUBSCRIBE the first that was denied with words is told, and the next packet has none of it.
#[test]
fn the_first_reason_string_of_several_filters() {
    let broker = faults("").start();
    let (mut client, ..) = open(&broker, &Connect5::new("c", Properties::new()));
    let filter = |topic: &str| [&[0, topic.len() as u8], topic.as_bytes(), &[0]].concat();
    let [deny, aloud, allow] = ["ask/deny", "ask/deny-aloud", "ask/allow"].map(filter);
    client.send(&packet(0x82, &[&[0, 1, 0], &deny[..], &aloud, &allow].concat())).unwrap();
    let answer = client.packet().body;
    assert_eq!((&answer[..3], &answer[answer.len() - 3..]), (&[0, 1, 19][..], &[0x87, 0x97, 0][..]));
    client.send(&packet(0x82, &[&[0, 2, 0], &deny[..]].concat())).unwrap();
    assert_eq!(client.packet().body, [0, 2, 0, 0x87]);
}

/// MQTT-3.1.2-29: with Request Problem Information 0 no packet but CONNACK, PUBLISH and DISCONNECT has a reason string or
/// user property.
#[test]
fn without_problem_information_answers_are_bare() {
    let broker = faults("config.grants = [{ allow = [\"all\"], filter = \"a\" }]").start();
    let properties = Properties::new().byte(REQUEST_PROBLEM_INFO, 0);
    let (mut client, ..) = open(&broker, &Connect5::new("c", properties));
    for topic in [b"a", b"b"] {
        let code = if topic == b"a" { 0 } else { 0x87 };
        client.send(&packet(0x82, &[&[0, 1, 0, 0, 1], &topic[..], &[0]].concat())).unwrap();
        assert_eq!(client.packet().body, [0, 1, 0, code], "SUBACK");
        client.send(&packet(0xA2, &[&[0, 2, 0, 0, 1], &topic[..]].concat())).unwrap();
        assert_eq!(client.packet().body[..3], [0, 2, 0], "UNSUBACK");
        for (first, ack) in [(0x32, 0x40), (0x34, 0x50)] {
            client.send(&packet(first, &[&[0, 1], &topic[..], &[0, 3, 0]].concat())).unwrap();
            let answer = client.packet();
            let wanted: &[u8] = if code == 0 { &[0, 3] } else { &[0, 3, 0x87] };
            assert_eq!((answer.first, &answer.body[..]), (ack, wanted));
        }
        client.send(&packet(0x62, &[0, 3])).unwrap();
        assert_eq!(client.packet().first, 0x70, "PUBCOMP");
    }
}

/// 4.11: a client is sent to another server, for now or for good; MQTT 3 is told that this one is unavailable. An event says
/// so, and none that it was refused.
#[test]
fn redirected() {
    let mut broker = faults("").tape().start();
    for (id, code, server) in [("fault-redirect", 0x9C, "other.example:1883"), ("fault-moved", 0x9D, "new.example")] {
        let (mut client, told, properties) = open(&broker, &Connect5::new(id, Properties::new()));
        assert_eq!((told, first(&properties, SERVER_REFERENCE)), (code, Some(server)));
        client.expect_closed();
        let event = broker.tape().wait_for_client("ClientRedirected", id);
        assert_eq!((&event["fields"]["code"], &event["fields"]["server"]), (&code.into(), &server.into()));
        let mut three = Client::tcp(broker.address("mqtt"), Version::V3).unwrap();
        assert_eq!(three.connect(id).unwrap(), 3);
        assert_eq!(three.receive(Duration::from_secs(5)).unwrap(), Received::Closed);
    }
    assert!(broker.tape().find(Duration::ZERO, |e| e["event"] == "ClientRefused").is_none());
    // Too large for the client with the server's name: the code alone.
    let (_client, told, properties) = open(&broker, &Connect5::new("fault-moved", Properties::new().four(39, 12)));
    assert_eq!((told, properties), (0x9D, BTreeMap::new()));
    assert_eq!(open(&broker, &Connect5::new("twin", Properties::new())).1, 0);
}
