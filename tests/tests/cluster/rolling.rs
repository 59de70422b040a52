//! Nodes are stopped one after the other, as an upgrade does it: sessions go to the others, and nothing is lost.

use std::time::Instant;

use gatemq_tests::broker::Ended;
use gatemq_tests::cluster::{self, Member, status, wait_until_reached};
use gatemq_tests::session::{Connect, Level};

use super::promise_5::{Nodes, run_with, setups, subscribers};
use super::{comes, joins, started};
use crate::crash::load::{Field, Holds};

const SESSIONS: usize = 40;
/// The last line of a node whose sessions are all elsewhere.
const HANDED_OVER: &str = "handed over to other nodes";

fn level(n: usize) -> Level {
    if n.is_multiple_of(2) { Level::V5 } else { Level::V311 }
}

fn expect_handed_over(ended: &Ended) {
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    assert!(ended.log.contains(HANDED_OVER), "{}", ended.log);
}

/// Issue 6, leaving drains: who was at a node that is stopped finds the session at another one, with what waited and was in flight,
/// while the node is gone; and when it is back it knows that it has them no more.
#[test]
fn a_node_that_stops_hands_its_sessions_over() {
    let (_members, mut nodes) = started(3);
    let names: Vec<String> = (0..SESSIONS).map(|n| format!("stays-{n}")).collect();
    let mut there = Vec::new();
    for (n, name) in names.iter().enumerate() {
        let (mut client, _) = joins(&nodes[2], &Connect::stays(level(n), name));
        assert_eq!(client.subscribe("t", 1), 1);
        // Half of them are away when the node stops; the others have not acknowledged what comes.
        if n % 4 < 2 {
            there.push(client);
        }
    }
    let (mut publisher, mut probe) = (comes(&nodes[0], "publisher"), comes(&nodes[2], "probe"));
    assert_eq!(probe.subscribe("probe", 0), 0);
    wait_until_reached(&mut publisher, &mut probe, "probe");
    assert_eq!(publisher.published("t", 1, false, b"before"), 0);
    let begun = Instant::now();
    let (ended, away) = nodes.pop().unwrap().stop_to_start_again();
    eprintln!("{SESSIONS} sessions are handed over, and the node has ended, after {:?}", begun.elapsed());
    expect_handed_over(&ended);
    assert_eq!(publisher.published("t", 1, false, b"after"), 0);
    for (n, name) in names.iter().enumerate() {
        let (mut client, present) = joins(&nodes[n % 2], &Connect::stays(level(n), name));
        assert!(present, "{name}: its session is with another node");
        assert_eq!([client.take_message().text(), client.take_message().text()], ["before", "after"], "{name}");
    }
    nodes.push(away.start());
    cluster::wait_until_whole(&nodes.iter().collect::<Vec<_>>());
    assert_eq!(publisher.published("t", 1, false, b"back"), 0);
    for (n, name) in names.iter().enumerate() {
        let (mut client, present) = joins(&nodes[2], &Connect::stays(level(n), name));
        assert!(present, "{name}: its session comes back");
        assert_eq!(client.take_message().text(), "back", "{name}: and nothing that it had before");
    }
}

/// The twin that hands nothing over: its sessions are there when it is back, with what was acknowledged while it was gone.
#[test]
fn a_node_that_keeps_its_sessions_has_them_when_it_is_back() {
    let mut members = cluster::members("test", 2);
    members[1].more = "leave_s_max = 0".into();
    let mut nodes = cluster::start(members.iter().map(Member::setup));
    let connect = Connect::stays(Level::V5, "stays");
    let (mut client, _) = joins(&nodes[1], &connect);
    assert_eq!(client.subscribe("t", 1), 1);
    let mut publisher = comes(&nodes[0], "publisher");
    wait_until_reached(&mut publisher, &mut client, "t");
    let (ended, away) = nodes.pop().unwrap().stop_to_start_again();
    assert!(ended.code == Some(0) && !ended.log.contains(HANDED_OVER), "{}", ended.log);
    assert_eq!(publisher.published("t", 1, false, b"while it was gone"), 0);
    let back = away.start();
    let (mut client, present) = joins(&back, &connect);
    assert!(present);
    assert_eq!(client.take_message().text(), "while it was gone");
}

/// What keeps a node to the protocol of the build before.
const PREVIOUS: &str = "protocol_max = 1";

/// The protocols that a node speaks with the two others.
fn protocols(nodes: &Nodes, n: usize) -> Vec<u64> {
    let seen = status(nodes.brokers[n].as_ref().unwrap());
    let rows = seen["rows"].as_array().unwrap().iter().filter(|row| row["state"] == "up");
    let mut protocols: Vec<_> = rows.filter_map(|row| row["protocol"].as_u64()).collect();
    protocols.sort_unstable();
    protocols
}

/// Stops a node under load; its clients go to another one at once, and find their sessions there. A node that others keep messages for
/// waits for these first, and on a busy machine `cluster.leave_s_max` may be over before: then its clients wait until it is back.
fn roll(nodes: &mut Nodes, n: usize, (field, to): (&Field, usize), more: &dyn Fn(u64)) {
    let ended = nodes.stop(n);
    assert_eq!(ended.code, Some(0), "{}", ended.log);
    let is_elsewhere = ended.log.contains(HANDED_OVER);
    eprintln!("node {n} has stopped; its sessions are elsewhere: {is_elsewhere}");
    if is_elsewhere {
        field.started(nodes.address(to));
        more(300);
    }
    nodes.replace(n, |setup| setup);
    if !is_elsewhere {
        field.started(nodes.address(n));
        more(300);
    }
    more(100);
}

/// Issue 6: a cluster of the previous build (this one, with the protocol of that) is replaced node by node under load, and then rolled
/// once more: nothing acknowledged is lost, nothing comes twice at QoS 2 but what its publisher had to send again. The previous build knows
/// nothing of sessions that are to be taken, so the first time clients wait for their node; the second time they go on at another one.
#[test]
fn promise_5_a_cluster_is_replaced_node_by_node_under_load() {
    let mut members = cluster::members("test", 3);
    members.iter_mut().for_each(|member| member.more = PREVIOUS.into());
    let holds = Holds { once: true, but_again: true, ordered: false };
    let begun = Instant::now();
    run_with(setups(&members), subscribers(), 1, holds, |nodes, [sends, takes], more| {
        for (n, field, before) in [(2, Some(takes), [1, 1]), (1, None, [1, 1]), (0, Some(sends), [1, 1])] {
            assert_eq!(protocols(nodes, n), before, "node {n} is of the previous build");
            let ended = nodes.stop(n);
            assert!(!ended.log.contains(HANDED_OVER), "{}", ended.log);
            nodes.replace(n, |setup| setup.without(PREVIOUS));
            if let Some(field) = field {
                field.started(nodes.address(n));
            }
            more(300);
        }
        (0..3).for_each(|n| assert_eq!(protocols(nodes, n), [2, 2], "node {n} is of this build"));
        eprintln!("the cluster was replaced after {:?}", begun.elapsed());
        roll(nodes, 2, (takes, 1), more);
        roll(nodes, 1, (takes, 2), more);
        roll(nodes, 0, (sends, 1), more);
    });
    eprintln!("and rolled once more after {:?}", begun.elapsed());
}
