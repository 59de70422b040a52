//! Sessions that outlive their connection (3.1.2.4, 3.1.2.11.2, 4.1, 4.4), whose they are, and when they end.

use std::sync::Mutex;
use std::time::Instant;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Received, Tls};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Message, Will, ack};
use gatemq_tests::{Kind, PATIENCE, at_once};
use serde_json::Value;

/// Each kind of listener, each version.
const PAIRS: [(Kind, Level); 4] =
    [(Kind::Mqtt, Level::V31), (Kind::Mqtts, Level::V5), (Kind::Ws, Level::V311), (Kind::Wss, Level::V5)];

/// Everything is allowed.
const FREE: &str = r##"config.grants = [{ allow = ["all"], filter = "#" }]"##;

/// A broker with a listener of each kind, guarded by `test-faults`.
struct Field {
    broker: Broker,
    tls: Tls,
}

impl Field {
    fn start(more: &str, set: &[&str]) -> Field {
        let pki = Pki::new("Acme");
        let setup = Setup::new().every_listener(&pki).faults(more).tape();
        let setup = set.iter().fold(setup, |setup, set| setup.argument("--set").argument(set));
        Field { broker: setup.start(), tls: Tls::new(&pki, None) }
    }

    /// The client and Session Present.
    fn join(&self, kind: Kind, connect: &Connect<'_>) -> (Client, bool) {
        self.broker.joined(kind, &self.tls, connect)
    }

    /// A client that comes back to its session.
    fn resume(&self, kind: Kind, connect: &Connect<'_>) -> Client {
        let (client, present) = self.join(kind, connect);
        // 3.1 has no word for it.
        assert_eq!(present, connect.level != Level::V31, "Session Present of {}", connect.client_id);
        client
    }

    /// A client that has no session yet, or not any more.
    fn begin(&self, kind: Kind, connect: &Connect<'_>) -> Client {
        let (client, present) = self.join(kind, connect);
        assert!(!present, "Session Present of {}", connect.client_id);
        client
    }

    /// Somebody who publishes.
    fn other(&self, of: &str) -> Client {
        self.join(Kind::Mqtt, &Connect::new(Level::V311, &format!("other-{of}"))).0
    }
}

/// Sends each at QoS 1.
fn send(other: &mut Client, topic: &str, payloads: &[&str]) {
    for payload in payloads {
        assert_eq!(other.published(topic, 1, false, payload.as_bytes()), 0, "{topic}: {payload}");
    }
}

/// DUP, packet id, payload.
fn told(message: &Message) -> (bool, u16, &str) {
    (message.dup, message.id, message.text())
}

/// DISCONNECT, and the broker has closed the connection.
fn goodbye(mut client: Client) {
    client.send_packet(0xE0, &[]).unwrap();
    client.expect_closed();
}

/// A session stays where the client asked for it (Clean Session 0; Session Expiry Interval above 0), with its subscriptions,
/// however the connection ends, and CONNACK says so (MQTT-3.2.2-2, -3); a clean start ends it (MQTT-3.1.2-4). Each is an event.
#[test]
fn a_session_outlives_its_connection_where_that_was_asked_for() {
    let mut field = Field::start(FREE, &[]);
    let cells: Vec<_> = Kind::ALL.into_iter().flat_map(|kind| Level::ALL.map(|level| (kind, level))).collect();
    at_once(&cells, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (clean, stays) = (Connect::new(level, &name), Connect::stays(level, &name));
        let mut other = field.other(&name);
        let mut client = field.begin(kind, &clean);
        assert_eq!(client.subscribe(&name, 1), 1);
        client.break_off();
        // Neither flag nor interval alone makes it stay.
        if level == Level::V5 {
            field.begin(kind, &Connect { expiry_s: None, ..stays }).break_off();
        }
        let mut client = field.begin(kind, &stays);
        send(&mut other, &name, &["nobody subscribes"]);
        client.nothing_came(&mut other);
        assert_eq!(client.subscribe(&name, 1), 1);
        goodbye(client);
        for round in ["after a goodbye", "after a break"] {
            let mut client = field.resume(kind, &stays);
            send(&mut other, &name, &[round]);
            assert_eq!(client.take_message().text(), round, "{name}");
            client.break_off();
        }
        let mut client = field.begin(kind, &Connect { clean: true, ..stays });
        send(&mut other, &name, &["nobody subscribes any more"]);
        client.nothing_came(&mut other);
        client.break_off();
        // Clean Start says nothing of what comes after, Clean Session does.
        assert_eq!(field.join(kind, &stays).1, level == Level::V5, "{name}");
    });
    for (kind, level) in cells {
        for event in ["SessionCreated", "SessionResumed", "SessionEnded"] {
            field.broker.tape().wait_for_client(event, &format!("{}-{level:?}", kind.name()));
        }
    }
}

/// What comes at QoS 1 and 2 while a client is away waits for it, in its order; QoS 0 does not (4.1). When it is back with a
/// Receive Maximum of 1 it gets one at a time.
#[test]
fn messages_wait_for_who_is_away() {
    let field = Field::start(FREE, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut client = field.begin(kind, &stays);
        assert_eq!(client.subscribe(&name, 2), 2);
        client.break_off();
        for n in 0..30 {
            let payload = n.to_string().into_bytes();
            match n % 3 {
                0 => drop(other.publish(&name, 0, &payload).unwrap()),
                qos => assert_eq!(other.published(&name, qos, false, &payload), 0),
            }
        }
        let mut client = field.resume(kind, &Connect { receive_max: Some(1), ..stays });
        for n in (0..30).filter(|n| n % 3 > 0) {
            if level == Level::V5 {
                let message = client.next_message();
                assert_eq!((message.qos, message.dup, message.text()), (n as u8 % 3, false, &*n.to_string()), "{name}");
                // Nothing more before it is acknowledged.
                client.ping();
                client.send_ack(if message.qos == 1 { ack::PUBACK } else { ack::PUBREC }, message.id).unwrap();
                if message.qos == 2 {
                    assert_eq!(client.expect_ack(ack::PUBREL, message.id), 0);
                    client.send_ack(ack::PUBCOMP, message.id).unwrap();
                }
            } else {
                assert_eq!(client.take_message().text(), n.to_string(), "{name}");
            }
        }
        client.nothing_came(&mut other);
    });
}

/// What was sent at QoS 1 and not acknowledged comes again, with DUP, the same packet ids and in order (MQTT-4.4.0-1,
/// MQTT-3.3.1-1, MQTT-4.6.0-1), before what waited; what was acknowledged does not.
#[test]
fn what_was_not_acknowledged_comes_again() {
    let field = Field::start(FREE, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut client = field.begin(kind, &stays);
        assert_eq!(client.subscribe(&name, 1), 1);
        send(&mut other, &name, &["1", "2", "3"]);
        let first = client.take_message();
        let [second, third] = [client.next_message(), client.next_message()];
        assert_eq!(
            [told(&first), told(&second), told(&third)].map(|t| (t.0, t.2)),
            ["1", "2", "3"].map(|p| (false, p))
        );
        client.break_off();
        send(&mut other, &name, &["4"]);
        // Twice: it is still not acknowledged.
        for _ in 0..2 {
            let mut client = field.resume(kind, &stays);
            assert_eq!(told(&client.next_message()), (true, second.id, "2"), "{name}");
            assert_eq!(told(&client.next_message()), (true, third.id, "3"), "{name}");
            let fourth = client.next_message();
            assert_eq!(fourth.text(), "4", "{name}");
            assert!(![second.id, third.id].contains(&fourth.id), "a packet id is in use twice");
            client.break_off();
        }
        let mut client = field.resume(kind, &stays);
        for payload in ["2", "3", "4"] {
            assert_eq!(client.take_message().text(), payload, "{name}");
        }
        client.nothing_came(&mut other);
    });
}

/// An acknowledgement behind a packet that asks counts, also when the packet behind it ends the connection: what it is for does
/// not come again (MQTT-4.4.0-1), what was not acknowledged does.
#[test]
fn an_acknowledgement_behind_a_question_outlives_a_breach() {
    let grants = r##"config.grants = [{ ask = ["publish"], filter = "ask/#" }, { allow = ["all"], filter = "#" }]"##;
    let field = Field::start(grants, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut client = field.begin(kind, &stays);
        assert_eq!(client.subscribe(&name, 1), 1);
        send(&mut other, &name, &["1", "2"]);
        let [first, second] = [client.next_message(), client.next_message()];
        client.publish("ask/slow-hang", 1, b"no").unwrap();
        client.ping();
        // PUBACK, and one whose flags are not 0, in one read.
        let [high, low] = first.id.to_be_bytes();
        client.send(&[0x40, 2, high, low, 0x42, 2, high, low]).unwrap();
        client.expect_goodbye();
        let mut client = field.resume(kind, &stays);
        assert_eq!(told(&client.next_message()), (true, second.id, "2"), "{name}");
        client.nothing_came(&mut other);
    });
}

/// QoS 2 towards the client: a PUBLISH without PUBREC comes again with DUP, a PUBREL without PUBCOMP comes again, and no
/// message twice (4.3.3, MQTT-4.4.0-1).
#[test]
fn qos_2_towards_a_client_goes_on_after_a_break() {
    let field = Field::start(FREE, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut client = field.begin(kind, &stays);
        assert_eq!(client.subscribe(&name, 2), 2);
        for payload in ["released", "received", "sent"] {
            assert_eq!(other.published(&name, 2, false, payload.as_bytes()), 0);
        }
        let [released, received, sent] = [(); 3].map(|()| client.next_message());
        for message in [&released, &received] {
            client.send_ack(ack::PUBREC, message.id).unwrap();
        }
        assert_eq!(client.expect_ack(ack::PUBREL, released.id), 0);
        // The broker sends the second one as well, and the line breaks before it is read.
        client.break_off();
        for _ in 0..2 {
            let mut client = field.resume(kind, &stays);
            for message in [&released, &received] {
                let again = client.packet();
                assert!(again.first == ack::PUBREL && again.body[..2] == message.id.to_be_bytes(), "{name}: {again:?}");
            }
            assert_eq!(told(&client.next_message()), (true, sent.id, "sent"), "{name}");
            client.break_off();
        }
        let mut client = field.resume(kind, &stays);
        for message in [&released, &received] {
            assert_eq!(client.expect_ack(ack::PUBREL, message.id), 0);
            client.send_ack(ack::PUBCOMP, message.id).unwrap();
        }
        assert_eq!(client.take_message().text(), "sent");
        client.nothing_came(&mut other);
    });
}

/// QoS 2 from the client: a PUBLISH that comes again after a break is not delivered again (MQTT-4.3.3-10), its PUBREL finds
/// what it releases, and afterwards the packet id is a new one's.
#[test]
fn qos_2_from_a_client_goes_on_after_a_break() {
    let field = Field::start(FREE, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut watch) = (Connect::stays(level, &name), field.other(&name));
        assert_eq!(watch.subscribe(&name, 0), 0);
        let mut client = field.begin(kind, &stays);
        for (id, payload) in [(7, "again"), (8, "released")] {
            client.publish_as(4, &name, id, payload.as_bytes()).unwrap();
            assert_eq!(client.expect_ack(ack::PUBREC, id), 0);
            assert_eq!(watch.take_message().text(), payload);
        }
        client.break_off();
        let mut client = field.resume(kind, &stays);
        client.publish_as(4 | 8, &name, 7, b"again").unwrap();
        assert_eq!(client.expect_ack(ack::PUBREC, 7), 0);
        for id in [7, 8] {
            client.send_ack(ack::PUBREL, id).unwrap();
            assert_eq!(client.expect_ack(ack::PUBCOMP, id), 0, "{name}");
        }
        client.publish_as(4, &name, 7, b"new").unwrap();
        assert_eq!(client.expect_ack(ack::PUBREC, 7), 0);
        assert_eq!(watch.take_message().text(), "new", "{name}: it came twice");
        goodbye(client);
        // The twin: in a new session the broker knows nothing of it.
        let mut client = field.begin(kind, &Connect { clean: true, ..stays });
        client.send_ack(ack::PUBREL, 7).unwrap();
        assert_eq!(client.expect_ack(ack::PUBCOMP, 7), if level == Level::V5 { 0x92 } else { 0 });
        client.publish_as(4, &name, 7, b"newer").unwrap();
        assert_eq!(client.expect_ack(ack::PUBREC, 7), 0);
        assert_eq!(watch.take_message().text(), "newer");
    });
}

/// Another connection of the same client, on whatever listener, ends the first (MQTT-3.1.4-3; 0x8E) and takes its session: as
/// it is, or, with a clean start, a new one.
#[test]
fn a_second_connection_takes_the_session_over() {
    let mut field = Field::start(FREE, &[]);
    let cells: Vec<_> = (0..4).flat_map(|at| Level::ALL.map(|level| (at, level))).collect();
    at_once(&cells, |&(at, level)| {
        let (kind, other_kind) = (Kind::ALL[at], Kind::ALL[(at + 1) % 4]);
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut first = field.begin(kind, &stays);
        assert_eq!(first.subscribe(&name, 1), 1);
        send(&mut other, &name, &["1"]);
        let message = first.next_message();
        let mut second = field.resume(other_kind, &stays);
        assert_eq!(first.expect_goodbye().unwrap_or(0x8E), 0x8E);
        assert_eq!(told(&second.next_message()), (true, message.id, "1"), "{name}");
        second.send_ack(ack::PUBACK, message.id).unwrap();
        send(&mut other, &name, &["2"]);
        assert_eq!(second.take_message().text(), "2");

        let mut third = field.begin(kind, &Connect { clean: true, ..stays });
        assert_eq!(second.expect_goodbye().unwrap_or(0x8E), 0x8E);
        send(&mut other, &name, &["nobody subscribes"]);
        third.nothing_came(&mut other);
    });
    for (at, level) in cells {
        let name = format!("{}-{level:?}", Kind::ALL[at].name());
        let is = |e: &Value| e["client_id"] == name.as_str() && e["fields"]["reason"] == "TakenOver";
        field.broker.tape().wait_for(&name, is);
        for resumed in [true, false] {
            let is = |e: &Value| e["event"] == "ClientTakenOver" && e["client_id"] == name.as_str();
            field.broker.tape().wait_for(&name, |e| is(e) && e["fields"]["resumed"] == resumed);
        }
    }
}

/// A client that comes back with other grants keeps the subscriptions that it may still have, and gets of what waited only
/// what came by them, be it sent before or not (section 5 of the design). Its twin comes back as it was.
#[test]
fn a_resumed_session_is_checked_with_the_grants_of_now() {
    let grants = r##"config.grants = [
        { allow = ["subscribe"], filter = "rooms/${cert.cn}/#" },
        { allow = ["subscribe"], filter = "common/#" },
        { allow = ["subscribe"], filter = "fence/#" },
        { allow = ["publish"], filter = "#" },
    ]"##;
    let pki = Pki::new("Acme");
    let setup = Setup::new().listener(Kind::Mqtts, &pki).listener(Kind::Wss, &pki).faults(grants);
    let mut broker = setup.tape().start();
    let [red, blue] = ["red", "blue"].map(|name| Tls::new(&pki, Some(&pki.client(name))));
    at_once(&[Kind::Mqtts, Kind::Wss], |&kind| {
        for (who, tls) in [("moved", &blue), ("twin", &red)] {
            let client_id = format!("{who}-{}", kind.name());
            // The user is the same whatever the certificate says, and so is the session.
            let connect = Connect { user: Some("user"), ..Connect::stays(Level::V5, &client_id) };
            let room = format!("rooms/red/{client_id}");
            let common = format!("common/{client_id}");
            let mut client = broker.joined(kind, &red, &connect).0;
            let other_id = format!("other-{client_id}");
            let mut other = broker.joined(kind, &red, &Connect::new(Level::V5, &other_id)).0;
            assert_eq!((client.subscribe(&room, 1), client.subscribe(&common, 1)), (1, 1));
            send(&mut other, &room, &["in flight"]);
            let in_flight = client.next_message();
            client.break_off();
            send(&mut other, &room, &["waiting"]);
            send(&mut other, &common, &["common"]);
            let (mut client, present) = broker.joined(kind, tls, &connect);
            assert!(present, "{client_id}");
            if who == "twin" {
                assert_eq!(told(&client.next_message()), (true, in_flight.id, "in flight"));
                client.send_ack(ack::PUBACK, in_flight.id).unwrap();
                assert_eq!(client.take_message().text(), "waiting");
            }
            assert_eq!(client.take_message().text(), "common", "{client_id}");
            send(&mut other, &room, &["later"]);
            if who == "twin" {
                assert_eq!(client.take_message().text(), "later");
            }
            client.nothing_came(&mut other);
            client.break_off();
            // What was taken away does not come back by itself.
            let (mut client, present) = broker.joined(kind, &red, &connect);
            assert!(present);
            send(&mut other, &room, &["last"]);
            if who == "twin" {
                assert_eq!(client.take_message().text(), "last");
            }
            client.nothing_came(&mut other);
        }
    });
    for kind in [Kind::Mqtts, Kind::Wss] {
        let client_id = format!("moved-{}", kind.name());
        for event in ["SubscribeDenied", "SubscriptionRemoved"] {
            let event = broker.tape().wait_for_client(event, &client_id);
            assert_eq!(event["fields"]["filter"], format!("rooms/red/{client_id}"));
        }
        let dropped = |e: &Value| e["client_id"] == client_id.as_str() && e["fields"]["dropped"] == 2;
        broker.tape().wait_for("two messages that it may not have", dropped);
        let denied = broker.tape().wait_for_client("DeliveryDenied", &client_id);
        assert_eq!(denied["fields"]["count"], 2);
    }
}

/// Promise 1: who comes back, and a provider does not say whether it may keep a subscription, is refused (0x88), and its session
/// waits for the next try. Where the provider answers, a denied subscription is taken away and an allowed one stays.
#[test]
fn promise_1_without_a_verdict_no_session_is_resumed() {
    let grants = r##"timeout_ms = 1000
    config.grants = [
        { allow = ["subscribe"], filter = "ask/${cert.cn}/#" },
        { ask = ["subscribe"], filter = "ask/#" },
        { allow = ["all"], filter = "#" },
    ]"##;
    let pki = Pki::new("Acme");
    let setup = Setup::new().listener(Kind::Mqtts, &pki).listener(Kind::Wss, &pki).faults(grants);
    let mut broker = setup.tape().start();
    let [red, blue] = ["red", "blue"].map(|name| Tls::new(&pki, Some(&pki.client(name))));
    let faults = ["panic", "unknown", "allow-but-failed", "slow-hang", "slow-panic"];
    at_once(&[Kind::Mqtts, Kind::Wss], |&kind| {
        let other_id = format!("other-{}", kind.name());
        let mut other = broker.joined(kind, &red, &Connect::new(Level::V5, &other_id)).0;
        for what in faults.into_iter().chain(["deny"]) {
            let client_id = format!("{what}-{}", kind.name());
            let connect = Connect { user: Some("user"), ..Connect::stays(Level::V5, &client_id) };
            let mut client = broker.joined(kind, &red, &connect).0;
            let (asked, allowed) = (format!("ask/red/{client_id}/{what}"), format!("ask/red/{client_id}/slow-allow"));
            assert_eq!((client.subscribe(&asked, 1), client.subscribe(&allowed, 1)), (1, 1));
            client.break_off();
            let (mut client, answer) = broker.greeted(kind, &blue, &connect);
            if what == "deny" {
                assert_eq!((answer.code, answer.session_present), (0, true));
            } else {
                assert_eq!((answer.code, answer.session_present), (0x88, false), "{what}");
                client.expect_closed();
                client = broker.joined(kind, &red, &connect).0;
            }
            send(&mut other, &asked, &["asked"]);
            send(&mut other, &allowed, &["allowed"]);
            if what != "deny" {
                assert_eq!(client.take_message().text(), "asked", "{what}");
            }
            assert_eq!(client.take_message().text(), "allowed", "{what}");
        }
    });
    for kind in [Kind::Mqtts, Kind::Wss] {
        for what in faults {
            broker.tape().wait_for_client("AuthorizationFailed", &format!("{what}-{}", kind.name()));
        }
        broker.tape().wait_for_client("SubscribeDenied", &format!("deny-{}", kind.name()));
    }
}

/// A session ends when its interval is over (MQTT-3.1.2-23), with an event; a DISCONNECT may shorten or lengthen it
/// (3.14.2.2.2), down to nothing. Twins whose interval is not over come back to theirs.
#[test]
fn a_session_expires() {
    let mut field = Field::start(FREE, &[]);
    // Interval of the CONNECT, of the DISCONNECT, and the event of the end.
    let cells = [
        ("short", 1, None, Some("SessionExpired")),
        ("shortened", 1000, Some(1), Some("SessionExpired")),
        ("ended", 1000, Some(0), Some("SessionEnded")),
        ("long", 1000, None, None),
        ("lengthened", 1, Some(1000), None),
        ("for-ever", 1000, Some(u32::MAX), None),
    ];
    for (name, expiry_s, then, _) in cells {
        let connect = Connect { expiry_s: Some(expiry_s), ..Connect::stays(Level::V5, name) };
        let mut client = field.begin(Kind::Mqtt, &connect);
        assert_eq!(client.subscribe(name, 1), 1);
        match then {
            Some(expiry_s) => {
                client.say_goodbye(0, Some(expiry_s)).unwrap();
                client.expect_closed();
            }
            None => client.break_off(),
        }
    }
    let mut other = field.other("expiry");
    // First those that end: afterwards more than a second has passed for the others.
    for (name, .., event) in cells {
        let connect = Connect::stays(Level::V5, name);
        let mut client = match event {
            Some(event) => {
                field.broker.tape().wait_for_client(event, name);
                field.begin(Kind::Mqtt, &connect)
            }
            None => field.resume(Kind::Mqtt, &connect),
        };
        send(&mut other, name, &["x"]);
        if event.is_none() {
            assert_eq!(client.take_message().text(), "x", "{name}");
        }
        client.nothing_came(&mut other);
    }
}

/// A DISCONNECT may not give an interval to a session that has none: a protocol error (3.14.2.2.2).
#[test]
fn a_session_without_interval_gets_none_by_disconnect() {
    let mut field = Field::start(FREE, &[]);
    at_once(&Kind::ALL, |&kind| {
        let name = format!("raises-{}", kind.name());
        let mut client = field.begin(kind, &Connect::new(Level::V5, &name));
        client.say_goodbye(0, Some(10)).unwrap();
        assert_eq!(client.expect_goodbye(), Some(0x82));
        let mut twin = field.begin(kind, &Connect::stays(Level::V5, &name));
        twin.say_goodbye(0, Some(10)).unwrap();
        twin.expect_closed();
        field.resume(kind, &Connect::stays(Level::V5, &name));
    });
    for kind in Kind::ALL {
        let event = field.broker.tape().wait_for_client("ProtocolViolated", &format!("raises-{}", kind.name()));
        assert_eq!(event["fields"]["clause"], "3.14.2.2.2");
    }
}

/// The broker's bound of the interval: CONNACK tells what it was lowered to (3.2.2.3.2), MQTT 3 has the bound itself, and a
/// DISCONNECT does not exceed it either.
#[test]
fn the_interval_is_bounded() {
    let mut field = Field::start(FREE, &["limits.session_expiry_s_max=1"]);
    for level in Level::ALL {
        let name = format!("{level:?}");
        let (mut client, answer) = field.broker.greeted(Kind::Mqtt, &field.tls, &Connect::stays(level, &name));
        assert_eq!(answer.number(0x11), (level == Level::V5).then_some(1));
        if level == Level::V5 {
            client.say_goodbye(0, Some(1000)).unwrap();
            client.expect_closed();
        } else {
            client.break_off();
        }
        field.broker.tape().wait_for_client("SessionExpired", &name);
        field.begin(Kind::Mqtt, &Connect::stays(level, &name));
    }
    let within = Connect { expiry_s: Some(1), ..Connect::stays(Level::V5, "within") };
    assert_eq!(field.broker.greeted(Kind::Mqtt, &field.tls, &within).1.number(0x11), None);
}

/// The broker's bound of sessions whose clients are away: the one that would expire first ends, with an event.
#[test]
fn sessions_that_are_away_are_bounded() {
    let mut field = Field::start(FREE, &["limits.sessions_detached_max=2"]);
    for (name, expiry_s) in [("longest", 1000), ("shortest", 500), ("long", 900)] {
        field.begin(Kind::Mqtt, &Connect { expiry_s: Some(expiry_s), ..Connect::stays(Level::V5, name) }).break_off();
    }
    let event = field.broker.tape().wait_for_client("SessionEnded", "shortest");
    assert_eq!(event["fields"]["reason"], "sessions_detached_max");
    field.resume(Kind::Mqtt, &Connect::stays(Level::V5, "longest"));
    field.resume(Kind::Mqtt, &Connect::stays(Level::V5, "long"));
    field.begin(Kind::Mqtt, &Connect::stays(Level::V5, "shortest"));
}

/// Another user with the same client id neither takes a session over, nor sees what is in it, nor holds it (section 5 of the
/// design), be its client there or away.
#[test]
fn a_session_is_its_users() {
    let mut field = Field::start(FREE, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let client_id = format!("client-{}", kind.name());
        let of = |user| Connect { user: Some(user), ..Connect::stays(level, &client_id) };
        let mut other = field.other(kind.name());
        let mut owner = field.begin(kind, &of("owner"));
        assert_eq!(owner.subscribe(&client_id, 1), 1);
        let mut thief = field.begin(kind, &of("thief"));
        owner.ping();
        send(&mut other, &client_id, &["while both are there"]);
        assert_eq!(owner.take_message().text(), "while both are there");
        thief.nothing_came(&mut other);
        owner.break_off();
        send(&mut other, &client_id, &["while the owner is away"]);
        thief.break_off();
        let mut thief = field.resume(kind, &of("thief"));
        thief.nothing_came(&mut other);
        goodbye(thief);
        // A clean start ends the thief's own.
        let mut thief = field.begin(kind, &Connect { clean: true, ..of("thief") });
        let mut owner = field.resume(kind, &of("owner"));
        assert_eq!(owner.take_message().text(), "while the owner is away");
        thief.ping();
        owner.nothing_came(&mut other);
    });
    let taken_over = |e: &Value| e["event"] == "ClientTakenOver" || e["fields"]["reason"] == "TakenOver";
    assert!(!field.broker.tape().events().iter().any(taken_over));
}

/// Promise 8: the same user with the same client id has a session of its own in each tenant; in neither is the other taken over,
/// resumed, ended, or sent what waits.
#[test]
fn promise_8_sessions_stay_in_their_tenant() {
    let pki = Pki::new("Acme");
    let broker = Setup::new().two_tenants(&pki).start();
    let tls = Tls::new(&pki, None);
    at_once(&PAIRS, |&(kind, level)| {
        let join = |tenant: &str, connect: Connect<'_>| {
            let address = broker.address(&format!("{tenant}-{}", kind.name()));
            let mut client = Client::open(address, kind, &tls, level.version()).unwrap();
            let answer = client.greet(&Connect { user: Some("user"), ..connect });
            assert_eq!(answer.code, 0);
            (client, answer.session_present)
        };
        let name = format!("client-{}", kind.name());
        let stays = Connect::stays(level, &name);
        let other_id = format!("other-{}", kind.name());
        let mut others = ["one", "two"].map(|tenant| join(tenant, Connect::new(level, &other_id)).0);
        let mut one = join("one", stays).0;
        assert_eq!(one.subscribe(&name, 1), 1);
        let (mut two, present) = join("two", stays);
        assert!(!present, "{name}: the session of the other tenant");
        one.ping();
        one.break_off();
        send(&mut others[0], &name, &["of one"]);
        send(&mut others[1], &name, &["of two"]);
        two.nothing_came(&mut others[1]);
        two.break_off();
        let (mut two, present) = join("two", stays);
        assert_eq!(present, level != Level::V31);
        two.nothing_came(&mut others[1]);
        two.break_off();
        assert!(!join("two", Connect { clean: true, ..stays }).1);
        let (mut one, present) = join("one", stays);
        assert_eq!(present, level != Level::V31, "{name}: ended by the other tenant");
        assert_eq!(one.take_message().text(), "of one");
        one.nothing_came(&mut others[0]);
    });
}

/// Whether it has not been told that another one has its session.
fn is_there(client: &mut Client) -> bool {
    let _ = client.send_packet(0xC0, &[]);
    match client.receive(PATIENCE) {
        Ok(Received::Packet(Packet { first: 0xD0, .. })) => true,
        Ok(Received::Packet(Packet { first: 0xE0, body })) => {
            assert_eq!(body.first(), Some(&0x8E));
            false
        }
        Ok(Received::Closed) => false,
        other => panic!("{other:?}"),
    }
}

/// However many connections of one client come at the same time, over all kinds of listeners, one has the session in the end and
/// gets each message once; all others are told (0x8E).
#[test]
fn of_many_at_once_one_has_the_session() {
    let field = Field::start(FREE, &[]);
    let stays = Connect::stays(Level::V5, "wanted");
    let mut client = field.begin(Kind::Mqtt, &stays);
    assert_eq!(client.subscribe("t", 1), 1);
    client.break_off();
    let clients = Mutex::new(Vec::new());
    let all: Vec<Kind> = Kind::ALL.into_iter().cycle().take(24).collect();
    at_once(&all, |&kind| {
        let client = field.resume(kind, &stays);
        clients.lock().unwrap().push(client);
    });
    let mut left = clients.into_inner().unwrap();
    // One answers for as long as it is asked; the others may do so until they are told.
    let deadline = Instant::now() + PATIENCE;
    while left.len() > 1 && Instant::now() < deadline {
        left.retain_mut(is_there);
    }
    assert_eq!(left.len(), 1, "connections that have the session");
    let mut other = field.other("many");
    send(&mut other, "t", &["1", "2"]);
    assert_eq!([(); 2].map(|()| left[0].take_message().text().to_owned()), ["1", "2"]);
    left[0].nothing_came(&mut other);
}

/// A CONNECT that is refused leaves the session as it is, clean start or not; so does a verdict that ends the connection.
#[test]
fn who_is_refused_or_kicked_does_not_end_the_session() {
    let grants = r##"config.grants = [
        { deny = ["will"], filter = "#" },
        { ask = ["publish"], filter = "ask/#" },
        { allow = ["all"], filter = "#" },
    ]"##;
    let field = Field::start(grants, &[]);
    at_once(&PAIRS, |&(kind, level)| {
        let name = format!("{}-{level:?}", kind.name());
        let (stays, mut other) = (Connect::stays(level, &name), field.other(&name));
        let mut client = field.begin(kind, &stays);
        assert_eq!(client.subscribe(&name, 1), 1);
        client.publish("ask/deny-disconnect", 1, b"x").unwrap();
        client.expect_goodbye();
        send(&mut other, &name, &["waits"]);
        for clean in [false, true] {
            let refused = Connect { clean, ..stays }.will(Will::new("denied", b"x"));
            let (_, answer) = field.broker.greeted(kind, &field.tls, &refused);
            assert_eq!((answer.code, answer.session_present), (level.version().connack(0x87), false));
        }
        let mut client = field.resume(kind, &stays);
        assert_eq!(client.take_message().text(), "waits", "{name}");
    });
}
