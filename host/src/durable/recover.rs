//! Sessions, their queues and retained messages come back.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use gatemq_broker::changes::Changes;
use gatemq_broker::session::{Message as Kept, RestoredMessage, Spare};
use gatemq_broker::sessions::{Restored, RestoredGroup};
use gatemq_broker::{Session, SessionKey, SessionLimits, Will};
use gatemq_store::{
    Batch, Content, Delivery, Entry, Message, Op, PageLimit, Record, Seq, SessionId, Store, StoreError, StoredSession,
    wait,
};
use gatemq_types::Protocol;

use super::translate::{self, EPOCH, GROUP_LEVEL};
use crate::cluster;
use crate::node::Node;

/// Entries of a queue that are read at a time.
const PAGE: PageLimit = PageLimit { entries_max: 4096, bytes_max: 4 << 20 };
/// Operations that tidy up at a time.
const TIDY_MAX: usize = 1024;

/// What a start got back.
#[derive(Default)]
struct Recovered {
    sessions: u64,
    subscriptions: u64,
    messages: u64,
    retained: u64,
    /// Sessions that nobody could have now.
    aside: u64,
}

impl Recovered {
    fn tell(&self, begun: Instant) {
        tracing::info!(
            sessions = self.sessions,
            subscriptions = self.subscriptions,
            messages = self.messages,
            retained = self.retained,
            ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            "recovered from the store"
        );
    }
}

/// By shared subscription, sessions with numbers of what they were given by it and have in their queues.
type Given = HashMap<u64, Vec<(Arc<Session>, HashSet<u64>)>>;

/// Gives a node what its store has, before the first client comes. `now_ms`: the start. Returns the queues of what is kept for other
/// nodes of a cluster.
///
/// # Errors
/// The store cannot be read, or is damaged.
pub(crate) fn recover(
    node: &Node,
    store: &dyn Store,
    interests: &mut Changes,
    now_ms: u64,
) -> Result<Vec<StoredSession>, StoreError> {
    let begun = Instant::now();
    let mut recovered = Recovered::default();
    let mut tidy = Vec::new();
    let mut found = Vec::new();
    store.scan_sessions(&mut |session| {
        found.push(session);
        true
    })?;
    // The one with the higher number is the later one, should a crash have left two of a client.
    found.sort_unstable_by_key(|session| std::cmp::Reverse(session.session));
    let (groups, found): (Vec<_>, Vec<_>) = found.into_iter().partition(|stored| stored.record.level == GROUP_LEVEL);
    let (mut given, mut ended) = (Given::new(), Vec::new());
    for stored in found {
        let session = stored.session;
        let (subscriptions, queue) = (stored.subscriptions.len() as u64, queue(store, &stored)?);
        let (messages, record) = (queue.len() as u64, crashed(&stored, now_ms));
        let mut by_group: HashMap<u64, HashSet<u64>> = HashMap::new();
        for Entry { seq, content } in &queue {
            if let Content::Message(Delivery { group: group @ 1.., .. }, _) = content {
                by_group.entry(*group).or_default().insert(seq.0);
            }
        }
        match restored(node, stored, queue, now_ms) {
            Ok(restored) => {
                let restored = node.sessions.restore(restored, interests);
                if restored.is_ok() {
                    recovered.sessions += 1;
                    recovered.subscriptions += subscriptions;
                    recovered.messages += messages;
                    tidy.extend(record.map(|record| Op::PutSession { session, record }));
                }
                let restored = restored.unwrap_or_else(|restored| {
                    ended.push(restored.clone());
                    restored
                });
                for (group, seqs) in by_group {
                    given.entry(group).or_default().push((restored.clone(), seqs));
                }
            }
            // It stays in the store, for a configuration that allows it again.
            Err(why) => {
                recovered.aside += 1;
                tracing::warn!(session = session.0, "a stored session is left aside: {why}");
            }
        }
    }
    let (hints, groups): (Vec<_>, Vec<_>) = groups.into_iter().partition(is_hints);
    for stored in groups {
        group(node, store, stored, &mut given, &mut recovered, &mut tidy)?;
    }
    end(node, store, &ended, now_ms)?;
    recovered.retained = retained(node, store, now_ms, &mut tidy)?;
    for ops in tidy.chunks(TIDY_MAX) {
        wait(|answer| store.commit(Batch { ops: ops.to_vec() }, answer))?;
    }
    node.sessions.store_from(store.recovery().next_session.max(1));
    recovered.tell(begun);
    Ok(hints)
}

/// Whether it is the queue of what is kept for another node.
fn is_hints(stored: &StoredSession) -> bool {
    stored.record.owner.client_id.starts_with(cluster::HINTS)
}

/// The record of a session whose client was there when the node ended: it has been away since now, and everything may have
/// been sent to it. `None`: it was away.
fn crashed(stored: &StoredSession, now_ms: u64) -> Option<Record> {
    let record = &stored.record;
    (record.away_since_ms == 0).then(|| Record {
        version: record.version + 1,
        away_since_ms: now_ms,
        state: translate::state(stored.last.0, &translate::past(&stored.record.state)),
        ..record.clone()
    })
}

/// Everything that waits for a session, in order.
fn queue(store: &dyn Store, stored: &StoredSession) -> Result<Vec<Entry>, StoreError> {
    let mut entries = Vec::with_capacity(stored.messages as usize);
    let (mut from, mut more) = (Seq(0), stored.messages > 0);
    while more {
        let page = wait(|answer| store.page(stored.session, from, PAGE, answer))?;
        more = page.more;
        from = page.entries.last().map_or(from, |last| Seq(last.seq.0 + 1));
        entries.extend(page.entries);
    }
    Ok(entries)
}

/// Sessions that had ended, as there are later ones of their clients. In one batch, that nothing is lost between.
fn end(node: &Node, store: &dyn Store, ended: &[Arc<Session>], now_ms: u64) -> Result<(), StoreError> {
    let mut spare = Spare::default();
    spare.changes = node.changes();
    ended.iter().for_each(|session| node.sessions.end_restored(session, now_ms, &mut spare));
    let mut batch = Batch::default();
    spare.changes.submit(|changes| batch = translate::batch(&changes));
    wait(|answer| store.commit(batch, answer)).map(drop)
}

/// What waits in a shared subscription. Without members it is gone; they may be among the sessions that were left aside.
fn group(
    node: &Node,
    store: &dyn Store,
    stored: StoredSession,
    given: &mut Given,
    recovered: &mut Recovered,
    tidy: &mut Vec<Op>,
) -> Result<(), StoreError> {
    let (session, filter) = (stored.session, String::from(&*stored.record.owner.client_id));
    let kept = |entry: Entry| match entry.content {
        Content::Message(delivery, of) => Some((entry.seq.0, delivery.first, Arc::new(message(&of)))),
        // A member's queue it would be in.
        Content::Released(_) => None,
    };
    let messages: Vec<_> = queue(store, &stored)?.into_iter().filter_map(kept).collect();
    let count = messages.len() as u64;
    let restored = RestoredGroup {
        number: session.0,
        filter: filter.clone(),
        last_seq: stored.last.0,
        messages,
        given: given.remove(&session.0).unwrap_or_default(),
    };
    let tenant = node.tenants.get(&stored.record.owner.tenant);
    match tenant.is_some_and(|tenant| tenant.restore_group(restored)) {
        true => recovered.messages += count,
        false if recovered.aside == 0 => tidy.push(Op::DeleteSession { session, epoch: EPOCH }),
        false => tracing::warn!(
            group = session.0,
            filter = %filter.escape_debug(),
            "what waits in a shared subscription is left aside: none of its members is there"
        ),
    }
    Ok(())
}

/// One session as the store has it, which came from another node. Blocks.
///
/// # Errors
/// The store cannot be read, or nobody could have such a session here.
pub(crate) fn restored_session(node: &Node, store: &dyn Store, session: SessionId) -> Result<Restored, String> {
    let stored = wait(|answer| store.session(session, answer)).map_err(|e| e.to_string())?;
    let stored = stored.ok_or("the store does not have it")?;
    let queue = queue(store, &stored).map_err(|e| e.to_string())?;
    restored(node, stored, queue, crate::clock::now_ms())
}

/// A session for the broker.
///
/// # Errors
/// Nobody could have such a session now.
fn restored(node: &Node, stored: StoredSession, queue: Vec<Entry>, now_ms: u64) -> Result<Restored, String> {
    let StoredSession { session: SessionId(number), record, last, subscriptions, incoming, .. } = stored;
    let owner = &record.owner;
    let tenant = node.tenants.get_or_create(&owner.tenant).map_err(|e| e.to_string())?;
    let key = Arc::new(SessionKey::new(tenant, &owner.user, &owner.client_id).map_err(|e| e.to_string())?);
    let protocol = Protocol::from_level(record.level).ok_or("its protocol level is unknown")?;
    let sent_seq = match record.away_since_ms {
        0 => last.0,
        _ => translate::sent_seq(&record.state).unwrap_or(last.0),
    };
    let (mut messages, mut released) = (Vec::new(), Vec::new());
    let mut last_message: Option<(Arc<Message>, Arc<Kept>)> = None;
    for Entry { seq: Seq(seq), content } in queue {
        let (delivery, of) = match content {
            Content::Message(delivery, message) => (delivery, message),
            Content::Released(order) => {
                released.push((seq, order));
                continue;
            }
        };
        let message = match &last_message {
            Some((before, kept)) if Arc::ptr_eq(before, &of) => kept.clone(),
            _ => Arc::new(message(&of)),
        };
        last_message = Some((of, message.clone()));
        messages.push(RestoredMessage {
            seq,
            first: delivery.first,
            identifier: delivery.identifiers.first().copied().unwrap_or(0),
            may_be_sent: seq <= sent_seq,
            message,
        });
    }
    let limits = &node.limits;
    Ok(Restored {
        number,
        will: record.will.as_ref().map(|will| Will::restored(&key, translate::will_of(will), &node.hasher)),
        key,
        protocol,
        expiry_s: record.expiry_s,
        away_since_ms: if record.away_since_ms == 0 { now_ms } else { record.away_since_ms },
        limits: SessionLimits {
            inflight_max: limits.inflight_max,
            queue_messages_max: limits.queue_messages_max,
            queue_bytes_max: u32::try_from(limits.queue_bytes_max).unwrap_or(u32::MAX),
            ..SessionLimits::default()
        },
        version: record.version + 1 + u64::from(record.away_since_ms == 0),
        last_seq: last.0,
        subscriptions: subscriptions.into_iter().map(|s| (s.filter.into(), s.options, s.identifier)).collect(),
        messages,
        released,
        received: incoming,
        past: translate::past(&record.state),
    })
}

fn message(of: &Message) -> Kept {
    Kept::restored(of.topic(), of.properties(), of.payload(), of.expires_ms()).numbered(of.publication())
}

/// Retained messages; those whose time is over are taken out of the store.
fn retained(node: &Node, store: &dyn Store, now_ms: u64, tidy: &mut Vec<Op>) -> Result<u64, StoreError> {
    let mut count = 0;
    store.scan_retained(&mut |tenant, retained| {
        let of = &retained.message;
        let topic: Box<str> = of.topic().into();
        if now_ms >= of.expires_ms() {
            tidy.push(Op::DeleteRetained { tenant: tenant.into(), topic });
            return true;
        }
        let restored = translate::restored_retained(&retained, Arc::new(message(of)));
        let tenant_of = node.tenants.get_or_create(tenant);
        let restored = tenant_of.is_ok_and(|tenant| tenant.restore_retained(restored, now_ms));
        match restored {
            true => count += 1,
            false => tracing::warn!(tenant, topic = %topic.escape_debug(), "a stored retained message is left aside"),
        }
        true
    })?;
    Ok(count)
}
