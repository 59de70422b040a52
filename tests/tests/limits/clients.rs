//! Limits of what one client has, and what it gets when it may not publish.

use std::time::{Duration, Instant};

use gatemq_tests::client::Received;
use gatemq_tests::session::{Connect, Level};

use super::*;

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

/// Issue 4, item 2: what waits for a client is bounded in messages and in bytes, by key and by identity; what exceeds that is dropped
/// and told, and what fits arrives.
#[test]
fn what_waits_for_a_client_is_bounded_by_key_and_by_identity() {
    let by_messages = ("queue_messages_max", "2");
    // Two messages of a thousand bytes and their topics; not below the largest packet.
    let by_bytes = ("queue_bytes_max", "2500");
    let base = [("inflight_max", "1"), ("packet_bytes_max", "2500"), ("connect_bytes_max", "2500")];
    for (name, value) in [by_messages, by_bytes] {
        let with_key = [&base[..], &[(name, value)]].concat();
        for (keys, identity) in [(&with_key[..], format!("{name} = 1000000")), (&base[..], format!("{name} = {value}"))]
        {
            let mut broker = limited(keys, &identity).start();
            let [mut full, mut fits] = ["full", "fits"].map(|id| client(&broker, &Connect::new(Level::V5, id)));
            let mut publisher = client(&broker, &Connect::new(Level::V5, "publisher"));
            for (receiver, topic, times) in [(&mut full, "full", 5), (&mut fits, "fits", 3)] {
                assert_eq!(receiver.subscribe(topic, 1), 1);
                for n in 0..times {
                    assert_eq!(publisher.published(topic, 1, false, &[n; 1000]), 0, "{name}");
                }
                // One is in flight, two wait.
                for n in 0..3 {
                    assert_eq!(receiver.take_message().payload[..2], [n, n], "{name}");
                }
                receiver.nothing_came(&mut publisher);
            }
            full.disconnect();
            fits.disconnect();
            broker.tape().wait_for_client("ClientDisconnected", "full");
            broker.tape().wait_for_client("ClientDisconnected", "fits");
            let of = |e: &&Value| e["event"] == "QueueOverflowed";
            let dropped: Vec<_> = broker.tape().events().iter().filter(of).cloned().collect();
            assert!(dropped.iter().all(|e| e["client_id"] == "full"), "{name}: {dropped:?}");
            assert_eq!(
                dropped.iter().filter_map(|e| e["fields"]["count"].as_u64()).sum::<u64>(),
                2,
                "{name}: {dropped:?}"
            );
        }
    }
}

/// Issue 4, item 2: a client that takes none of its output ends at `stalled_ms_max`, or earlier where its identity says so; one that
/// takes the same does not.
#[test]
fn a_stalled_client_ends_by_key_and_by_identity() {
    for (keys, identity) in [(&[("stalled_ms_max", "1000")][..], ""), (&[][..], "stalled_ms_max = 1000")] {
        let mut broker = limited(keys, identity).start();
        let [mut silent, mut reads] = ["silent", "reads"].map(|id| client(&broker, &Connect::new(Level::V5, id)));
        for receiver in [&mut silent, &mut reads] {
            assert_eq!(receiver.subscribe("flood", 0), 0);
        }
        let mut publisher = client(&broker, &Connect::new(Level::V5, "publisher"));
        // More than sockets hold.
        let begun = Instant::now();
        for _ in 0..512 {
            publisher.publish("flood", 0, &[7; 64 << 10]).unwrap();
            assert_eq!(reads.message().1.len(), 64 << 10);
        }
        broker.tape().wait_for_client("ClientStalled", "silent");
        // Far earlier than by default.
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
        let ended = broker.tape().wait_for_client("ClientDisconnected", "silent");
        assert_eq!(ended["fields"]["reason"], "ClientStalled");
        reads.ping();
        drop(silent);
    }
}

/// Issue 4, item 2, and 3.2.2.3: CONNACK says the lower of the key and the identity's limit.
#[test]
fn connack_announces_the_lower_of_key_and_identity() {
    let announced = [
        ("receive_max", 0x21, 7),
        ("packet_bytes_max", 0x27, 70_000),
        ("topic_alias_max", 0x22, 5),
        ("session_expiry_s_max", 0x11, 30),
        ("keep_alive_s_max", 0x13, 40),
    ];
    let values = |times: u32| announced.map(|(name, _, value)| (name, (value * times).to_string()));
    for (key, identity) in [(1, 2), (2, 1)] {
        let (keys, identity) = (values(key), values(identity).map(|(name, value)| format!("{name} = {value}")));
        let keys = keys.each_ref().map(|(name, value)| (*name, value.as_str()));
        let broker = limited(&keys, &identity.join(", ")).start();
        let mut client = Client::tcp(broker.address("mqtt"), Level::V5.version()).unwrap();
        let answer = client.greet(&Connect { expiry_s: Some(1000), ..Connect::stays(Level::V5, "client") });
        assert_eq!(answer.code, 0);
        for (name, property, value) in announced {
            assert_eq!(answer.number(property), Some(value), "{name}");
        }
    }
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
