//! `$SYS`: what the node says of a tenant, to whom it was granted.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use gatemq_tests::PATIENCE;
use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Version};

/// A listener whose clients are of `tenant` and have these grants.
fn entrance(setup: Setup, name: &str, tenant: &str, filters: &[&str]) -> Setup {
    let grants: Vec<_> = filters.iter().map(|f| format!("{{ allow = [\"all\"], filter = {f:?} }}")).collect();
    let config = format!("config.tenant = {tenant:?}\nconfig.grants = [{}]", grants.join(", "));
    let setup = setup.mqtt(name).toml(&format!("[listeners.{name}.auth]\nchain = [{name:?}]"));
    setup.plugin(name, &Artifacts::get().plugin("test-faults"), &config)
}

fn client(broker: &Broker, listener: &str, client_id: &str, version: Version) -> Client {
    let mut client = Client::tcp(broker.address(listener), version).unwrap();
    assert_eq!(client.connect(client_id).unwrap(), 0);
    client
}

/// The values until each of `topics` came `times` times.
fn values(client: &mut Client, times: usize) -> BTreeMap<String, String> {
    let (mut values, mut versions) = (BTreeMap::new(), 0);
    loop {
        let (topic, value) = client.message();
        versions += usize::from(topic == "$SYS/broker/version");
        if versions > times {
            return values;
        }
        values.insert(topic, String::from_utf8(value).unwrap());
    }
}

/// Issue 4 and promise 8: who was granted `$SYS/#` gets the values of its own tenant, again and again; a client of the same
/// tenant with a grant of everything else gets nothing and may not subscribe to them, and nobody publishes there.
#[test]
fn values_go_to_those_who_were_granted_them_and_are_of_their_tenant() {
    let setup = Setup::new().argument("--set").argument("node.sys_interval_s=1");
    let setup = entrance(setup, "one", "one", &["#", "$SYS/#"]);
    let setup = entrance(setup, "two", "two", &["#", "$SYS/#"]);
    let broker = entrance(setup, "plain", "one", &["#"]).start();
    let mut plain = client(&broker, "plain", "plain", Version::V5);
    assert_eq!(plain.subscribe("#", 0), 0);
    assert_eq!(plain.subscribe("$SYS/#", 0), 0x87);
    assert_eq!(plain.subscribe("$SYS/broker/version", 0), 0x87);
    let mut one = client(&broker, "one", "watch", Version::V3);
    let mut two = client(&broker, "two", "watch", Version::V5);
    for watch in [&mut one, &mut two] {
        assert_eq!(watch.subscribe("$SYS/#", 1), 1);
    }
    let _others: Vec<_> = (0..3).map(|n| client(&broker, "two", &format!("other-{n}"), Version::V5)).collect();
    for (watch, connected, subscriptions) in [(&mut one, "2", "2"), (&mut two, "4", "1")] {
        // Some may be of the moment before all were there.
        let values = values(watch, 2);
        assert_eq!(values["$SYS/broker/clients/connected"], connected, "{values:?}");
        assert_eq!(values["$SYS/broker/subscriptions/count"], subscriptions, "{values:?}");
        assert_eq!(values["$SYS/broker/retained messages/count"], "0", "{values:?}");
        assert!(values["$SYS/broker/version"].starts_with("gatemq "), "{values:?}");
        assert!(values["$SYS/broker/uptime"].ends_with(" seconds"), "{values:?}");
    }
    // Others have had theirs twice.
    plain.ping();
    assert!(!matches!(plain.receive(Duration::from_millis(20)), Ok(Received::Packet(_))));
    two.publish("$SYS/broker/version", 0, b"mine").unwrap();
    let values = values(&mut two, 2);
    assert_ne!(values["$SYS/broker/version"], "mine");
}

/// Issue 4: messages, packets and bytes are counted for the tenant whose clients they are of, on all workers, and for no other.
#[test]
fn messages_are_counted_for_their_tenant() {
    let setup =
        Setup::new().argument("--set").argument("node.sys_interval_s=1").argument("--set").argument("node.workers=2");
    let setup = setup
        .argument("--set")
        .argument("limits.inflight_max=1")
        .argument("--set")
        .argument("limits.queue_messages_max=2");
    let setup = entrance(setup, "one", "one", &["#", "$SYS/#"]);
    let broker = entrance(setup, "two", "two", &["#", "$SYS/#"]).start();
    let mut watch = client(&broker, "one", "watch", Version::V5);
    let mut idle = client(&broker, "two", "idle", Version::V5);
    for watch in [&mut watch, &mut idle] {
        assert_eq!(watch.subscribe("$SYS/#", 0), 0);
    }
    let mut silent = client(&broker, "one", "silent", Version::V5);
    assert_eq!(silent.subscribe("t", 1), 1);
    for n in 0..3 {
        let mut publisher = client(&broker, "one", &format!("publisher-{n}"), Version::V5);
        for _ in 0..2 {
            assert_eq!(publisher.published("t", 1, false, &[7; 1000]), 0);
        }
        assert_eq!(publisher.published("nobody", 1, false, b"x"), 0);
        publisher.ping();
    }
    // Of six messages one is in flight, two wait, and three are dropped.
    let counted = |values: &BTreeMap<String, String>| {
        let names =
            ["publish/messages/received", "publish/messages/sent", "publish/messages/dropped", "messages/received"];
        names.map(|name| values[&format!("$SYS/broker/{name}")].clone())
    };
    let deadline = Instant::now() + PATIENCE;
    loop {
        let values = values(&mut watch, 2);
        // Two SUBSCRIBE, nine PUBLISH, three PINGREQ.
        if counted(&values) == ["9", "3", "3", "14"] {
            let bytes =
                ["received", "sent"].map(|way| values[&format!("$SYS/broker/bytes/{way}")].parse::<u64>().unwrap());
            assert!((6000..7000).contains(&bytes[0]) && bytes[1] > 1000, "{values:?}");
            break;
        }
        assert!(Instant::now() < deadline, "{values:?}");
    }
    assert_eq!(counted(&values(&mut idle, 2)), ["0", "0", "0", "1"]);
}
