//! `[cluster]`.

use super::{Dir, LISTENER, lines};
use crate::config::OnRefused;

const CLUSTER: &str = r#"[node]
name = "node-1"
[cluster]
environment = "production"
bind = "10.0.0.1:7946"
rpc_bind = "10.0.0.1:7947"
secret_file = "cluster.key"
[cluster.tls]
certificate_file = "n.crt"
private_key_file = "n.key"
ca_file = "ca.crt"
"#;

/// Guards that a node is alone until it is told otherwise, and what a cluster needs.
#[test]
fn a_cluster_is_asked_for() {
    assert_eq!(Dir::new(LISTENER).load().unwrap().cluster, None);
    let cluster = Dir::new(&format!("{LISTENER}{CLUSTER}")).load().unwrap().cluster.unwrap();
    assert_eq!((&*cluster.environment, &*cluster.name, cluster.on_refused), ("production", "gatemq", OnRefused::Exit));
    let problems = Dir::new(&format!("{LISTENER}[node]\nname = \"node-1\"\n[cluster]\nbind = \"10.0.0.1:1\"\n")).load();
    let keys: Vec<_> = problems.unwrap_err().into_iter().map(|problem| problem.key).collect();
    let wanted =
        ["environment", "rpc_bind", "secret_file", "tls.ca_file", "tls.certificate_file", "tls.private_key_file"];
    assert_eq!(keys, wanted.map(|key| format!("cluster.{key}")));
}

/// Guards each rule of the table: text of the good configuration, what stands there instead, the key, part of the message.
#[test]
fn problems_of_a_cluster() {
    let rows = [
        (r#""production""#, r#""Production""#, "cluster.environment", "a-z, 0-9, dot, dash and underscore"),
        (r#""production""#, r#""""#, "cluster.environment", "is empty"),
        (r#"name = "node-1""#, r#"name = "Node 1""#, "node.name", "without spaces"),
        (r#"name = "node-1""#, r#"name = "Node-1""#, "node.name", "because the node is in a cluster"),
        (r#"bind = "10.0.0.1:7946""#, r#"bind = "0.0.0.0:7946""#, "cluster.bind", "so advertise must say"),
        (r#"rpc_bind = "10.0.0.1:7947""#, r#"rpc_bind = "[::]:7947""#, "cluster.rpc_bind", "so rpc_advertise must say"),
        ("[cluster.tls]", "advertise = \"0.0.0.0:1\"\n[cluster.tls]", "cluster.advertise", "can connect to"),
        ("[cluster.tls]", "seeds = [\"10.0.0.2\"]\n[cluster.tls]", "cluster.seeds", "no host and port"),
        ("[cluster.tls]", "allowed_networks = [\"10\"]\n[cluster.tls]", "cluster.allowed_networks", "`10`"),
        ("[cluster.tls]", "on_refused = \"wait\"\n[cluster.tls]", "cluster.on_refused", "exit, degraded"),
        ("[cluster.tls]", "protocol_max = 9\n[cluster.tls]", "cluster.protocol_max", "is 9, must be from 1 to"),
        (
            "[cluster.tls]",
            "protocol_min = 2\nprotocol_max = 1\n[cluster.tls]",
            "cluster.protocol_min",
            "above protocol_max",
        ),
        ("ca_file = \"ca.crt\"\n", "", "cluster.tls.ca_file", "is missing"),
    ];
    for (good, wrong, key, message) in rows {
        let problems = Dir::new(&format!("{LISTENER}{}", CLUSTER.replace(good, wrong))).load().expect_err(key);
        let found = problems.iter().any(|problem| problem.key == key && problem.message.contains(message));
        assert!(found, "{key}: {}", lines(&problems));
    }
}
