//! Retained messages, which every node holds.

use std::collections::BTreeMap;

use gatemq_tests::broker::Broker;
use gatemq_tests::cluster::{self, Member};
use gatemq_tests::{PATIENCE, wait_for};

use super::{comes, started};

/// What a node has below `r/`.
pub(super) fn retained(at: &Broker) -> BTreeMap<String, String> {
    let mut reader = comes(at, &format!("reader-{}", at.pid()));
    assert_eq!(reader.subscribe("r/#", 1), 1);
    assert_eq!(reader.subscribe("end", 1), 1);
    assert_eq!(reader.published("end", 1, false, b""), 0);
    let mut found = BTreeMap::new();
    loop {
        let message = reader.take_message();
        match &*message.topic {
            "end" => return found,
            _ => found.insert(message.topic.clone(), message.text().to_owned()),
        };
    }
}

/// Set and removed at any node, they are so at all, also at one that joins later, and at one that was away meanwhile.
#[test]
fn retained_messages_are_set_and_removed_everywhere() {
    let (members, mut brokers) = started(3);
    let mut publishers: Vec<_> =
        brokers.iter().map(|broker| comes(broker, &format!("publisher-{}", broker.pid()))).collect();
    for n in 0..30 {
        assert_eq!(publishers[n % 3].published(&format!("r/{n}"), 1, true, format!("v{n}").as_bytes()), 0);
    }
    let has = |broker: &Broker, wanted: &BTreeMap<String, String>| {
        wait_for(&format!("{wanted:?}"), PATIENCE, || (retained(broker) == *wanted).then_some(()));
    };
    let mut wanted: BTreeMap<_, _> = (0..30).map(|n| (format!("r/{n}"), format!("v{n}"))).collect();
    brokers.iter().for_each(|broker| has(broker, &wanted));
    let away = brokers.pop().unwrap().kill();
    publishers.pop();
    // Removed and replaced at another node than where it was set.
    for n in 0..10 {
        let topic = format!("r/{n}");
        assert_eq!(publishers[(n + 1) % 2].published(&topic, 1, true, b""), 0);
        wanted.remove(&topic);
        let topic = format!("r/{}", n + 10);
        assert_eq!(publishers[(n + 1) % 2].published(&topic, 1, true, b"new"), 0);
        wanted.insert(topic, "new".into());
    }
    brokers.iter().for_each(|broker| has(broker, &wanted));
    // They are there before its listeners are open.
    let joiner = Member::of(&members, "node-4").setup().start();
    assert_eq!(retained(&joiner), wanted);
    let back = away.start();
    assert_eq!(retained(&back), wanted);
}

/// Two nodes set the same topics at the same time: all nodes end with the same.
#[test]
fn topics_that_two_nodes_set_at_once_end_the_same_everywhere() {
    const TOPICS: usize = 200;
    let (_members, brokers) = started(3);
    std::thread::scope(|all| {
        for (n, broker) in brokers.iter().take(2).enumerate() {
            all.spawn(move || {
                let mut publisher = comes(broker, &format!("publisher-{}", broker.pid()));
                for topic in 0..TOPICS {
                    // Some are removed by one and set by the other.
                    let payload = if n == 0 && topic % 3 == 0 { String::new() } else { format!("of {n}") };
                    assert_eq!(publisher.published(&format!("r/{topic}"), 1, true, payload.as_bytes()), 0);
                }
            });
        }
    });
    let ended = wait_for("all nodes have the same", PATIENCE, || {
        let of_each: Vec<_> = brokers.iter().map(retained).collect();
        (of_each[0] == of_each[1] && of_each[1] == of_each[2]).then(|| of_each[0].clone())
    });
    assert!(ended.len() >= TOPICS * 2 / 3, "{} of {TOPICS}", ended.len());
    // And stay so.
    cluster::wait_until_whole(&brokers.iter().collect::<Vec<_>>());
    assert!(brokers.iter().all(|broker| retained(broker) == ended));
}
