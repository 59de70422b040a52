//! Nodes that belong together find each other, talk, part and come back.

use std::time::Duration;

use bytes::Bytes;

use super::kit::{Kit, Node, Said, name, until};
use crate::core::{Boot, Lost};
use crate::net::{BatchBuilder, Joined, MessageHead, Net, StartError};

const LONG: Duration = Duration::from_secs(5);

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
        topic: "a/b",
        user: "u",
        client_id: "c",
        properties: b"",
    }
}

/// A joiner that asks any member knows all of them within 5 s, and they know it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_become_one_cluster() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    assert_eq!(n1.host.joined().await, Joined::Alone { unreachable: vec![] });
    let n2 = kit.node("n2", &[n1.seed()]).await;
    assert_eq!(n2.host.joined().await, Joined::Admitted { by: name("n1") });
    assert_eq!(n2.members(), ["n1"], "joined was said before n1 was up");
    let n3 = kit.node("n3", &[n2.seed()]).await;
    n3.host.up("n1").await;
    n3.host.up("n2").await;
    n1.host.up("n3").await;
    let member = n2.host.up("n3").await;
    assert_eq!((member.rpc, member.gossip), (n3.net.rpc_address(), n3.net.gossip_address()));
    assert_eq!(n1.members(), ["n2", "n3"]);
}

/// Control messages and the batches of a lane arrive in their order; batches are answered message by message.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_their_order() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    assert!((0..3000_u32).all(|n| n1.net.send_control(&name("n2"), Bytes::copy_from_slice(&n.to_be_bytes()))));
    let lane = || n1.net.shared.peers.get(&name("n2")).is_some_and(|peer| peer.lanes[1].load().is_some());
    until(LONG, "a lane", lane).await;
    let mut answers = Vec::new();
    for batch in 0..200_u64 {
        let mut builder = BatchBuilder::default();
        (1..=3).for_each(|n| builder.push(&head(batch * 3 + n), b"payload").unwrap());
        // The queue holds 64: what is under way is awaited before it is full.
        answers.push(n1.net.deliver(&name("n2"), 1, builder.finish()));
        if answers.len() == 32 {
            for answer in answers.drain(..) {
                assert_eq!(answer.await.unwrap().codes(), [0, 0, 0]);
            }
        }
    }
    for answer in answers {
        assert_eq!(answer.await.unwrap().codes(), [0, 0, 0]);
    }
    until(LONG, "3000 control messages", || {
        n2.host.all().iter().filter(|said| matches!(said, Said::Control(..))).count() == 3000
    })
    .await;
    let all = n2.host.all();
    let controls: Vec<u32> = all
        .iter()
        .filter_map(|said| match said {
            Said::Control(from, bytes) if *from == name("n1") => {
                Some(u32::from_be_bytes(bytes[..].try_into().unwrap()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(controls, (0..3000).collect::<Vec<u32>>());
    let delivered: Vec<u64> = all
        .iter()
        .filter_map(|said| match said {
            Said::Delivered(_, 1, messages) => Some(messages.iter().map(|(seq, _)| *seq)),
            _ => None,
        })
        .flatten()
        .collect();
    assert_eq!(delivered, (1..=600).collect::<Vec<u64>>());
}

/// A node that leaves is gone at once for the others, and for good; one that dies is suspected at once and lost in 5 s.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leaving_and_dying_are_told_apart() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    let n3 = kit.node("n3", &[n1.seed()]).await;
    for peer in ["n2", "n3"] {
        n1.host.up(peer).await;
    }
    n2.host.up("n1").await;
    n2.net.leave().await;
    let lost = |who: &'static str| {
        move |said: &Said| match said {
            Said::Lost(node, how) if *node == name(who) => Some(*how),
            _ => None,
        }
    };
    assert_eq!(n1.host.wait("n2 leaving", lost("n2")).await, Lost::Left);
    drop(n3);
    let suspected = |said: &Said| (*said == Said::Suspected(name("n3"))).then_some(());
    n1.host.wait_for(Duration::from_secs(1), "suspicion of n3", suspected).await;
    assert_eq!(n1.host.wait("n3 dying", lost("n3")).await, Lost::Dead);
    assert_eq!(n1.members(), [""; 0]);
}

/// A node that crashed comes back under its name as another process, before gossip has noticed and also afterwards.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crashed_node_comes_back() {
    let kit = Kit::new("prod", "east");
    let n1 = kit.node("n1", &[]).await;
    let n2 = kit.node("n2", &[n1.seed()]).await;
    let before = n1.host.up("n2").await.boot;
    drop(n2);
    n1.host.clear();
    let again = kit.node("n2", &[n1.seed()]).await;
    again.host.up("n1").await;
    let member = n1.host.wait_for(Duration::from_secs(8), "n2 again", |said| match said {
        Said::Up(member) if member.boot > before => Some(member.clone()),
        _ => None,
    });
    assert_eq!(member.await.node, name("n2"));
    assert!(n1.host.all().contains(&Said::Lost(name("n2"), Lost::Dead)), "the old process was not told lost");
}

/// Over IPv6, and with a seed that is a name; we ourselves are among the seeds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ipv6_names_and_ourselves() {
    let kit = Kit::new("prod", "east");
    let six = |node: &str, seeds: &[String]| {
        let mut settings = kit.settings(node, seeds);
        settings.rpc_bind = "[::1]:0".parse().unwrap();
        settings.gossip_bind = "[::1]:0".parse().unwrap();
        settings
    };
    let n1 = Node::start(six("n1", &[])).await;
    let n2 = Node::start(six("n2", &[n1.seed()])).await;
    n1.host.up("n2").await;
    n2.host.up("n1").await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut settings = kit.settings("n3", &[format!("localhost:{}", free.port())]);
    settings.rpc_bind = free;
    settings.rpc_advertise = Some("127.0.0.2:0".parse().unwrap());
    settings.rpc_bind.set_ip("0.0.0.0".parse().unwrap());
    let n3 = Node::start(settings).await;
    assert!(matches!(n3.host.joined().await, Joined::Alone { .. }), "it refused itself");
    assert_eq!(n3.net.rpc_address(), format!("127.0.0.2:{}", free.port()).parse().unwrap());
    let n4 = kit.node("n4", &[format!("localhost:{}", free.port())]).await;
    assert_eq!(n4.host.up("n3").await.rpc, n3.net.rpc_address());
    n3.host.up("n4").await;
    assert!(!n3.host.all().iter().any(|said| matches!(said, Said::Refused(_))), "{:?}", n3.host.all());
}

/// Where others cannot reach us is no address to advertise; the same with one is.
#[tokio::test]
async fn any_address_is_not_advertised() {
    let kit = Kit::new("prod", "east");
    let host = || std::sync::Arc::new(super::kit::Recorder::default());
    let mut settings = kit.settings("n1", &[]);
    settings.gossip_bind = "0.0.0.0:0".parse().unwrap();
    let error = Net::start(settings.clone(), host()).await.err().unwrap();
    assert!(matches!(error, StartError::Advertise { what: "gossip", .. }), "{error}");
    settings.gossip_advertise = Some("127.0.0.1:0".parse().unwrap());
    assert!(Net::start(settings, host()).await.is_ok());
}
