//! Promise 7 in a cluster: whoever is denied at one node is gone from all, until it is lifted at any.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version};
use gatemq_tests::cluster::{self, Member};
use gatemq_tests::pki::Pki;
use gatemq_tests::{PATIENCE, wait_for};
use serde_json::{Value, json};

use super::expect_end;

/// A fleet with certificates, watched by `guard`: four denied actions are too many.
fn setup(member: &Member, pki: &Pki) -> Setup {
    let guard = "config.points.denied_action = 10\nconfig.points.connect_storm = 0\nconfig.thresholds.certificate = 35\n\
                 config.thresholds.client = 35\nconfig.thresholds.address = 1000\nconfig.thresholds.user = 35\n\
                 config.half_life_s = 600\nconfig.ban_s = 3600";
    let chain = "[listeners.secure.auth]\nchain = [\"guard\", \"fleet\"]";
    let setup = member.bare().mqtts("secure", pki, "required", chain).fleet(pki);
    setup.plugin("guard", &Artifacts::get().plugin("guard"), guard)
}

/// Whether a client with this certificate is turned away.
fn is_turned_away(broker: &Broker, tls: &Tls, client_id: &str) -> bool {
    match Client::tls(broker.address("secure"), tls, Version::V5) {
        Ok(mut client) => !matches!(client.connect(client_id), Ok(0)),
        Err(_) => true,
    }
}

/// A client does at one node what it may not: its certificate is refused at every node, who shows it at another is kicked within a
/// second, a node that joins or comes back knows it before its listeners open, and lifted at one node it is lifted at all.
#[test]
fn promise_7_a_denial_of_one_node_holds_at_all() {
    let pki = Pki::new("Acme");
    let members = cluster::members("test", 3);
    let mut brokers = cluster::start(members.iter().map(|member| setup(member, &pki)));
    let [good, bad] = ["good", "bad"].map(|name| Tls::new(&pki, Some(&pki.client(name))));
    let comes = |broker: &Broker, tls: &Tls, id: &str| Client::admitted(broker.address("secure"), tls, Version::V5, id);
    let mut served: Vec<_> =
        brokers.iter().enumerate().map(|(n, broker)| comes(broker, &good, &format!("good-{n}"))).collect();
    let mut elsewhere: Vec<_> = [1, 2].map(|n| comes(&brokers[n], &bad, &format!("bad-{n}"))).into();
    let mut here = comes(&brokers[0], &bad, "bad-0");
    for _ in 0..4 {
        here.publish("devices/other/x", 1, b"").unwrap();
    }
    let begun = Instant::now();
    expect_end(&mut here);
    elsewhere.iter_mut().for_each(expect_end);
    eprintln!("kicked at all nodes after {:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    // Under another name, so that it is the certificate that is refused.
    assert!(brokers.iter().all(|broker| is_turned_away(broker, &bad, "another")));
    served.iter_mut().for_each(Client::ping);

    let joiner = setup(&Member::of(&members, "node-4"), &pki).start();
    assert!(is_turned_away(&joiner, &bad, "another"), "at a node that joins");
    comes(&joiner, &good, "good-4").ping();
    let back = brokers.pop().unwrap().kill().start();
    assert!(is_turned_away(&back, &bad, "another"), "at a node that comes back");
    comes(&back, &good, "good-5").ping();

    brokers.extend([joiner, back]);
    let listed = brokers[1].command(&["deny", "list"]);
    let listed = listed.as_array().unwrap();
    assert!(!listed.is_empty() && listed.iter().all(|denial| denial["raised_by"] == "plugin guard"), "{listed:#?}");
    let hash = listed.iter().find_map(|denial| denial["subject"]["sha256"].as_str()).expect("of a certificate");
    brokers[1].command(&["deny", "lift", "certificate", hash]);
    brokers[1].command(&["deny", "lift", "user", "acme", "bad"]);
    for broker in &brokers {
        wait_for("it is lifted", PATIENCE, || (!is_turned_away(broker, &bad, "another")).then_some(()));
    }
}

/// Where three clients are connected from an address, at the node that denies it or at another, it is slowed down there and not refused,
/// and at all nodes when they are at the one that denies it. Lifted at any node it is at all. Twin: where nobody shares it, it is refused.
#[test]
fn promise_7_an_address_that_is_shared_anywhere_is_not_refused_there() {
    const SHARED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
    let members = cluster::members("test", 3);
    let setup = |member: &Member| {
        member.bare().mqtt("mqtt").faults(cluster::ALL).requests().toml("[auth]\nchain = [\"faults\"]")
    };
    let mut nodes = cluster::start(members.iter().map(setup));
    let come = |at: &Broker, client_id: &str| {
        let mut client = Client::tcp_from(SHARED, at.address("mqtt"), Version::V5).ok()?;
        (client.connect(client_id).ok()? == 0).then_some(client)
    };
    // One a second, and who does not come at once.
    let is_slow = |at: &Broker| {
        let came: Vec<_> = (0..20).filter_map(|n| come(at, &format!("n{n}"))).collect();
        assert!(came.len() < 10, "{} of 20 at once", came.len());
        wait_for("a patient one is let in", PATIENCE, || come(at, "patient"));
    };
    let subject = json!({"kind": "address", "address": SHARED.to_string(), "bits": 32});
    let raised = |at: &Broker| -> Vec<Value> {
        let rows = at.done("denials", json!({}))["rows"].clone();
        let rows = rows.as_array().unwrap().iter().map(|row| serde_json::from_str::<Value>(row.as_str().unwrap()));
        rows.map(|row| row.unwrap()["action"].clone()).collect()
    };
    for (shared_at, wanted) in [(0, ["slow"; 3]), (1, ["refuse", "slow", "refuse"])] {
        let mut sharing: Vec<Client> =
            ["a", "b", "c"].map(|id| wait_for("it is let in", PATIENCE, || come(&nodes[shared_at], id))).into();
        assert!(come(&nodes[0], "fault-reject").is_none());
        nodes[0].tape().wait_for("its failure", |e| e["event"] == "ClientRefused" && e["client_id"] == "fault-reject");
        nodes[0].done("deny", json!({"subject": subject, "reason": "guesses"}));
        for (node, wanted) in nodes.iter().zip(wanted) {
            wait_for("it is denied", PATIENCE, || (raised(node) == [wanted]).then_some(()));
            match wanted {
                "slow" => is_slow(node),
                _ => assert!(come(node, "refused").is_none()),
            }
        }
        sharing.iter_mut().for_each(Client::ping);
        nodes[2].command(&["deny", "lift", "address", &SHARED.to_string()]);
        for node in &nodes {
            wait_for("it is lifted", PATIENCE, || raised(node).is_empty().then_some(()));
        }
        sharing.into_iter().for_each(Client::disconnect);
    }
}
