//! Changes of the broker become operations of the store.

use std::sync::Arc;

use gatemq_broker::changes::{Appended, Change, Record, StoredWill};
use gatemq_broker::session::Message as Kept;
use gatemq_broker::sessions::RestoredRetained;
use gatemq_broker::{Heard, Marks, Past, Publication, Publisher};
use gatemq_mqtt::kind;
use gatemq_mqtt::packet::connect;
use gatemq_store::{
    Append, Batch, Delivery, Epoch, Message, Op, Owner, Record as StoredRecord, Retained, Seq, SessionId, Subscription,
    Will,
};
use gatemq_types::QoS;

/// The only node's number, and the epoch of whatever it owns: both get their meaning with the cluster.
pub(super) const NODE: u64 = 1;
pub(crate) const EPOCH: Epoch = Epoch(1);

/// In place of a protocol level: it is no session, but the queue of a shared subscription.
pub(super) const GROUP_LEVEL: u8 = 0;

/// The batch that stores `changes`, in their order.
pub(crate) fn batch(changes: &[Change]) -> Batch {
    let mut ops = Vec::with_capacity(changes.len());
    // A message that many got is stored once: they follow one another.
    let mut last: Option<(*const Kept, Arc<Message>)> = None;
    for change in changes {
        match change {
            Change::Appended(of) => {
                let &Appended { seq, first, identifier, group, ref session, ref message } = of;
                append(
                    &Entry { session: session.number(), seq, first, identifier, group },
                    message,
                    &mut last,
                    &mut ops,
                );
            }
            Change::Waits { group, seq, first, message } => {
                let entry = Entry { session: *group, seq: *seq, first: *first, identifier: 0, group: 0 };
                append(&entry, message, &mut last, &mut ops);
            }
            other => plain(other, &mut ops),
        }
    }
    Batch { ops }
}

/// What goes into a queue, without the message.
struct Entry {
    session: u64,
    seq: u64,
    first: u8,
    identifier: u32,
    group: u64,
}

fn append(entry: &Entry, message: &Arc<Kept>, last: &mut Option<(*const Kept, Arc<Message>)>, ops: &mut Vec<Op>) {
    let Entry { session, seq, first, identifier, group } = *entry;
    let shared = match last {
        Some((of, shared)) if std::ptr::eq(*of, &**message) => shared.clone(),
        _ => {
            let Some(stored) = stored(message) else { return };
            let shared = Arc::new(stored);
            *last = Some((&raw const **message, shared.clone()));
            shared
        }
    };
    let (session, seq) = (SessionId(session), Seq(seq));
    let identifiers = if identifier == 0 { Box::default() } else { Box::new([identifier]) as Box<[u32]> };
    let delivery = Delivery { first, identifiers, group };
    ops.push(Op::Append(Append { session, epoch: EPOCH, seq, message: shared, delivery, limit: None }));
}

/// Topics are at most 65,535 bytes long, so there always is one.
fn stored(message: &Kept) -> Option<Message> {
    let (publication, expires_ms) = (message.publication(), message.expires_ms());
    Message::of_publication(publication, message.topic(), message.properties(), message.payload(), expires_ms)
}

fn plain(change: &Change, ops: &mut Vec<Op>) {
    let epoch = EPOCH;
    let op = match change {
        Change::Appended(_) | Change::Waits { .. } | Change::Awaited(..) => return,
        Change::Session(of) => Op::PutSession { session: SessionId(of.session), record: record(of) },
        Change::Group { group, tenant, filter } => {
            Op::PutSession { session: SessionId(*group), record: queue_record(tenant, filter) }
        }
        Change::SessionEnded(session) => Op::DeleteSession { session: SessionId(*session), epoch },
        Change::Subscribed { session, filter, options, identifier } => Op::PutSubscription {
            session: SessionId(*session),
            epoch,
            subscription: Subscription { filter: filter.as_str().into(), options: *options, identifier: *identifier },
        },
        Change::Unsubscribed { session, filter } => {
            Op::DeleteSubscription { session: SessionId(*session), epoch, filter: filter.as_str().into() }
        }
        Change::Done { session, seq, .. } => Op::AckOne { session: SessionId(*session), epoch, seq: Seq(*seq) },
        Change::Released { session, seq, order } => {
            Op::Release { session: SessionId(*session), epoch, seq: Seq(*seq), order: *order }
        }
        Change::Received { session, packet_id } => {
            Op::PutIncoming { session: SessionId(*session), epoch, packet_id: *packet_id }
        }
        Change::ReceivedReleased { session, packet_id } => {
            Op::DeleteIncoming { session: SessionId(*session), epoch, packet_id: *packet_id }
        }
        Change::Retained { tenant, message, qos, publisher, withheld } => {
            let Some(retained) = retained_parts(message, *qos, publisher, *withheld) else { return };
            Op::PutRetained { tenant: tenant.as_str().into(), retained }
        }
        Change::RetainedCleared { tenant, topic } => {
            Op::DeleteRetained { tenant: tenant.as_str().into(), topic: topic.as_str().into() }
        }
    };
    ops.push(op);
}

fn retained_parts(message: &Kept, qos: QoS, publisher: &Publisher, withheld: bool) -> Option<Retained> {
    let Publisher { user, client_id, marks } = publisher;
    Some(Retained {
        // All nodes have the same, whatever they know of its publication.
        message: Message::new(message.topic(), message.properties(), message.payload(), message.expires_ms())?,
        qos: qos.bits(),
        withheld,
        user: user.clone(),
        client_id: client_id.clone(),
        tags: marks.as_ref().map_or_else(Box::default, |marks| marks.tags.clone()),
        leaf_sha256: marks.as_ref().and_then(|marks| marks.leaf_sha256),
    })
}

/// A retained message for the store.
pub(crate) fn retained(of: &RestoredRetained) -> Option<Retained> {
    retained_parts(&of.message, of.qos, &of.publisher, of.withheld)
}

/// A retained message of the store for the broker; `message` is its.
pub(crate) fn restored_retained(of: &Retained, message: Arc<Kept>) -> RestoredRetained {
    let Retained { qos, withheld, user, client_id, tags, leaf_sha256, .. } = of;
    let (user, client_id) = (user.clone(), client_id.clone());
    let publisher = Publisher { user, client_id, marks: Marks::of(tags.clone(), *leaf_sha256) };
    RestoredRetained { message, qos: QoS::from_bits(*qos).unwrap_or_default(), publisher, withheld: *withheld }
}

fn record(of: &Record) -> StoredRecord {
    StoredRecord {
        owner: Owner {
            tenant: of.key.tenant().name().into(),
            user: of.key.user().into(),
            client_id: of.key.client_id().into(),
        },
        epoch: EPOCH,
        node: NODE,
        version: of.version,
        level: of.level,
        expiry_s: of.expiry_s,
        away_since_ms: of.away_since_ms,
        will: of.will.as_ref().and_then(will),
        state: state(of.sent_seq, &of.past),
    }
}

/// What the broker wants to know of a session besides: the highest number of a message that was sent, and where it was in a cluster, if it
/// was anywhere else.
pub(super) fn state(sent_seq: u64, past: &Past) -> Box<[u8]> {
    let mut state = sent_seq.to_be_bytes().to_vec();
    // They are bounded by less.
    if let Ok(nodes @ 1..) = u8::try_from(past.nodes().len()) {
        state.push(nodes);
        state.extend(past.nodes().iter().flat_map(|node| node.to_be_bytes()));
        state.extend(past.came_ms().to_be_bytes());
        for Publication { node, number } in past.heard().last() {
            state.extend(node.to_be_bytes());
            state.extend(number.to_be_bytes());
        }
    }
    state.into()
}

/// See [`state`]; what another version has written says nothing.
pub(super) fn sent_seq(state: &[u8]) -> Option<u64> {
    state.first_chunk().copied().map(u64::from_be_bytes)
}

/// See [`state`]; what is no past is none.
pub(super) fn past(state: &[u8]) -> Past {
    read_past(state).unwrap_or_default()
}

fn read_past(state: &[u8]) -> Option<Past> {
    let (nodes, rest) = state.get(8..)?.split_first()?;
    let (nodes, rest) = rest.split_at_checked(4 * usize::from(*nodes))?;
    let (came_ms, rest) = rest.split_first_chunk()?;
    let mut heard = Heard::default();
    heard.extend(rest.as_chunks::<12>().0.iter().filter_map(|bytes| {
        let (node, number) = bytes.split_first_chunk()?;
        Some(Publication { node: u32::from_be_bytes(*node), number: u64::from_be_bytes(*number.first_chunk()?) })
    }));
    let nodes = nodes.as_chunks().0.iter().copied().map(u32::from_be_bytes).collect();
    Some(Past::new(nodes, u64::from_be_bytes(*came_ms), heard))
}

/// The same of a session that goes to another node, and has that past then.
pub(crate) fn with_past(of: &[u8], last_seq: u64, past: &Past) -> Box<[u8]> {
    state(sent_seq(of).unwrap_or(last_seq), past)
}

/// The same of one that comes to that node.
pub(crate) fn comes(of: &[u8], node: u32, now_ms: u64) -> Box<[u8]> {
    let mut past = past(of);
    past.comes(node, now_ms);
    sent_seq(of).map(|sent_seq| state(sent_seq, &past)).unwrap_or_default()
}

fn will(of: &StoredWill) -> Option<Will> {
    let connect::Will { topic, qos, retain, delay_s, properties, payload } = &*of.message;
    // Its time does not run before it is published.
    let message = Message::new(topic, properties, payload, u64::MAX)?;
    let first = kind::PUBLISH << 4 | qos.bits() << 1 | u8::from(*retain);
    Some(Will { message, first, delay_s: *delay_s, asked: of.asked })
}

/// A will as it was left.
pub(super) fn will_of(stored: &Will) -> StoredWill {
    let Will { message, first, delay_s, asked } = stored;
    let message = connect::Will {
        topic: message.topic().to_owned(),
        qos: QoS::from_bits(first >> 1 & 3).unwrap_or_default(),
        retain: first & 1 != 0,
        delay_s: *delay_s,
        properties: message.properties().to_vec(),
        payload: message.payload().to_vec(),
    };
    StoredWill { message: Arc::new(message), asked: *asked }
}

/// Record of a queue that is no session's and stands beside those of the sessions: a shared subscription's, with its filter for
/// the client identifier, or what is kept for another node.
pub(crate) fn queue_record(tenant: &str, filter: &str) -> StoredRecord {
    StoredRecord {
        owner: Owner { tenant: tenant.into(), user: Box::default(), client_id: filter.into() },
        epoch: EPOCH,
        node: NODE,
        version: 0,
        level: GROUP_LEVEL,
        expiry_s: u32::MAX,
        away_since_ms: 0,
        will: None,
        state: Box::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards promise 5 over a restart and a move, and that what another node says of a session is not believed further than it goes.
    #[test]
    fn a_past_is_kept_and_goes_along() {
        let heard = [1, 2, 3].map(|node| Publication { node, number: 1 << 40 | u64::from(node) });
        let mut there = Past::default();
        there.leaves(7, 5, heard);
        let kept = state(9, &there);
        assert_eq!((sent_seq(&kept), past(&kept)), (Some(9), there.clone()));
        assert_eq!(with_past(&state(9, &Past::default()), 11, &there), kept);
        assert_eq!(with_past(&[], 9, &there), kept, "all may be sent");
        assert_eq!(past(&comes(&kept, 8, 6)).heard(), there.heard());
        assert_eq!(past(&comes(&kept, 7, 6)), Past::new(vec![7], 6, Heard::default()), "it has been there");
        for length in 0..kept.len() {
            assert!(past(&kept[..length]).heard().last().count() < heard.len(), "{length}");
        }
        assert_eq!(past(&[[0xff].repeat(9), kept.to_vec()].concat()), Past::default());
    }
}
