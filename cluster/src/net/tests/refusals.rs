//! Promise 4: who does not belong is refused, on both sides, with nothing stored; its twin, which differs in one property
//! only, joins within five seconds.

use std::time::Duration;

use super::kit::{Kit, Node, clock, name, secret};
use crate::core::Refusal;
use crate::net::{Joined, RefusedSide, RefusedWhy, Settings};

/// Starts a node with `change` that asks a member; both must refuse it as `code` with `text`, know nothing of it, and take
/// its twin without the change.
async fn refused(code: &str, text: &str, change: impl FnOnce(&Kit, &mut Settings)) {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let mut settings = kit.settings("n2", &[member.seed()]);
    change(&kit, &mut settings);
    let joiner = Node::start(settings).await;
    let Joined::Refused { reasons } = joiner.host.joined().await else {
        panic!("not refused: {:?}", joiner.host.all());
    };
    assert_eq!(reasons.len(), 1);
    let told = joiner.host.refused(RefusedSide::ByThem, text).await;
    assert_eq!((told.why.code(), told.address), (code, member.net.rpc_address()));
    let seen = member.host.refused(RefusedSide::ByUs, text).await;
    assert_eq!((seen.why.code(), seen.who.is_some()), (code, true));
    assert_eq!(seen.address.ip(), joiner.net.rpc_address().ip());
    assert_eq!((member.members(), joiner.members()), (vec![], vec![]));
    assert!(member.net.shared.peers.all().is_empty() && joiner.net.shared.peers.all().is_empty());
    let mut twin = kit.settings("n2", &[member.seed()]);
    twin.boot.0 += 1_000;
    let twin = Node::start(twin).await;
    twin.host.up("n1").await;
    member.host.up("n2").await;
}

/// Another environment, with the same secret and a certificate of the same CA. Both operators read both names.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_environment() {
    let text = "environments differ: the member has \"prod\", the joiner \"test\"";
    refused("environment_differs", text, |kit, settings| {
        *settings = kit.settings_of(&name("test"), &kit.cluster, "n2", &settings.seeds);
    })
    .await;
}

/// Another cluster of the same environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cluster() {
    refused("cluster_differs", "clusters differ", |kit, settings| {
        *settings = kit.settings_of(&kit.environment, &name("west"), "n2", &settings.seeds);
    })
    .await;
}

/// No protocol in common.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_protocol() {
    refused("protocol_unsupported", "no common protocol", |_, settings| settings.protocol = (900, 901)).await;
}

/// A clock that is minutes away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_time() {
    refused("clock_skew", "behind the member's", |_, settings| settings.clock = clock(-180_000)).await;
}

/// A node that an operator forbade. The twin is the same node once it is allowed again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_forbidden_node() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    *member.host.forbidden.lock() = Some(name("n2"));
    let joiner = kit.node("n2", &[member.seed()]).await;
    joiner.host.refused(RefusedSide::ByThem, "is forbidden here").await;
    member.host.refused(RefusedSide::ByUs, "is forbidden here").await;
    assert_eq!(member.members(), [""; 0]);
    *member.host.forbidden.lock() = None;
    member.host.up("n2").await;
    *member.host.forbidden.lock() = Some(name("n2"));
    member.host.clear();
    member.net.disconnect(&name("n2"));
    member.host.refused(RefusedSide::ByUs, "is forbidden here").await;
    // That its link has ended is noticed beside that.
    let gone = async {
        while !member.members().is_empty() {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(15), gone).await.expect("it is no member any more");
}

/// A second process under a name that is alive. Its twin has a name of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_of_the_same_name() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let first = kit.node("n2", &[member.seed()]).await;
    let boot = member.host.up("n2").await.boot;
    first.host.up("n1").await;
    let second = kit.node("n2", &[member.seed()]).await;
    let Joined::Refused { reasons } = second.host.joined().await else { panic!("{:?}", second.host.all()) };
    let taken =
        |why: &RefusedWhy| matches!(why, RefusedWhy::Hello(Refusal::NodeNameTaken { alive, .. }) if *alive == boot);
    assert!(taken(&reasons[0].1), "{reasons:?}");
    member.host.refused(RefusedSide::ByUs, "a node named \"n2\" is alive").await;
    assert_eq!((member.members(), second.members()), (vec!["n2".into()], vec![]));
    assert_eq!(member.net.members()[0].boot, boot);
    assert_eq!(first.members(), ["n1"]);
    kit.node("n3", &[member.seed()]).await.host.up("n1").await;
}

/// Another secret: admitted by its certificate, and its gossip is turned away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_with_another_secret() {
    let kit = Kit::new("prod", "east");
    let member = kit.node("n1", &[]).await;
    let mut settings = kit.settings("n2", &[member.seed()]);
    settings.secrets = vec![secret(2)];
    let joiner = Node::start(settings).await;
    assert!(matches!(joiner.host.joined().await, Joined::Refused { .. }));
    joiner.host.refused(RefusedSide::ByThem, "gossip does not answer").await;
    let seen = member.host.refused(RefusedSide::ByUs, "another key").await;
    assert_eq!(seen.why.code(), "gossip_key");
    assert_eq!((member.members(), joiner.members()), (vec![], vec![]));
    drop(joiner);
    let twin = kit.node("n2", &[member.seed()]).await;
    twin.host.up("n1").await;
}

/// A certificate of another CA with the same names in it: refused in the handshake, which both sides report.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_authority() {
    let (kit, other) = (Kit::new("prod", "east"), Kit::new("prod", "east"));
    let member = kit.node("n1", &[]).await;
    let joiner = other.node("n2", &[member.seed()]).await;
    assert!(matches!(joiner.host.joined().await, Joined::Refused { .. }));
    joiner.host.refused(RefusedSide::ByUs, "no certificate authority of this cluster signed").await;
    let seen = member.host.refused(RefusedSide::ByUs, "").await;
    assert_eq!((seen.why.code(), seen.who), ("tls", None));
    assert_eq!((member.members(), joiner.members()), (vec![], vec![]));
    drop(joiner);
    // The twin: the same node once both sides take both authorities.
    let both = |name: &str| std::fs::read_to_string(kit.dir.path().join(name)).unwrap();
    let both = both("ca.pem") + &std::fs::read_to_string(other.dir.path().join("ca.pem")).unwrap();
    let ca_file = kit.write("both.pem", &both);
    let mut files = member.net.shared.settings.tls.clone();
    files.ca_file = ca_file.clone();
    member.net.reload(&files).unwrap();
    let mut settings = other.settings("n2", &[member.seed()]);
    settings.tls.ca_file = ca_file;
    Node::start(settings).await.host.up("n1").await;
}

/// Two running clusters of different environments with one secret, one CA and each other's addresses as seeds never merge,
/// however often they try, and both sides report it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_environments_never_merge() {
    let kit = Kit::new("prod", "east");
    let (a1, b1) =
        (kit.node("a1", &[]).await, Node::start(kit.settings_of(&name("test"), &kit.cluster, "b1", &[])).await);
    let seeds = [a1.seed(), b1.seed()];
    let mut settings = kit.settings("a2", &seeds);
    settings.rejoin_interval = Duration::from_millis(200);
    let a2 = Node::start(settings).await;
    let mut settings = kit.settings_of(&name("test"), &kit.cluster, "b2", &seeds);
    settings.rejoin_interval = Duration::from_millis(200);
    let b2 = Node::start(settings).await;
    a2.host.up("a1").await;
    b2.host.up("b1").await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    for (node, others) in [(&a1, ["a2"]), (&a2, ["a1"]), (&b1, ["b2"]), (&b2, ["b1"])] {
        assert_eq!(node.members(), others);
        assert_eq!(node.net.shared.peers.all().len(), 1);
    }
    a1.host.refused(RefusedSide::ByUs, "environments differ").await;
    b1.host.refused(RefusedSide::ByUs, "environments differ").await;
    a2.host.refused(RefusedSide::ByThem, "environments differ").await;
    b2.host.refused(RefusedSide::ByThem, "environments differ").await;
}
