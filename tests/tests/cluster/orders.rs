//! What plugins and operators want done is done at every node, from any.

use std::collections::BTreeSet;

use gatemq_tests::broker::Broker;
use gatemq_tests::client::Client;
use gatemq_tests::cluster::{self, Member, status};
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{PATIENCE, wait_for};
use rustix::process::Signal;
use serde_json::{Value, json};

use super::{comes, expect_end, joins, retained};

/// So many nodes with a plugin that asks; identities may be asked for again, with that in the table `refresh`.
fn started(count: usize, refresh: &str) -> Vec<Broker> {
    let members = cluster::members("test", count);
    let faults = format!("{}\nconfig.refresh = {{ {refresh} }}", cluster::ALL);
    let setup =
        |member: &Member| member.bare().mqtt("mqtt").faults(&faults).requests().toml("[auth]\nchain = [\"faults\"]");
    cluster::start(members.iter().map(setup))
}

/// A client of this user at each node, which are called after it.
fn at_each(nodes: &[Broker], user: &str) -> Vec<Client> {
    let client = |(n, at): (usize, &Broker)| {
        let client_id = format!("{user}-{n}");
        joins(at, &Connect { user: Some(user), ..Connect::new(Level::V5, &client_id) }).0
    };
    nodes.iter().enumerate().map(client).collect()
}

/// The topics whose retained messages come to somebody who subscribes at each node, when that is the same at all.
fn delivered(nodes: &[Broker]) -> Option<BTreeSet<String>> {
    let of_each: Vec<BTreeSet<String>> = nodes.iter().map(|at| retained::retained(at).into_keys().collect()).collect();
    of_each.windows(2).all(|two| two[0] == two[1]).then(|| of_each[0].clone())
}

fn wait_until_delivered(nodes: &[Broker], wanted: &[&str]) {
    let wanted: BTreeSet<String> = wanted.iter().map(|topic| (*topic).to_owned()).collect();
    wait_for(&format!("{wanted:?} at all nodes"), PATIENCE, || (delivered(nodes)? == wanted).then_some(()));
}

/// Promise 7: an operator's kick and a plugin's disconnection end the connections of a user at every node, count them all, and say so in
/// an event there; who else is there stays. The number of a connection is of its own node. Nobody is found twice.
#[test]
fn promise_7_a_kick_at_one_node_ends_connections_at_all() {
    let mut nodes = started(3, "");
    let mut others = at_each(&nodes, "alice");
    for (by, n) in [("operator", 0), ("plugin requests", 2)] {
        let mut victims = at_each(&nodes, "mallory");
        let count = match by {
            "operator" => nodes[n].command(&["kick", "--user", "mallory", "--reason", "enough"])["count"].clone(),
            _ => nodes[n].done("disconnect", json!({"selector": {"user": "mallory"}, "reason": "enough"}))["count"]
                .clone(),
        };
        assert_eq!(count, 3, "by {by}");
        victims.iter_mut().for_each(expect_end);
        for node in &mut nodes {
            let is = |e: &Value| e["event"] == "ClientKicked" && e["fields"]["by"] == by;
            assert_eq!(node.tape().wait_for("it is told", is)["fields"]["why"], "enough");
        }
        let none = json!({"selector": {"user": "mallory"}, "reason": "enough"});
        assert_eq!(nodes[n].not_done("disconnect", none), "NotFound");
    }
    let listed = nodes[0].done("sessions", json!({"selector": {"user": "alice"}}));
    let row: Value = serde_json::from_str(listed["rows"][0].as_str().unwrap()).unwrap();
    let of_one = json!({"selector": {"connection": row["connection"]}, "reason": "by number"});
    assert_eq!(nodes[0].done("disconnect", of_one)["count"], 1);
    expect_end(&mut others[0]);
    others[1..].iter_mut().for_each(Client::ping);
}

/// Promise 7: a plugin's revocation at one node has the providers asked at every node, and withholds what the client has retained at all;
/// whoever's provider does not stand for it is gone. Who else is there stays, with what it has retained.
#[test]
fn promise_7_a_revocation_at_one_node_holds_at_all() {
    let mut nodes = started(3, "answer = \"reject\"");
    let (mut others, mut revoked) = (at_each(&nodes, "alice"), at_each(&nodes, "mallory"));
    for (n, (other, revoked)) in others.iter_mut().zip(&mut revoked).enumerate() {
        assert_eq!(other.published(&format!("r/alice/{n}"), 1, true, b"kept"), 0);
        assert_eq!(revoked.published(&format!("r/mallory/{n}"), 1, true, b"kept"), 0);
    }
    let all = ["r/alice/0", "r/alice/1", "r/alice/2"];
    wait_until_delivered(&nodes, &[&all[..], &["r/mallory/0", "r/mallory/1", "r/mallory/2"]].concat());
    let revoke = |at: &Broker, retained: &str| {
        at.ask("revoke", json!({"selector": {"user": "mallory"}, "retained": retained}))["count"].clone()
    };
    assert_eq!(revoke(&nodes[1], "withhold"), 3);
    revoked.iter_mut().for_each(expect_end);
    for node in &mut nodes {
        let told = node.tape().wait_for("it is told", |e| e["event"] == "IdentityRevoked");
        assert_eq!((&told["fields"]["by"], &told["user"]), (&json!("plugin requests"), &json!("mallory")));
    }
    wait_until_delivered(&nodes, &all);
    others.iter_mut().for_each(Client::ping);
    // What its providers stand for again comes again, at all.
    let mut again = joins(&nodes[2], &Connect { user: Some("mallory"), ..Connect::new(Level::V5, "mallory-0") }).0;
    wait_until_delivered(&nodes, &[&all[..], &["r/mallory/0"]].concat());
    assert_eq!(again.published("r/mallory/3", 1, true, b"kept"), 0);
    assert_eq!(revoke(&nodes[0], "remove"), 1);
    expect_end(&mut again);
    wait_until_delivered(&nodes, &all);
}

/// A node that does not answer is named, and hears of a revocation when it is there again.
#[test]
fn a_node_that_was_away_hears_of_a_revocation() {
    let mut nodes = started(2, "answer = \"reject\"");
    let mut revoked = joins(&nodes[1], &Connect { user: Some("mallory"), ..Connect::new(Level::V5, "mallory") }).0;
    let mut stays = comes(&nodes[1], "stays");
    let pid = rustix::process::Pid::from_raw(nodes[1].pid().cast_signed()).unwrap();
    rustix::process::kill_process(pid, Signal::STOP).unwrap();
    let unreached = |answer: &Value| {
        let rows = answer["rows"].as_array().unwrap().iter();
        rows.filter(|row| row.as_str().is_some_and(|row| row.contains("\"node-2\""))).count()
    };
    // It is taken for up, and its answer waited for.
    let selector = json!({"user": "mallory"});
    let kicked = nodes[0].done("disconnect", json!({"selector": {"user": "nobody"}, "reason": "now"}));
    assert_eq!((&kicked["count"], unreached(&kicked)), (&json!(0), 1));
    let is_away = || status(&nodes[0])["rows"][0]["state"] != "up";
    wait_for("it is away", PATIENCE, || is_away().then_some(()));
    let answer = nodes[0].done("revoke", json!({"selector": selector, "retained": "keep"}));
    assert_eq!((&answer["count"], unreached(&answer)), (&json!(0), 1));
    let mut here = comes(&nodes[0], "mallory-here");
    rustix::process::kill_process(pid, Signal::CONT).unwrap();
    expect_end(&mut revoked);
    nodes[1].tape().wait_for("it is told", |e| e["event"] == "IdentityRevoked" && e["client_id"] == "mallory");
    cluster::wait_until_whole(&nodes.iter().collect::<Vec<_>>());
    here.ping();
    stays.ping();
}
