//! Promise 4: environments never merge.

use std::time::Duration;

use gatemq_tests::broker::Broker;
use gatemq_tests::client::{Client, Received};
use gatemq_tests::cluster::{self, Authority, Member, status, up, wait_until_reached};
use gatemq_tests::short_or_long;

use super::comes;

/// How long they try.
fn trial() -> Duration {
    // Who was refused asks again every 10 s.
    short_or_long(Duration::from_secs(25), Duration::from_secs(300))
}

/// Two clusters, each with the other's addresses among its seeds: they try all the while, and nothing of one comes to the other.
fn they_never_merge(mut production: Vec<Member>, mut staging: Vec<Member>, code: &str) {
    let addresses = |of: &[Member]| of.iter().map(|member| member.address).collect::<Vec<_>>();
    let (of_production, of_staging) = (addresses(&production), addresses(&staging));
    production.iter_mut().for_each(|member| member.seeds.extend(&of_staging));
    staging.iter_mut().for_each(|member| member.seeds.extend(&of_production));
    for (n, member) in staging.iter_mut().enumerate() {
        member.name = format!("staging-{}", n + 1);
    }
    for member in production.iter_mut().chain(&mut staging) {
        member.more = "on_refused = \"degraded\"".into();
    }
    let start = |members: &[Member]| cluster::start(members.iter().map(Member::setup));
    let (mut production, mut staging) = (start(&production), start(&staging));
    let mut clients: Vec<_> =
        production.iter().chain(&staging).enumerate().map(|(n, at)| comes(at, &format!("client-{n}"))).collect();
    for client in &mut clients {
        assert_eq!(client.subscribe("all/#", 1), 1);
    }
    let [p1, p2, s1, s2] = &mut clients[..] else { panic!("four") };
    for (from, to) in [(p1, p2), (s1, s2)] {
        assert_eq!(from.unsubscribe("all/#"), Some(0));
        wait_until_reached(from, to, "all/probe");
    }
    production[0].command(&["deny", "add", "user", "test", "mallory", "--reason", "of production"]);
    assert_eq!(clients[0].published("all/secret", 1, true, b"of production"), 0);
    assert_eq!(clients[1].take_message().text(), "of production");
    // That they do not merge takes time, and no condition ends it.
    Client::nothing_comes(&mut clients.iter_mut().collect::<Vec<_>>(), trial());
    assert_eq!(clients[2].published("all/secret", 1, false, b"of staging"), 0);
    assert_eq!(clients[3].take_message().text(), "of staging", "and nothing of production");
    let nothing = clients[1].receive(Duration::from_millis(50));
    assert!(!matches!(nothing, Ok(Received::Packet(_))), "at production: {nothing:?}");
    for (brokers, others) in [(&mut production, "staging"), (&mut staging, "node-")] {
        for broker in brokers {
            let seen = status(broker);
            let names: Vec<_> = seen["rows"].as_array().unwrap().iter().map(|row| row["name"].clone()).collect();
            assert!(names.len() == 1 && !names[0].as_str().unwrap().starts_with(others), "{seen:#}");
            assert_eq!(up(&seen).len(), 1, "{seen:#}");
            // Both sides can see it: as who asks and as who is asked.
            for side in ["by_us", "by_them"] {
                let fits = |e: &serde_json::Value| e["event"] == "NodeRefused" && e["fields"]["side"] == side;
                if code == "environment_differs" {
                    let told = broker.tape().wait_for(side, fits);
                    assert_eq!(told["fields"]["code"], code, "{told:#}");
                }
            }
            let told = broker.tape().wait_for("refused", |e| e["event"] == "NodeRefused");
            assert_eq!(told["fields"]["code"], code, "{told:#}");
            broker.wait_for_log("refused", |line| line.contains("NodeRefused") || line.contains("refused"));
        }
    }
    assert_eq!(staging[0].command(&["deny", "list"]).as_array().unwrap().len(), 0, "a denial has come over");
    assert!(production.iter().all(|at| at.command(&["deny", "list"]).as_array().unwrap().len() == 1));
}

/// Two running clusters of different environments with the same secret, addresses in each other's seeds: never.
#[test]
fn promise_4_clusters_of_two_environments_never_merge() {
    they_never_merge(cluster::members("production", 2), cluster::members("staging", 2), "tls");
}

/// Nor where one authority signs both, so that nothing but the environment differs.
#[test]
fn promise_4_clusters_of_two_environments_with_one_authority_never_merge() {
    let authority = Authority::new("production");
    let of = |environment| cluster::members_of(&authority, environment, 2);
    they_never_merge(of("production"), of("staging"), "environment_differs");
}

/// A node that is to join another environment ends with exit code 77 and says why; or serves its clients alone, where it was told
/// to. The member says it too. Its twin of the right environment joins.
#[test]
fn promise_4_a_node_of_another_environment_is_refused_and_says_so() {
    let members = cluster::members("production", 1);
    let mut member = members[0].setup().start();
    let refused = |broker: &mut Broker, who: &str| {
        let of = format!("spiffe://staging/gatemq/gatemq/{who}");
        let is = |e: &serde_json::Value| e["event"] == "NodeRefused" && e["fields"]["id"] == of;
        let told = broker.tape().wait_for("it is refused", is);
        assert_eq!(told["fields"]["code"], "environment_differs", "{told:#}");
    };
    let joiner = Member { environment: "staging".into(), ..Member::of(&members, "node-2") };
    let ended = joiner.setup().try_start().err().expect("it ends");
    assert_eq!(ended.code, Some(77), "{}", ended.log);
    assert!(ended.log.contains("staging") && ended.log.contains("production"), "{}", ended.log);
    refused(&mut member, "node-2");

    let alone =
        Member { more: "on_refused = \"degraded\"".into(), ..Member { name: "node-3".into(), ..joiner.clone() } };
    let mut alone = Member { address: cluster::an_address(), ..alone }.setup().start();
    refused(&mut member, "node-3");
    alone.wait_for_log("degraded", |line| line.contains("degraded"));
    alone.tape().wait_for("it says so", |e| e["event"] == "NodeRefused" && e["fields"]["side"] == "by_them");
    assert!(up(&status(&alone)).is_empty());
    let mut client = comes(&alone, "client");
    client.ping();

    let begun = std::time::Instant::now();
    let twin = Member { environment: "production".into(), ..joiner }.setup().start();
    cluster::wait_until_whole(&[&member, &twin]);
    assert!(begun.elapsed() < Duration::from_secs(5), "its twin joins after {:?}", begun.elapsed());
    let (mut from, mut to) = (comes(&twin, "from"), comes(&member, "to"));
    assert_eq!(to.subscribe("t", 0), 0);
    wait_until_reached(&mut from, &mut to, "t");
}
