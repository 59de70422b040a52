//! What else plugins may ask of the broker: end connections, list sessions, publish, keep values.

use gatemq_tests::Kind;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Will};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::*;

fn no_tls() -> Tls {
    Tls::new(&Pki::new("Acme"), None)
}

fn start() -> Broker {
    let setup = Setup::new().listener(Kind::Mqtt, &Pki::new("Acme")).faults("").requests().tape();
    setup.toml("[auth]\nchain = [\"faults\"]").start()
}

fn rows(answer: &Value) -> Vec<Value> {
    let rows = answer["rows"].as_array().unwrap().iter();
    rows.map(|row| serde_json::from_str(row.as_str().unwrap()).unwrap()).collect()
}

/// A plugin ends connections by any property of theirs: 0x98 and its reason, no will, an event; others stay, the client may come
/// back, and who is not here is not found. Everybody at once is refused as a mistake.
#[test]
fn promise_7_a_plugin_ends_connections() {
    let pki = Pki::new("Acme");
    let shown = pki.client("certified");
    let setup = Setup::new().listener(Kind::Mqtts, &pki).faults("").requests().tape();
    let mut broker = setup.toml("[auth]\nchain = [\"faults\"]").start();
    let (tls, nobody) = (Tls::new(&pki, Some(&shown)), Tls::new(&pki, None));
    let mut watcher = broker.admitted(Kind::Mqtts, &nobody, Version::V5, "watcher");
    assert_eq!(watcher.subscribe("will/#", 1), 1);
    assert_eq!(broker.not_done("disconnect", json!({"selector": {}, "reason": "all"})), "Invalid");
    for (n, level) in [Level::V311, Level::V5, Level::V5, Level::V5, Level::V5].into_iter().enumerate() {
        let connect = Connect { user: Some("mallory"), ..Connect::new(level, "victim") };
        let (mut victim, _) = broker.joined(Kind::Mqtts, &tls, &connect.will(Will::new("will/victim", b"gone")));
        let connected = rows(&broker.done("sessions", json!({"selector": {"client_id": "victim"}})));
        let selector = match n {
            0 => json!({"tenant": "test", "user": "mallory"}),
            1 => json!({"client_id": "victim"}),
            2 => json!({"connection": connected[0]["connection"]}),
            3 => json!({"leaf_sha256": hex(&Sha256::digest(&shown.chain[0]))}),
            _ => json!({"user": "mallory", "client_id": "victim"}),
        };
        for other in
            [json!({"user": "mallory", "client_id": "else"}), json!({"tenant": "other", "client_id": "victim"})]
        {
            assert_eq!(broker.not_done("disconnect", json!({"selector": other, "reason": "r"})), "NotFound");
        }
        victim.ping();
        let answer = broker.done("disconnect", json!({"selector": selector, "reason": format!("reason {n}")}));
        assert_eq!(answer["count"], 1);
        if level == Level::V5 {
            let goodbye = victim.packet();
            assert_eq!((goodbye.first, goodbye.body[0]), (0xE0, ADMINISTRATIVE_ACTION));
            let reason = format!("reason {n}");
            assert!(goodbye.body.windows(reason.len()).any(|part| part == reason.as_bytes()), "{goodbye:?}");
        }
        victim.expect_closed();
        let why = format!("reason {n}");
        let event = broker.tape().wait_for("kicked", |e| e["event"] == "ClientKicked" && e["fields"]["why"] == *why);
        assert_eq!((&event["fields"]["by"], &event["client_id"]), (&"plugin requests".into(), &"victim".into()));
        let mut other = broker.admitted(Kind::Mqtts, &nobody, Version::V5, "other");
        watcher.nothing_came(&mut other);
        assert_eq!(broker.not_done("disconnect", json!({"selector": selector, "reason": "r"})), "NotFound");
    }
}

/// Sessions are listed in pages, each once, with what peers said escaped; a selector leaves the others out.
#[test]
fn promise_7_sessions_are_listed() {
    let setup = Setup::new().mqtt("plain").faults("").requests().toml("[auth]\nchain = [\"faults\"]");
    let broker = setup.argument("--set").argument("listeners.plain.address_connections_per_s_max=0").start();
    let odd = "a\"b\\c\nd\u{1b}[2J";
    let mut clients = vec![Client::tcp(broker.address("plain"), Version::V5).unwrap()];
    assert_eq!(clients[0].connect_as(odd, Some(("odd", "x"))).unwrap(), 0);
    for n in 0..600 {
        let mut client = Client::tcp(broker.address("plain"), Version::V5).unwrap();
        assert_eq!(client.connect(&format!("c{n}")).unwrap(), 0);
        clients.push(client);
    }
    let (mut page, mut found, mut pages) = (0, Vec::new(), 0);
    loop {
        let answer = broker.done("sessions", json!({"page": page}));
        assert!(rows(&answer).len() <= 256);
        found.extend(rows(&answer));
        (page, pages) = (answer["next_page"].as_u64().unwrap(), pages + 1);
        if page == 0 {
            break;
        }
    }
    let mut names: Vec<_> = found.iter().map(|row| row["client_id"].as_str().unwrap().to_owned()).collect();
    names.sort();
    names.dedup();
    assert_eq!((names.len(), found.len()), (601, 601));
    assert!(pages >= 3);
    let answer = broker.done("sessions", json!({"selector": {"tenant": "test", "user": "odd"}}));
    assert!(!answer["rows"][0].as_str().unwrap().contains(|c: char| c.is_control()));
    let odd_one = &rows(&answer)[0];
    assert_eq!((rows(&answer).len(), &odd_one["client_id"]), (1, &odd.into()));
    let local = clients[0].local().unwrap().to_string();
    assert_eq!(
        (&odd_one["remote"], &odd_one["listener"], &odd_one["protocol"]),
        (&local.into(), &"plain".into(), &"5.0".into())
    );
    assert_eq!(broker.done("sessions", json!({"selector": {"user": "nobody"}}))["count"], 0);
    assert_eq!(broker.done("sessions", json!({"page": u64::MAX}))["count"], 0, "a place that is none");
}

/// A plugin publishes as the node: to the tenant that it names and no other, at each QoS, retained too, kept over a restart; but
/// not below `$`, not what is no topic, and not more than it may in a second.
#[test]
fn promise_7_a_plugin_publishes() {
    let setup = Setup::new().two_tenants(&Pki::new("Acme")).requests();
    let broker = setup.start();
    let join = |broker: &Broker, tenant: &str| {
        let mut client = Client::tcp(broker.address(&format!("{tenant}-mqtt")), Version::V5).unwrap();
        assert_eq!(client.connect(&format!("of-{tenant}")).unwrap(), 0);
        client
    };
    let (mut one, mut two) = (join(&broker, "one"), join(&broker, "two"));
    for client in [&mut one, &mut two] {
        assert_eq!(client.subscribe("#", 2), 2);
    }
    let message =
        |topic: &str, qos: u8| json!({"tenant": "one", "topic": topic, "payload": "from a plugin", "qos": qos});
    for qos in 0..3 {
        assert_eq!(broker.done("publish", message("a/b", qos))["count"], 1);
        let got = one.take_message();
        assert_eq!((&*got.topic, &*got.payload, got.qos, got.retain), ("a/b", &b"from a plugin"[..], qos, false));
    }
    for topic in
        ["$SYS/broker/version", "$share/g/t", "$", "", "a/+", "#", "a\0b", &"t".repeat(65_536), &"/".repeat(200)]
    {
        assert_eq!(broker.not_done("publish", message(topic, 0)), "Invalid", "{topic:.20}");
    }
    assert_eq!(broker.not_done("publish", json!({"tenant": "", "topic": "t"})), "Invalid");
    let large = "x".repeat(2 << 20);
    assert_eq!(broker.not_done("publish", json!({"tenant": "one", "topic": "t", "payload": large})), "Invalid");
    let kept = json!({"tenant": "one", "topic": "kept", "payload": "kept", "qos": 1, "retain": true});
    assert_eq!(broker.done("publish", kept)["count"], 1);
    assert_eq!(one.take_message().topic, "kept");
    two.ping();

    let broker = broker.kill().start();
    let mut one = join(&broker, "one");
    assert_eq!(one.subscribe("kept", 1), 1);
    let got = one.take_message();
    assert_eq!((&*got.payload, got.retain), (&b"kept"[..], true));
    let flood = json!({"tenant": "one", "topic": "flood", "times": 100_000});
    assert_eq!(broker.not_done("publish", flood), "Busy");
    let again = || broker.ask("publish", message("after", 0))["error"].is_null().then_some(());
    wait_for("the next second", PATIENCE, again);
}

/// A plugin keeps values: its own, over restarts, as long as it says, and not more than it may.
#[test]
fn promise_7_a_plugin_keeps_values() {
    let setup =
        Setup::new().mqtt("plain").faults("").requests().requests_as("second").toml("[auth]\nchain = [\"faults\"]");
    let broker = setup.start();
    broker.done("put", json!({"key": "k", "value": "one"}));
    broker.done("put", json!({"key": "k", "value": "two"}));
    broker.done("put", json!({"key": "short", "value": "s", "ttl_ms": 1}));
    broker.done("put", json!({"key": "long", "value": "l", "ttl_ms": 3_600_000}));
    let get = |broker: &Broker, key: &str| broker.ask("get", json!({"key": key}))["value"].clone();
    assert_eq!((get(&broker, "k"), get(&broker, "long")), ("two".into(), "l".into()));
    wait_for("it is over", PATIENCE, || get(&broker, "short").is_null().then_some(()));
    assert_eq!(broker.ask_as("second", "get", json!({"key": "k"}))["error"], "NotFound");
    let broker = broker.kill().start();
    assert_eq!(
        (get(&broker, "k"), get(&broker, "long"), get(&broker, "short")),
        ("two".into(), "l".into(), Value::Null)
    );
    broker.done("remove", json!({"key": "k"}));
    assert_eq!(broker.not_done("remove", json!({"key": "k"})), "NotFound");
    assert_eq!(broker.not_done("get", json!({"key": "k"})), "NotFound");
    let broker = broker.kill().start();
    assert_eq!((get(&broker, "k"), get(&broker, "long")), (Value::Null, "l".into()));

    let value = "v".repeat(64 << 10);
    for (key, value) in [("", "v"), (&*"k".repeat(257), "v"), ("k", &*format!("{value}v"))] {
        assert_eq!(broker.not_done("put", json!({"key": key, "value": value})), "Invalid", "{key:.9}");
    }
    assert_eq!(broker.not_done("put", json!({"key": "k", "value": value, "times": 64})), "Busy", "4 MiB");
    assert_eq!(broker.ask_as("second", "put", json!({"key": "k", "value": value}))["error"], Value::Null);
}

/// Promise 6: a plugin that asks without end is answered `Busy`, and others are served.
#[test]
fn promise_6_a_plugin_that_asks_without_end_is_bounded() {
    let broker = start();
    let flood = "fault-flood";
    for n in 0..4 {
        broker.admitted(Kind::Mqtt, &no_tls(), Version::V5, &format!("{flood}-{n}")).disconnect();
        broker.done("put", json!({"key": "k", "value": "v"}));
        broker.done("sessions", json!({}));
    }
    broker.admitted(Kind::Mqtt, &no_tls(), Version::V3, "twin").ping();
}
