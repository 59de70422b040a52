//! Limits of clients and tenants: each has a key and, where it is a client's, an identity may lower it; each is told.

use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, packet, text};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{PATIENCE, wait_for};
use serde_json::Value;

/// With these keys below `limits.`, and these limits of every identity.
fn limited(keys: &[(&str, &str)], identity: &str) -> Setup {
    let mut setup = Setup::new().mqtt("mqtt").tape().faults(&format!("config.limits = {{ {identity} }}"));
    for (key, value) in keys {
        setup = setup.argument("--set").argument(&format!("limits.{key}={value}"));
    }
    setup
}

fn client(broker: &Broker, connect: &Connect<'_>) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), connect.level.version()).unwrap();
    assert_eq!(client.greet(connect).code, 0);
    client
}

/// Events of a limit for one client, up to the end of its connection.
fn told(broker: &mut Broker, client_id: &str) -> Vec<Value> {
    broker.tape().wait_for_client("ClientDisconnected", client_id);
    let of = |e: &&Value| e["event"] == "LimitExceeded" && e["client_id"] == client_id;
    broker.tape().events().iter().filter(of).map(|e| e["fields"].clone()).collect()
}

fn publish(topic: &str, properties: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.push(properties.len() as u8);
    packet(0x30, &[&body[..], properties, rest].concat())
}

fn subscribe(filters: &[&str]) -> Vec<u8> {
    let mut body = vec![0, 7, 0];
    for filter in filters {
        text(&mut body, filter);
        body.push(0);
    }
    packet(0x82, &body)
}

fn user_properties(times: usize, value: &str) -> Vec<u8> {
    let mut one = vec![0x26, 0, 1, b'k'];
    text(&mut one, value);
    one.repeat(times)
}

/// A limit of one packet: its value, a packet that exceeds it, the code of that, and a packet that does not.
type Row = (&'static str, u64, Vec<u8>, u8, Vec<u8>);

fn of_one_packet() -> Vec<Row> {
    let two_of_one = |n: usize| user_properties(1, &"v".repeat(n));
    vec![
        ("packet_bytes_max", 300, publish("t", &[], &[7; 300]), 0x95, publish("t", &[], &[7; 200])),
        ("topic_levels_max", 3, publish("a/b/c/d", &[], &[]), 0x90, publish("a/b/c", &[], &[])),
        ("topic_levels_max", 3, subscribe(&["a/b/c/+"]), 0x8F, subscribe(&["a/b/+"])),
        ("topic_bytes_max", 9, publish("0123456789", &[], &[]), 0x90, publish("012345678", &[], &[])),
        ("topic_bytes_max", 9, subscribe(&["0123456789"]), 0x8F, subscribe(&["012345678"])),
        ("filters_per_packet_max", 2, subscribe(&["a", "b", "c"]), 0x97, subscribe(&["a", "b"])),
        (
            "user_properties_max",
            2,
            publish("t", &user_properties(3, "v"), &[]),
            0x97,
            publish("t", &user_properties(2, "v"), &[]),
        ),
        ("user_properties_bytes_max", 20, publish("t", &two_of_one(20), &[]), 0x97, publish("t", &two_of_one(19), &[])),
    ]
}

/// Issue 4, item 2: a packet beyond a limit is answered with its code, and the limit is told once by its name, with its value, be it
/// the key's or the identity's; one within it is taken.
#[test]
fn limits_of_a_packet_have_a_key_an_override_and_an_event() {
    let rows = of_one_packet();
    let keys: Vec<(&str, String)> = rows.iter().map(|(name, max, ..)| (*name, max.to_string())).collect();
    let mut keys: Vec<(&str, &str)> = keys.iter().map(|(name, max)| (*name, max.as_str())).collect();
    keys.dedup();
    let identity: Vec<String> = keys.iter().map(|(name, max)| format!("{name} = {max}")).collect();
    keys.push(("connect_bytes_max", "256"));
    // What an identity has does not raise what the keys allow.
    let generous = "packet_bytes_max = 100000, topic_levels_max = 100, user_properties_max = 100";
    for (keys, identity) in [(&keys[..], generous), (&[][..], &*identity.join(", "))] {
        let mut broker = limited(keys, identity).start();
        for (at, (name, max, exceeds, code, twin)) in of_one_packet().into_iter().enumerate() {
            let id = format!("client-{at}");
            let mut client = client(&broker, &Connect::new(Level::V5, &id));
            client.send(&twin).unwrap();
            if twin[0] == 0x82 {
                assert_eq!(client.answer().kind(), 9, "{name}");
            }
            client.ping();
            client.send(&exceeds).unwrap();
            assert_eq!(client.expect_goodbye(), Some(code), "{name}");
            let events = told(&mut broker, &id);
            assert_eq!(events.len(), 1, "{name}: {events:?}");
            let (which, action) = (&events[0]["which"], &events[0]["action"]);
            assert_eq!((which.as_str(), action.as_str()), (Some(name), Some("disconnected")));
            assert_eq!((events[0]["max"].as_u64(), events[0]["actual"].as_u64()), (Some(max), Some(max + 1)), "{name}");
        }
    }
    let mut broker = limited(&[("connect_bytes_max", "256")], "").start();
    let mut stranger = Client::tcp(broker.address("mqtt"), Level::V5.version()).unwrap();
    stranger.send(&Connect::new(Level::V5, &"x".repeat(300)).bytes()).unwrap();
    broker.tape().wait_for("its CONNECT", |e| {
        e["event"] == "LimitExceeded" && e["fields"]["which"] == "connect_bytes_max" && e["fields"]["max"] == 256
    });
}

/// Issue 4, item 2: limits of what a client has. The one more is refused with its code and told once, by key and by identity.
#[test]
fn limits_of_a_client_have_a_key_an_override_and_an_event() {
    let limits = [("subscriptions_max", "2"), ("receive_max", "2"), ("inflight_max", "1")];
    let identity: Vec<String> = limits.iter().map(|(name, max)| format!("{name} = {max}")).collect();
    for (keys, identity) in [(&limits[..], "subscriptions_max = 9, inflight_max = 9"), (&[][..], &*identity.join(", "))]
    {
        let mut broker = limited(keys, identity).start();
        let mut one = client(&broker, &Connect::new(Level::V5, "one"));
        let codes = ["a", "b", "b", "c", "d"].map(|filter| one.subscribe(filter, 0));
        assert_eq!(codes, [0, 0, 0, 0x97, 0x97]);
        one.disconnect();
        let events = told(&mut broker, "one");
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["which"], &events[0]["max"]), (&"subscriptions_max".into(), &2.into()));

        let mut two = client(&broker, &Connect::new(Level::V5, "two"));
        for id in 1..=3 {
            two.publish_as(4, "t", id, b"x").unwrap();
        }
        assert_eq!([1, 2].map(|id| two.expect_ack(0x50, id)), [0, 0]);
        assert_eq!(two.expect_goodbye(), Some(0x93));
        let events = told(&mut broker, "two");
        assert_eq!((&events[0]["which"], &events[0]["max"]), (&"receive_max".into(), &2.into()));

        let mut receiver = client(&broker, &Connect::new(Level::V5, "receiver"));
        assert_eq!(receiver.subscribe("r", 1), 1);
        let mut publisher = client(&broker, &Connect::new(Level::V5, "publisher"));
        for payload in [b"1", b"2"] {
            assert_eq!(publisher.published("r", 1, false, payload), 0);
        }
        let first = receiver.next_message();
        receiver.ping();
        assert!(!matches!(receiver.receive(Duration::from_millis(50)), Ok(Received::Packet(_))), "one at a time");
        receiver.send_ack(0x40, first.id).unwrap();
        assert_eq!(receiver.take_message().text(), "2");
    }
}

/// Publishes at QoS 1 as fast as it can and gives how long it took until all was acknowledged.
fn publish_all(client: &mut Client, times: u16) -> Duration {
    let begun = Instant::now();
    for id in 1..=times {
        client.publish_as(2, "rate", id, b"x").unwrap();
    }
    for id in 1..=times {
        assert_eq!(client.expect_ack(0x40, id), 0);
    }
    begun.elapsed()
}

/// Issue 4, item 2: who publishes faster than it may is slowed down to that, by the key or by the lower of its identity, and that is
/// told once, not for each message. Who keeps to it is not told of.
#[test]
fn who_publishes_faster_than_it_may_is_slowed_down() {
    for (key, identity) in [("20", ""), ("20", "messages_per_s_max = 1000"), ("0", "messages_per_s_max = 20")] {
        let mut broker = limited(&[("messages_per_s_max", key)], identity).start();
        let mut slow = client(&broker, &Connect::new(Level::V5, "slow"));
        publish_all(&mut slow, 20);
        slow.disconnect();
        assert_eq!(told(&mut broker, "slow"), [] as [Value; 0]);
        let mut quick = client(&broker, &Connect::new(Level::V5, "quick"));
        let took = publish_all(&mut quick, 60);
        // Two seconds less what the broker's clock may be wrong.
        assert!(took >= Duration::from_millis(1500), "{key} {identity}: {took:?}");
        quick.disconnect();
        let events = told(&mut broker, "quick");
        assert_eq!(events.len(), 1, "{events:?}");
        assert_eq!((&events[0]["which"], &events[0]["max"]), (&"messages_per_s_max".into(), &20.into()));
        assert_eq!((&events[0]["actual"], &events[0]["action"]), (&21.into(), &"slowed down".into()));
    }
}

/// Section 7: while a client waits for its rate it is heard: a ping is answered, an acknowledgement frees the window for the next
/// message, and its keep alive does not run. What it sent behind keeps its order.
#[test]
fn who_waits_for_its_rate_is_heard() {
    let mut broker = limited(&[("bytes_per_s_max", "1000"), ("inflight_max", "1")], "").start();
    let mut other = client(&broker, &Connect::new(Level::V5, "other"));
    let mut waits = client(&broker, &Connect { keep_alive_s: 1, ..Connect::new(Level::V5, "waits") });
    assert_eq!(waits.subscribe("to/waits", 1), 1);
    assert_eq!(other.subscribe("rate", 0), 0);
    for payload in [b"1", b"2"] {
        assert_eq!(other.published("to/waits", 1, false, payload), 0);
    }
    // Four seconds' worth.
    let begun = Instant::now();
    waits.publish_as(2, "rate", 1, &[b'a'; 4000]).unwrap();
    assert_eq!(waits.expect_ack(0x40, 1), 0);
    waits.publish_as(2, "rate", 2, b"b").unwrap();
    waits.send(&[0xC0, 0]).unwrap();
    let first = waits.next_message();
    assert_eq!(waits.answer().kind(), 13, "answered before the message");
    waits.send_ack(0x40, first.id).unwrap();
    assert_eq!(waits.next_message().text(), "2");
    assert_eq!(waits.expect_ack(0x40, 2), 0);
    assert!(begun.elapsed() > Duration::from_millis(2500), "{:?}", begun.elapsed());
    assert_eq!([other.message().1.len(), other.message().1.len()], [4000, 1]);
    waits.disconnect();
    let events = told(&mut broker, "waits");
    assert_eq!((events.len(), &events[0]["which"]), (1, &"bytes_per_s_max".into()));
}

/// Issue 4, item 2: with `rate_policy = "disconnect"`, or an identity that may not wait, the message that was too much is taken, and
/// its client is told 0x96 and disconnected, where its version has a word for it.
#[test]
fn who_publishes_faster_than_it_may_is_disconnected_by_policy() {
    let by_key = [("messages_per_s_max", "5"), ("rate_policy", "disconnect")];
    for (keys, identity) in [(&by_key[..], ""), (&by_key[..1], "rate_wait_allowed = 0")] {
        let mut broker = limited(keys, identity).start();
        for level in Level::ALL {
            let (id, twin) = (format!("quick-{level:?}"), format!("slow-{level:?}"));
            let mut twin = client(&broker, &Connect::new(level, &twin));
            let mut quick = client(&broker, &Connect::new(level, &id));
            let message =
                packet(0x32, &[&b"\0\x04rate\0\x01"[..], if level == Level::V5 { &[0] } else { &[] }].concat());
            twin.send(&message.repeat(5)).unwrap();
            quick.send(&message.repeat(6)).unwrap();
            for (client, acknowledged) in [(&mut twin, 5), (&mut quick, 6)] {
                for _ in 0..acknowledged {
                    assert_eq!(client.answer().kind(), 4);
                }
            }
            assert_eq!(quick.expect_goodbye(), (level == Level::V5).then_some(0x96));
            twin.ping();
            let events = told(&mut broker, &id);
            assert_eq!((events.len(), &events[0]["action"]), (1, &"disconnected".into()));
            let ended = broker.tape().wait_for_client("ClientDisconnected", &id);
            assert_eq!((&ended["fields"]["reason"], &ended["fields"]["code"]), (&"RateExceeded".into(), &0x96.into()));
        }
    }
}

/// Issue 4, item 2: all clients of a tenant share its rate, over all workers, and that is told once; those of another tenant have
/// their own.
#[test]
fn clients_of_a_tenant_share_its_rate() {
    let mut setup = Setup::new().two_tenants(&Pki::new("Acme")).tape();
    setup = setup.toml("[auth]\nchain = [\"one\"]");
    for argument in ["node.workers=2", "limits.tenant_messages_per_s_max=40"] {
        setup = setup.argument("--set").argument(argument);
    }
    let mut broker = setup.start();
    let of = |broker: &Broker, tenant: &str, id: &str| {
        let mut client = Client::tcp(broker.address(&format!("{tenant}-mqtt")), Level::V5.version()).unwrap();
        assert_eq!(client.greet(&Connect::new(Level::V5, id)).code, 0);
        client
    };
    let clients = ["a", "b", "c", "d"].map(|id| of(&broker, "one", id));
    let mut other = of(&broker, "two", "other");
    let begun = Instant::now();
    std::thread::scope(|all| {
        for mut client in clients {
            all.spawn(move || {
                publish_all(&mut client, 25);
                client.disconnect();
            });
        }
        publish_all(&mut other, 40);
    });
    // 100 of which 40 were saved up: a second and a half, less what the broker's clock may be wrong and what workers keep.
    assert!(begun.elapsed() >= Duration::from_millis(1000), "{:?}", begun.elapsed());
    let events: Vec<Value> = ["a", "b", "c", "d"].iter().flat_map(|id| told(&mut broker, id)).collect();
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["which"], &events[0]["max"]), (&"tenant_messages_per_s_max".into(), &40.into()));
    other.disconnect();
    assert_eq!(told(&mut broker, "other"), [] as [Value; 0]);
}

/// Issue 4, item 2: what waits for a tenant's clients is bounded together; what exceeds it is dropped, told once for all messages, and
/// told of the client that did not get them while it is still there.
#[test]
fn what_waits_for_a_tenant_is_bounded_and_told_once() {
    let mut broker = limited(&[("tenant_queue_bytes_max", "10000"), ("inflight_max", "1")], "").start();
    let mut receiver = client(&broker, &Connect::new(Level::V5, "receiver"));
    assert_eq!(receiver.subscribe("t", 1), 1);
    let mut publisher = client(&broker, &Connect::new(Level::V5, "publisher"));
    for _ in 0..50 {
        publisher.published("t", 1, false, &[7; 1000]);
    }
    publisher.disconnect();
    let events = told(&mut broker, "publisher");
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!((&events[0]["which"], &events[0]["max"]), (&"tenant_queue_bytes_max".into(), &10_000.into()));
    assert_eq!(events[0]["action"], "dropped");
    // One is in flight, nine wait: each is a thousand bytes and its topic.
    wait_for("an event of the forty that were dropped", PATIENCE, || {
        receiver.send(&[0xC0, 0]).unwrap();
        assert_eq!(receiver.answer().kind(), 13);
        let of = |e: &&Value| e["event"] == "MessageDropped" && e["client_id"] == "receiver";
        let counts = broker.tape().events().iter().filter(of).filter_map(|e| e["fields"]["count"].as_u64());
        (counts.sum::<u64>() == 40).then_some(())
    });
    let mut got = 0;
    while let Ok(Received::Packet(message)) =
        receiver.receive(if got < 10 { PATIENCE } else { Duration::from_millis(50) })
    {
        receiver.send_ack(0x40, u16::from_be_bytes([message.body[3], message.body[4]])).unwrap();
        got += 1;
    }
    assert_eq!(got, 10);
}

/// Promise 1: a denied message of an MQTT 3 client is acknowledged where the listener says so, and goes nowhere all the same; on
/// another listener its client is closed. MQTT 5 clients are told 0x87 on both.
#[test]
fn a_denied_message_is_acknowledged_where_the_listener_says_so() {
    let grants = r##"config.grants = [{ allow = ["all"], filter = "mine" }, { allow = ["subscribe"], filter = "#" }]"##;
    let mut broker =
        Setup::new().mqtt("closes").mqtt("acks").toml("denied_publish = \"acknowledge\"").faults(grants).tape().start();
    let open = |listener: &str, level: Level, id: &str| {
        let mut client = Client::tcp(broker.address(listener), level.version()).unwrap();
        assert_eq!(client.greet(&Connect::new(level, id)).code, 0);
        client
    };
    let mut watch = open("acks", Level::V5, "watch");
    assert_eq!(watch.subscribe("#", 0), 0);
    for level in Level::ALL {
        for qos in [1, 2] {
            let mut client = open("acks", level, "client");
            let code = client.published("theirs", qos, false, b"no");
            assert_eq!(code, if level == Level::V5 { 0x87 } else { 0 }, "{level:?}");
            assert_eq!(client.published("mine", qos, false, b"yes"), 0);
            assert_eq!(watch.message(), ("mine".to_owned(), b"yes".to_vec()), "only this arrives");
            let mut client = open("closes", level, "closed");
            client.publish_as(qos << 1, "theirs", 1, b"no").unwrap();
            match level {
                Level::V5 => assert_eq!(client.expect_ack(if qos == 1 { 0x40 } else { 0x50 }, 1), 0x87),
                _ => client.expect_closed(),
            }
        }
    }
    drop(watch);
    broker.tape().wait_for_client("PublishDenied", "client");
}
