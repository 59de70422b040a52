//! What is acknowledged once: CONNACK, SUBACK, UNSUBACK, retained messages.

use gatemq_tests::broker::Setup;
use gatemq_tests::power::Disk;
use gatemq_tests::session::{Connect, Level};

use super::Node;

fn everything_survives(setup: Setup, crash: &mut impl FnMut(Setup) -> Setup) {
    let stays = [(Level::V31, "s-31"), (Level::V311, "s-311"), (Level::V5, "s-5")].map(|(l, id)| Connect::stays(l, id));
    let mut node = Node::start(setup);
    // CONNACK, SUBACK, UNSUBACK: each is the last thing before a crash.
    for connect in &stays {
        let held = node.join(connect);
        assert!(!held.1, "{}", connect.client_id);
        node = node.crash(crash);
        let (mut client, present) = node.join(connect);
        assert!(present || connect.level == Level::V31, "{}: after CONNACK", connect.client_id);
        assert_eq!(client.subscribe("goes", 1), 1);
        assert_eq!(client.subscribe("stays", 2), 2);
        node = node.crash(crash);
        let (mut client, _) = node.join(connect);
        let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
        for topic in ["goes", "stays"] {
            assert_eq!(other.published(topic, 1, false, b"after SUBACK"), 0);
            assert_eq!(client.take_message().topic, topic);
        }
        client.unsubscribe("goes");
        node = node.crash(crash);
        let (mut client, _) = node.join(connect);
        let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
        for topic in ["goes", "stays"] {
            assert_eq!(other.published(topic, 2, false, b"after UNSUBACK"), 0);
        }
        assert_eq!(client.take_message().topic, "stays");
    }
    for qos in [1, 2] {
        let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
        assert_eq!(other.published("r/replaced", qos, true, b"old"), 0);
        assert_eq!(other.published("r/removed", qos, true, b"old"), 0);
        assert_eq!(other.published("r/replaced", qos, true, b"new"), 0);
        node = node.crash(crash);
        let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
        assert_eq!(other.published("r/removed", qos, true, b""), 0);
        node = node.crash(crash);
        let (mut reader, _) = node.join(&Connect::new(Level::V311, "reader"));
        let (mut other, _) = node.join(&Connect::new(Level::V5, "other"));
        assert_eq!(reader.subscribe("r/#", 2), 2);
        let message = reader.take_message();
        assert_eq!((&*message.topic, message.text(), message.qos, message.retain), ("r/replaced", "new", qos, true));
        reader.nothing_came(&mut other);
    }
}

/// A session that was CONNACKed, a subscription that was SUBACKed or UNSUBACKed, and a retained message that was set, replaced
/// or removed and acknowledged, are so after `kill -9`.
#[test]
fn promise_5_sessions_subscriptions_and_retained_messages_survive_a_kill() {
    everything_survives(super::setup(), &mut |killed| killed);
}

/// And after a power cut.
#[test]
fn promise_5_sessions_subscriptions_and_retained_messages_survive_a_power_cut() {
    let mut disk = Disk::new();
    let setup = disk.under(super::setup());
    everything_survives(setup, &mut |killed| disk.cut(killed));
}
