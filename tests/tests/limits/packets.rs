//! Limits of one packet.

use gatemq_tests::client::{packet, text};
use gatemq_tests::session::{Connect, Level};

use super::*;

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
}

/// Issue 4, item 2: a CONNECT comes from nobody, so it has a bound that no identity lowers: beyond it the connection is closed before
/// the rest has come, with an event.
#[test]
fn a_connect_has_a_bound_of_its_own() {
    let mut broker = limited(&[("connect_bytes_max", "256")], "").start();
    let ids = [200, 300].map(|len| "x".repeat(len));
    client(&broker, &Connect::new(Level::V5, &ids[0])).ping();
    let mut stranger = Client::tcp(broker.address("mqtt"), Level::V5.version()).unwrap();
    stranger.send(&Connect::new(Level::V5, &ids[1]).bytes()[..100]).unwrap();
    stranger.expect_closed();
    broker.tape().wait_for("its CONNECT", |e| {
        e["event"] == "LimitExceeded" && e["fields"]["which"] == "connect_bytes_max" && e["fields"]["max"] == 256
    });
}
