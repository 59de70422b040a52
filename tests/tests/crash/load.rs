//! Many publish and many subscribe; the broker is killed at random moments; then everybody counts.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use gatemq_tests::broker::Setup;
use gatemq_tests::client::{Client, Version};
use gatemq_tests::power::Disk;
use gatemq_tests::session::Level;
use gatemq_tests::{PATIENCE, short_or_long, wait_for};

use super::publisher::Publisher;
use super::subscriber::Subscriber;

/// Where the last message goes.
pub(crate) const END: &str = "load/end";
/// What some share: everything else.
pub(crate) const SHARED: &str = "$share/g/load/+/+";
/// Acknowledged messages of a round, at most.
const ROUND_MAX: u64 = 1_500;

/// How long whoever is refused for the moment waits before it comes again, and how long that may go on.
const AGAIN: Duration = Duration::from_millis(20);
const REFUSED_MAX: Duration = Duration::from_secs(40);
/// Between two packets that a publisher takes while little is published.
const QUIET: Duration = Duration::from_millis(10);

/// What all clients see.
#[derive(Default)]
pub(crate) struct Field {
    /// How often the broker has been started, and where it is now.
    broker: Mutex<(u64, Option<SocketAddr>)>,
    changed: Condvar,
    pub(crate) ending: AtomicBool,
    /// Those who share take what has waited: the others may have everything already.
    draining: AtomicBool,
    /// A link is cut for longer than is waited for anything: nothing comes, and little is published, so that what is kept
    /// meanwhile is handed on in about the time of the cut.
    pub(crate) quiet: AtomicBool,
    /// Topics and numbers that were acknowledged, and those that came to one of those who share.
    acknowledged: Mutex<BTreeSet<(String, u64)>>,
    taken_of_shared: Mutex<BTreeSet<(String, u64)>>,
    pub(crate) subscribed: AtomicU64,
}

impl Field {
    /// Waits for a start of the broker later than `generation`, which comes as the broker is killed again and again. `None`:
    /// there will be none.
    pub(crate) fn next_address(&self, who: &str, generation: &mut u64) -> Option<SocketAddr> {
        let mut broker = self.broker.lock().unwrap();
        loop {
            let waited = self.changed.wait_timeout_while(broker, PATIENCE * 2, |broker| broker.0 == *generation);
            let (then, waited) = waited.unwrap();
            broker = then;
            if !waited.timed_out() {
                break;
            }
            assert!(self.quiet.load(Ordering::Acquire), "{who}: the connection has ended, and not by a crash");
        }
        *generation = broker.0;
        broker.1
    }

    /// Who was refused for the moment comes again after a moment, or as soon as a node starts; not for ever.
    pub(crate) fn pause(&self, who: &str, generation: u64, refused: &mut Option<Instant>) {
        let since = *refused.get_or_insert_with(Instant::now);
        assert!(since.elapsed() < REFUSED_MAX, "{who}: it is refused for the moment, on and on");
        let broker = self.broker.lock().unwrap();
        drop(self.changed.wait_timeout_while(broker, AGAIN, |broker| broker.0 == generation).unwrap());
    }

    /// Lets a moment pass while little is to be published, or what is left of that.
    pub(crate) fn breathe(&self) {
        if self.quiet.load(Ordering::Acquire) {
            let broker = self.broker.lock().unwrap();
            drop(self.changed.wait_timeout_while(broker, QUIET, |_| self.quiet.load(Ordering::Acquire)).unwrap());
        }
    }

    pub(crate) fn started(&self, at: Option<SocketAddr>) {
        let mut broker = self.broker.lock().unwrap();
        *broker = (broker.0 + 1, at);
        self.changed.notify_all();
    }

    pub(crate) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Acquire)
    }

    /// Whether there may be nothing for a subscriber.
    pub(crate) fn may_wait(&self) -> bool {
        self.draining.load(Ordering::Acquire) || self.quiet.load(Ordering::Acquire)
    }

    pub(crate) fn acknowledged(&self, topic: String, number: u64) {
        self.acknowledged.lock().unwrap().insert((topic, number));
    }

    /// Whether all that was acknowledged is among these.
    pub(crate) fn has_all(&self, taken: &[(String, u64)]) -> bool {
        let taken: BTreeSet<_> = taken.iter().collect();
        self.acknowledged.lock().unwrap().iter().all(|of| taken.contains(of))
    }

    /// What was acknowledged in the other field, where the publishers are, is what these subscribers are to have.
    pub(crate) fn expects_all_of(&self, other: &Field) {
        *self.acknowledged.lock().unwrap() = other.acknowledged.lock().unwrap().clone();
    }

    pub(crate) fn count_acknowledged(&self) -> u64 {
        self.acknowledged.lock().unwrap().len() as u64
    }

    pub(crate) fn taken_of_shared(&self, topic: String, number: u64) {
        self.taken_of_shared.lock().unwrap().insert((topic, number));
    }

    /// How many different messages those who share have, and how many of the acknowledged ones they have not.
    fn shared(&self) -> (usize, usize) {
        let taken = self.taken_of_shared.lock().unwrap();
        (taken.len(), self.acknowledged.lock().unwrap().difference(&taken).count())
    }

    pub(crate) fn subscribed(&self) {
        self.subscribed.fetch_add(1, Ordering::AcqRel);
    }
}

/// A test that fails ends its clients.
pub(crate) struct EndsAll<'a>(pub(crate) &'a Field);

impl Drop for EndsAll<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.ending.store(true, Ordering::Release);
            self.0.started(None);
        }
    }
}

pub(crate) fn publishers() -> Vec<Publisher> {
    vec![
        Publisher::new("once-5", Level::V5, 2, true),
        Publisher::new("once-3", Level::V311, 2, true),
        Publisher::new("gives-up", Level::V5, 2, false),
        Publisher::new("least-5", Level::V5, 1, true),
        Publisher::new("least-3", Level::V311, 1, false),
    ]
}

fn subscribers() -> Vec<Subscriber> {
    vec![
        Subscriber::new("all-5", Level::V5, 2),
        Subscriber::new("all-3", Level::V311, 1),
        Subscriber { breaks_after: Some(40), stays_away: true, ..Subscriber::new("away", Level::V311, 2) },
        Subscriber { breaks_after: Some(150), receive_max: Some(5), ..Subscriber::new("breaks", Level::V5, 2) },
        // Less than is under way at a time, so that much waits for whoever has room.
        shares(8, None, "shares"),
        shares(3, Some(70), "shares-breaks"),
        Subscriber { stays_away: true, ..shares(5, Some(30), "shares-away") },
    ]
}

fn shares(receive_max: u16, breaks_after: Option<usize>, name: &'static str) -> Subscriber {
    let receive_max = Some(receive_max);
    Subscriber { shares: true, receive_max, breaks_after, ..Subscriber::new(name, Level::V5, 2) }
}

/// `SEED` in the environment, or another one each time.
fn seed() -> u64 {
    let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().subsec_nanos().into());
    eprintln!("SEED={seed}");
    seed
}

/// Until those who share have all that was acknowledged. Many rounds leave much that waits: it may take its time while more comes.
fn wait_for_shared(field: &Field) {
    let began = std::time::Instant::now();
    field.draining.store(true, Ordering::Release);
    loop {
        let (came, missing) = field.shared();
        if missing == 0 {
            return eprintln!("all that is shared has come after {:?}", began.elapsed());
        }
        let what = format!("more of {missing} messages that are shared comes, after {came}");
        wait_for(&what, PATIENCE, || (field.taken_of_shared.lock().unwrap().len() > came).then_some(()));
    }
}

/// Everything, with so many ends of the broker. `crash`: what an end leaves.
fn run(setup: Setup, rounds: usize, mut crash: impl FnMut(Setup) -> Setup) {
    let setup = setup.toml("[limits]\nqueue_messages_max = 1000000\nqueue_bytes_max = 1000000000");
    let (field, mut random) = (Field::default(), seed());
    let (mut publishers, mut subscribers) = (publishers(), subscribers());
    let mut broker = setup.start();
    std::thread::scope(|all| {
        let _ends = EndsAll(&field);
        let wanted = subscribers.len() as u64;
        let receiving: Vec<_> = subscribers.iter_mut().map(|one| all.spawn(|| one.run(&field))).collect();
        field.started(Some(broker.address("mqtt")));
        wait_for("all subscribe", PATIENCE, || (field.subscribed.load(Ordering::Acquire) == wanted).then_some(()));
        let sending: Vec<_> = publishers.iter_mut().map(|one| all.spawn(|| one.run(&field))).collect();
        for round in 0..=rounds {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let enough = field.count_acknowledged() + 1 + (random >> 33) % ROUND_MAX;
            let what = format!("{enough} messages are acknowledged, in round {round}");
            wait_for(&what, PATIENCE, || (field.count_acknowledged() >= enough).then_some(()));
            if round < rounds {
                broker = crash(broker.kill()).start();
                field.started(Some(broker.address("mqtt")));
            }
        }
        field.ending.store(true, Ordering::Release);
        sending.into_iter().for_each(|one| one.join().expect("a publisher"));
        // Who is away comes back.
        field.started(Some(broker.address("mqtt")));
        wait_for_shared(&field);
        let mut last = Client::tcp(broker.address("mqtt"), Version::V5).unwrap();
        assert_eq!(last.connect("last").unwrap(), 0);
        assert_eq!(last.published(END, 2, false, b"0"), 0);
        // That comes to everybody.
        field.draining.store(false, Ordering::Release);
        // The broker ends with this closure, so they are to have everything before.
        receiving.into_iter().for_each(|one| one.join().expect("a subscriber"));
    });
    let (shared, alone): (Vec<_>, Vec<_>) = subscribers.iter().partition(|subscriber| subscriber.shares);
    for subscriber in alone {
        count(subscriber, &publishers, ALL);
    }
    count_shared(&shared, &publishers);
}

/// What is to hold besides that nothing acknowledged is lost.
#[derive(Clone, Copy)]
pub(crate) struct Holds {
    /// What was sent at QoS 2 comes once.
    pub(crate) once: bool,
    /// But for what its publisher has sent again, at another node than before.
    pub(crate) but_again: bool,
    /// First deliveries are in order.
    pub(crate) ordered: bool,
}

/// Everything.
pub(crate) const ALL: Holds = Holds { once: true, but_again: false, ordered: true };

/// Nothing acknowledged is lost, nothing at QoS 2 comes twice, first deliveries are in order; the latter two as far as they hold.
pub(crate) fn count(subscriber: &Subscriber, publishers: &[Publisher], holds: Holds) {
    let mut of_topic: HashMap<&str, Vec<u64>> = HashMap::new();
    for (topic, number) in &subscriber.taken {
        of_topic.entry(topic).or_default().push(*number);
    }
    for publisher in publishers {
        let who = format!("{} from {}", subscriber.name, publisher.name);
        let mut seen = BTreeSet::new();
        for number in 0..2 {
            let taken = of_topic.remove(&*publisher.topic(number)).unwrap_or_default();
            let (first, twice): (Vec<u64>, Vec<u64>) = taken.iter().copied().partition(|number| seen.insert(*number));
            let twice = twice.into_iter().filter(|number| !holds.but_again || !publisher.again.contains(number));
            let twice: Vec<_> = twice.collect();
            let behind: Vec<_> = first.windows(2).filter(|two| two[0] > two[1]).collect();
            assert!(!holds.ordered || behind.is_empty(), "{who}, topic {number}: not in order: {behind:?}");
            let exactly = holds.once && subscriber.qos == 2 && publisher.qos == 2;
            assert!(!exactly || twice.is_empty(), "{who}, topic {number}: twice: {twice:?}");
        }
        let lost: Vec<_> = publisher.acknowledged.difference(&seen).collect();
        assert!(lost.is_empty(), "{who}: acknowledged and lost: {lost:?}");
        let (acknowledged, sent) = (publisher.acknowledged.len() as u64, publisher.sent);
        assert!(acknowledged == sent || !publisher.stays, "{who}: {acknowledged} of {sent}");
        eprintln!("{who}: {acknowledged} acknowledged, {} came", seen.len());
    }
    assert!(of_topic.is_empty(), "from nobody: {:?}", of_topic.keys());
}

/// What was sent at QoS 2 comes to one of those who share, and once. In which order a crash leaves what is with several of
/// them nobody says (4.6: subscriptions that are not shared are ordered). That nothing is lost was waited for.
fn count_shared(subscribers: &[&Subscriber], publishers: &[Publisher]) {
    let mut came: HashMap<&(String, u64), usize> = HashMap::new();
    for taken in subscribers.iter().flat_map(|subscriber| &subscriber.taken) {
        *came.entry(taken).or_default() += 1;
    }
    let once = publishers.iter().filter(|publisher| publisher.qos == 2);
    let topics: Vec<String> = once.flat_map(|publisher| [publisher.topic(0), publisher.topic(1)]).collect();
    let twice: Vec<_> = came.iter().filter(|((topic, _), count)| **count > 1 && topics.contains(topic)).collect();
    assert!(twice.is_empty(), "shared, and twice: {twice:?}");
    for subscriber in subscribers {
        assert!(!subscriber.taken.is_empty(), "{} has its share", subscriber.name);
        eprintln!("{}: {} came", subscriber.name, subscriber.taken.len());
    }
}

/// Nothing that was acknowledged is lost by `kill -9` under load, nothing at QoS 2 is delivered twice from end to end, and
/// each publisher's messages of a topic come in their order; of a shared subscription each goes to one member.
#[test]
fn promise_5_a_kill_under_load_loses_and_doubles_nothing() {
    run(super::setup(), short_or_long(5, 50), |killed| killed);
}

/// The same where the power is cut: what was not synced is gone, and that is nothing that was acknowledged.
#[test]
fn promise_5_a_power_cut_under_load_loses_and_doubles_nothing() {
    let mut disk = Disk::new();
    let setup = disk.under(super::setup());
    run(setup, short_or_long(3, 20), |killed| disk.cut(killed));
}
