//! The ledger: every clause of every version has a case, or an exception with a reason; and every case passes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::{PATIENCE, workspace};

use super::cases::{self, Case};
use super::run::{Place, play};
use super::{Version, directory, lines, read};

/// Cases that are played at the same time: nearly all that they do is wait.
const AT_ONCE: usize = 24;

/// How long a case that is not expected to pass may wait.
const PATIENCE_NOT_YET: Duration = Duration::from_secs(3);

/// A clause of a version.
type Clause = (Version, String);

/// Why a clause has no case, or none that shows all of it.
struct Exception {
    clause: Clause,
    /// `none`: there is no case. `part`: there is one, and what it leaves out is said.
    extent: String,
    reason: String,
    /// `FILE::FUNCTION` of the test that shows it instead; may be empty.
    test: String,
}

fn clauses() -> BTreeSet<Clause> {
    let mut all = BTreeSet::new();
    for file in ["clauses.tsv", "clauses-3.1.tsv"] {
        let text = read(&directory().join(file));
        for line in lines(&text).skip(1) {
            let mut columns = line.split('\t');
            let (id, version) = (columns.next().unwrap_or(""), columns.next().unwrap_or(""));
            let version = Version::parse(version).unwrap_or_else(|e| panic!("{file}: {line}: {e}"))[0];
            assert!(all.insert((version, id.to_owned())), "{file}: {id} of {} is there twice", version.name());
        }
    }
    all
}

fn exceptions() -> Vec<Exception> {
    let text = read(&directory().join("exceptions.tsv"));
    let parse = |line: &str| {
        let columns: Vec<&str> = line.split('\t').collect();
        let [version, id, extent, reason, rest @ ..] = &columns[..] else { panic!("exceptions.tsv: {line}") };
        let version = Version::parse(version).unwrap_or_else(|e| panic!("exceptions.tsv: {line}: {e}"))[0];
        let test = rest.first().copied().unwrap_or("").to_owned();
        let (extent, reason) = ((*extent).to_owned(), (*reason).to_owned());
        Exception { clause: (version, (*id).to_owned()), extent, reason, test }
    };
    lines(&text).skip(1).map(parse).collect()
}

fn all_cases() -> Vec<Case> {
    cases::all().unwrap_or_else(|wrong| panic!("{}", wrong.join("\n")))
}

fn shown((version, id): &Clause) -> String {
    format!("{} {id}", version.name())
}

/// Each clause has a case or an exception with a reason, not both and not neither; what is named is there.
#[test]
fn every_clause_has_a_case_or_a_reason() {
    let (clauses, exceptions, cases) = (clauses(), exceptions(), all_cases());
    let mut covered: BTreeMap<Clause, usize> = BTreeMap::new();
    let mut wrong = Vec::new();
    for case in &cases {
        for (version, ids) in &case.covers {
            for id in ids {
                let clause = (*version, id.clone());
                if !clauses.contains(&clause) {
                    wrong.push(format!("{}: {} covers {}, which there is not", case.place, case.name, shown(&clause)));
                }
                *covered.entry(clause).or_default() += 1;
            }
        }
    }
    let mut excepted = BTreeSet::new();
    for exception in &exceptions {
        wrong.extend(wrong_with(exception, &clauses, covered.contains_key(&exception.clause)));
        if !excepted.insert(exception.clause.clone()) {
            wrong.push(format!("{}: two exceptions", shown(&exception.clause)));
        }
    }
    for clause in clauses.iter().filter(|c| !covered.contains_key(*c) && !excepted.contains(*c)) {
        wrong.push(format!("{}: neither a case nor an exception", shown(clause)));
    }
    for version in Version::ALL {
        let of = |(v, _): &&Clause| *v == version;
        println!(
            "MQTT {}: {} clauses, {} with cases, {} with an exception, {} cases",
            version.name(),
            clauses.iter().filter(of).count(),
            covered.keys().filter(of).count(),
            exceptions.iter().filter(|e| e.extent == "none" && of(&&e.clause)).count(),
            cases.iter().filter(|c| c.covers.iter().any(|(v, _)| *v == version)).count(),
        );
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

fn wrong_with(exception: &Exception, clauses: &BTreeSet<Clause>, covered: bool) -> Option<String> {
    let clause = shown(&exception.clause);
    if !clauses.contains(&exception.clause) {
        return Some(format!("exception for {clause}, which there is not"));
    }
    if exception.reason.trim().len() < 10 {
        return Some(format!("{clause}: an exception without a reason"));
    }
    match (exception.extent.as_str(), covered) {
        ("none", true) => return Some(format!("{clause}: a case and an exception")),
        ("part", false) => return Some(format!("{clause}: an exception to a part, and no case")),
        ("none" | "part", _) => {}
        (other, _) => return Some(format!("{clause}: {other:?} is neither none nor part")),
    }
    if exception.test.is_empty() {
        return None;
    }
    let there = exception.test.split_once("::").is_some_and(|(file, function)| {
        let text = std::fs::read_to_string(workspace().join(file)).unwrap_or_default();
        text.contains(&format!("fn {function}("))
    });
    (!there).then(|| format!("{clause}: there is no test {}", exception.test))
}

/// The broker that all cases share. Each address is a tenant of its own.
fn broker() -> Broker {
    let mut setup = Setup::new()
        .log("warn")
        .toml("[limits]\nreceive_max = 20\ninflight_max = 20\npacket_bytes_max = 450000\nconnect_bytes_max = 450000");
    let plugins = [
        ("faults", "config.grants = [{ allow = [\"all\"], filter = \"#\", share_groups = [\"*\"] }]"),
        ("asking", ""),
        (
            "narrow",
            "config.limits = { qos_max = 1, retain_allowed = 0, will_allowed = 1, wildcard_subscriptions_allowed = 0, shared_subscriptions_allowed = 0, topic_alias_max = 0 }\nconfig.keep_alive_s_max = 2",
        ),
        ("slowed", "config.limits = { messages_per_s_max = 20 }"),
    ];
    for (name, config) in plugins {
        let library = Artifacts::get().plugin("test-faults");
        setup = setup.plugin(name, &library, &format!("config.tenant_by_address = true\n{config}"));
    }
    for (listener, kind, chain) in [
        ("plain", "mqtt", "faults"),
        ("asking", "mqtt", "asking"),
        ("forgiving", "mqtt", "asking"),
        ("narrow", "mqtt", "narrow"),
        ("slowed", "mqtt", "slowed"),
        ("web", "ws", "faults"),
    ] {
        let denied = if listener == "forgiving" { "acknowledge" } else { "close" };
        setup = setup.toml(&format!(
            "[listeners.{listener}]\nkind = {kind:?}\nbind = \"127.0.0.1:0\"\nconnections_per_s_max = 0\n\
             denied_publish = {denied:?}\naddress_connections_per_s_max = 0\n[listeners.{listener}.auth]\nchain = [{chain:?}]"
        ));
    }
    setup.toml("[auth]\nchain = [\"faults\"]").start()
}

/// Every case passes in every version that it names, but for those in `not_yet.txt`: those do not pass yet, and leave the list
/// when they do.
#[test]
fn every_case_is_answered_as_the_standard_demands() {
    let cases = all_cases();
    let only = std::env::var("CASE").unwrap_or_default();
    let listed = read(&directory().join("not_yet.txt"));
    let not_yet: BTreeSet<&str> = lines(&listed).collect();
    let plays: Vec<(&Case, Version, String)> = cases
        .iter()
        .flat_map(|case| case.covers.iter().map(move |(v, _)| (case, *v, format!("{} {}", v.name(), case.name))))
        .filter(|(_, _, name)| name.contains(&only))
        .collect();
    let broker = broker();
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|threads| {
        for _ in 0..AT_ONCE {
            threads.spawn(|| {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let Some((case, version, name)) = plays.get(n) else { return };
                    let expected = !not_yet.contains(name.as_str());
                    let place = Place {
                        source: Ipv4Addr::from(0x7F01_0001 + n as u32),
                        broker: broker.address(&case.listener),
                        patience: if expected { PATIENCE } else { PATIENCE_NOT_YET },
                    };
                    match (play(case, *version, &place), expected) {
                        (Ok(()), true) | (Err(_), false) => {}
                        (Err(why), true) => wrong.lock().unwrap().push(format!("{name}: {why}")),
                        (Ok(()), false) => {
                            wrong.lock().unwrap().push(format!("{name}: passes, so it is to leave not_yet.txt"));
                        }
                    }
                }
            });
        }
    });
    let mut wrong = wrong.into_inner().unwrap();
    wrong.sort();
    let names: BTreeSet<&str> = plays.iter().map(|(_, _, name)| name.as_str()).collect();
    if only.is_empty() {
        wrong.extend(not_yet.iter().filter(|n| !names.contains(*n)).map(|n| format!("not_yet.txt: there is no {n}")));
    }
    println!("{} cases played, {} of them not yet", plays.len(), not_yet.len());
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
