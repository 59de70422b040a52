//! Promise 8 in a cluster: tenants do not meet, at whatever nodes their clients are.

use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Version};
use gatemq_tests::cluster::{self, wait_until_reached};
use gatemq_tests::pki::Pki;

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
        late.nothing_came(&mut publishers[at]);
    }
}
