//! Wills of clients whose node dies.

use std::time::Duration;

use gatemq_tests::client::{Received, Tls, Version};
use gatemq_tests::cluster::wait_until_reached;
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, Will};
use gatemq_tests::{Kind, PATIENCE, wait_for};

use super::{comes, joins, started};

/// A node is killed: another one publishes the wills of its clients after their delay (MQTT-3.1.2-8, 3.1.3.2.2), of sessions that
/// stay and that do not, though it never comes back. When it is back they are not published a second time.
#[test]
fn the_wills_of_a_dead_node_are_published_by_another_one_once() {
    let (_members, mut brokers) = started(3);
    let mut watch = comes(&brokers[0], "watch");
    assert_eq!(watch.subscribe("will/#", 1), 1);
    let delayed = Will { delay_s: 1, ..Will::new("will/stays-5", b"delayed") };
    let mut clients = vec![
        joins(&brokers[2], &Connect::stays(Level::V5, "stays-5").will(delayed)).0,
        joins(&brokers[2], &Connect::stays(Level::V311, "stays-3").will(Will::new("will/stays-3", b"at once"))).0,
        joins(&brokers[2], &Connect::new(Level::V5, "passes").will(Will::new("will/passes", b"at once"))).0,
    ];
    // One that says goodbye has taken its will along.
    joins(&brokers[2], &Connect::stays(Level::V5, "polite").will(Will::new("will/polite", b"none"))).0.disconnect();
    wait_until_reached(&mut comes(&brokers[2], "probe"), &mut watch, "will/probe");
    let killed = brokers.pop().unwrap().kill();
    clients.clear();
    let mut came: Vec<String> = (0..3).map(|_| watch.take_message().topic).collect();
    came.sort();
    assert_eq!(came, ["will/passes", "will/stays-3", "will/stays-5"]);

    let back = killed.start();
    // This one's will is published by the node itself once it knows which are its own: those before it would be there.
    drop(joins(
        &back,
        &Connect::stays(Level::V5, "later").will(Will { delay_s: 1, ..Will::new("will/later", b"own") }),
    ));
    let next = watch.take_message();
    assert_eq!(next.topic, "will/later");
    assert!(watch.receive(Duration::from_secs(2)).is_err(), "nothing comes twice");
}

/// A client that is back at another node before its will is due takes it back (MQTT-3.1.3-9).
#[test]
fn a_client_of_a_dead_node_that_is_back_in_time_has_no_will() {
    let (_members, mut brokers) = started(3);
    let mut watch = comes(&brokers[0], "watch");
    assert_eq!(watch.subscribe("will/#", 1), 1);
    let will = |topic, delay_s| Will { delay_s, ..Will::new(topic, b"gone") };
    let back = Connect::stays(Level::V5, "back").will(will("will/back", 8));
    let clients = [
        joins(&brokers[2], &back).0,
        joins(&brokers[2], &Connect::stays(Level::V5, "away").will(will("will/away", 9))).0,
    ];
    wait_until_reached(&mut comes(&brokers[2], "probe"), &mut watch, "will/probe");
    brokers.pop().unwrap().kill();
    drop(clients);
    // Refused until the others know that its node is dead; from then on the delay counts.
    let tls = Tls::new(&Pki::new("Acme"), None);
    let _again = wait_for("its session is granted", PATIENCE, || {
        let mut client = brokers[1].open(Kind::Mqtt, &tls, Version::V5);
        client.send(&Connect { will: None, ..back }.bytes()).unwrap();
        match client.receive(PATIENCE) {
            Ok(Received::Packet(packet)) if packet.first == 0x20 && packet.body[1] == 0 => Some(client),
            _ => None,
        }
    });
    assert_eq!(watch.take_message().topic, "will/away", "of two that were due within a second");
}
