//! Changes of the broker become operations of the store.

use std::sync::Arc;

use gatemq_broker::changes::{Change, Record};
use gatemq_broker::session::Message as Kept;
use gatemq_store::{
    Append, Batch, Delivery, Epoch, Message, Op, Outgoing, Owner, Record as StoredRecord, Retained, Seq, SessionId,
    Subscription,
};

/// The only node's number, and the epoch of whatever it owns: both get their meaning with the cluster.
pub(super) const NODE: u64 = 1;
pub(super) const EPOCH: Epoch = Epoch(1);

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
                let entry = Entry { session: of.session.number(), seq: of.seq, first: of.first, ..Entry::default() };
                let entry = Entry { packet_id: of.packet_id, identifier: of.identifier, group: of.group, ..entry };
                append(&entry, &of.message, &mut last, &mut ops);
            }
            Change::Waits { group, seq, first, message } => {
                let entry = Entry { session: *group, seq: *seq, first: *first, ..Entry::default() };
                append(&entry, message, &mut last, &mut ops);
            }
            other => plain(other, &mut ops),
        }
    }
    Batch { ops }
}

/// What goes into a queue, without the message.
#[derive(Default)]
struct Entry {
    session: u64,
    seq: u64,
    first: u8,
    packet_id: Option<u16>,
    identifier: u32,
    group: u64,
}

fn append(entry: &Entry, message: &Arc<Kept>, last: &mut Option<(*const Kept, Arc<Message>)>, ops: &mut Vec<Op>) {
    let Entry { session, seq, first, packet_id, identifier, group } = *entry;
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
    if let Some(packet_id) = packet_id {
        let outgoing = Outgoing { packet_id, seq, released: false, order: seq.0 };
        ops.push(Op::PutOutgoing { session, epoch: EPOCH, outgoing });
    }
}

/// Topics are at most 65,535 bytes long, so there always is one.
fn stored(message: &Kept) -> Option<Message> {
    Message::new(message.topic(), message.properties(), message.payload(), message.expires_ms())
}

fn plain(change: &Change, ops: &mut Vec<Op>) {
    let epoch = EPOCH;
    let op = match change {
        Change::Appended(_) | Change::Waits { .. } | Change::Awaited(..) => return,
        Change::Session(of) => Op::PutSession { session: SessionId(of.session), record: record(of) },
        Change::Group { group, tenant, filter } => {
            Op::PutSession { session: SessionId(*group), record: group_record(tenant, filter) }
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
        Change::Done { session, seq, packet_id } => {
            let session = SessionId(*session);
            if let Some(packet_id) = *packet_id {
                ops.push(Op::DeleteOutgoing { session, epoch, packet_id });
            }
            Op::AckOne { session, epoch, seq: Seq(*seq) }
        }
        Change::Released { session, seq, packet_id, order } => Op::PutOutgoing {
            session: SessionId(*session),
            epoch,
            outgoing: Outgoing { packet_id: *packet_id, seq: Seq(*seq), released: true, order: *order },
        },
        Change::Received { session, packet_id } => {
            Op::PutIncoming { session: SessionId(*session), epoch, packet_id: *packet_id }
        }
        Change::ReceivedReleased { session, packet_id } => {
            Op::DeleteIncoming { session: SessionId(*session), epoch, packet_id: *packet_id }
        }
        Change::Retained { tenant, message, qos, user, client_id } => {
            let Some(message) = stored(message) else { return };
            let retained = Retained { message, qos: qos.bits(), user: user.clone(), client_id: client_id.clone() };
            Op::PutRetained { tenant: tenant.as_str().into(), retained }
        }
        Change::RetainedCleared { tenant, topic } => {
            Op::DeleteRetained { tenant: tenant.as_str().into(), topic: topic.as_str().into() }
        }
    };
    ops.push(op);
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
        level: of.level,
        expiry_s: of.expiry_s,
        away_since_ms: of.away_since_ms,
        will: None,
        state: Box::default(),
    }
}

/// The queue of a shared subscription stands beside those of the sessions, with its filter for the client identifier.
fn group_record(tenant: &str, filter: &str) -> StoredRecord {
    StoredRecord {
        owner: Owner { tenant: tenant.into(), user: Box::default(), client_id: filter.into() },
        epoch: EPOCH,
        node: NODE,
        level: GROUP_LEVEL,
        expiry_s: u32::MAX,
        away_since_ms: 0,
        will: None,
        state: Box::default(),
    }
}
