//! A client comes to another node than before: its session comes along.

use std::sync::mpsc::sync_channel;
use std::thread;

use gatemq_tests::client::Tls;
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level, ack};
use gatemq_tests::{Kind, PATIENCE, cluster, short_or_long, wait_for};
use rustix::process::Signal;
use serde_json::Value;

use super::promise_5::{run_with, setups};
use super::{comes, joins, signal, started};
use crate::crash::load::Holds;
use crate::crash::subscriber::Subscriber;

/// Session Present is 1 at the next node, with subscriptions and what waited; whoever had it is told 0x8E; what is published later,
/// anywhere, comes to the new place; and an event there says where it was.
#[test]
fn a_session_moves_with_its_client() {
    let (_members, mut nodes) = started(3);
    let mover = Connect::stays(Level::V5, "mover");
    let (mut client, present) = joins(&nodes[0], &mover);
    assert_eq!((client.subscribe("t/#", 2), present), (2, false));
    let (mut publisher, mut from) = (comes(&nodes[1], "publisher"), 0);
    for n in [1, 2, 0, 2, 1] {
        let (next, present) = joins(&nodes[n], &mover);
        assert!(present, "its session comes to node {n}");
        let was = format!("node-{}", from + 1);
        let is = |e: &Value| e["event"] == "SessionMoved" && e["client_id"] == "mover" && e["fields"]["from"] == *was;
        nodes[n].tape().wait_for("it is told", is);
        from = n;
        let mut old = std::mem::replace(&mut client, next);
        assert_eq!(old.expect_goodbye(), Some(0x8E), "where it was it is told");
        for qos in [1, 2] {
            assert_eq!(publisher.published("t/x", qos, false, n.to_string().as_bytes()), 0);
            let message = client.take_message();
            assert_eq!((message.topic.as_str(), &message.payload[..]), ("t/x", n.to_string().as_bytes()));
        }
    }
}

/// What comes while the client is nowhere waits where it was last, and comes along.
#[test]
fn what_waits_moves_too() {
    let (_members, nodes) = started(2);
    let mover = Connect::stays(Level::V311, "mover");
    let (mut client, _) = joins(&nodes[0], &mover);
    assert_eq!(client.subscribe("t", 1), 1);
    drop(client);
    let mut publisher = comes(&nodes[1], "publisher");
    let mut probe = comes(&nodes[0], "probe");
    assert_eq!(probe.subscribe("probe", 0), 0);
    cluster::wait_until_reached(&mut publisher, &mut probe, "probe");
    for n in 0..10 {
        assert_eq!(publisher.published("t", 1, false, &[n]), 0);
    }
    let (mut client, present) = joins(&nodes[1], &mover);
    assert!(present);
    for n in 0..10 {
        assert_eq!(client.take_message().payload, [n]);
    }
}

/// A QoS 2 message that was not acknowledged because a third node does not answer is sent again at the node to which its client has gone
/// meanwhile: that one knows that it came, so nobody gets it twice.
#[test]
fn what_is_sent_again_at_another_node_comes_once() {
    // As many, for some wait until the third node is there again: it keeps the books of their sessions.
    const MOVERS: usize = 6;
    let (_members, nodes) = started(3);
    let (mut publisher, mut there) = (comes(&nodes[0], "publisher"), comes(&nodes[2], "there"));
    assert_eq!(there.subscribe("t", 2), 2);
    cluster::wait_until_reached(&mut publisher, &mut there, "t");
    let mut here = comes(&nodes[0], "here");
    assert_eq!(here.subscribe("t", 2), 2);
    let names: Vec<String> = (0..MOVERS).map(|n| format!("mover-{n}")).collect();
    let connects: Vec<_> = names.iter().map(|name| Connect::stays(Level::V5, name)).collect();
    let mut before: Vec<_> = connects.iter().map(|connect| joins(&nodes[0], connect).0).collect();
    signal(&nodes[2], Signal::STOP);
    for (client, name) in before.iter_mut().zip(&names) {
        client.publish_as(2 << 1, "t", 1, name.as_bytes()).expect("PUBLISH");
    }
    let mut came: Vec<_> = names.iter().map(|_| here.take_message().text().to_owned()).collect();
    came.sort_unstable();
    assert_eq!(came, names);
    let (done, is_done) = sync_channel(MOVERS);
    thread::scope(|scope| {
        for (connect, name) in connects.iter().zip(&names) {
            let (node, done) = (&nodes[1], done.clone());
            scope.spawn(move || {
                let mut client = wait_for("its session comes", PATIENCE, || {
                    let (client, answer) = node.greeted(Kind::Mqtt, &Tls::new(&Pki::new("Acme"), None), connect);
                    let is_admitted = answer.code == 0;
                    assert!(answer.session_present || !is_admitted, "{answer:?}");
                    is_admitted.then_some(client)
                });
                client.publish_as(2 << 1 | 8, "t", 1, name.as_bytes()).expect("PUBLISH");
                assert_eq!(client.expect_ack(ack::PUBREC, 1), 0);
                client.send_ack(ack::PUBREL, 1).expect("PUBREL");
                assert_eq!(client.expect_ack(ack::PUBCOMP, 1), 0);
                done.send(()).unwrap();
            });
        }
        is_done.recv_timeout(PATIENCE * 2).expect("one of them is at another node");
        signal(&nodes[2], Signal::CONT);
    });
    assert_eq!(publisher.published("t", 2, false, b"end"), 0);
    assert_eq!(here.take_message().text(), "end", "nothing came twice");
}

/// A message came to a session where it was, and is kept for the node to which it goes, which was away and has another subscriber: it
/// comes there after the session, and only to the other one.
#[test]
fn promise_5_what_was_kept_for_the_next_node_does_not_come_twice() {
    let (_members, mut nodes) = started(3);
    let (mover, stays) = (Connect::stays(Level::V5, "mover"), Connect::stays(Level::V5, "stays"));
    for (connect, n) in [(&mover, 1), (&stays, 2)] {
        let (mut client, _) = joins(&nodes[n], connect);
        assert_eq!(client.subscribe("t", 2), 2);
        cluster::wait_until_reached(&mut comes(&nodes[0], "prober"), &mut client, "t");
        client.disconnect();
    }
    let third = nodes.pop().unwrap().kill();
    assert_eq!(comes(&nodes[0], "publisher").published("t", 2, false, b"kept"), 0);
    let (mut client, _) = joins(&nodes[1], &mover);
    assert_eq!(client.take_message().text(), "kept");
    client.ping();
    let first = nodes.remove(0).kill();
    nodes.push(third.start());
    let (mut client, present) = joins(&nodes[1], &mover);
    assert!(present, "its session comes");
    nodes.push(first.start());
    let (mut other, present) = joins(&nodes[1], &stays);
    assert!(present);
    assert_eq!(other.take_message().text(), "kept", "the first node has it still");
    assert_eq!(comes(&nodes[2], "publisher").published("t", 2, false, b"end"), 0);
    assert_eq!([client.take_message().text(), other.take_message().text()], ["end", "end"], "nothing comes twice");
}

/// A message for a session is kept for the node where it is, which is away. When that is back, the session goes to another one, which has
/// heard of later messages, and returns; then the message comes.
#[test]
fn promise_5_what_was_kept_for_the_node_of_a_session_comes_when_it_returns() {
    let (_members, mut nodes) = started(3);
    let mover = Connect::stays(Level::V5, "mover");
    let (mut client, _) = joins(&nodes[2], &mover);
    let mut other = comes(&nodes[1], "other");
    for (client, filter) in [(&mut client, "t"), (&mut other, "u")] {
        assert_eq!(client.subscribe(filter, 2), 2);
        cluster::wait_until_reached(&mut comes(&nodes[0], "prober"), client, filter);
    }
    client.disconnect();
    let third = nodes.pop().unwrap().kill();
    let mut publisher = comes(&nodes[0], "publisher");
    for topic in ["t", "u"] {
        assert_eq!(publisher.published(topic, 2, false, topic.as_bytes()), 0);
    }
    assert_eq!(other.take_message().text(), "u");
    let first = nodes.remove(0).kill();
    nodes.push(third.start());
    for n in [0, 1] {
        let (mut client, present) = joins(&nodes[n], &mover);
        assert!(present, "its session comes");
        client.ping();
        client.disconnect();
    }
    nodes.push(first.start());
    let (mut client, present) = joins(&nodes[1], &mover);
    assert!(present);
    assert_eq!(client.take_message().text(), "t");
}

/// Persistent sessions move between three nodes under load: nothing acknowledged is lost, nothing comes twice at QoS 2. Order is
/// not looked at: what followed a session may come behind what came to its new place at once.
#[test]
fn promise_5_sessions_that_move_lose_and_double_nothing() {
    let members = cluster::members("test", 3);
    let moves =
        |name, level, qos| Subscriber { breaks_after: Some(60), stays_away: true, ..Subscriber::new(name, level, qos) };
    let subscribers =
        vec![moves("moves-5", Level::V5, 2), moves("moves-3", Level::V311, 2), moves("moves-1", Level::V5, 1)];
    let holds = Holds { once: true, but_again: false, ordered: false };
    let mut at = 2;
    run_with(setups(&members), subscribers, short_or_long(12, 100), holds, |nodes, [_, takes], _| {
        at = (at + 1) % 3;
        takes.started(nodes.address(at));
    });
}
