//! Whoever may not join: each with a twin that differs in that alone and joins.

use std::time::{Duration, Instant};

use gatemq_tests::broker::Broker;
use gatemq_tests::cluster::{self, Authority, Certified, Member, OTHER_SECRET, Valid, status, up};

/// The certificate that it would have.
fn usual(member: &Member) -> Certified {
    let Member { environment, cluster, name, .. } = member.clone();
    Certified { environment, cluster, name, valid: Valid::Now }
}

/// One who may not join.
struct Case {
    what: &'static str,
    change: fn(&mut Member),
    /// What the member's event says; `None`: it ends before it asks.
    code: Option<&'static str>,
    /// What it says itself, and its exit code.
    says: (&'static str, i32),
}

const CASES: &[Case] = &[
    Case {
        what: "another authority",
        change: |member| member.authority = Authority::new("test"),
        code: Some("tls"),
        says: ("certificate", 77),
    },
    Case {
        what: "an expired certificate",
        change: |member| member.certified = Some(Certified { valid: Valid::Before, ..usual(member) }),
        code: None,
        says: ("expired", 69),
    },
    Case {
        what: "a certificate of later",
        change: |member| member.certified = Some(Certified { valid: Valid::Later, ..usual(member) }),
        code: None,
        says: ("becomes valid", 69),
    },
    Case {
        what: "a clock of before its certificate",
        change: |member| member.clock_ahead_s = -7200,
        code: None,
        says: ("becomes valid", 69),
    },
    Case {
        what: "a clock minutes ahead",
        change: |member| member.clock_ahead_s = 180,
        code: Some("clock_skew"),
        says: ("clock", 77),
    },
    Case {
        what: "a clock minutes behind",
        change: |member| member.clock_ahead_s = -180,
        code: Some("clock_skew"),
        says: ("clock", 77),
    },
    Case {
        what: "no protocol in common",
        change: |member| member.more = "protocol_min = 2".into(),
        code: Some("protocol_unsupported"),
        says: ("no common protocol", 77),
    },
    Case {
        what: "a certificate of another environment",
        change: |member| member.certified = Some(Certified { environment: "other".into(), ..usual(member) }),
        code: None,
        says: ("other", 69),
    },
    Case {
        what: "a certificate of another node",
        change: |member| member.certified = Some(Certified { name: "node-1".into(), ..usual(member) }),
        code: None,
        says: ("node-1", 69),
    },
    Case {
        what: "another cluster",
        change: |member| member.cluster = "other".into(),
        code: Some("cluster_differs"),
        says: ("other", 77),
    },
    Case {
        what: "another environment",
        change: |member| member.environment = "other".into(),
        code: Some("environment_differs"),
        says: ("other", 77),
    },
    Case {
        what: "another secret",
        change: |member| member.secret = OTHER_SECRET,
        code: Some("gossip_key"),
        says: ("gossip", 77),
    },
    Case {
        what: "a name that a member has",
        change: |member| member.name = "node-1".into(),
        code: Some("node_name_taken"),
        says: ("node-1", 77),
    },
];

/// How many the member has refused for this reason.
pub(super) fn refusals(member: &Broker, code: &str) -> u64 {
    let seen = status(member);
    let mut rows = seen["refusals"].as_array().unwrap().iter();
    rows.find(|row| row["side"] == "by_us" && row["code"] == code).map_or(0, |row| row["count"].as_u64().unwrap())
}

/// Each is refused with a reason on both sides and stays out; the cluster serves on; the twin joins within 5 s.
#[test]
fn promise_4_who_may_not_join_is_refused_and_the_twin_joins() {
    let mut members = cluster::members("test", 2);
    // Of the version before; each twin is of this one.
    members.iter_mut().for_each(|member| member.more = "protocol_max = 1".into());
    let mut brokers = cluster::start(members.iter().map(Member::setup));
    for (n, Case { what, change, code, says }) in CASES.iter().enumerate() {
        let twin = Member { more: String::new(), ..Member::of(&members[..1], &format!("joiner-{n}")) };
        let counted = code.map(|code| refusals(&brokers[0], code));
        let mut wrong = twin.clone();
        change(&mut wrong);
        let ended = wrong.setup().try_start().err().unwrap_or_else(|| panic!("{what}: it joins"));
        assert_eq!(ended.code, Some(says.1), "{what}: {}", ended.log);
        assert!(ended.log.contains(says.0), "{what}: {}", ended.log);
        if let Some(code) = code {
            let is = |e: &serde_json::Value| e["event"] == "NodeRefused" && e["fields"]["code"] == *code;
            brokers[0].tape().wait_for(what, is);
            assert!(Some(refusals(&brokers[0], code)) > counted, "{what}: it is counted");
        }
        assert_eq!(up(&status(&brokers[0])), ["node-2"], "{what}");
        let begun = Instant::now();
        let joined = twin.setup().start();
        cluster::wait_until_whole(&[&brokers[0], &brokers[1], &joined]);
        assert!(begun.elapsed() < Duration::from_secs(5), "{what}: its twin joins after {:?}", begun.elapsed());
        joined.stop();
        cluster::wait_until_whole(&[&brokers[0], &brokers[1]]);
    }
}
