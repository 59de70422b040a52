//! Links that break, partitions that heal, keys and certificates that change while nodes run.

use std::time::Duration;

use bytes::Bytes;
use tokio::net::UdpSocket;

use super::kit::{Kit, NONSENSE, Node, Said, name, secret, until};
use super::relay::Relay;
use crate::core::{Boot, Lost};
use crate::net::{BatchBuilder, DeliverError, KeyError, MessageHead, RefusedSide, Settings};

const LONG: Duration = Duration::from_secs(8);
/// On a busy machine.
const VERY_LONG: Duration = Duration::from_secs(30);
/// memberlist forgets a dead node after 30 s, unless it is told otherwise.
const FORGOTTEN: Duration = Duration::from_secs(34);

/// A node whose RPC and gossip are reached through relays.
async fn start(settings: Settings) -> (Node, [Relay; 2]) {
    let relays = [Relay::new().await, Relay::new().await];
    start_behind(settings, relays).await
}

async fn start_behind(mut settings: Settings, relays: [Relay; 2]) -> (Node, [Relay; 2]) {
    settings.rpc_advertise = Some(relays[0].address);
    settings.gossip_advertise = Some(relays[1].address);
    let node = Node::start(settings).await;
    let shared = &node.net.shared;
    // What the relays forward to is known only now: the sockets were bound at port 0.
    relays[0].to(shared.bound.0);
    relays[1].to(shared.bound.1);
    (node, relays)
}

/// A cluster of three that are the seeds of each other, each behind relays.
async fn three(kit: &Kit) -> Vec<(Node, [Relay; 2])> {
    let mut all = Vec::new();
    for n in ["n1", "n2", "n3"] {
        all.push((kit.settings(n, &[]), [Relay::new().await, Relay::new().await]));
    }
    let seeds: Vec<String> = all.iter().map(|(_, relays)| relays[0].address.to_string()).collect();
    let start = |(mut settings, relays): (Settings, [Relay; 2])| {
        settings.seeds = seeds.clone();
        start_behind(settings, relays)
    };
    let nodes = futures_util::future::join_all(all.into_iter().map(start)).await;
    until(VERY_LONG, "a cluster", || is_whole(&nodes)).await;
    nodes
}

fn is_whole(nodes: &[(Node, [Relay; 2])]) -> bool {
    nodes.iter().all(|(node, _)| node.members().len() == nodes.len() - 1)
}

fn control(from: &str, text: &'static [u8]) -> Said {
    Said::Control(name(from), Bytes::from_static(text))
}

/// A link that is killed is made again; both ends are told of the reset before anything of the new one comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_link_comes_back() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    assert!(n1.net.send_control(&name("n2"), Bytes::from_static(b"old")));
    n2.host.wait("old", |said| (*said == control("n1", b"old")).then_some(())).await;
    n1.host.clear();
    n2.host.clear();
    n1.net.disconnect(&name("n2"));
    n1.host.up("n2").await;
    assert!(n1.net.send_control(&name("n2"), Bytes::from_static(b"new")));
    n2.host.wait("new", |said| (*said == control("n1", b"new")).then_some(())).await;
    let place = |host: &super::kit::Recorder, wanted: &dyn Fn(&Said) -> bool| host.all().iter().position(wanted);
    let reset = |peer: &'static str| move |said: &Said| *said == Said::Reset(name(peer));
    let sender = &n1.host;
    let suspected = place(sender, &|said| *said == Said::Suspected(name("n2"))).expect("suspected");
    let told = place(sender, &reset("n2")).expect("reset at the sender");
    let up = place(sender, &|said| matches!(said, Said::Up(_))).unwrap();
    assert!(suspected < told && told < up);
    let told = place(&n2.host, &reset("n1")).expect("reset at the receiver");
    assert!(told < place(&n2.host, &|said| *said == control("n1", b"new")).unwrap());
}

/// A partition: each side suspects the other at once by its heartbeats, loses it, tells senders, and finds it again by
/// itself when it is healed. Nothing piles up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_heals() {
    let kit = Kit::new("prod", "east");
    let (n1, r1) = start(kit.settings("n1", &[])).await;
    let (n2, r2) = start(kit.settings("n2", &[r1[0].address.to_string()])).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    r1.iter().chain(&r2).for_each(Relay::cut);
    let lost = |peer: &'static str| move |said: &Said| (*said == Said::Lost(name(peer), Lost::Dead)).then_some(());
    n1.host
        .wait_for(Duration::from_secs(5), "suspicion", |said| matches!(said, Said::Suspected(_)).then_some(()))
        .await;
    n1.host.wait_for(LONG, "loss of n2", lost("n2")).await;
    n2.host.wait_for(LONG, "loss of n1", lost("n1")).await;
    assert!(!n1.net.send_control(&name("n2"), Bytes::from_static(b"x")));
    let mut batch = BatchBuilder::default();
    batch.push(&head(1), b"x").unwrap();
    assert_eq!(n1.net.deliver(&name("n2"), 0, batch.finish()).await, Err(DeliverError::Unavailable));
    n1.host.clear();
    n2.host.clear();
    r1.iter().chain(&r2).for_each(Relay::heal);
    n1.host.wait_for(LONG, "n2 again", |said| matches!(said, Said::Up(_)).then_some(())).await;
    n2.host.wait_for(LONG, "n1 again", |said| matches!(said, Said::Up(_)).then_some(())).await;
}

/// A cut that lasts: nodes that were alone for longer than memberlist by itself remembers the dead find each other all the same.
/// Several clusters, since only some went wrong.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_long_cut_heals() {
    let kit = Kit::new("prod", "east");
    let mut clusters = Vec::new();
    for _ in 0..8 {
        clusters.push(three(&kit).await);
    }
    let relays = || clusters.iter().flatten().flat_map(|(_, relays)| relays);
    relays().for_each(Relay::cut);
    let is_alone = |(node, _): &(Node, [Relay; 2])| node.net.shared.peers.all().is_empty();
    until(VERY_LONG, "each is alone", || clusters.iter().flatten().all(is_alone)).await;
    tokio::time::sleep(FORGOTTEN).await;
    relays().for_each(Relay::heal);
    until(VERY_LONG, "all are whole", || clusters.iter().all(|nodes| is_whole(nodes))).await;
}

/// A node that dies is lost soon though those that could confirm it have left, which memberlist remembers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn those_that_left_delay_no_loss() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let mut others = Vec::new();
    for n in ["n2", "n3", "n4"] {
        others.push(kit.node(n, &[n1.seed()]).await);
        n1.host.up(n).await;
    }
    for leaving in others.drain(1..) {
        leaving.net.leave().await;
    }
    until(VERY_LONG, "two have left", || n1.members() == ["n2"]).await;
    drop(others);
    let lost = |said: &Said| (*said == Said::Lost(name("n2"), Lost::Dead)).then_some(());
    // Within 5 s when nobody else is busy; it was 13 s.
    n1.host.wait_for(Duration::from_secs(11), "loss of n2", lost).await;
}

fn head(seq: u64) -> MessageHead<'static> {
    MessageHead {
        boot: Boot(1),
        seq,
        low: 1,
        qos: 1,
        retain: false,
        flags: 0,
        expiry_ms: None,
        tenant: "t",
        topic: "a",
        user: "u",
        client_id: "c",
        properties: b"",
    }
}

/// What is no control message closes the link, is told as a refusal, however often it is sent a few times, and the next link carries what
/// is one: a member fills no log.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nonsense_closes_the_link() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    for _ in 0..8 {
        n1.host.up("n2").await;
        n1.host.clear();
        assert!((0..100).any(|_| n1.net.send_control(&name("n2"), Bytes::from_static(NONSENSE))));
        n1.host.wait("the end of the link", |said| (*said == Said::Suspected(name("n2"))).then_some(())).await;
    }
    n2.host.refused(RefusedSide::ByUs, "nonsense").await;
    n1.host.up("n2").await;
    assert!(n1.net.send_control(&name("n2"), Bytes::from_static(b"good")));
    n2.host.wait("good", |said| (*said == control("n1", b"good")).then_some(())).await;
    let told = n2.host.all().iter().filter(|said| matches!(said, Said::Refused(_))).count();
    assert!(told < 8, "{told}");
}

/// A host that has no room is given no control messages; publications, and what it says itself, go on. When it has, it gets all, in order.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn control_messages_wait_for_room() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    n2.host.full.send_replace(true);
    for text in [&b"a"[..], b"b"] {
        assert!(n1.net.send_control(&name("n2"), Bytes::from_static(text)));
    }
    for _ in 0..50 {
        n1.host.clear();
        assert!(n2.net.send_control(&name("n1"), Bytes::from_static(b"back")));
        n1.host.wait("back", |said| (*said == control("n2", b"back")).then_some(())).await;
    }
    let is_control = |said: &&Said| matches!(said, Said::Control(..));
    assert_eq!(n2.host.all().iter().filter(is_control).count(), 0);
    n2.host.full.send_replace(false);
    n2.host.wait("b", |said| (*said == control("n1", b"b")).then_some(())).await;
    let got: Vec<_> = n2.host.all().into_iter().filter(|said| is_control(&said)).collect();
    assert_eq!(got, [control("n1", b"a"), control("n1", b"b")]);
}

/// A receiver that answers nothing: 32 batches are under way and 64 wait, the next one is refused at once; control goes on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_is_bounded() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    n2.host.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    let lane = || n1.net.shared.peers.get(&name("n2")).is_some_and(|peer| peer.lanes[0].load().is_some());
    until(LONG, "a lane", lane).await;
    let send = |seq| {
        let mut batch = BatchBuilder::default();
        batch.push(&head(seq), b"x").unwrap();
        let mut sent = Box::pin(n1.net.deliver(&name("n2"), 0, batch.finish()));
        async move {
            tokio::select! {
                biased;
                answer = &mut sent => answer.err(),
                () = std::future::ready(()) => None,
            }
        }
    };
    let mut taken = 0;
    let full = loop {
        match send(taken).await {
            None => taken += 1,
            Some(error) => break error,
        }
        assert!(taken < 1_000, "no bound");
        tokio::task::yield_now().await;
    };
    assert_eq!(full, DeliverError::Full);
    assert!((64..=97).contains(&taken), "{taken}");
    assert!(n1.net.send_control(&name("n2"), Bytes::from_static(b"still")));
    n2.host.wait("control", |said| (*said == control("n1", b"still")).then_some(())).await;
}

/// The secret is changed while nodes run: added everywhere, used everywhere, the old one removed. Nobody is lost, and
/// afterwards the old secret opens nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_secret_is_rotated() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    let old = n1.net.keys()[0];
    assert_eq!(n1.net.remove_key(old), Err(KeyError::InUse));
    let new = n1.net.add_key(&secret(2)).unwrap();
    assert_eq!(n2.net.use_key(new), Err(KeyError::Unknown));
    n2.net.add_key(&secret(2)).unwrap();
    n1.net.use_key(new).unwrap();
    n2.net.use_key(new).unwrap();
    for node in [&n1, &n2] {
        node.net.remove_key(old).unwrap();
        assert_eq!(node.net.keys(), [new]);
    }
    n1.host.clear();
    let old_one = kit.node("n3", &[n1.seed()]).await;
    n1.host.refused(RefusedSide::ByUs, "another key").await;
    drop(old_one);
    let mut settings = kit.settings("n4", &[n1.seed()]);
    settings.secrets = vec![secret(2), secret(1)];
    Node::start(settings).await.host.up("n1").await;
    assert!(n1.members().contains(&"n2".into()) && n2.members().contains(&"n1".into()));
    assert!(!n1.host.all().iter().any(|said| matches!(said, Said::Lost(node, _) if *node == name("n2"))));
}

/// Certificates are read again while nodes run: a new one is used, a broken file changes nothing, and a peer that was
/// revoked is dropped and does not come back. Its twin that was not revoked stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_read_again() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let mut settings = kit.settings("n2", &[n1.seed()]);
    settings.tls = kit.odd_files("n2", |_| ());
    let n2 = Node::start(settings).await;
    let n3 = kit.node("n3", &[n1.seed()]).await;
    for peer in ["n2", "n3"] {
        n1.host.up(peer).await;
    }
    n2.host.up("n1").await;
    n3.host.up("n1").await;
    let mut files = kit.files("prod", "east", "n1");
    n1.net.reload(&files).unwrap();
    let broken = crate::net::TlsFiles { ca_file: kit.write("broken.pem", "nothing"), ..files.clone() };
    assert!(n1.net.reload(&broken).unwrap_err().to_string().contains("broken.pem"));
    assert!(n1.net.reload(&kit.files("prod", "east", "n9")).is_err(), "a node does not change its name");
    assert_eq!(n1.members(), ["n2", "n3"]);
    n1.host.clear();
    files.crl_file = Some(kit.revoked());
    n1.net.reload(&files).unwrap();
    let seen = n1.host.refused(RefusedSide::ByUs, "is revoked").await;
    assert_eq!(seen.who.unwrap().node.as_str(), "n2");
    until(LONG, "n2 dropped", || n1.members() == ["n3"]).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(n1.members(), ["n3"], "a revoked node came back");
}

/// Replayed gossip has no lasting effect: all packets of a dead node sent again do not make it a member, nor does it take
/// any other's place. The node itself comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_gossip_has_no_lasting_effect() {
    let kit = Kit::new("prod", "east");
    let (n1, relays) = start(kit.settings("n1", &[])).await;
    let n2 = kit.node("n2", &[relays[0].address.to_string()]).await;
    let n3 = kit.node("n3", &[relays[0].address.to_string()]).await;
    for peer in ["n2", "n3"] {
        n1.host.up(peer).await;
    }
    let recorded = || relays[1].packets.lock().len();
    until(LONG, "packets to n1", || recorded() >= 10).await;
    drop(n2);
    let lost = |said: &Said| (*said == Said::Lost(name("n2"), Lost::Dead)).then_some(());
    n1.host.wait_for(LONG, "loss of n2", lost).await;
    n1.host.clear();
    let packets = relays[1].packets.lock().clone();
    let replay = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    for packet in packets.iter().cycle().take(2_000) {
        replay.send_to(packet, n1.net.shared.bound.1).await.unwrap();
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(n1.members(), ["n3"]);
    assert!(!n1.host.all().iter().any(|said| matches!(said, Said::Up(_) | Said::Lost(..))), "{:?}", n1.host.all());
    drop(n3);
    kit.node("n2", &[relays[0].address.to_string()]).await.host.up("n1").await;
}
