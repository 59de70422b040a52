//! Messages between clients of different nodes.

use std::time::{Duration, Instant};

use gatemq_tests::client::{Received, text};
use gatemq_tests::cluster::{self, status, wait_until_reached};
use gatemq_tests::session::{Connect, Level, Message, Will, ack};
use gatemq_tests::{PATIENCE, wait_for};

use super::{comes, joins, started};

/// A joining node is told of all; each names all others; a node that stops has left, one that was killed is dead within 5 s.
#[test]
fn members_are_known_and_who_leaves_or_dies_is_told() {
    let (_members, mut brokers) = started(3);
    let seen = status(&brokers[0]);
    assert_eq!((&seen["environment"], &seen["cluster"]), (&"test".into(), &"gatemq".into()), "{seen:#}");
    assert_eq!(cluster::up(&seen), ["node-2", "node-3"]);
    assert_eq!(cluster::up(&status(&brokers[2])), ["node-1", "node-2"]);
    brokers[0].tape().wait_for("it has joined", |e| e["event"] == "NodeJoined" && e["fields"]["member"] == "node-3");
    let state = |of: &str| {
        let seen = status(&brokers[0]);
        let row = seen["rows"].as_array().unwrap().iter().find(|row| row["name"] == of).cloned();
        row.unwrap_or_else(|| panic!("{seen:#}"))["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state("node-2"), "up");
    let (third, second) = (brokers.pop().unwrap(), brokers.pop().unwrap());
    third.stop();
    let state = |of: &str| {
        let seen = status(&brokers[0]);
        let row = seen["rows"].as_array().unwrap().iter().find(|row| row["name"] == of).cloned();
        row.unwrap_or_else(|| panic!("{seen:#}"))["state"].as_str().unwrap().to_owned()
    };
    wait_for("it has left", PATIENCE, || (state("node-3") == "left").then_some(()));
    second.kill();
    let begun = Instant::now();
    wait_for("it is dead", PATIENCE, || (state("node-2") == "dead").then_some(()));
    eprintln!("a killed node is noticed after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

/// Each QoS, between every two nodes, both ways; also an empty message, and one as large as a listener takes.
#[test]
fn messages_of_each_qos_cross_between_all_nodes() {
    let (_members, brokers) = started(3);
    let mut clients: Vec<_> =
        brokers.iter().enumerate().map(|(n, broker)| comes(broker, &format!("client-{n}"))).collect();
    for (from, to) in [(0, 1), (1, 0), (0, 2), (2, 0), (1, 2), (2, 1)] {
        let (mut publisher, mut subscriber) = (clients.remove(from.max(to)), clients.remove(from.min(to)));
        if from < to {
            std::mem::swap(&mut publisher, &mut subscriber);
        }
        let topic = format!("from/{from}/to/{to}");
        assert_eq!(subscriber.subscribe(&topic, 2), 2);
        let took = wait_until_reached(&mut publisher, &mut subscriber, &topic);
        eprintln!("a subscription of node {to} is known at node {from} after {took:?}");
        for qos in [0, 1, 2] {
            for bytes in [0, 1, 100_000, 1_000_000] {
                let payload: Vec<u8> = (0..bytes).map(|n: usize| n.to_le_bytes()[0] ^ qos).collect();
                assert_eq!(publisher.published(&topic, qos, false, &payload), 0, "{topic}, QoS {qos}");
                let Message { topic: at, qos: with, retain, payload: came, .. } = subscriber.take_message();
                assert_eq!((&*at, with, retain), (&*topic, qos, false));
                assert!(came == payload, "{topic}: {bytes} bytes are others");
            }
        }
        let mut two = if from < to { [publisher, subscriber] } else { [subscriber, publisher] }.into_iter();
        clients.insert(from.min(to), two.next().unwrap());
        clients.insert(from.max(to), two.next().unwrap());
    }
}

/// Three share a subscription at two nodes; a fourth publishes at a third. Each message comes once, and everybody has a part.
#[test]
fn a_shared_subscription_has_members_at_several_nodes() {
    const COUNT: usize = 300;
    let (_members, brokers) = started(3);
    let mut publisher = comes(&brokers[0], "publisher");
    let mut sharing: Vec<_> =
        [(1, "a"), (1, "b"), (2, "c")].into_iter().map(|(at, id)| comes(&brokers[at], id)).collect();
    for client in &mut sharing {
        let own = format!("own/{}", client.local().unwrap().port());
        assert_eq!(client.subscribe("$share/g/work", 1), 1);
        assert_eq!(client.subscribe(&own, 0), 0);
        // A node's subscriptions are told in their order.
        wait_until_reached(&mut publisher, client, &own);
    }
    for n in 0..COUNT {
        assert_eq!(publisher.published("work", 1, false, n.to_string().as_bytes()), 0);
    }
    let (mut came, mut of_each) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + PATIENCE;
    let mut counts = [0; 3];
    while came.len() < COUNT {
        assert!(Instant::now() < deadline, "{} of {COUNT} came: {counts:?}", came.len());
        for (client, count) in sharing.iter_mut().zip(&mut counts) {
            while let Ok(Received::Packet(packet)) = client.receive(Duration::from_millis(5)) {
                let message = Message::read(&packet, client.version());
                client.send_ack(ack::PUBACK, message.id).unwrap();
                came.push(message.text().parse::<usize>().unwrap());
                *count += 1;
            }
        }
    }
    of_each.extend(counts);
    came.sort_unstable();
    assert_eq!(came, (0..COUNT).collect::<Vec<_>>(), "each once");
    eprintln!("of {COUNT} shared messages each had {of_each:?}");
    assert!(of_each.iter().all(|count| *count >= COUNT / 10), "by turns: {of_each:?}");
}

/// A will is published to subscribers of other nodes.
#[test]
fn a_will_comes_to_subscribers_of_other_nodes() {
    let (_members, brokers) = started(2);
    let mut subscriber = comes(&brokers[1], "subscriber");
    assert_eq!(subscriber.subscribe("wills/#", 1), 1);
    let connect = Connect::new(Level::V5, "mortal").will(Will::new("wills/mortal", b"gone"));
    let (mut mortal, _) = joins(&brokers[0], &connect);
    wait_until_reached(&mut mortal, &mut subscriber, "wills/probe");
    mortal.break_off();
    let will = subscriber.take_message();
    assert_eq!((&*will.topic, will.text()), ("wills/mortal", "gone"));
}

/// PUBLISH of MQTT 5 at QoS 1, packet id 1, with a Message Expiry Interval.
fn publish_for(topic: &str, expiry_s: u32, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.extend([0, 1, 5, 0x02]);
    body.extend(expiry_s.to_be_bytes());
    body.extend(payload);
    gatemq_tests::client::packet(0x32, &body)
}

/// A message that waited for a node longer than its time is not delivered there; its twin with more time is, with what is left.
#[test]
fn a_message_expires_while_it_waits_for_a_node() {
    let (_members, mut brokers) = started(2);
    let connect = Connect::stays(Level::V5, "stays");
    let (mut stays, _) = joins(&brokers[1], &connect);
    assert_eq!(stays.subscribe("t", 1), 1);
    let mut publisher = comes(&brokers[0], "publisher");
    wait_until_reached(&mut publisher, &mut stays, "t");
    let killed = brokers.pop().unwrap().kill();
    for (expiry_s, payload) in [(1, "short"), (1000, "long")] {
        publisher.send(&publish_for("t", expiry_s, payload.as_bytes())).unwrap();
        assert_eq!(publisher.expect_ack(ack::PUBACK, 1), 0);
    }
    // What expires is time, not a condition.
    std::thread::sleep(Duration::from_millis(1500));
    let again = killed.start();
    let (mut stays, present) = joins(&again, &connect);
    assert!(present);
    let packet = stays.packet();
    let message = Message::read(&packet, stays.version());
    assert_eq!(message.text(), "long");
    // Its interval stands after the topic, the packet id and the properties' length.
    let at = 2 + message.topic.len() + 3;
    assert_eq!(packet.body[at], 0x02, "{packet:?}");
    let left = u32::from_be_bytes(packet.body[at + 1..at + 5].try_into().unwrap());
    assert!((900..1000).contains(&left), "{left} s are left");
}
