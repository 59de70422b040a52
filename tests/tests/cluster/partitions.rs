//! Nodes in network namespaces, whose links are cut and healed.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gatemq_tests::broker::Broker;
use gatemq_tests::client::Client;
use gatemq_tests::cluster::{self, status, wait_until_reached};
use gatemq_tests::network::Network;
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{PATIENCE, short_or_long, wait_for};
use serde_json::Value;

use super::{comes, joins, promise_5, retained};
use crate::crash::load::ALL;

/// What `at` says of `node-N`.
fn state(at: &Broker, node: usize) -> Option<String> {
    let seen = status(at);
    let row = seen["rows"].as_array()?.iter().find(|row| row["name"] == format!("node-{node}"))?;
    Some(row["state"].as_str()?.to_owned())
}

/// The subscribers' node is cut off under load, both sides are changed meanwhile, and the link is healed: nothing acknowledged is
/// lost, nothing comes twice at QoS 2, and retained messages, denials and subscriptions are the same everywhere.
#[test]
fn promise_5_a_link_is_cut_under_load_and_healed() {
    let Some(network) = Network::new(3) else { return };
    let cut_for = short_or_long(Duration::from_secs(8), Duration::from_secs(60));
    promise_5::run(network.setups(), short_or_long(1, 3), ALL, |nodes, [sends, takes], more| {
        let [one, two, three] = [0, 1, 2].map(|n| nodes.brokers[n].as_ref().unwrap());
        let begun = Instant::now();
        takes.quiet.store(true, Ordering::Release);
        network.cut(3);
        wait_for("the others find it dead", PATIENCE, || (state(one, 3)? == "dead").then_some(()));
        // Both: until then the keepers of some sessions are missing, and their clients are told to come later.
        wait_for("it finds the others dead", PATIENCE, || {
            (state(three, 1)? == "dead" && state(three, 2)? == "dead").then_some(())
        });
        eprintln!("a cut is noticed on both sides after {:?}", begun.elapsed());
        more(300);
        // Each side changes what all have, and its clients subscribe.
        let mut clients: Vec<_> = [one, two, three].iter().map(|at| comes(at, &format!("side-{}", at.pid()))).collect();
        for (n, client) in clients.iter_mut().enumerate() {
            assert_eq!(client.published("r/both", 1, true, format!("of {n}").as_bytes()), 0);
            assert_eq!(client.published(&format!("r/{n}"), 1, true, b"own"), 0);
            assert_eq!(client.subscribe(&format!("side/{n}"), 0), 0);
        }
        let _: Value = one.command(&["deny", "add", "user", "test", "mallory", "--reason", "while cut"]);
        let _: Value = three.command(&["deny", "add", "user", "test", "trudy", "--reason", "while cut"]);
        // A cut lasts a time, not until something happens; each side serves its clients all the while.
        sends.quiet.store(true, Ordering::Release);
        let left = cut_for.saturating_sub(begun.elapsed());
        Client::nothing_comes(&mut clients.iter_mut().collect::<Vec<_>>(), left);
        [sends, takes].iter().for_each(|field| field.quiet.store(false, Ordering::Release));
        let healed = Instant::now();
        network.heal(3);
        cluster::wait_until_whole(&[one, two, three]);
        eprintln!("after {:?} of cut the cluster is whole again {:?} after it was healed", cut_for, healed.elapsed());
        let same = wait_for("retained messages are the same", PATIENCE, || {
            let of_each = [one, two, three].map(retained::retained);
            (of_each[0] == of_each[1] && of_each[1] == of_each[2]).then(|| of_each[0].clone())
        });
        assert_eq!(same.keys().collect::<Vec<_>>(), ["r/0", "r/1", "r/2", "r/both"]);
        assert_eq!(same["r/both"], "of 2", "the last one");
        wait_for("denials are the same", PATIENCE, || {
            let users = |at: &Broker| -> BTreeSet<String> {
                let denials = at.command(&["deny", "list"]);
                denials.as_array().unwrap().iter().map(|denial| denial["subject"].to_string()).collect()
            };
            let of_each = [one, two, three].map(users);
            (of_each[0].len() == 2 && of_each.iter().all(|users| *users == of_each[0])).then_some(())
        });
        for (from, to) in [(0, 2), (2, 0), (1, 2)] {
            let (low, high) = clients.split_at_mut(from.max(to));
            let (first, second) = (&mut low[from.min(to)], &mut high[0]);
            let (from, subscriber) = if from < to { (first, second) } else { (second, first) };
            wait_until_reached(from, subscriber, &format!("side/{to}"));
        }
        eprintln!("all is the same again {:?} after it was healed", healed.elapsed());
        for user in ["mallory", "trudy"] {
            two.command(&["deny", "lift", "user", "test", user]);
        }
        for n in 0..3 {
            assert_eq!(clients[0].published(&format!("r/{n}"), 1, true, b""), 0);
        }
        for client in clients {
            client.disconnect();
        }
    });
}

/// Keys of each kind.
const KEYS: usize = 6;

/// Both sides of a cut have a session of the same keys; after it is healed there is one of each: the one that began later. The client of
/// the other is told, the node says what is lost; what is published goes to the one that stays, once, wherever its client comes.
#[test]
fn promise_5_after_a_cut_there_is_one_session_of_each_key() {
    let Some(network) = Network::new(3) else { return };
    let cut_for = short_or_long(Duration::from_secs(1), Duration::from_secs(60));
    let mut nodes = cluster::start(network.setups());
    // One kind has its session at node 3 first, which is cut off, and then at node 1; the other the other way round. Of each every
    // other client is away when the link is healed.
    let keys: Vec<(String, usize, usize)> =
        (0..2 * KEYS).map(|n| if n < KEYS { (format!("out-{n}"), 2, 0) } else { (format!("in-{n}"), 0, 2) }).collect();
    let come = |nodes: &[Broker], at: usize, key: &str| {
        let (mut client, present) = joins(&nodes[at], &Connect::stays(Level::V5, key));
        assert!(!present, "{key}: its session begins at node {at}");
        assert_eq!(client.subscribe(&format!("one/{key}"), 1), 1);
        client
    };
    let mut first: Vec<_> = keys.iter().map(|(key, first, _)| come(&nodes, *first, key)).collect();
    network.cut(3);
    let begun = Instant::now();
    wait_for("the others find it dead", PATIENCE, || (state(&nodes[0], 3)? == "dead").then_some(()));
    wait_for("it finds the others dead", PATIENCE, || {
        (state(&nodes[2], 1)? == "dead" && state(&nodes[2], 2)? == "dead").then_some(())
    });
    let mut then: Vec<_> = keys.iter().map(|(key, _, then)| come(&nodes, *then, key)).collect();
    // A cut lasts a time, not until something happens; each side serves its clients all the while.
    let mut all: Vec<_> = first.iter_mut().chain(&mut then).collect();
    Client::nothing_comes(&mut all, cut_for.saturating_sub(begun.elapsed()));
    let (mut there, mut away) = (Vec::new(), 0);
    for (n, (old, new)) in first.into_iter().zip(then).enumerate() {
        match n.is_multiple_of(2) {
            true => there.push((n, old, new)),
            false => {
                old.disconnect();
                new.disconnect();
                away += 1;
            }
        }
    }
    network.heal(3);
    cluster::wait_until_whole(&nodes.iter().collect::<Vec<_>>());
    for (key, first, then) in &keys {
        let by = format!("superseded by the one on node-{}", then + 1);
        let fits = |e: &Value| {
            let reason = e["fields"]["reason"].as_str();
            e["event"] == "SessionEnded" && e["client_id"] == **key && reason.is_some_and(|why| why.contains(&by))
        };
        nodes[*first].tape().wait_for(key, fits);
    }
    let mut publisher = comes(&nodes[1], "publisher");
    for (n, mut old, mut new) in there {
        let key = &keys[n].0;
        assert_eq!(old.expect_goodbye(), Some(0x8E), "{key}: the earlier one");
        assert_eq!(publisher.published(&format!("one/{key}"), 1, false, b"while here"), 0);
        assert_eq!(new.take_message().text(), "while here", "{key}");
        new.ping();
        new.disconnect();
    }
    for (key, ..) in &keys {
        assert_eq!(publisher.published(&format!("one/{key}"), 1, false, b"while away"), 0);
    }
    eprintln!(
        "{} keys, {away} of them away, have one session each {:?} after the cut began",
        keys.len(),
        begun.elapsed()
    );
    for (n, (key, ..)) in keys.iter().enumerate() {
        let (mut client, present) = joins(&nodes[n % 3], &Connect::stays(Level::V5, key));
        assert!(present, "{key}: the one session comes");
        assert_eq!(client.take_message().text(), "while away", "{key}");
        client.ping();
    }
}
