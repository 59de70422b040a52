//! Promise 8 in a cluster: tenants do not meet, at whatever nodes their clients are.

use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Version};
use gatemq_tests::cluster::{self, Member, wait_until_reached};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, wait_for};

fn comes(broker: &Broker, tenant: &str, client_id: &str) -> Client {
    let mut client = Client::tcp(broker.address(&format!("{tenant}-mqtt")), Version::V5).unwrap();
    assert_eq!(client.connect_as(client_id, Some(("user", "x"))).unwrap(), 0);
    client
}

/// Equal topics, client ids and retained messages in two tenants never touch, though their clients are at different nodes; and
/// `$SYS` is each node's own: it counts that node's clients.
#[test]
fn promise_8_tenants_do_not_meet_across_nodes() {
    let pki = Pki::new("Acme");
    let members = cluster::members("test", 2);
    let brokers = cluster::start(members.iter().map(|member| member.bare().two_tenants(&pki)));
    let mut subscribers: Vec<_> = ["one", "two"].map(|tenant| comes(&brokers[1], tenant, "client")).into();
    let mut publishers: Vec<_> = ["one", "two"].map(|tenant| comes(&brokers[0], tenant, "other")).into();
    for (subscriber, publisher) in subscribers.iter_mut().zip(&mut publishers) {
        assert_eq!(subscriber.subscribe("a/#", 2), 2);
        wait_until_reached(publisher, subscriber, "a/probe");
    }
    for (at, tenant) in ["one", "two"].into_iter().enumerate() {
        for qos in [0, 1, 2] {
            let payload = format!("of {tenant} at {qos}");
            assert_eq!(publishers[at].published("a/b", qos, qos == 2, payload.as_bytes()), 0);
            let message = subscribers[at].take_message();
            assert_eq!((&*message.topic, message.text()), ("a/b", &*payload));
        }
        // What came to the other comes before this.
        assert_eq!(publishers[1 - at].published("a/fence", 1, false, b"fence"), 0);
        assert_eq!(subscribers[1 - at].take_message().topic, "a/fence");
    }
    for (at, tenant) in ["one", "two"].into_iter().enumerate() {
        let mut late = comes(&brokers[1], tenant, "late");
        assert_eq!(late.subscribe("a/#", 1), 1);
        let message = late.take_message();
        assert_eq!((message.text(), message.retain), (&*format!("of {tenant} at 2"), true));
        // At its own node: another would have to know of the subscription first.
        late.nothing_came(&mut subscribers[at]);
    }
}

/// `$SYS` is each node's own: it says how many clients are connected to that node, and nobody gets another's.
#[test]
fn sys_says_what_its_own_node_has() {
    let grants =
        r##"config.grants = [{ allow = ["all"], filter = "#" }, { allow = ["subscribe"], filter = "$SYS/#" }]"##;
    let members = cluster::members("test", 2);
    let setup = |member: &Member| {
        let setup = member.bare().mqtt("mqtt").faults(grants);
        setup.argument("--set").argument("node.sys_interval_s=1")
    };
    let brokers = cluster::start(members.iter().map(setup));
    let mut watchers: Vec<_> =
        brokers.iter().enumerate().map(|(n, at)| super::comes(at, &format!("watcher-{n}"))).collect();
    let _more = ["a", "b"].map(|id| super::comes(&brokers[1], id));
    for (watcher, connected) in watchers.iter_mut().zip(["1", "3"]) {
        assert_eq!(watcher.subscribe("$SYS/broker/clients/connected", 0), 0);
        assert_eq!(watcher.subscribe("$SYS/broker/version", 0), 0);
        // The one that was there when it subscribed may be of before; then each second of two seconds says the same, once.
        let mut said = Vec::new();
        while said.len() < 4 {
            let (topic, value) = watcher.message();
            said.push((topic.ends_with("connected"), String::from_utf8(value).unwrap()));
        }
        let counts: Vec<_> = said.iter().filter(|(of_clients, _)| *of_clients).map(|(_, value)| &**value).collect();
        assert!(counts.len() <= 3 && counts[1..].iter().all(|count| *count == connected), "{said:?}");
    }
}

/// A tenant's limit is the cluster's: a node with all of its clients has nearly all of it, never more together than one for each node
/// beyond, and when clients go elsewhere it goes with them.
#[test]
fn a_tenants_limit_is_split_over_the_nodes() {
    let members = cluster::members("test", 2);
    let limited = |member: &Member| member.setup().argument("--set").argument("limits.tenant_connections_max=10");
    let brokers = cluster::start(members.iter().map(limited));
    let mut last = 0;
    let mut fill = |at: &Broker, there: &mut Vec<Client>, wanted: usize| {
        let mut more = || {
            last += 1;
            let mut client = Client::tcp(at.address("mqtt"), Version::V5).unwrap();
            // Who comes too often is closed without an answer.
            let code = client.connect(&format!("client-{last}")).ok()?;
            assert!(matches!(code, 0 | 0x97), "{code:#x}");
            (code == 0).then_some(client)
        };
        wait_for("room in the tenant", PATIENCE, || {
            there.extend(more());
            (there.len() >= wanted).then_some(())
        });
        // As many as it may have by now.
        while let Some(client) = more() {
            there.push(client);
        }
    };
    let mut here = Vec::new();
    fill(&brokers[0], &mut here, 9);
    assert!(here.len() <= 10, "{}", here.len());
    let mut there = Vec::new();
    fill(&brokers[1], &mut there, 1);
    assert!(here.len() + there.len() <= 12, "{} and {}", here.len(), there.len());
    here.clear();
    fill(&brokers[1], &mut there, 9);
    assert!(there.len() <= 11, "{}", there.len());
}
