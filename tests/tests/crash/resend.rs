//! What was in flight before a crash is sent again as the same (4.4).

use gatemq_tests::client::Client;
use gatemq_tests::session::{Connect, Level, Message, ack};

use super::Node;

/// How many PUBLISH and PUBREL packets are under way at a time.
const WINDOW: usize = 4;

fn publish(node: &Node, messages: &[(&str, u8, bool)]) {
    let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
    for (topic, qos, retain) in messages {
        assert_eq!(other.published(topic, *qos, *retain, topic.as_bytes()), 0);
    }
}

fn take(client: &mut Client, wanted: &[(&str, u8, bool)]) -> Vec<u16> {
    let taken = wanted.iter().map(|wanted| {
        let Message { topic, qos, dup, id, .. } = client.next_message();
        assert_eq!((&*topic, qos, dup), *wanted);
        id
    });
    taken.collect()
}

/// Guards MQTT-4.4.0-1 and MQTT-3.3.1-1 over crashes: a PUBLISH that was not acknowledged comes again with its packet
/// identifier and DUP, at QoS 1 and 2, a retained one too; one that was only PUBREC'd is released and nothing else; and what
/// came for a client that was away says that it is new.
#[test]
fn promise_5_what_was_in_flight_keeps_its_packet_identifiers() {
    for level in [Level::V311, Level::V5] {
        let setup = super::setup().toml(&format!("[limits]\ninflight_max = {WINDOW}"));
        let (mut node, connect) = (Node::start(setup), Connect::stays(level, "c"));
        publish(&node, &[("r", 2, true)]);
        let (mut client, _) = node.join(&connect);
        assert_eq!((client.subscribe("r", 2), client.subscribe("m/+", 2)), (2, 2));
        publish(
            &node,
            &[("m/1", 1, false), ("m/2", 2, false), ("m/3", 2, false), ("m/4", 1, false), ("m/5", 2, false)],
        );
        let ids = take(&mut client, &[("r", 2, false), ("m/1", 1, false), ("m/2", 2, false), ("m/3", 2, false)]);
        client.send_ack(ack::PUBREC, ids[3]).unwrap();
        assert_eq!(client.expect_ack(ack::PUBREL, ids[3]), 0);

        node = node.crash(&mut |killed| killed);
        let (mut client, present) = node.join(&connect);
        assert!(present);
        assert_eq!(client.expect_ack(ack::PUBREL, ids[3]), 0);
        assert_eq!(take(&mut client, &[("r", 2, true), ("m/1", 1, true), ("m/2", 2, true)]), ids[..3]);
        client.send_ack(ack::PUBCOMP, ids[3]).unwrap();
        // It may have been sent before the crash, as far as the broker knows.
        let fourth = take(&mut client, &[("m/4", 1, true)]);
        assert!(!ids[..3].contains(&fourth[0]));
        drop(client);
        publish(&node, &[("m/6", 1, false)]);

        node = node.crash(&mut |killed| killed);
        let (mut client, _) = node.join(&connect);
        let again = take(&mut client, &[("r", 2, true), ("m/1", 1, true), ("m/2", 2, true), ("m/4", 1, true)]);
        assert_eq!(again, [&ids[..3], &fourth].concat());
        for (id, qos) in again.iter().zip([2, 1, 2, 1]) {
            client.send_ack(if qos == 2 { ack::PUBREC } else { ack::PUBACK }, *id).unwrap();
            if qos == 2 {
                assert_eq!(client.expect_ack(ack::PUBREL, *id), 0);
                client.send_ack(ack::PUBCOMP, *id).unwrap();
            }
        }
        let last = [client.take_message(), client.take_message()].map(|message| (message.topic, message.dup));
        assert_eq!(last, [("m/5".to_owned(), true), ("m/6".to_owned(), false)]);
    }
}

/// Guards MQTT-3.3.1-1 over restarts while a client is away: what it had been sent before it went comes again with DUP, at QoS 1
/// and 2, and what came behind that without; whether the broker was killed or stopped.
#[test]
fn promise_5_what_a_client_was_sent_before_it_went_has_dup() {
    for (level, is_killed) in [(Level::V311, true), (Level::V5, true), (Level::V5, false)] {
        let (node, connect) = (Node::start(super::setup()), Connect::stays(level, "c"));
        let (mut client, _) = node.join(&connect);
        assert_eq!(client.subscribe("m/+", 2), 2);
        publish(&node, &[("m/1", 1, false), ("m/2", 2, false)]);
        let ids = take(&mut client, &[("m/1", 1, false), ("m/2", 2, false)]);
        client.break_off();
        publish(&node, &[("m/3", 1, false), ("m/4", 2, false)]);
        let Node { broker, tls } = node;
        let setup = if is_killed { broker.kill() } else { broker.stop_to_start_again().1 };
        let node = Node { broker: setup.start(), tls };
        let (mut client, present) = node.join(&connect);
        assert!(present);
        let again = take(&mut client, &[("m/1", 1, true), ("m/2", 2, true), ("m/3", 1, false), ("m/4", 2, false)]);
        assert_eq!(again[..2], ids);
    }
}
