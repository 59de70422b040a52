//! What a million subscriptions cost: memory, matching beside 1 to 1,000 tenants, and publishing while a level of a million
//! children changes a thousand times a second. Prints; times nothing that could fail.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use gatemq_broker::identity::Parts;
use gatemq_broker::{
    Attached, Decision, GrantTable, Hasher, Home, Identity, Out, PublishAction, PublishPermit, SessionKey,
    SessionLimits, SubscribeAction, Tenants, TopicCache, Values, Verdicts, router,
};
use gatemq_mqtt::packet::subscribe::SubscribeOptions;
use gatemq_mqtt::topic::Filter;
use gatemq_types::{Actions, Grant, Limits, NoMatch, Protocol, QoS};

const SUBSCRIPTIONS: usize = 1_000_000;
/// Of each session.
const EACH: usize = 10;
const MATCHES: usize = 400_000;
/// More than the cache of a core.
const EVICTED_BYTES: usize = 8 << 20;

fn main() {
    // Whoever lists benchmarks, or runs them as tests, does not want to wait for this.
    if std::env::args().any(|argument| argument == "--bench") {
        for tenants in [1, 10, 100, 1000] {
            spread(tenants);
        }
        beside_subscribes();
    }
}

fn identity(tenants: &Tenants, tenant: &str, client_id: &str) -> Identity {
    let tenant = tenants.get_or_create(tenant).expect("a tenant");
    let key = Arc::new(SessionKey::new(tenant, "user", client_id).expect("a key"));
    let grants = GrantTable::new(1).compile(&[Grant::allow(Actions::ALL, "#")]).expect("compiles");
    let limits = Limits { subscriptions_max: Some(u64::from(u32::MAX)), ..Limits::default() };
    let (values, no_match) = (Values::default(), NoMatch::Deny);
    let parts = Parts { key: &key, grants: &grants, values, no_match, limits: &limits };
    Identity::new(parts, &Hasher::default()).expect("an identity")
}

fn session(identity: &Identity, connection: usize) -> Attached {
    let home = Home { worker: 0, connection: u32::try_from(connection).expect("few") };
    Attached::alone(identity.key().clone(), Protocol::V311, SessionLimits::default(), home)
}

fn subscribe(identity: &Identity, session: &Attached, filter: &str, out: &mut Out) {
    let action = SubscribeAction { filter: Filter::trusted(filter), qos: QoS::AtMostOnce };
    let Decision::Permit(permit) = identity.may_subscribe(action) else { panic!("{filter} is denied") };
    assert!(!router::subscribe(&permit, session, SubscribeOptions::default(), 0, out).code.is_failure());
}

fn permit<'a>(identity: &'a Identity, topic: &'a str) -> PublishPermit<'a> {
    let action = PublishAction { topic, qos: QoS::AtMostOnce, retain: false, payload_bytes: 0 };
    match identity.may_publish(&mut Verdicts::new(0), action, 0) {
        Decision::Permit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Half exact, three tenths with `+`, one fifth with `#`, all different: three of ten match `d/N/t/K`.
fn filter(n: usize) -> String {
    let (device, kind) = (n / EACH, n % EACH);
    match kind {
        0..5 => format!("d/{device}/t/{kind}"),
        5..8 => format!("d/{device}/+/{}", kind - 5),
        8 => format!("d/{device}/#"),
        _ => format!("e/{device}/t/#"),
    }
}

/// Memory that this process has in use (resident set), in bytes.
fn memory_bytes() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of its memory");
    1024 * line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number")
}

/// A million subscriptions of 100,000 sessions, in so many tenants.
fn spread(count: usize) {
    let tenants = Tenants::new(count);
    let names: Vec<String> = (0..count).map(|n| format!("tenant-{n}")).collect();
    let mut out = Out::new(TopicCache::new(0, 0));
    let clients: Vec<(Identity, Attached)> = (0..SUBSCRIPTIONS / EACH)
        .map(|n| {
            let identity = identity(&tenants, &names[n % count], &format!("client-{n}"));
            let session = session(&identity, n);
            (identity, session)
        })
        .collect();
    let (before, begun) = (memory_bytes(), Instant::now());
    for (n, (identity, session)) in clients.iter().enumerate() {
        for k in 0..EACH {
            subscribe(identity, session, &filter(n * EACH + k), &mut out);
        }
    }
    let (took, bytes) = (begun.elapsed(), memory_bytes().saturating_sub(before));
    println!(
        "{count:>5} tenants: {SUBSCRIPTIONS} subscriptions, {} bytes and {:?} each",
        bytes / SUBSCRIPTIONS,
        took / SUBSCRIPTIONS as u32,
    );
    matching(&clients);
}

/// Any topic of all, and nothing is remembered: each walks its tenant's tree. What differs with the number of tenants is how
/// much of it is still in the processor's cache from the topic before: of one tenant the upper levels always are. So each is
/// measured as it comes, and with a cache that something else has filled in between.
fn matching(clients: &[(Identity, Attached)]) {
    let picks: Vec<usize> = (1..=clients.len()).map(|n| n.wrapping_mul(2_654_435_761) % clients.len()).collect();
    let topics: Vec<String> = picks.iter().map(|n| format!("d/{n}/t/{}", n % 3)).collect();
    let mut cache = TopicCache::new(0, 0);
    let mut between = vec![0_u64; EVICTED_BYTES / 8];
    for (what, matches, evicts) in [("as it comes", MATCHES, false), ("cache filled between", MATCHES / 100, true)] {
        let (mut found, mut permits, mut walks) = (0, Duration::ZERO, Duration::ZERO);
        for n in (0..picks.len()).cycle().take(matches) {
            if evicts {
                between.iter_mut().step_by(8).for_each(|word| *word = word.wrapping_add(1));
                black_box(&between);
            }
            let begun = Instant::now();
            let permit = permit(&clients[picks[n]].0, &topics[n]);
            let permitted = Instant::now();
            found += black_box(cache.targets(&permit)).len();
            walks += permitted.elapsed();
            permits += permitted - begun;
        }
        let each = |all: Duration| all / matches as u32;
        println!(
            "    {what}: a permit {:?}, a match {:?}, {:.1} found",
            each(permits),
            each(walks),
            found as f64 / matches as f64
        );
    }
}

/// One level with a million children, `d/N/cmd`; who publishes is measured alone, and while 1,000 SUBSCRIBE a second go into it.
fn beside_subscribes() {
    let tenants = Tenants::new(1);
    let identity = identity(&tenants, "t", "c");
    let session = session(&identity, 0);
    let mut out = Out::new(TopicCache::new(0, 0));
    for n in 0..SUBSCRIPTIONS {
        subscribe(&identity, &session, &format!("d/{n}/cmd"), &mut out);
    }
    publishing("alone", &identity);
    let (over, done) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|all| {
        all.spawn(|| {
            let mut out = Out::new(TopicCache::new(0, 0));
            let begun = Instant::now();
            while !over.load(Ordering::Relaxed) {
                let n = done.fetch_add(1, Ordering::Relaxed);
                subscribe(&identity, &session, &format!("d/new-{n}/cmd"), &mut out);
                let next = begun + Duration::from_millis(n + 1);
                std::thread::sleep(next.saturating_duration_since(Instant::now()));
            }
        });
        publishing("beside 1,000 SUBSCRIBE/s", &identity);
        over.store(true, Ordering::Relaxed);
    });
    println!("  ({} SUBSCRIBE meanwhile)", done.load(Ordering::Relaxed));
}

/// For three seconds, topics of that level: with and without a cache of 16,384.
fn publishing(what: &str, identity: &Identity) {
    let topics: Vec<String> = (1..=10_007usize)
        .map(|n| n.wrapping_mul(2_654_435_761) % SUBSCRIPTIONS)
        .map(|n| format!("d/{n}/cmd"))
        .collect();
    for entries in [0, 16_384] {
        let mut cache = TopicCache::new(entries, 1 << 20);
        let mut times = Vec::with_capacity(8_000_000);
        let begun = Instant::now();
        for topic in topics.iter().cycle() {
            let at = Instant::now();
            assert_eq!(black_box(cache.targets(&permit(identity, topic))).len(), 1);
            times.push(at.elapsed());
            if begun.elapsed() > Duration::from_secs(3) {
                break;
            }
        }
        times.sort_unstable();
        let at = |per_mille: usize| times[(times.len() - 1) * per_mille / 1000];
        println!(
            "  into a level of {SUBSCRIPTIONS} children, {what}, cache of {entries}: median {:?}, 99 % {:?}, 99.9 % {:?}, most {:?}",
            at(500),
            at(990),
            at(999),
            at(1000)
        );
    }
}
