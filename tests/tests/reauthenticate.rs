//! Re-authentication (MQTT 5, 4.12.1): an admitted client shows again who it is, while everything else goes on.

use std::time::Duration;

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Packet, Received, Version, packet};
use gatemq_tests::properties::{
    AUTH_DATA, AUTH_METHOD, Connect5, Properties, REASON_STRING, REQUEST_PROBLEM_INFO, SERVER_REFERENCE, auth, told,
};

const CONTINUE: u8 = 0x18;
const AGAIN: u8 = 0x19;

fn start(more: &str) -> Broker {
    Setup::new().mqtt("mqtt").faults("timeout_ms = 1000").toml(more).tape().start()
}

/// Admitted with the method TEST and these words.
fn admitted(broker: &Broker, client_id: &str, words: &str) -> Client {
    admitted_with(broker, &Connect5::new(client_id, Properties::new().method("TEST", words)))
}

fn admitted_with(broker: &Broker, connect: &Connect5) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    client.send(&connect.bytes()).unwrap();
    assert_eq!(told(&client.packet()).0, 0, "{}", connect.client_id);
    client
}

/// Another client, who may do all.
fn other(broker: &Broker) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
    assert_eq!(client.connect("other").unwrap(), 0);
    client
}

/// Sends an AUTH.
fn say(client: &mut Client, code: u8, words: &str) {
    client.send(&auth(code, "TEST", words)).unwrap();
}

/// The next packet, an AUTH with this code and data.
fn expect_auth(client: &mut Client, code: u8, data: &str) {
    let packet = client.packet();
    assert_eq!(packet.first, 0xF0, "{packet:?}");
    let (told, properties) = told(&packet);
    let pair = (properties[&AUTH_METHOD][0].as_str(), properties[&AUTH_DATA][0].as_str());
    assert_eq!((told, pair), (code, ("TEST", data)));
}

/// The next packet, a DISCONNECT; then the end.
fn expect_disconnect(client: &mut Client, code: u8) -> std::collections::BTreeMap<u8, Vec<String>> {
    let packet = client.packet();
    assert_eq!(packet.first, 0xE0, "{packet:?}");
    let (told, properties) = told(&packet);
    assert_eq!(told, code);
    client.expect_closed();
    properties
}

/// The other client publishes: nothing of it comes to this one, and what it publishes itself afterwards does.
fn gets_nothing_of(client: &mut Client, other: &mut Client, topic: &str, own: &str) {
    other.publish(topic, 0, b"no").unwrap();
    other.ping();
    client.publish(own, 0, b"own").unwrap();
    assert_eq!(client.message(), (own.to_owned(), b"own".to_vec()));
}

/// Several rounds, between which messages flow both ways; then the new grants hold: for what it publishes, for its
/// subscriptions, for what it subscribes to. It may do so again.
#[test]
fn grants_are_replaced_while_messages_flow() {
    let mut broker = start("");
    let mut other = other(&broker);
    let mut client = admitted(&broker, "c", "accept allow=a/# allow=own");
    for filter in ["a/#", "own"] {
        assert_eq!(client.subscribe(filter, 0), 0);
    }
    say(&mut client, AGAIN, "continue");
    expect_auth(&mut client, CONTINUE, "round 1");
    other.publish("a/1", 0, b"m").unwrap();
    assert_eq!(client.message(), ("a/1".to_owned(), b"m".to_vec()));
    client.ping();
    say(&mut client, CONTINUE, "continue");
    expect_auth(&mut client, CONTINUE, "round 2");
    client.publish("own", 0, b"m").unwrap();
    assert_eq!(client.message().0, "own");
    assert_eq!(client.subscribe("b", 0), 0x87, "not yet");
    // Still the client as it was admitted, if it says so or not.
    say(&mut client, CONTINUE, "accept user=c tenant=test client_id=c allow=b allow=own");
    expect_auth(&mut client, 0x00, "after 2");
    broker.tape().wait_for_client("ClientReauthenticated", "c");
    let removed = broker.tape().wait_for_client("SubscriptionRemoved", "c");
    assert_eq!(removed["fields"]["filter"], "a/#");
    gets_nothing_of(&mut client, &mut other, "a/1", "own");
    assert_eq!(client.subscribe("b", 0), 0);
    assert_eq!(client.subscribe("a/#", 0), 0x87);
    let id = client.publish("a/1", 1, b"m").unwrap().unwrap().to_be_bytes();
    assert_eq!(client.packet(), Packet { first: 0x40, body: vec![id[0], id[1], 0x87] });
    say(&mut client, AGAIN, "accept allow=a/#");
    expect_auth(&mut client, 0x00, "after 0");
    assert_eq!(client.subscribe("a/#", 0), 0);
}

/// A remembered verdict is one of the old identity: it does not outlive it.
#[test]
fn promise_1_remembered_verdicts_end() {
    let broker = start("");
    let mut client = admitted(&broker, "c", "accept ask=ask/#");
    for (words, code) in [(None, 0x10), (Some("accept allow=x"), 0x87), (Some("accept ask=ask/#"), 0x10)] {
        if let Some(words) = words {
            say(&mut client, AGAIN, words);
            expect_auth(&mut client, 0x00, "after 0");
        }
        for _ in 0..2 {
            client.publish("ask/allow-ttl", 1, b"m").unwrap();
            let answer = client.packet();
            assert_eq!(answer.first, 0x40);
            // Nobody is subscribed, which the broker may say.
            let said = answer.body.get(2).copied().unwrap_or(0);
            assert!(said == code || code == 0x10 && said == 0, "{words:?}: {answer:?}");
        }
    }
}

/// Promise 1: nobody becomes somebody else by it: 0x87, the connection ends, an event names why.
#[test]
fn promise_1_the_identity_may_not_change() {
    let mut broker = start("");
    for (id, words) in
        [("a", "accept user=root"), ("b", "accept tenant=other"), ("c", "accept client_id=a"), ("d", "accept tenant=")]
    {
        let mut client = admitted(&broker, id, "accept");
        say(&mut client, AGAIN, words);
        expect_disconnect(&mut client, 0x87);
        let failed = broker.tape().wait_for_client("ReauthenticationFailed", id);
        assert!(failed["fields"]["reason"].as_str().unwrap().contains("somebody else"), "{failed}");
        assert_eq!(failed["user"], id, "it is still named as it was");
    }
    let mut twin = admitted(&broker, "twin", "accept user=alice");
    say(&mut twin, AGAIN, "accept user=alice");
    expect_auth(&mut twin, 0x00, "after 0");
}

/// Promise 1, MQTT-4.12.1-2: whatever is not an acceptance ends the connection, with a code that a DISCONNECT may have.
#[test]
fn promise_1_only_an_acceptance_keeps_it() {
    let mut broker = start("");
    for (id, words, code, blame) in [
        ("reject", "reject", 0x87, "policy"),
        ("next", "next", 0x87, "policy"),
        ("unavailable", "unavailable", 0x83, "plugin"),
        ("panic", "panic", 0x83, "plugin"),
        ("hang", "hang", 0x83, "plugin"),
        ("grant", "accept allow=a/#/b", 0x87, "policy"),
        ("past", "accept valid_until_ms=1", 0x87, "policy"),
    ] {
        for rounds in [0, 1] {
            let id = format!("{id}-{rounds}");
            let mut client = admitted(&broker, &id, "accept");
            if rounds == 1 {
                say(&mut client, AGAIN, "continue");
                expect_auth(&mut client, CONTINUE, "round 1");
            }
            say(&mut client, if rounds == 1 { CONTINUE } else { AGAIN }, words);
            let properties = expect_disconnect(&mut client, code);
            let reason = properties.get(&REASON_STRING).map(|reason| reason[0].as_str());
            assert_eq!(reason, (words == "reject").then_some("for the client"), "{id}");
            let failed = broker.tape().wait_for_client("ReauthenticationFailed", &id);
            assert_eq!((&failed["fields"]["code"], &failed["blame"]), (&code.into(), &blame.into()), "{id}");
            assert_eq!(failed["fields"]["plugin"], "faults");
            broker.tape().wait_for_client("ClientDisconnected", &id);
        }
    }
    let quiet = Properties::new().byte(REQUEST_PROBLEM_INFO, 0).method("TEST", "accept");
    let mut client = admitted_with(&broker, &Connect5::new("quiet", quiet));
    say(&mut client, AGAIN, "reject");
    assert!(expect_disconnect(&mut client, 0x87).is_empty(), "it wants no such words");
}

/// One at a time, with the method of its CONNECT, begun by 0x19 (MQTT-4.12.1-1, MQTT-4.12.0-5, -7).
#[test]
fn rules_of_a_reauthentication() {
    let mut broker = start("");
    let cases: [(&str, Vec<Vec<u8>>, u8); 5] = [
        ("twice", vec![auth(AGAIN, "TEST", "hang"), auth(AGAIN, "TEST", "accept")], 0x82),
        ("not-asked", vec![auth(AGAIN, "TEST", "hang"), auth(CONTINUE, "TEST", "accept")], 0x82),
        ("not-begun", vec![auth(CONTINUE, "TEST", "accept")], 0x82),
        ("other-method", vec![auth(AGAIN, "TEST-2", "accept")], 0x82),
        ("success", vec![auth(0x00, "TEST", "accept")], 0x82),
    ];
    for (id, packets, code) in cases {
        let mut client = admitted(&broker, id, "accept");
        client.send(&packets.concat()).unwrap();
        expect_disconnect(&mut client, code);
        broker.tape().wait_for_client("ProtocolViolated", id);
        if packets.len() > 1 {
            broker.tape().wait_for_client("AuthExchangeAborted", id);
        }
    }
}

/// A client that falls silent in the middle is held to the same time as at its beginning, and a provider to its rounds.
#[test]
fn it_is_bounded() {
    let mut broker = start("[limits]\nauth_rounds_max = 1");
    let mut client = admitted(&broker, "rounds", "accept");
    say(&mut client, AGAIN, "continue");
    expect_auth(&mut client, CONTINUE, "round 1");
    say(&mut client, CONTINUE, "continue");
    expect_disconnect(&mut client, 0x87);
    assert_eq!(broker.tape().wait_for_client("ReauthenticationFailed", "rounds")["blame"], "limit");
    let short = "[listeners.mqtt]\nkind = \"mqtt\"\nbind = \"127.0.0.1:0\"\nconnect_ms_max = 500";
    let mut broker = Setup::new().toml(short).faults("").tape().start();
    let mut client = admitted(&broker, "silent", "accept");
    say(&mut client, AGAIN, "continue");
    expect_auth(&mut client, CONTINUE, "round 1");
    expect_disconnect(&mut client, 0x87);
    let failed = broker.tape().wait_for_client("ReauthenticationFailed", "silent");
    assert_eq!((&failed["blame"], &failed["fields"]["code"]), (&"peer".into(), &0x87.into()));
}

/// Where the new grants ask, its provider is asked about each subscription: those that it does not allow end, the others
/// stay, and no answer at all ends the connection.
#[test]
fn promise_1_subscriptions_are_asked_about() {
    let mut broker = start("");
    // Nobody is asked about what this one publishes.
    let mut other = admitted(&broker, "other", "accept allow=#");
    let mut client = admitted(&broker, "c", "accept");
    for filter in ["ask/allow", "own"] {
        assert_eq!(client.subscribe(filter, 0), 0);
    }
    // Allowed as long as nobody asked.
    let mut free = admitted(&broker, "d", "accept allow=#");
    for filter in ["ask/deny", "ask/slow-allow", "ask/slow-deny", "own"] {
        assert_eq!(free.subscribe(filter, 0), 0);
    }
    for client in [&mut client, &mut free] {
        say(client, AGAIN, "accept ask=ask/# allow=own");
        expect_auth(client, 0x00, "after 0");
    }
    other.publish("ask/allow", 0, b"m").unwrap();
    assert_eq!(client.message().0, "ask/allow");
    gets_nothing_of(&mut free, &mut other, "ask/deny", "own");
    gets_nothing_of(&mut free, &mut other, "ask/slow-deny", "own");
    other.publish("ask/slow-allow", 0, b"m").unwrap();
    assert_eq!(free.message().0, "ask/slow-allow");
    let mut failing = admitted(&broker, "e", "accept allow=#");
    assert_eq!(failing.subscribe("ask/panic", 0), 0);
    say(&mut failing, AGAIN, "accept ask=ask/#");
    expect_disconnect(&mut failing, 0x83);
    let event = broker.tape().wait_for_client("AuthorizationFailed", "e");
    assert_eq!(event["fields"]["topic"], "ask/panic");
    broker.tape().wait_for_client("ReauthenticationFailed", "e");
}

/// The time for which it is admitted is the new one: shorter, and longer than the old one.
#[test]
fn valid_until_is_replaced() {
    let mut broker = start("");
    let mut shorter = admitted(&broker, "shorter", "accept");
    let mut longer = admitted(&broker, "longer", "accept valid_ms=2000");
    let mut same = admitted(&broker, "same", "accept valid_ms=2000");
    say(&mut shorter, AGAIN, "accept valid_ms=500");
    say(&mut longer, AGAIN, "accept valid_ms=60000");
    for client in [&mut shorter, &mut longer] {
        expect_auth(client, 0x00, "after 0");
    }
    expect_disconnect(&mut shorter, 0x87);
    expect_disconnect(&mut same, 0x87);
    assert_eq!(broker.tape().wait_for_client("ClientDisconnected", "same")["fields"]["reason"], "IdentityExpired");
    let of_grants = |e: &serde_json::Value| e["event"] == "GrantExpired";
    let expired: Vec<_> =
        broker.tape().events().iter().filter(|e| of_grants(e)).map(|e| e["client_id"].clone()).collect();
    assert!(
        expired.len() == 2 && expired.contains(&"shorter".into()) && expired.contains(&"same".into()),
        "{expired:?}"
    );
    longer.ping();
}

/// What CONNACK has announced cannot be taken back: a client that keeps to it and may do less now is denied, not accused;
/// one that breaks what was announced has broken a rule (MQTT-3.2.2-11).
#[test]
fn less_than_was_announced_is_a_denial() {
    let broker = start("");
    let mut client = admitted(&broker, "c", "accept");
    say(&mut client, AGAIN, "accept qos_max=0 retain=0 levels=2");
    expect_auth(&mut client, 0x00, "after 0");
    let id = client.publish("a", 1, b"m").unwrap().unwrap().to_be_bytes();
    assert_eq!(client.packet(), Packet { first: 0x40, body: vec![id[0], id[1], 0x87] });
    client.send(&packet(0x31, b"\0\x01a\0m")).unwrap();
    client.ping();
    // Levels are nothing that CONNACK announces.
    client.publish("a/b/c", 0, b"m").unwrap();
    expect_disconnect(&mut client, 0x90);
    let mut announced = admitted(&broker, "d", "accept qos_max=0");
    announced.publish("a", 1, b"m").unwrap();
    expect_disconnect(&mut announced, 0x9B);
}

/// Its will is checked with the identity that it has when the will is published.
#[test]
fn its_will_has_the_new_identity() {
    let mut broker = start("");
    let mut other = other(&broker);
    assert_eq!(other.subscribe("w/#", 0), 0);
    for (id, words) in [("denied", "accept allow=x"), ("twin", "accept allow=w/#")] {
        let topic = format!("w/{id}");
        let connect =
            Connect5 { will: Some(&topic), ..Connect5::new(id, Properties::new().method("TEST", "accept allow=w/#")) };
        let mut client = admitted_with(&broker, &connect);
        say(&mut client, AGAIN, words);
        expect_auth(&mut client, 0x00, "after 0");
        drop(client);
        let event = if id == "twin" { "WillPublished" } else { "WillDenied" };
        assert_eq!(broker.tape().wait_for_client(event, id)["fields"]["topic"], topic);
    }
    assert_eq!(other.message().0, "w/twin");
}

/// A provider may send a client elsewhere when it comes to authenticate again.
#[test]
fn redirected_later() {
    let mut broker = start("");
    let mut client = admitted(&broker, "c", "accept");
    say(&mut client, AGAIN, "redirect b.example:1");
    assert_eq!(expect_disconnect(&mut client, 0x9C)[&SERVER_REFERENCE], ["b.example:1"]);
    broker.tape().wait_for_client("ClientRedirected", "c");
    assert_eq!(broker.tape().wait_for_client("ClientDisconnected", "c")["fields"]["reason"], "Redirected");
    assert!(broker.tape().find(Duration::ZERO, |e| e["event"] == "ReauthenticationFailed").is_none());
}

/// A question of the old identity is not answered with its verdict: the new identity decides.
#[test]
fn promise_1_a_question_under_way_is_decided_anew() {
    let broker = start("");
    let mut client = admitted(&broker, "c", "accept ask=ask/# allow=own");
    assert_eq!(client.subscribe("own", 0), 0);
    // The AUTH waits behind the message that asks, so it comes first here, and the answers come in either order.
    say(&mut client, AGAIN, "accept allow=own");
    client.publish("ask/slow-allow", 1, b"m").unwrap();
    let (mut authenticated, mut code) = (false, None);
    while !authenticated || code.is_none() {
        match client.receive(gatemq_tests::PATIENCE).unwrap() {
            Received::Packet(Packet { first: 0xF0, body }) => authenticated = body[0] == 0,
            Received::Packet(Packet { first: 0x40, body }) => code = Some(body.get(2).copied().unwrap_or(0)),
            other => panic!("{other:?}"),
        }
    }
    client.publish("ask/slow-allow", 1, b"m").unwrap();
    assert_eq!(client.packet().body[2..], [0x87]);
}
