//! Promise 6, measured: each kind of slow client costs itself. With one worker for all, another client's round trips are
//! measured without the slow one and with it, and the slow one comes to its own end, with its reason.

use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Received, Version, connect, packet, text};
use gatemq_tests::pki::Pki;
use gatemq_tests::session::{Connect, Level};
use gatemq_tests::{Kind, PATIENCE, wait_for};

/// How many times as long as before a round trip may take, in the middle: machines are busy, and being held up by a slow
/// client takes seconds where this takes fractions of a millisecond.
const FACTOR: u32 = 20;
/// A median below this is taken for it: what a busy machine does to a shorter one says nothing.
const MEDIAN_MIN: Duration = Duration::from_millis(2);
/// `limits.queue_bytes_max` of these tests.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// What the broker may take in addition; the floods are several times as much.
const MEMORY_BYTES_MAX: u64 = 32 << 20;
/// `limits.stalled_ms_max` of these tests.
const STALLED_MS_MAX: u64 = 5000;
/// Longer than the broker waits for a client that takes nothing.
const STALLED: Duration = Duration::from_secs(60);

/// A broker with one worker, on which whoever is slow meets whoever is not.
fn broker() -> Broker {
    let pki = Pki::new("Acme");
    let mut setup = Setup::new().every_listener(&pki).faults("").tape().argument("--set").argument("node.workers=1");
    for key in ["queue_bytes_max", "packet_bytes_max"] {
        setup = setup.argument("--set").argument(&format!("limits.{key}={QUEUE_BYTES_MAX}"));
    }
    setup = setup.argument("--set").argument("limits.inflight_max=10");
    setup = setup.argument("--set").argument(&format!("limits.stalled_ms_max={STALLED_MS_MAX}"));
    for kind in Kind::ALL {
        for (key, value) in [("address_connections_per_s_max", 0), ("connect_ms_max", 1000)] {
            setup = setup.argument("--set").argument(&format!("listeners.{}.{key}={value}", kind.name()));
        }
    }
    setup.start()
}

fn client(broker: &Broker, connect: &Connect<'_>) -> Client {
    let mut client = Client::tcp(broker.address("mqtt"), connect.level.version()).unwrap();
    assert_eq!(client.greet(connect).code, 0);
    client
}

/// Measures another client's round trips while `run` runs, at least 100 of them: the median.
fn beside(broker: &Broker, what: &str, run: impl FnOnce()) -> Duration {
    let over = AtomicBool::new(false);
    let mut times = std::thread::scope(|all| {
        let measured = all.spawn(|| {
            let mut probe = client(broker, &Connect::new(Level::V5, "probe"));
            assert_eq!(probe.subscribe("probe", 0), 0);
            let mut times = Vec::new();
            while !over.load(Ordering::Relaxed) || times.len() < 100 {
                let begun = Instant::now();
                probe.publish("probe", 0, b"x").unwrap();
                assert_eq!(probe.message().0, "probe");
                times.push(begun.elapsed());
            }
            probe.disconnect();
            times
        });
        // It ends also when `run` panics.
        let ends = Ends(&over);
        run();
        drop(ends);
        measured.join().expect("the other client is served")
    });
    times.sort_unstable();
    let median = times[times.len() / 2];
    println!("{what}: {} round trips, median {median:?}, longest {:?}", times.len(), times[times.len() - 1]);
    median
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn as_before(before: Duration, with: Duration) {
    let most = before.max(MEDIAN_MIN) * FACTOR;
    assert!(with <= most, "a round trip took {before:?} before, and {with:?} beside the slow client");
}

/// Memory that the broker has taken beyond `before`.
fn bounded(broker: &Broker, before: u64) {
    let grown = broker.memory_bytes().saturating_sub(before);
    println!("the broker grew by {} KiB", grown >> 10);
    assert!(grown < MEMORY_BYTES_MAX, "the broker grew by {} MiB", grown >> 20);
}

/// Publishes 64 MiB.
fn flood(broker: &Broker, topic: &str, qos: u8) {
    let mut publisher = client(broker, &Connect::new(Level::V5, "publisher"));
    let payload = vec![7; 64 << 10];
    for n in 0..1024 {
        if qos > 0 {
            publisher.published(topic, qos, false, &payload);
        } else {
            publisher.publish(topic, 0, &payload).unwrap();
            if n % 64 == 0 {
                publisher.ping();
            }
        }
    }
    publisher.ping();
    publisher.disconnect();
}

/// Takes what comes, and acknowledges it or not, until the connection ends; says PINGREQ now and then while `awake`.
fn reads(mut client: Client, acknowledges: bool, awake: &AtomicBool) {
    let mut pinged = Instant::now();
    loop {
        match client.receive(Duration::from_millis(100)) {
            Ok(Received::Closed) => return,
            Ok(Received::Packet(message)) if message.kind() == 3 && message.first & 6 == 2 && acknowledges => {
                let at = 2 + usize::from(u16::from_be_bytes([message.body[0], message.body[1]]));
                client.send_packet(0x40, &message.body[at..at + 2]).unwrap();
            }
            _ => {}
        }
        if awake.load(Ordering::Relaxed) && pinged.elapsed() > Duration::from_millis(200) {
            client.send_packet(0xC0, &[]).unwrap();
            pinged = Instant::now();
        }
    }
}

/// The end of a client, and its reason in the event.
fn ended(broker: &mut Broker, client_id: &str, patience: Duration, reason: &str) {
    let is = |e: &serde_json::Value| e["event"] == "ClientDisconnected" && e["client_id"] == client_id;
    let event = broker.tape().find(patience, is).unwrap_or_else(|| panic!("{client_id} goes on"));
    assert_eq!(event["fields"]["reason"], reason, "{event}");
}

/// The same flood to one who reads and to one who never does, whom no keep alive ends: what it does not take is dropped and
/// told, and after `stalled_ms_max` it is closed as stalled.
#[test]
fn promise_6_who_never_reads_ends_as_stalled_and_others_are_as_quick() {
    let mut broker = broker();
    let mut reader = client(&broker, &Connect { keep_alive_s: 1, ..Connect::new(Level::V5, "reads") });
    assert_eq!(reader.subscribe("read", 0), 0);
    let awake = AtomicBool::new(true);
    let before = std::thread::scope(|all| {
        all.spawn(|| reads(reader, true, &awake));
        // When it falls silent, its keep alive ends it.
        let _sleeps = Sleeps(&awake);
        beside(&broker, "beside a flood to one who reads", || flood(&broker, "read", 0))
    });
    let mut silent = client(&broker, &Connect { keep_alive_s: 0, ..Connect::new(Level::V5, "silent") });
    assert_eq!(silent.subscribe("unread", 0), 0);
    let memory = broker.memory_bytes();
    let with = beside(&broker, "beside a flood to one who never reads", || flood(&broker, "unread", 0));
    bounded(&broker, memory);
    as_before(before, with);
    broker.tape().wait_for_client("QueueOverflowed", "silent");
    ended(&mut broker, "silent", STALLED, "ClientStalled");
    broker.tape().wait_for_client("ClientStalled", "silent");
    drop(silent);
}

/// The same flood to one who acknowledges and to one who never does: nothing but the window reaches it, the rest waits up to
/// the limit and is dropped and told, the publisher is acknowledged; when it falls silent its keep alive ends it.
#[test]
fn promise_6_who_never_acknowledges_ends_by_keep_alive_and_others_are_as_quick() {
    let mut broker = broker();
    let mut medians = Vec::new();
    for (name, acknowledges) in [("acknowledges", true), ("silent", false)] {
        let mut slow = client(&broker, &Connect { keep_alive_s: 1, ..Connect::new(Level::V5, name) });
        assert_eq!(slow.subscribe(name, 1), 1);
        let (memory, awake) = (broker.memory_bytes(), AtomicBool::new(true));
        std::thread::scope(|all| {
            all.spawn(|| reads(slow, acknowledges, &awake));
            let ends = Sleeps(&awake);
            medians.push(beside(&broker, &format!("beside a flood to one: {name}"), || flood(&broker, name, 1)));
            drop(ends);
        });
        bounded(&broker, memory);
        ended(&mut broker, name, PATIENCE, "KeepAliveTimedOut");
    }
    as_before(medians[0], medians[1]);
    broker.tape().wait_for_client("QueueOverflowed", "silent");
}

struct Sleeps<'a>(&'a AtomicBool);

impl Drop for Sleeps<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A hundred who send their CONNECT, and a hundred who send a PUBLISH, a byte at a time: the first end at `connect_ms_max`,
/// the others by their keep alive, however many bytes have come.
#[test]
fn promise_6_who_sends_a_byte_at_a_time_ends_and_others_are_as_quick() {
    const EACH: usize = 100;
    let mut broker = broker();
    let before = beside(&broker, "alone", || {});
    let memory = broker.memory_bytes();
    let with = beside(&broker, "beside 200 who send a byte at a time", || {
        let mut left: Vec<TcpStream> = (0..EACH).map(|n| trickling(&broker, n, 1)).collect();
        // A CONNECT is longer than what is sent of it before its time is over.
        let hello = connect(Version::V5, &"x".repeat(20_000), None);
        let mut strangers: Vec<(TcpStream, usize)> =
            (0..EACH).map(|_| (TcpStream::connect(broker.address("mqtt")).unwrap(), 0)).collect();
        let deadline = Instant::now() + PATIENCE;
        while !left.is_empty() || !strangers.is_empty() {
            assert!(Instant::now() < deadline, "{} and {} go on", left.len(), strangers.len());
            left.retain_mut(|client| goes_on(client, b'x'));
            strangers.retain_mut(|(client, at)| {
                *at += 1;
                goes_on(client, hello[*at - 1])
            });
            // A byte in a while is what this is about.
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    bounded(&broker, memory);
    as_before(before, with);
    for n in 0..EACH {
        ended(&mut broker, &format!("trickles-{n}"), PATIENCE, "KeepAliveTimedOut");
    }
    let timed_out = |e: &&serde_json::Value| e["event"] == "ConnectTimedOut";
    wait_for("an event of each stranger", PATIENCE, || {
        (broker.tape().events().iter().filter(timed_out).count() == EACH).then_some(())
    });
}

/// A hundred who send a byte every five seconds of a PUBLISH of almost 1 MiB: those whom no keep alive ends may stay, and cost what
/// they have sent, not what they have announced; the others end by theirs, for these bytes are no sign of life.
#[test]
fn promise_6_a_byte_every_five_seconds_costs_a_byte_and_others_are_as_quick() {
    const EACH: usize = 50;
    let mut broker = broker();
    let before = beside(&broker, "alone", || {});
    let memory = broker.memory_bytes();
    let mut slow = Vec::new();
    let with = beside(&broker, "beside 100 who send a byte every five seconds", || {
        slow.extend((0..EACH).map(|n| trickling(&broker, n, 0)));
        let mut kept: Vec<TcpStream> = (0..EACH).map(|n| trickling(&broker, EACH + n, 2)).collect();
        for _ in 0..3 {
            assert!(slow.iter_mut().all(|client| goes_on(client, b'x')), "one has ended");
            kept.retain_mut(|client| goes_on(client, b'x'));
            // This is what they do.
            std::thread::sleep(Duration::from_secs(5));
        }
    });
    bounded(&broker, memory);
    as_before(before, with);
    assert!(slow.iter_mut().all(|client| goes_on(client, b'x')), "one has ended");
    for n in 0..EACH {
        ended(&mut broker, &format!("trickles-{}", EACH + n), PATIENCE, "KeepAliveTimedOut");
    }
    let ended = |e: &&serde_json::Value| e["event"] == "ClientDisconnected" && e["client_id"] != "probe";
    assert_eq!(broker.tape().events().iter().filter(ended).count(), EACH, "those without a keep alive stay");
}

/// A client with this keep alive that has announced almost 1 MiB.
fn trickling(broker: &Broker, n: usize, keep_alive_s: u8) -> TcpStream {
    use std::io::{Read, Write};
    let mut stream = TcpStream::connect(broker.address("mqtt")).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut body = [&b"\0\x04MQTT\x04\x02\0"[..], &[keep_alive_s]].concat();
    text(&mut body, &format!("trickles-{n}"));
    stream.write_all(&packet(0x10, &body)).unwrap();
    let mut connack = [1; 4];
    stream.read_exact(&mut connack).unwrap();
    assert_eq!(connack, [0x20, 2, 0, 0]);
    stream.write_all(&[0x30, 0xF0, 0xFF, 0x3F, 0, 1, b't']).unwrap();
    stream
}

/// Sends a byte; false when the connection has ended.
fn goes_on(stream: &mut TcpStream, byte: u8) -> bool {
    use std::io::{ErrorKind, Read, Write};
    stream.set_nonblocking(true).unwrap();
    let ended = match stream.read(&mut [0; 16]) {
        Ok(n) => n == 0,
        Err(e) => e.kind() != ErrorKind::WouldBlock,
    };
    let sent = !ended && stream.write_all(&[byte]).is_ok();
    if !sent {
        let _ = stream.shutdown(Shutdown::Both);
    }
    sent
}
