//! 4.8.2 over nodes: what waits in a shared subscription when its members go.

use gatemq_tests::client::Client;
use gatemq_tests::cluster::wait_until_reached;
use gatemq_tests::session::{Connect, Level, ack};

use super::{comes, joins, started};

/// Messages of which two are in the window of whoever takes them, and the others wait.
const COUNT: u8 = 10;
const WINDOW: u16 = 2;

fn takes(connect: Connect<'static>) -> Connect<'static> {
    Connect { receive_max: Some(WINDOW), ..connect }
}

/// Takes these, in this order, and acknowledges them.
fn expect_all(client: &mut Client, topic: &str, wanted: impl IntoIterator<Item = u8>) {
    for n in wanted {
        let message = client.next_message();
        assert_eq!((&*message.topic, &message.payload[..]), (topic, &[n][..]));
        client.send_ack(ack::PUBACK, message.id).unwrap();
    }
}

/// The last member of a node goes: what waits there goes to a member at another node, in order, and with its session's end also what
/// it had not acknowledged (MQTT-4.8.2-4 lets it). Who only unsubscribes keeps what it was sent. Nothing comes twice, also when
/// the node had it in its store and starts again.
#[test]
fn what_waits_goes_to_members_at_other_nodes() {
    let (_members, mut nodes) = started(2);
    let mut publisher = comes(&nodes[1], "publisher");
    for (topic, connect, first) in [
        ("unsubscribes", Connect::new(Level::V5, "taker"), 2),
        ("is/stored/and/unsubscribes", Connect::stays(Level::V5, "stored"), 2),
        ("vanishes", Connect::new(Level::V5, "taker"), 0),
    ] {
        let (filter, known) = (format!("$share/g/{topic}"), format!("known/{topic}"));
        let (mut taker, _) = joins(&nodes[0], &takes(connect));
        assert_eq!(taker.subscribe(&filter, 1), 1);
        assert_eq!(taker.subscribe(&known, 0), 0);
        wait_until_reached(&mut publisher, &mut taker, &known);
        for n in 0..COUNT {
            assert_eq!(publisher.published(topic, 1, false, &[n]), 0, "{topic}");
        }
        for n in 0..2 {
            assert_eq!(taker.next_message().payload, [n], "{topic}");
        }
        let (mut other, mut local) = (comes(&nodes[1], "other"), comes(&nodes[0], "local"));
        assert_eq!(other.subscribe(&filter, 1), 1);
        assert_eq!(other.subscribe(&format!("other/{topic}"), 0), 0);
        wait_until_reached(&mut local, &mut other, &format!("other/{topic}"));
        match first {
            0 => taker.break_off(),
            _ => assert_eq!(taker.unsubscribe(&filter), Some(0)),
        }
        expect_all(&mut other, topic, first..COUNT);
        if topic.contains("stored") {
            let node = nodes.remove(0);
            nodes.insert(0, node.kill().start());
        }
        other.nothing_came(&mut publisher);
    }
}

/// The only member comes to another node: what waits for it in its shared subscription comes along.
#[test]
fn what_waits_follows_the_only_member() {
    let (_members, nodes) = started(2);
    let mover = takes(Connect::stays(Level::V5, "mover"));
    let (mut before, _) = joins(&nodes[0], &mover);
    assert_eq!(before.subscribe("$share/g/work", 1), 1);
    let mut publisher = comes(&nodes[0], "publisher");
    for n in 0..COUNT {
        assert_eq!(publisher.published("work", 1, false, &[n]), 0);
    }
    let (mut after, present) = joins(&nodes[1], &mover);
    assert!(present);
    expect_all(&mut after, "work", 0..COUNT);
}
