//! Events at a constant rate, from clients of which none causes so many that they are coalesced; and publishers beside them that
//! go as fast as they are served.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use gatemq_tests::client::{Version, connect, packet, text};

/// Security events a second: what each client may not publish.
pub(super) const EVENTS_PER_S: u64 = CLIENTS as u64 * BURST as u64 * 1000 / PAUSE_MS;
const CLIENTS: usize = 1250;
/// Six of them are less than a hundred, and no second has more.
const BURST: usize = 16;
const PAUSE_MS: u64 = 200;
/// Messages that a publisher waits for before it sends the next.
const WINDOW: usize = 64;
const PUBLISHERS: usize = 2;

/// What came of it.
pub(super) struct Flooded {
    /// Packets that caused an event each.
    pub(super) caused: u64,
    pub(super) caused_per_s: f64,
    /// Messages that came back to their publishers.
    pub(super) published_per_s: f64,
}

fn come(address: SocketAddr, client_id: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_nodelay(true).expect("a socket");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a socket");
    stream.write_all(&connect(Version::V5, client_id, Some(("bench", "bench")))).expect("CONNECT");
    let body = answer(&mut stream, 0x20);
    assert_eq!(body.get(1), Some(&0), "{client_id} is refused: {body:?}");
    stream
}

/// A short packet.
fn answer(stream: &mut TcpStream, first: u8) -> Vec<u8> {
    let mut head = [0; 2];
    stream.read_exact(&mut head).expect("an answer");
    assert!(head[0] == first && head[1] < 0x80, "wanted a short packet {first:#x}, got {head:?}");
    let mut body = vec![0; head[1].into()];
    stream.read_exact(&mut body).expect("an answer");
    body
}

fn publish(topic: &str) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    body.push(0);
    body.extend([b'.'; 64]);
    packet(0x30, &body)
}

/// Publishes to itself until it is over: how many came back.
fn publisher(mut stream: TcpStream, name: &str, over: &AtomicBool) -> u64 {
    let topic = format!("own/{name}");
    let mut body = vec![0, 1, 0];
    text(&mut body, &topic);
    body.push(0);
    stream.write_all(&packet(0x82, &body)).expect("SUBSCRIBE");
    answer(&mut stream, 0x90);
    // What goes out comes back as it was.
    let burst = publish(&topic).repeat(WINDOW);
    let (mut back, mut sent) = (vec![0; burst.len()], 0);
    while !over.load(Ordering::Relaxed) {
        stream.write_all(&burst).expect("PUBLISH");
        stream.read_exact(&mut back).expect("what was published");
        sent += WINDOW as u64;
    }
    assert_eq!(back, burst);
    sent
}

/// The flood, for so long, and publishers beside it if `beside`. All that was sent has been handled when it returns.
pub(super) fn run(address: SocketAddr, lasts: Duration, beside: bool) -> Flooded {
    let mut clients: Vec<_> = (0..CLIENTS).map(|n| come(address, &format!("flood-{n}"))).collect();
    let burst = publish("denied").repeat(BURST);
    let over = AtomicBool::new(false);
    let (mut caused, mut published, mut took) = (0, 0, Duration::ZERO);
    std::thread::scope(|all| {
        let over = &over;
        let names = (0..if beside { PUBLISHERS } else { 0 }).map(|n| format!("publisher-{n}"));
        let publishers: Vec<_> =
            names.map(|name| all.spawn(move || publisher(come(address, &name), &name, over))).collect();
        let begun = Instant::now();
        let each = Duration::from_millis(PAUSE_MS) / CLIENTS as u32;
        for round in 0.. {
            for (n, client) in clients.iter_mut().enumerate() {
                let due = Duration::from_millis(PAUSE_MS) * round + each * n as u32;
                // A few at a time: a sleep is not as short as what is between two of them.
                if n % 25 == 0 {
                    std::thread::sleep(due.saturating_sub(begun.elapsed()));
                }
                client.write_all(&burst).expect("PUBLISH");
                caused += BURST as u64;
            }
            took = begun.elapsed();
            if took >= lasts {
                break;
            }
        }
        over.store(true, Ordering::Relaxed);
        published = publishers.into_iter().map(|p| p.join().expect("a publisher")).sum::<u64>();
    });
    for client in &mut clients {
        client.write_all(&[0xC0, 0]).expect("PINGREQ");
        answer(client, 0xD0);
    }
    let per_s = |n: u64| n as f64 / took.as_secs_f64();
    Flooded { caused, caused_per_s: per_s(caused), published_per_s: per_s(published) }
}

/// So many messages that the rules allow, in pieces, each followed by a PINGREQ that is answered when it was handled.
pub(super) fn publish_allowed(address: SocketAddr, messages: usize) {
    let mut stream = come(address, "allowed");
    let burst = publish("own/allowed").repeat(WINDOW);
    for _ in 0..messages.div_ceil(WINDOW) {
        stream.write_all(&burst).expect("PUBLISH");
        stream.write_all(&[0xC0, 0]).expect("PINGREQ");
        answer(&mut stream, 0xD0);
    }
}
