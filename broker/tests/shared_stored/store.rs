//! A store for tests: what a batch changes is there when it is committed, and a crash forgets everything else.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

use gatemq_broker::changes::{Appended, Change};
use gatemq_broker::session::{Message, RestoredMessage};
use gatemq_broker::sessions::{Restored, RestoredGroup};
use gatemq_broker::{Out, Session, SessionKey, SessionLimits, Sessions, Tenants};
use gatemq_types::Protocol;

struct Entry {
    first: u8,
    packet_id: u16,
    identifier: u32,
    group: u64,
    message: Arc<Message>,
}

/// A session, or the queue of a shared subscription.
#[derive(Default)]
struct Queue {
    /// Of a session.
    record: Option<(String, u8, u32)>,
    /// Of a shared subscription.
    filter: Option<String>,
    subscriptions: BTreeMap<String, (u8, u32)>,
    entries: BTreeMap<u64, Entry>,
    done: BTreeSet<u64>,
    last: u64,
    /// Packet identifier: message, order.
    released: BTreeMap<u16, (u64, u64)>,
}

#[derive(Default)]
pub(crate) struct Store {
    queues: BTreeMap<u64, Queue>,
    /// Of each worker, in order: batches that were submitted and are not committed.
    under_way: [VecDeque<Vec<Change>>; 2],
}

impl Store {
    /// What a worker has changed in its turn becomes a batch. Returns whether somebody is to be answered when it is there.
    pub(crate) fn submit(&mut self, worker: usize, out: &mut Out) -> bool {
        let relied_on = out.spare.changes.are_relied_on();
        if !out.spare.changes.is_empty() {
            out.spare.changes.submit(|changes| self.under_way[worker].push_back(changes));
        }
        relied_on
    }

    /// Whether a worker has nothing under way.
    pub(crate) fn is_idle(&self, worker: usize) -> bool {
        self.under_way[worker].is_empty()
    }

    /// The first batch of a worker is stored; sessions are told.
    pub(crate) fn commit(&mut self, worker: usize, out: &mut Out) {
        let mut told: Vec<(Arc<Session>, u64)> = Vec::new();
        for change in self.under_way[worker].pop_front().unwrap_or_default() {
            match &change {
                Change::Appended(appended) => told.push((appended.session.clone(), appended.seq)),
                Change::Awaited(session, seq) => told.push((session.clone(), *seq)),
                _ => {}
            }
            self.apply(change);
        }
        for (session, seq) in told {
            out.armed.extend(session.stored([seq].into_iter(), 0, &mut out.spare));
        }
    }

    fn apply(&mut self, change: Change) {
        let queue = |queues: &mut BTreeMap<u64, Queue>, number, f: &dyn Fn(&mut Queue)| {
            if let Some(queue) = queues.get_mut(&number) {
                f(queue);
            }
        };
        match change {
            Change::Session(of) => {
                let record = (of.key.client_id().to_owned(), of.level, of.expiry_s);
                self.queues.entry(of.session).or_default().record = Some(record);
            }
            Change::Group { group, filter, .. } => {
                self.queues.entry(group).or_default().filter = Some(filter);
            }
            Change::SessionEnded(number) => drop(self.queues.remove(&number)),
            Change::Subscribed { session, filter, options, identifier } => queue(&mut self.queues, session, &|queue| {
                queue.subscriptions.insert(filter.clone(), (options, identifier));
            }),
            Change::Unsubscribed { session, filter } => queue(&mut self.queues, session, &|queue| {
                queue.subscriptions.remove(&filter);
            }),
            Change::Appended(Appended { session, seq, first, packet_id, identifier, group, message }) => {
                let packet_id = packet_id.unwrap_or(0);
                let entry = Entry { first, packet_id, identifier, group, message };
                self.append(session.number(), seq, entry);
            }
            Change::Waits { group, seq, first, message } => {
                self.append(group, seq, Entry { first, packet_id: 0, identifier: 0, group: 0, message });
            }
            Change::Done { session, seq, packet_id } => queue(&mut self.queues, session, &|queue| {
                queue.entries.remove(&seq);
                queue.done.insert(seq);
                queue.last = queue.last.max(seq);
                if let Some(packet_id) = packet_id {
                    queue.released.remove(&packet_id);
                }
            }),
            Change::Released { session, seq, packet_id, order } => queue(&mut self.queues, session, &|queue| {
                queue.released.insert(packet_id, (seq, order));
            }),
            Change::Awaited(..) => {}
            other => panic!("{other:?}"),
        }
    }

    fn append(&mut self, number: u64, seq: u64, entry: Entry) {
        // What ended meanwhile is refused.
        let Some(queue) = self.queues.get_mut(&number) else { return };
        if !queue.done.contains(&seq) {
            queue.last = queue.last.max(seq);
            queue.entries.insert(seq, entry);
        }
    }

    /// The process is gone: a new one gets what was committed.
    pub(crate) fn restart(&mut self, tenants: &Tenants, sessions: &Sessions, limits: SessionLimits) {
        self.under_way = Default::default();
        let mut given: HashMap<u64, HashMap<u64, std::collections::HashSet<u64>>> = HashMap::new();
        let tenant = tenants.get_or_create("t").unwrap();
        for (number, queue) in self.queues.iter().rev() {
            let Some((client_id, level, expiry_s)) = &queue.record else { continue };
            let sent = |seq: &u64| !queue.released.values().any(|(released, _)| released == seq);
            let mut messages = Vec::new();
            for (seq, of) in queue.entries.iter().filter(|(seq, _)| sent(seq)) {
                let Entry { first, packet_id, identifier, ref message, group } = *of;
                messages.push(RestoredMessage { seq: *seq, first, identifier, packet_id, message: message.clone() });
                if group != 0 {
                    given.entry(group).or_default().entry(*number).or_default().insert(*seq);
                }
            }
            let restored = Restored {
                number: *number,
                key: Arc::new(SessionKey::new(tenant.clone(), "user", client_id).unwrap()),
                protocol: Protocol::from_level(*level).unwrap(),
                expiry_s: *expiry_s,
                away_since_ms: 0,
                limits,
                last_seq: queue.last,
                subscriptions: queue.subscriptions.iter().map(|(f, (o, i))| (f.clone(), *o, *i)).collect(),
                messages,
                released: queue.released.iter().map(|(packet_id, (seq, order))| (*packet_id, *seq, *order)).collect(),
                received: Vec::new(),
            };
            assert!(sessions.restore(restored));
        }
        for (number, queue) in self.queues.iter().rev() {
            let Some(filter) = queue.filter.clone() else { continue };
            let messages = queue.entries.iter().map(|(seq, of)| (*seq, of.first, of.message.clone())).collect();
            let given = given.remove(number).unwrap_or_default();
            let restored = RestoredGroup { number: *number, filter, last_seq: queue.last, messages, given };
            assert!(tenant.restore_group(restored), "a queue whose group has no members is gone with the last");
        }
        sessions.store_from(self.queues.keys().next_back().map_or(1, |last| last + 1));
    }

    /// Messages that wait in shared subscriptions.
    pub(crate) fn waiting(&self) -> usize {
        self.queues.values().filter(|queue| queue.filter.is_some()).map(|queue| queue.entries.len()).sum()
    }

    /// Queues of shared subscriptions.
    pub(crate) fn groups(&self) -> usize {
        self.queues.values().filter(|queue| queue.filter.is_some()).count()
    }
}
