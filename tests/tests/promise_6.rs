//! Promise 6: slow is not dead, and one is not all. A client that does not read, does not acknowledge, or sends a byte
//! at a time costs itself: the broker's memory stays bounded, and the others are served as before.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatemq_tests::broker::{Broker, Setup};
use gatemq_tests::client::{Client, Tls, Version, connect, text};
use gatemq_tests::pki::Pki;
use gatemq_tests::{Kind, PATIENCE};

/// The longest that a message may take from a client to itself meanwhile: far more than it needs, far less than anybody
/// waits for.
const ROUND_TRIP: Duration = Duration::from_secs(2);
/// `limits.queue_bytes_max` of these tests.
const QUEUE_BYTES_MAX: usize = 1 << 20;
/// `limits.inflight_max` of these tests.
const INFLIGHT_MAX: usize = 10;
/// Memory that the broker may take in addition, for whatever the tests do: a queue for each slow client, buffers of
/// connections, and what an allocator keeps. What it must not keep is several times as much.
const MEMORY_BYTES_MAX: u64 = 32 << 20;

struct Slow {
    broker: Broker,
    tls: Tls,
}

impl Slow {
    fn start() -> Slow {
        let pki = Pki::new("Acme");
        let mut setup = Setup::new().every_listener(&pki).faults("").tape();
        for (key, value) in [
            ("queue_bytes_max", QUEUE_BYTES_MAX),
            ("packet_bytes_max", QUEUE_BYTES_MAX),
            ("inflight_max", INFLIGHT_MAX),
            ("receive_max", 100),
        ] {
            setup = setup.argument("--set").argument(&format!("limits.{key}={value}"));
        }
        for kind in Kind::ALL {
            // All of these clients have one address.
            let key = format!("listeners.{}.address_connections_per_s_max=0", kind.name());
            setup = setup.argument("--set").argument(&key);
        }
        Slow { broker: setup.start(), tls: Tls::new(&pki, None) }
    }

    fn admitted(&self, kind: Kind, client_id: &str) -> Client {
        self.broker.admitted(kind, &self.tls, Version::V5, client_id)
    }

    /// Runs `harm` while a client on every kind of listener sends messages to itself; none of them may take long, and
    /// the broker may not grow.
    fn harms_nobody(&self, harm: impl FnOnce()) {
        let before = self.broker.memory_bytes();
        let over = AtomicBool::new(false);
        std::thread::scope(|all| {
            let over = &over;
            let probes = Kind::ALL.map(|kind| (kind, all.spawn(move || self.probe(kind, over))));
            // The probes end also when it panics.
            let ends = Ends(over);
            harm();
            drop(ends);
            for (kind, probe) in probes {
                let (round_trips, longest) = probe.join().expect("the probe is served");
                assert!(round_trips > 0 && longest < ROUND_TRIP, "{kind:?}: {round_trips}, up to {longest:?}");
            }
        });
        let after = self.broker.memory_bytes();
        let grown = after.saturating_sub(before);
        assert!(grown < MEMORY_BYTES_MAX, "the broker grew by {} MiB", grown >> 20);
    }

    /// How many messages it sent to itself, and the longest time that one took.
    fn probe(&self, kind: Kind, over: &AtomicBool) -> (u32, Duration) {
        let name = format!("probe-{}", kind.name());
        let mut client = self.admitted(kind, &name);
        assert_eq!(client.subscribe(&name, 0), 0);
        let (mut round_trips, mut longest) = (0, Duration::ZERO);
        while !over.load(Ordering::Relaxed) || round_trips == 0 {
            let started = Instant::now();
            client.publish(&name, 0, b"x").unwrap();
            assert_eq!(client.message().0, name);
            longest = longest.max(started.elapsed());
            round_trips += 1;
        }
        (round_trips, longest)
    }
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// On every kind of listener a subscriber never reads while 96 MiB are published to all of them: beyond its queue they
/// are dropped, counted and told; the publisher is not held up.
#[test]
fn promise_6_who_never_reads_harms_nobody() {
    let mut slow = Slow::start();
    let mut silent = Vec::new();
    for kind in Kind::ALL {
        let mut client = slow.admitted(kind, &format!("silent-{}", kind.name()));
        assert_eq!(client.subscribe("flood", 0), 0);
        silent.push(client);
    }
    let payload = vec![7; 64 << 10];
    slow.harms_nobody(|| {
        let mut publisher = slow.admitted(Kind::Mqtt, "publisher");
        for n in 0..1536 {
            publisher.publish("flood", 0, &payload).unwrap();
            if n % 64 == 0 {
                publisher.ping();
            }
        }
        publisher.ping();
    });
    for kind in Kind::ALL {
        slow.broker.tape().wait_for_client("QueueOverflowed", &format!("silent-{}", kind.name()));
    }
    // Slow is not dead: who reads after all gets what was kept, and is served.
    for client in &mut silent {
        client.send_packet(0xC0, &[]).unwrap();
        let mut kept = 0;
        while client.packet().first != 0xD0 {
            kept += 1;
        }
        assert!((1..1536).contains(&kept), "{kept}");
    }
}

/// On every kind of listener a subscriber never acknowledges: no more than the window is on its way to it, the rest
/// waits up to its queue's limit, and the publisher has its acknowledgements.
#[test]
fn promise_6_who_never_acknowledges_harms_nobody() {
    let slow = Slow::start();
    let mut silent = Vec::new();
    for kind in Kind::ALL {
        let mut client = slow.admitted(kind, &format!("silent-{}", kind.name()));
        assert_eq!(client.subscribe("flood", 1), 1);
        silent.push(client);
    }
    let payload = vec![7; 32 << 10];
    slow.harms_nobody(|| {
        let mut publisher = slow.admitted(Kind::Mqtt, "publisher");
        for _ in 0..1600 {
            let id = publisher.publish("flood", 1, &payload).unwrap().unwrap();
            let puback = publisher.packet();
            assert!(puback.first == 0x40 && puback.body.starts_with(&id.to_be_bytes()), "{puback:?}");
        }
    });
    for client in &mut silent {
        client.send_packet(0xC0, &[]).unwrap();
        let mut received = 0;
        while client.packet().first != 0xD0 {
            received += 1;
        }
        assert_eq!(received, INFLIGHT_MAX);
    }
}

/// On every kind of listener, many announce as much as they may and then send a byte at a time, some before they are
/// admitted and some after: nothing is kept for what was merely announced. Who is admitted ends when its keep alive
/// goes by without a whole packet (MQTT-3.1.2-22), however many bytes come.
#[test]
fn promise_6_who_sends_a_byte_at_a_time_harms_nobody() {
    const EACH: usize = 50;
    let mut slow = Slow::start();
    slow.harms_nobody(|| {
        let mut trickling = Vec::new();
        for kind in Kind::ALL {
            for n in 0..EACH {
                let mut stranger = slow.broker.open(kind, &slow.tls, Version::V5);
                stranger.send(&connect(Version::V5, "stranger", None)[..3]).unwrap();
                let mut client = slow.broker.open(kind, &slow.tls, Version::V5);
                // Clean start, keep alive 1 s.
                let mut body = b"\0\x04MQTT\x05\x02\0\x01\0".to_vec();
                text(&mut body, &format!("trickle-{kind:?}-{n}"));
                client.send_packet(0x10, &body).unwrap();
                assert_eq!(client.packet().first, 0x20);
                // A PUBLISH of almost 1 MiB, sum of all: 200 MiB.
                client.send(&[0x30, 0xF0, 0xFF, 0x3F, 0, 1, b't', 0]).unwrap();
                trickling.push((stranger, client));
            }
        }
        let ended = |client: &mut Client| client.receive(Duration::from_millis(1)).is_ok();
        let deadline = Instant::now() + PATIENCE;
        let mut left = trickling;
        while !left.is_empty() {
            assert!(Instant::now() < deadline, "{} of them go on", left.len());
            left.retain_mut(|(_, client)| client.send(b"x").is_ok() && !ended(client));
        }
    });
    for kind in Kind::ALL {
        let ended = slow.broker.tape().wait_for_client("ClientDisconnected", &format!("trickle-{kind:?}-0"));
        assert_eq!(ended["fields"]["reason"], "KeepAliveTimedOut");
    }
}
