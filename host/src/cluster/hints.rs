//! Messages that are kept for nodes that are away, in the store beside the queues of sessions.
//!
//! A queue is of one node and one process of ours, because messages are numbered by process: its number there is its number on
//! the wire. What is not stored is never acknowledged, so nothing of them is kept in memory but where the queues are.

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_broker::changes::Numbers;
use gatemq_broker::session::Message as Restored;
use gatemq_cluster::core::{Boot, Forward, NodeName};
use gatemq_mqtt::{PacketLimits, Publish};
use gatemq_store::{
    Append, Batch, Content, Delivery, Message, Op, Page, PageLimit, Seq, SessionId, Store, StoreError, StoredSession,
};
use gatemq_types::Protocol;
use serde::{Deserialize, Serialize};

use super::content::Header;
use crate::durable::{EPOCH, queue_record};

/// Messages that are read at a time.
pub(super) const READ_MAX: usize = 64;
/// Their bytes, where it is not a single one.
const READ_BYTES_MAX: u64 = 4 << 20;

/// What stands in place of a filter: `$node/NAME/BOOT`.
pub(crate) const PREFIX: &str = "$node/";

/// A message as it is kept: before its packet, in the store's payload.
#[derive(Serialize, Deserialize)]
struct Kept {
    header: Header,
    since_ms: u64,
    /// When its time is over, in milliseconds since 1970.
    expires_ms: u64,
}

/// A queue that the store had at the start.
pub(crate) struct RestoredHints {
    to: NodeName,
    boot: Boot,
    session: SessionId,
}

impl RestoredHints {
    /// `None`: it is the queue of a shared subscription.
    pub(crate) fn new(stored: &StoredSession) -> Option<Self> {
        let (name, boot) = stored.record.owner.client_id.strip_prefix(PREFIX)?.rsplit_once('/')?;
        let (to, boot) = (NodeName::new(name).ok()?, Boot(boot.parse().ok()?));
        Some(RestoredHints { to, boot, session: stored.session })
    }
}

/// See the module.
pub(super) struct Hints {
    numbers: Numbers,
    queues: HashMap<(NodeName, Boot), SessionId>,
}

impl Hints {
    /// With those that the store had.
    pub(super) fn new(numbers: Numbers, restored: &[RestoredHints]) -> Self {
        let queues = restored.iter().map(|of| ((of.to.clone(), of.boot), of.session)).collect();
        Hints { numbers, queues }
    }

    /// What keeps a message; `None`: it is larger than the store takes. It may be committed later than that of another message, so what
    /// makes their queue goes to `ops`, which is committed first.
    pub(super) fn keep(
        &mut self,
        to: &NodeName,
        forward: Forward,
        (header, packet): (Header, &[u8]),
        (now_ms, expires_ms): (u64, u64),
        ops: &mut Vec<Op>,
    ) -> Option<Op> {
        let way = header.way;
        let mut payload = postcard::to_allocvec(&(Kept { header, since_ms: now_ms, expires_ms }, way)).ok()?;
        let head = u32::try_from(payload.len()).ok()?.to_be_bytes();
        payload.splice(0..0, head);
        payload.extend_from_slice(packet);
        let message = Arc::new(Message::new("", &[], &payload, u64::MAX)?);
        let new = || {
            let session = SessionId(self.numbers.next());
            let record = queue_record("", &format!("{PREFIX}{to}/{}", forward.boot.0));
            ops.push(Op::PutSession { session, record });
            session
        };
        let session = *self.queues.entry((to.clone(), forward.boot)).or_insert_with(new);
        let delivery = Delivery { first: 0x32, identifiers: Box::default(), group: 0 };
        Some(Op::Append(Append { session, epoch: EPOCH, seq: Seq(forward.seq), message, delivery, limit: None }))
    }

    /// What lets go of it.
    pub(super) fn drop(&self, to: &NodeName, forward: Forward) -> Option<Op> {
        let session = *self.queues.get(&(to.clone(), forward.boot))?;
        Some(Op::AckOne { session, epoch: EPOCH, seq: Seq(forward.seq) })
    }

    /// Reads those of one process that have these numbers, of which at least one is wanted; `then` gets what was found of them, on a
    /// thread of the store.
    pub(super) fn read(
        &self,
        store: &dyn Store,
        to: &NodeName,
        (boot, wanted): (Boot, Vec<(u64, u64)>),
        now_ms: u64,
        then: impl FnOnce(Found) + Send + 'static,
    ) {
        let session = self.queues.get(&(to.clone(), boot));
        let (Some(session), Some((first, _))) = (session, wanted.first().copied()) else {
            let found = wanted.into_iter().map(|(seq, low)| (Forward { boot, seq }, low, None)).collect();
            return then(Found { found, left: Vec::new() });
        };
        let limit = PageLimit { entries_max: READ_MAX, bytes_max: READ_BYTES_MAX };
        let sort = move |page: Result<Page, StoreError>| {
            // What cannot be read is not answered, so it is asked for again.
            let Ok(Page { entries, more }) = page else { return then(Found::default()) };
            // Beyond the last one nothing is known yet.
            let known = if more { entries.last().map_or(first, |entry| entry.seq.0) } else { u64::MAX };
            let mut entries: HashMap<u64, Content> =
                entries.into_iter().map(|entry| (entry.seq.0, entry.content)).collect();
            let (now, left): (Vec<_>, Vec<_>) = wanted.into_iter().partition(|(seq, _)| *seq <= known);
            let found = now.into_iter().map(|(seq, low)| {
                let kept = entries.remove(&seq).and_then(|content| ready(content, now_ms));
                (Forward { boot, seq }, low, kept)
            });
            then(Found { found: found.collect(), left });
        };
        store.page(*session, Seq(first), limit, Box::new(sort));
    }
}

/// What was read.
#[derive(Default)]
pub(super) struct Found {
    /// In order, with the lowest that may still come; without a message: it is not there, or its time is over.
    pub(super) found: Vec<(Forward, u64, Option<Ready>)>,
    /// What is still to be read, in order.
    pub(super) left: Vec<(u64, u64)>,
}

/// A message as it is to be sent.
type Ready = (Header, bytes::Bytes);

fn ready(content: Content, now_ms: u64) -> Option<Ready> {
    let Content::Message(_, message) = content else { return None };
    let (kept, packet) = unpack(message.payload()).filter(|(kept, _)| now_ms < kept.expires_ms)?;
    Some((kept.header, aged(&packet, kept.expires_ms, now_ms)?))
}

/// The packet with the time that remains now (MQTT-3.3.2-6).
fn aged(packet: &[u8], expires_ms: u64, now_ms: u64) -> Option<bytes::Bytes> {
    let head = 2 + packet.iter().skip(1).take_while(|byte| **byte & 0x80 != 0).count();
    let publish = Publish::read(packet, head, Protocol::V5, &PacketLimits::default()).ok()?;
    let message = Restored::restored(publish.topic, publish.properties.as_bytes(), publish.payload, expires_ms);
    Some(message.packet(packet[0], now_ms).into())
}

fn unpack(payload: &[u8]) -> Option<(Kept, bytes::Bytes)> {
    let (head, rest) = payload.split_first_chunk::<4>()?;
    let (kept, packet) = rest.split_at_checked(u32::from_be_bytes(*head) as usize)?;
    let (mut kept, rest): (Kept, &[u8]) = postcard::take_from_bytes(kept).ok()?;
    // An earlier version has none.
    kept.header.way = if rest.is_empty() { 0 } else { postcard::from_bytes(rest).ok()? };
    Some((kept, bytes::Bytes::copy_from_slice(packet)))
}

/// Everything that a queue has, for the core: in order, as number, bytes, and since when. What is empty is taken out of the store.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restored(
    store: &dyn Store,
    of: &RestoredHints,
    mut each: impl FnMut(&NodeName, Forward, u32, u64),
) -> Result<(), StoreError> {
    const PAGE: PageLimit = PageLimit { entries_max: 4096, bytes_max: 4 << 20 };
    let (mut from, mut more, mut any) = (Seq(0), true, false);
    while more {
        let page = gatemq_store::wait(|answer| store.page(of.session, from, PAGE, answer))?;
        more = page.more;
        for entry in page.entries {
            from = Seq(entry.seq.0 + 1);
            let Content::Message(_, message) = entry.content else { continue };
            let since_ms = unpack(message.payload()).map_or(0, |(kept, _)| kept.since_ms);
            let bytes = u32::try_from(message.payload().len()).unwrap_or(u32::MAX);
            any = true;
            each(&of.to, Forward { boot: of.boot, seq: entry.seq.0 }, bytes, since_ms);
        }
    }
    if !any {
        let ops = vec![Op::DeleteSession { session: of.session, epoch: EPOCH }];
        gatemq_store::wait(|answer| store.commit(Batch { ops }, answer))?;
    }
    Ok(())
}
