//! What operators do to a cluster while it runs.

use gatemq_tests::broker::{Broker, TOKEN};
use gatemq_tests::cluster::{self, status, up};
use gatemq_tests::web::Web;
use gatemq_tests::{PATIENCE, wait_for};

use super::{comes, started};

/// Guards eviction: a node that is forbidden at one member is up at none, also not after its next try, until another member allows
/// it again.
#[test]
fn a_forbidden_node_stays_out_until_it_is_allowed() {
    let (_members, mut nodes) = started(3);
    let sees = |node: &Broker, wanted: &[&str]| {
        let what = format!("{wanted:?} are up");
        wait_for(&what, PATIENCE, || (up(&status(node)) == wanted).then_some(()));
    };
    nodes[0].command(&["cluster", "forbid", "node-3"]);
    sees(&nodes[0], &["node-2"]);
    sees(&nodes[1], &["node-1"]);
    nodes[0].tape().wait_for("it is refused", |e| {
        e["event"] == "NodeRefused" && e["fields"]["code"] == "forbidden" && e["fields"]["side"] == "by_us"
    });
    assert_eq!(status(&nodes[1])["forbidden"].as_array().unwrap()[0], "node-3");
    nodes[1].command(&["cluster", "allow", "node-3"]);
    sees(&nodes[0], &["node-2", "node-3"]);
    sees(&nodes[2], &["node-1", "node-2"]);
}

/// Guards rotation: nodes stay together while each accepts one more key, uses it, and lets go of the old one; a key in use is not
/// let go of.
#[test]
fn the_key_of_gossip_is_exchanged_while_they_run() {
    let (_members, nodes) = started(2);
    let keys = |node: &Broker| -> Vec<String> {
        let keys = node.command(&["cluster", "key", "list"])["keys"].clone();
        keys.as_array().unwrap().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    };
    let old = keys(&nodes[0]);
    assert_eq!(old.len(), 1);
    for node in &nodes {
        node.command_with(&["cluster", "key", "add"], "a secret that is quite another one\n");
    }
    let both = keys(&nodes[0]);
    assert_eq!((both.len(), &both[0], keys(&nodes[1])), (2, &old[0], both.clone()));
    for node in &nodes {
        node.command(&["cluster", "key", "use", &both[1]]);
    }
    for node in &nodes {
        node.command(&["cluster", "key", "remove", &old[0]]);
        assert_eq!(keys(node), [both[1].clone()]);
    }
    assert_eq!((up(&status(&nodes[0])), up(&status(&nodes[1]))), (vec!["node-2".into()], vec!["node-1".into()]));
}

/// Issue 7, part 6: the metrics of a node say of each member whether it is there, and how long its answers took.
#[test]
fn metrics_say_how_long_members_take() {
    let members = cluster::members("test", 2);
    let nodes = cluster::start([members[0].setup().http(""), members[1].setup()]);
    let web = Web::new(nodes[0].http_address()).token(TOKEN);
    let value = |name: &str| -> f64 {
        let text = web.get("/metrics").body;
        let line = format!("gatemq_cluster_{name}{{member=\"node-2\"}} ");
        let line = text.lines().find_map(|found| found.strip_prefix(&line).map(str::to_owned));
        line.unwrap_or_else(|| panic!("{name} in\n{text}")).parse().unwrap()
    };
    assert_eq!((value("member_up"), value("delivery_seconds_count")), (1.0, 0.0));
    let (mut to, mut from) = (comes(&nodes[1], "to"), comes(&nodes[0], "from"));
    assert_eq!(to.subscribe("a", 1), 1);
    let _ = cluster::wait_until_reached(&mut from, &mut to, "a");
    assert_eq!(from.published("a", 1, false, b"x"), 0);
    assert!(value("delivery_seconds_count") >= 1.0 && value("delivery_seconds_sum") > 0.0);
}
