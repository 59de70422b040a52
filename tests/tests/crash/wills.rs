//! Wills of clients whose sessions outlive a crash (3.1.2.5).

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gatemq_tests::client::Client;
use gatemq_tests::session::{Connect, Level, Message, Will, ack};

use super::Node;

/// Will Delay Interval in seconds.
const DELAY_S: u32 = 3;

/// Somebody with a will that names it.
fn leaves(level: Level, client_id: &str, delay_s: u32) -> Connect<'_> {
    Connect::stays(level, client_id).will(Will { qos: 2, delay_s, ..Will::new("will", client_id.as_bytes()) })
}

/// Who leaves its will: at QoS 2, so that no message comes again because of the crash; the PUBREL of one whose end was not stored
/// may.
fn will_of(watcher: &mut Client) -> String {
    let packet = loop {
        let packet = watcher.packet();
        if packet.first != ack::PUBREL {
            break packet;
        }
        let id = u16::from_be_bytes([packet.body[0], packet.body[1]]);
        watcher.send_ack(ack::PUBCOMP, id).unwrap();
    };
    let message = Message::read(&packet, watcher.version());
    assert_eq!((&*message.topic, message.qos), ("will", 2));
    watcher.send_ack(ack::PUBREC, message.id).unwrap();
    assert_eq!(watcher.expect_ack(ack::PUBREL, message.id), 0);
    watcher.send_ack(ack::PUBCOMP, message.id).unwrap();
    message.text().to_owned()
}

/// Guards MQTT-3.1.2-8, MQTT-3.1.2-10 and MQTT-3.1.3-9 over a crash: a will comes once, of a client that had vanished before
/// when its delay is over, of one that was there because the crash has closed its connection; and not of one that comes back
/// before its delay is over, or that had said goodbye.
#[test]
fn wills_are_published_after_a_crash() {
    let mut node = Node::start(super::setup());
    let watcher = Connect::stays(Level::V5, "watcher");
    assert_eq!(node.join(&watcher).0.subscribe("will", 2), 2);
    for level in [Level::V311, Level::V5] {
        let (mut client, _) = node.join(&leaves(level, "goodbye", 0));
        client.send_packet(0xE0, &[]).unwrap();
        client.expect_closed();
    }
    let vanished = Instant::now();
    for client_id in ["vanished", "returns"] {
        node.join(&leaves(Level::V5, client_id, DELAY_S)).0.break_off();
    }
    let there = [leaves(Level::V311, "there", 0), leaves(Level::V5, "delayed", 1), leaves(Level::V5, "back", DELAY_S)];
    let there = there.map(|connect| node.join(&connect));
    node = node.crash(&mut |killed| killed);
    drop(there);
    for client_id in ["returns", "back"] {
        assert!(node.join(&Connect::stays(Level::V5, client_id)).1, "{client_id}");
    }
    let (mut client, _) = node.join(&watcher);
    let mut came = BTreeSet::new();
    while came.len() < 3 {
        let of = will_of(&mut client);
        // The broker's clock is set ten times a second.
        let delay_ms = if of == "vanished" { u64::from(DELAY_S) * 1000 - 200 } else { 0 };
        assert!(vanished.elapsed() >= Duration::from_millis(delay_ms), "{of}: too early");
        assert!(came.insert(of), "twice: {came:?}");
    }
    assert_eq!(came.iter().collect::<Vec<_>>(), ["delayed", "there", "vanished"]);

    // What came is over after another crash; another will, which is due later than those would be, is not.
    node = node.crash(&mut |killed| killed);
    node.join(&leaves(Level::V5, "last", DELAY_S + 1)).0.break_off();
    let (mut client, _) = node.join(&watcher);
    assert_eq!(will_of(&mut client), "last");
    let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
    client.nothing_came(&mut other);
}
