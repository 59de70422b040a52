//! Sessions that a store gives back: what an earlier run of the node may have sent.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use gatemq_broker::changes::{Change, Changes};
use gatemq_broker::session::{Ack, Message, RestoredMessage, Spare};
use gatemq_broker::sessions::{Opening, Restored};
use gatemq_broker::{Attached, Home, SessionKey, SessionLimits, Sessions, Tenants, router};
use gatemq_mqtt::kind;
use gatemq_types::{Protocol, ReasonCode};

const NOW_MS: u64 = 1_000_000;

/// A message to topic `t`, whose time is over at `expires_ms`.
fn message(seq: u64, first: u8, may_be_sent: bool, expires_ms: u64, payload: &[u8]) -> RestoredMessage {
    let message = Arc::new(Message::restored("t", &[2, 0, 0, 0, 9], payload, expires_ms));
    RestoredMessage { seq, first, identifier: 0, may_be_sent, message }
}

/// The session with these messages, begun by its client, which takes packets of at most 100 bytes. The store has everything,
/// and hears of nothing before it is told.
fn begun(messages: Vec<RestoredMessage>) -> (Attached, Spare) {
    let (tenants, sessions) = (Tenants::new(1), Sessions::default());
    let mut spare = Spare::default();
    spare.changes = Changes::kept(Arc::default(), sessions.numbers());
    let key = Arc::new(SessionKey::new(tenants.get_or_create("t").unwrap(), "u", "c").unwrap());
    let limits = SessionLimits { packet_bytes_max: 100, ..SessionLimits::default() };
    let restored = sessions.restore(
        Restored {
            number: 1,
            key: key.clone(),
            protocol: Protocol::V5,
            expiry_s: 1000,
            away_since_ms: NOW_MS,
            limits,
            version: 1,
            last_seq: messages.iter().map(|message| message.seq).max().unwrap_or(0),
            subscriptions: Vec::new(),
            messages,
            released: Vec::new(),
            received: Vec::new(),
            past: gatemq_broker::Past::default(),
            will: None,
        },
        &mut Default::default(),
    );
    assert!(restored.is_ok());
    let home = Home { worker: 0, connection: 1 };
    let (protocol, will) = (Protocol::V5, None);
    let opening = Opening { key: &key, protocol, limits, home, clean_start: false, expiry_s: 1000, will };
    let opened = sessions.open(opening, NOW_MS, &mut spare);
    assert!(opened.resumed);
    router::begin(&opened.session, NOW_MS, &mut spare);
    (opened.session, spare)
}

/// First byte and packet identifier of everything that goes out.
fn sent(session: &Attached, spare: &mut Spare) -> Vec<(u8, u16)> {
    let mut bytes = Vec::new();
    while session.has_more() {
        bytes.extend(session.take(NOW_MS, spare).unwrap());
    }
    let (mut packets, mut rest) = (Vec::new(), &bytes[..]);
    while let [first, length, ..] = rest {
        let at = if first >> 4 == kind::PUBLISH { 5 } else { 2 };
        packets.push((*first, u16::from_be_bytes([rest[at], rest[at + 1]])));
        rest = &rest[2 + usize::from(*length)..];
    }
    packets
}

fn settle(session: &Attached, kind: u8, packet_id: u16, spare: &mut Spare) {
    let ack = Ack { kind, packet_id, reason: ReasonCode::SUCCESS };
    assert_eq!(session.settle(&[ack], NOW_MS, &mut Vec::new(), spare), 0);
}

/// Numbers of messages that are released, and of those that are done with.
fn changes(spare: &mut Spare) -> (Vec<u64>, Vec<u64>) {
    let (mut released, mut done) = (Vec::new(), Vec::new());
    spare.changes.submit(|changes| {
        for change in changes {
            match change {
                Change::Released { seq, .. } => released.push(seq),
                Change::Done { seq, .. } => done.push(seq),
                _ => {}
            }
        }
    });
    (released, done)
}

/// Guards 4.3.3 over crashes: a QoS 2 message that may have been sent and cannot be sent again, because its time is over or its
/// client takes no packet of its size, is released. Its client may have it, and would take the next message with that packet
/// identifier for the same. What was never sent, or has QoS 1, is just gone.
#[test]
fn what_may_have_been_sent_and_is_not_sent_again_is_released() {
    let large = [0; 200];
    let (session, mut spare) = begun(vec![
        message(1, 0x34, true, NOW_MS, b"over"),
        message(2, 0x34, true, u64::MAX, &large),
        message(3, 0x32, true, NOW_MS, b"over"),
        message(4, 0x34, true, u64::MAX, b"again"),
        message(5, 0x34, false, NOW_MS, b"over"),
        message(6, 0x34, false, u64::MAX, &large),
        message(7, 0x34, false, u64::MAX, b"new"),
    ]);
    assert_eq!(sent(&session, &mut spare), [(0x62, 1), (0x62, 2), (0x3C, 4), (0x34, 7)]);
    assert_eq!(changes(&mut spare), (vec![1, 2], vec![3, 5, 6]));
    settle(&session, kind::PUBCOMP, 1, &mut spare);
    assert_eq!(changes(&mut spare), (vec![], vec![1]));
}

/// Guards packet identifiers over crashes: the store never has two messages with the same one, so it is not given to another
/// before the store knows that the one before is done with.
#[test]
fn a_packet_identifier_is_free_when_the_store_says_so() {
    let of_same = 1 + u64::from(u16::MAX);
    let (session, mut spare) =
        begun(vec![message(1, 0x34, true, u64::MAX, b"a"), message(of_same, 0x34, false, u64::MAX, b"b")]);
    assert_eq!(sent(&session, &mut spare), [(0x3C, 1)]);
    for kind in [kind::PUBREC, kind::PUBCOMP] {
        settle(&session, kind, 1, &mut spare);
        assert_eq!(sent(&session, &mut spare), [], "in flight, or not stored");
    }
    assert_eq!(changes(&mut spare), (vec![1], vec![1]));
    session.session().stored([1].into_iter(), NOW_MS, &mut spare);
    assert_eq!(sent(&session, &mut spare), [(0x34, 1)]);
}
