//! Promise 5 in a cluster: what was acknowledged at one node is kept for persistent sessions of another, whoever is killed.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use gatemq_tests::broker::{Broker, Ended, Setup};
use gatemq_tests::client::Received;
use gatemq_tests::cluster::{self, Member, wait_until_reached};
use gatemq_tests::session::{Connect, Level, Message, ack};
use gatemq_tests::{PATIENCE, short_or_long, wait_for};

use super::{comes, joins};
use crate::crash::load::{self, ALL, END, EndsAll, Field, Holds};
use crate::crash::subscriber::Subscriber;

/// Where messages may overtake one another: what has come so long after everything has is all.
const LINGERS: Duration = Duration::from_secs(3);
const LIMITS: &str = "[limits]\nqueue_messages_max = 1000000\nqueue_bytes_max = 1000000000";

/// Publishers are at the first, subscribers at the last.
pub(super) struct Nodes {
    /// `None` while it is away.
    pub(super) brokers: Vec<Option<Broker>>,
    away: Vec<Option<Setup>>,
}

impl Nodes {
    fn start(setups: Vec<Setup>) -> Nodes {
        let away = setups.iter().map(|_| None).collect();
        let brokers = cluster::start(setups.into_iter().map(|setup| setup.toml(LIMITS)));
        Nodes { brokers: brokers.into_iter().map(Some).collect(), away }
    }

    pub(super) fn address(&self, n: usize) -> Option<SocketAddr> {
        self.brokers[n].as_ref().map(|at| at.address("mqtt"))
    }

    fn kill(&mut self, n: usize) {
        self.away[n] = self.brokers[n].take().map(Broker::kill);
    }

    /// As an operator does it.
    pub(super) fn stop(&mut self, n: usize) -> Ended {
        let (ended, setup) = self.brokers[n].take().unwrap().stop_to_start_again();
        self.away[n] = Some(setup);
        ended
    }

    /// Starts it again, another than it was, and waits until the cluster is whole.
    pub(super) fn replace(&mut self, n: usize, change: impl FnOnce(Setup) -> Setup) {
        self.brokers[n] = self.away[n].take().map(|setup| change(setup).start());
        cluster::wait_until_whole(&self.brokers.iter().flatten().collect::<Vec<_>>());
    }

    fn start_again(&mut self, n: usize, field: &Field) {
        self.brokers[n] = self.away[n].take().map(Setup::start);
        field.started(self.address(n));
    }
}

pub(super) fn setups(members: &[Member]) -> Vec<Setup> {
    members.iter().map(Member::setup).collect()
}

pub(super) fn subscribers() -> Vec<Subscriber> {
    vec![
        Subscriber::new("all-5", Level::V5, 2),
        Subscriber::new("all-3", Level::V311, 1),
        Subscriber { breaks_after: Some(40), stays_away: true, ..Subscriber::new("away", Level::V311, 2) },
        Subscriber { breaks_after: Some(500), receive_max: Some(50), ..Subscriber::new("breaks", Level::V5, 2) },
    ]
}

/// Publishers at one node, persistent subscribers at another, and what `round` does to the nodes meanwhile, so many times.
pub(super) fn run(
    setups: Vec<Setup>,
    rounds: usize,
    holds: Holds,
    round: impl FnMut(&mut Nodes, &[Field; 2], &dyn Fn(u64)),
) {
    run_with(setups, subscribers(), rounds, holds, round);
}

/// As [`run`], with these subscribers.
pub(super) fn run_with(
    setups: Vec<Setup>,
    mut subscribers: Vec<Subscriber>,
    rounds: usize,
    holds: Holds,
    mut round: impl FnMut(&mut Nodes, &[Field; 2], &dyn Fn(u64)),
) {
    if !holds.ordered {
        subscribers.iter_mut().for_each(|one| one.lingers = Some(LINGERS));
    }
    let last = setups.len() - 1;
    let fields = [Field::default(), Field::default()];
    let [sends, takes] = &fields;
    let mut publishers = load::publishers();
    let mut nodes = Nodes::start(setups);
    std::thread::scope(|all| {
        let _ends = [EndsAll(sends), EndsAll(takes)];
        let wanted = subscribers.len() as u64;
        let receiving: Vec<_> = subscribers.iter_mut().map(|one| all.spawn(|| one.run(takes))).collect();
        takes.started(nodes.address(last));
        wait_for("all subscribe", PATIENCE, || (takes.subscribed.load(Ordering::Acquire) == wanted).then_some(()));
        // Subscriptions of a node are told in their order.
        let [from, to] = [0, last].map(|n| nodes.brokers[n].as_ref().unwrap());
        let mut probe = comes(to, "probe");
        assert_eq!(probe.subscribe("probe", 0), 0);
        wait_until_reached(&mut comes(from, "prober"), &mut probe, "probe");
        let sending: Vec<_> = publishers.iter_mut().map(|one| all.spawn(|| one.run(sends))).collect();
        sends.started(nodes.address(0));
        let more = |count: u64| {
            let enough = sends.count_acknowledged() + count;
            let what = format!("{enough} messages are acknowledged");
            wait_for(&what, PATIENCE, || (sends.count_acknowledged() >= enough).then_some(()));
        };
        more(300);
        for _ in 0..rounds {
            round(&mut nodes, &fields, &more);
            more(300);
        }
        sends.ending.store(true, Ordering::Release);
        takes.ending.store(true, Ordering::Release);
        sending.into_iter().for_each(|one| one.join().expect("a publisher"));
        takes.expects_all_of(sends);
        // Who is away comes back.
        takes.started(nodes.address(last));
        let mut ends = comes(nodes.brokers[0].as_ref().unwrap(), "ends");
        assert_eq!(ends.published(END, 2, false, b"0"), 0);
        receiving.into_iter().for_each(|one| one.join().expect("a subscriber"));
    });
    subscribers.iter().for_each(|subscriber| load::count(subscriber, &publishers, holds));
}

/// The subscribers' node is killed under load, again and again: what was acknowledged while it was there and while it was away is
/// all there, in order, and nothing twice at QoS 2.
#[test]
fn promise_5_a_kill_of_the_subscribers_node_loses_and_doubles_nothing() {
    let members = cluster::members("test", 2);
    run(setups(&members), short_or_long(3, 30), ALL, |nodes, [_, takes], more| {
        nodes.kill(1);
        more(300);
        nodes.start_again(1, takes);
    });
}

/// The publishers' node is killed while it keeps messages for the subscribers' node, which is away: it has them still when both are
/// back, and what its clients then send again at QoS 2 it has not twice. Not in order: what was not acknowledged before the kill is sent
/// again behind what followed it and was.
#[test]
fn promise_5_a_kill_of_the_publishers_node_loses_and_doubles_nothing_that_it_keeps_for_another() {
    let members = cluster::members("test", 2);
    let holds = Holds { once: true, but_again: false, ordered: false };
    run(setups(&members), short_or_long(2, 20), holds, |nodes, [sends, takes], more| {
        nodes.kill(1);
        more(300);
        nodes.kill(0);
        nodes.start_again(0, sends);
        more(300);
        nodes.start_again(1, takes);
    });
}

/// The same beside a third node, which is there and answers for itself: what is kept for the one that is away is stored when that has.
#[test]
fn promise_5_a_kill_of_the_publishers_node_loses_and_doubles_nothing_beside_a_third() {
    let members = cluster::members("test", 3);
    let holds = Holds { once: true, but_again: false, ordered: false };
    let mut beside = None;
    run(setups(&members), short_or_long(1, 10), holds, |nodes, [sends, takes], more| {
        beside.get_or_insert_with(|| {
            let (mut client, _) = joins(nodes.brokers[1].as_ref().unwrap(), &Connect::stays(Level::V5, "beside"));
            assert_eq!(client.subscribe("load/#", 2), 2);
        });
        more(300);
        nodes.kill(2);
        more(300);
        nodes.kill(0);
        nodes.start_again(0, sends);
        more(300);
        nodes.start_again(2, takes);
    });
}

/// No more room for what a node is to have: not acknowledged, the publisher's connection ends, nothing that was acknowledged is
/// lost; and there is room again when the node is back.
#[test]
fn promise_5_what_cannot_be_kept_for_a_node_is_not_acknowledged() {
    let mut members = cluster::members("test", 2);
    members[0].more = "hint_bytes_max = 100000".into();
    let mut brokers = cluster::start(members.iter().map(Member::setup));
    let connect = Connect::stays(Level::V5, "stays");
    let (mut stays, _) = joins(&brokers[1], &connect);
    assert_eq!(stays.subscribe("t", 1), 1);
    wait_until_reached(&mut comes(&brokers[0], "prober"), &mut stays, "t");
    let killed = brokers.pop().unwrap().kill();
    let mut acknowledged = Vec::new();
    let mut publisher = comes(&brokers[0], "publisher");
    for n in 1..=1000_u16 {
        let payload = [n.to_string().as_bytes(), &[b' '; 1000]].concat();
        publisher.publish_as(2, "t", n, &payload).unwrap();
        match publisher.receive(PATIENCE).expect("an answer, or the end") {
            Received::Packet(packet) if packet.first == ack::PUBACK => {
                let code = packet.body.get(2).copied().unwrap_or(0);
                assert_eq!(code, 0, "{packet:?}");
                acknowledged.push(n);
            }
            Received::Packet(packet) => assert_eq!(packet.kind(), 14, "{packet:?}"),
            Received::Closed => break,
        }
        if acknowledged.last() != Some(&n) {
            super::expect_end(&mut publisher);
            break;
        }
    }
    assert!((20..=100).contains(&acknowledged.len()), "{} are kept in 100,000 bytes", acknowledged.len());
    let seen = cluster::status(&brokers[0]);
    assert_eq!(seen["not_acknowledged"], 1, "{seen:#}");
    // Nor at QoS 2, however often it is sent.
    let exact = Connect::stays(Level::V5, "exact");
    for (flags, again) in [(4, false), (4 | 8, true)] {
        let (mut publisher, present) = joins(&brokers[0], &exact);
        assert_eq!(present, again);
        publisher.publish_as(flags, "t", 7, &[b' '; 1000]).unwrap();
        while let Received::Packet(packet) = publisher.receive(PATIENCE).expect("the end") {
            assert_ne!(packet.first, ack::PUBREC, "{packet:?}");
        }
    }
    let back = killed.start();
    let (mut stays, present) = joins(&back, &connect);
    assert!(present);
    let mut came: Vec<u16> = Vec::new();
    while !acknowledged.iter().all(|n| came.contains(n)) {
        let next = stays.receive(PATIENCE);
        let Ok(Received::Packet(packet)) = next else { panic!("{next:?} after {came:?} of {acknowledged:?}") };
        let message = Message::read(&packet, stays.version());
        came.push(message.text().trim().parse().unwrap());
        stays.send_ack(ack::PUBACK, message.id).unwrap();
    }
    assert!(came.is_sorted(), "not in order: {came:?}");
    let mut publisher = comes(&brokers[0], "publisher");
    assert_eq!(publisher.published("t", 1, false, b"there is room"), 0);
    assert_eq!(stays.take_message().text(), "there is room");
    let nothing = stays.receive(Duration::from_millis(50));
    assert!(!matches!(nothing, Ok(Received::Packet(_))), "{nothing:?}");
}
