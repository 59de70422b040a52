//! `$SYS`: what the node says of a tenant, to whom it was granted.

use std::collections::BTreeMap;
use std::time::Duration;

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
