//! `cargo xtask bench store`: how long a node takes to be there again, with much in its store, after `kill -9`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use gatemq_tests::client::{Client, packet, text};
use gatemq_tests::outside;
use gatemq_tests::session::{Connect, Level};

use super::NO_LIMITS;
use super::node::Node;

const MESSAGES: usize = 100_000;
const PAYLOAD_BYTES: usize = 256;
/// Messages that are on their way to the broker, and acknowledgements that go to it in one piece.
const PIECE: usize = 50;

const SESSIONS: usize = 100_000;
/// Subscriptions of each session.
const EACH: usize = 10;
/// Connections at a time while sessions are made.
const AT_ONCE: usize = 64;

/// Both measurements, with the broker in `release`; files go below `directory`.
pub(super) fn run(release: &Path, directory: &Path) {
    let place = |name: &str| {
        let directory = directory.join(name);
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir_all(&directory).expect("a directory");
        Place { broker: release.join("gatemq"), admit: outside::release_plugin(), directory }
    };
    queue(&place("store-queue"));
    sessions(&place("store-sessions"));
}

struct Place {
    broker: PathBuf,
    admit: PathBuf,
    directory: PathBuf,
}

impl Place {
    /// Starts the broker with what is there. `sync` as in the configuration.
    fn start(&self, sync: &str) -> Node {
        let admit = &self.admit;
        let text = format!(
            r##"[store]
sync = {sync:?}
[listeners.plain]
kind = "mqtt"
bind = "127.0.0.1:0"
{NO_LIMITS}[limits]
queue_messages_max = 200000
queue_bytes_max = 1073741824
sessions_detached_max = 200000
[plugins.admit]
library = {admit:?}
address_calls_max = 0
config.tenant = "bench"
config.rules = [ {{ allow = ["all"], filter = "#" }} ]
"##
        );
        Node::start(&self.broker, &self.directory, &text)
    }
}

impl Node {
    /// A client, and whether it had a session.
    fn client(&self, connect: &Connect<'_>) -> (Client, bool) {
        let mut client = Client::tcp(self.address, connect.level.version()).expect("a connection");
        let answer = client.greet(connect);
        assert_eq!(answer.code, 0, "{answer:?}");
        (client, answer.session_present)
    }
}

fn publish(number: usize) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, "queue/one");
    body.extend(id(number).to_be_bytes());
    let mut payload = format!("{number:08}").into_bytes();
    payload.resize(PAYLOAD_BYTES, b'.');
    body.extend(payload);
    packet(0x32, &body)
}

fn id(number: usize) -> u16 {
    u16::try_from(number % 60_000 + 1).expect("in range")
}

/// 100,000 messages for who is away: after `kill -9` they come back in order, once each.
fn queue(place: &Place) {
    let node = place.start("always");
    let away = Connect::stays(Level::V311, "away");
    let (mut client, _) = node.client(&away);
    assert_eq!(client.subscribe("queue/#", 1), 1);
    client.break_off();
    let (mut publisher, _) = node.client(&Connect::new(Level::V311, "publisher"));
    let begun = Instant::now();
    for first in (0..MESSAGES).step_by(PIECE) {
        let piece: Vec<u8> = (first..first + PIECE).flat_map(publish).collect();
        publisher.send(&piece).expect("PUBLISH");
        for number in first..first + PIECE {
            assert_eq!(publisher.expect_ack(0x40, id(number)), 0);
        }
    }
    println!(
        "{MESSAGES} messages of {PAYLOAD_BYTES} bytes at QoS 1, {PIECE} at a time, queued in {:.2?}",
        begun.elapsed()
    );
    drop(node);
    let node = place.start("always");
    println!("  kill -9; from exec to the ready file: {:.2?}, {} MiB", node.took, node.memory_mib());
    let begun = Instant::now();
    let (mut client, present) = node.client(&away);
    assert!(present, "the session is gone");
    let mut acknowledgements = Vec::new();
    for number in 0..MESSAGES {
        let message = client.next_message();
        assert_eq!(message.payload.get(..8), Some(format!("{number:08}").as_bytes()), "out of order");
        if number == 0 {
            println!("  from CONNECT to the first: {:.2?}", begun.elapsed());
        }
        acknowledgements.extend(packet(0x40, &message.id.to_be_bytes()));
        if (number + 1) % PIECE == 0 {
            client.send(&acknowledgements).expect("PUBACK");
            acknowledgements.clear();
        }
    }
    println!("  to the last, in order, once each: {:.2?}", begun.elapsed());
    // Nothing comes before it.
    client.ping();
}

/// A million subscriptions of 100,000 sessions whose clients are away.
fn sessions(place: &Place) {
    // Whether it is on the disk does not matter while it is made: the process is killed, not the machine.
    let node = place.start("never");
    let begun = Instant::now();
    std::thread::scope(|all| {
        for first in 0..AT_ONCE {
            let node = &node;
            all.spawn(move || (first..SESSIONS).step_by(AT_ONCE).for_each(|number| make(node, number)));
        }
    });
    println!("{SESSIONS} sessions with {} subscriptions, made by clients in {:.2?}", SESSIONS * EACH, begun.elapsed());
    drop(node);
    let node = place.start("always");
    println!("  kill -9; from exec to the ready file: {:.2?}, {} MiB", node.took, node.memory_mib());
    for number in [0, SESSIONS / 2, SESSIONS - 1] {
        let (mut client, present) = node.client(&Connect::stays(Level::V311, &format!("client-{number}")));
        assert!(present, "session {number} is gone");
        client.publish(&format!("d/{number}/t/0"), 0, b"x").expect("PUBLISH");
        assert_eq!(client.packet().kind(), 3, "its subscriptions are gone");
    }
}

fn make(node: &Node, number: usize) {
    let (mut client, _) = node.client(&Connect::stays(Level::V311, &format!("client-{number}")));
    let mut body = vec![0, 1];
    for kind in 0..EACH {
        let filter = match kind {
            0..5 => format!("d/{number}/t/{kind}"),
            5..8 => format!("d/{number}/+/{kind}"),
            8 => format!("e/{number}/#"),
            _ => format!("+/{number}/t/{kind}"),
        };
        text(&mut body, &filter);
        body.push(1);
    }
    client.send_packet(0x82, &body).expect("SUBSCRIBE");
    assert_eq!(client.packet().body, [&[0, 1], &[1; EACH][..]].concat(), "no SUBACK");
    client.disconnect();
}
