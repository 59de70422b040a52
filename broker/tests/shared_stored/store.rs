//! A store for tests: what a batch changes is there when it is committed, and a crash forgets everything else.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use gatemq_broker::changes::{Appended, Change, Record};
use gatemq_broker::session::{Message, RestoredMessage, Spare};
use gatemq_broker::sessions::{Restored, RestoredGroup};
use gatemq_broker::{Out, Session, SessionKey, SessionLimits, Sessions, Tenants};
use gatemq_types::Protocol;

use crate::NOW_MS;

/// A session with numbers of messages that it was given by a shared subscription.
type Given = (Arc<Session>, HashSet<u64>);

struct Entry {
    first: u8,
    identifier: u32,
    group: u64,
    message: Arc<Message>,
}

/// A session, or the queue of a shared subscription.
#[derive(Default)]
struct Queue {
    /// Of a session; of one that ended, none comes again.
    record: Option<Record>,
    /// Of a shared subscription.
    filter: Option<String>,
    subscriptions: BTreeMap<String, (u8, u32)>,
    entries: BTreeMap<u64, Entry>,
    done: BTreeSet<u64>,
    last: u64,
    /// Messages for which PUBREL came, and their order.
    released: BTreeMap<u64, u64>,
}

#[derive(Default)]
pub(crate) struct Store {
    queues: BTreeMap<u64, Queue>,
    ended: BTreeSet<u64>,
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
                Change::Done { seq, tell: Some(session), .. } => told.push((session.clone(), *seq)),
                _ => {}
            }
            self.apply(change);
        }
        for (session, seq) in told {
            out.armed.extend(session.stored([seq].into_iter(), NOW_MS, &mut out.spare));
        }
    }

    fn apply(&mut self, change: Change) {
        let queue = |queues: &mut BTreeMap<u64, Queue>, number, f: &dyn Fn(&mut Queue)| {
            if let Some(queue) = queues.get_mut(&number) {
                f(queue);
            }
        };
        match change {
            Change::Session(of) if !self.ended.contains(&of.session) => {
                let record = &mut self.queues.entry(of.session).or_default().record;
                if record.as_ref().is_none_or(|before| before.version < of.version) {
                    *record = Some(of);
                }
            }
            Change::Session(_) => {}
            Change::Group { group, filter, .. } => {
                if !self.ended.contains(&group) {
                    self.queues.entry(group).or_default().filter = Some(filter);
                }
            }
            Change::SessionEnded(number) => {
                self.queues.remove(&number);
                self.ended.insert(number);
            }
            Change::Subscribed { session, filter, options, identifier } => queue(&mut self.queues, session, &|queue| {
                queue.subscriptions.insert(filter.clone(), (options, identifier));
            }),
            Change::Unsubscribed { session, filter } => queue(&mut self.queues, session, &|queue| {
                queue.subscriptions.remove(&filter);
            }),
            Change::Appended(Appended { session, seq, first, identifier, group, message }) => {
                self.append(session.number(), seq, Entry { first, identifier, group, message });
            }
            Change::Waits { group, seq, first, message } => {
                self.append(group, seq, Entry { first, identifier: 0, group: 0, message });
            }
            Change::Done { session, seq, .. } => queue(&mut self.queues, session, &|queue| {
                queue.entries.remove(&seq);
                queue.released.remove(&seq);
                queue.done.insert(seq);
                queue.last = queue.last.max(seq);
            }),
            Change::Released { session, seq, order } => queue(&mut self.queues, session, &|queue| {
                if !queue.done.contains(&seq) {
                    queue.entries.remove(&seq);
                    queue.released.entry(seq).or_insert(order);
                    queue.last = queue.last.max(seq);
                }
            }),
            Change::Awaited(..) => {}
            other => panic!("{other:?}"),
        }
    }

    fn append(&mut self, number: u64, seq: u64, entry: Entry) {
        // What ended meanwhile is refused.
        let Some(queue) = self.queues.get_mut(&number) else { return };
        if !queue.done.contains(&seq) && !queue.released.contains_key(&seq) {
            queue.last = queue.last.max(seq);
            queue.entries.insert(seq, entry);
        }
    }

    /// The process is gone: a new one gets what was committed.
    pub(crate) fn restart(&mut self, tenants: &Tenants, sessions: &Sessions, limits: SessionLimits, spare: &mut Spare) {
        self.under_way = Default::default();
        let (mut given, mut ended): (HashMap<u64, Vec<Given>>, Vec<Arc<Session>>) = Default::default();
        let tenant = tenants.get_or_create("t").unwrap();
        for (number, queue) in self.queues.iter_mut().rev() {
            let Some(record) = &mut queue.record else { continue };
            if record.away_since_ms == 0 {
                // Its client was there.
                (record.away_since_ms, record.sent_seq, record.version) = (NOW_MS, queue.last, record.version + 1);
            }
            let mut messages = Vec::new();
            let mut by_group: HashMap<u64, HashSet<u64>> = HashMap::new();
            for (seq, of) in &queue.entries {
                let Entry { first, identifier, ref message, group } = *of;
                let (seq, may_be_sent, message) = (*seq, *seq <= record.sent_seq, message.clone());
                messages.push(RestoredMessage { seq, first, identifier, may_be_sent, message });
                if group != 0 {
                    by_group.entry(group).or_default().insert(seq);
                }
            }
            let restored = Restored {
                number: *number,
                key: Arc::new(SessionKey::new(tenant.clone(), "user", record.key.client_id()).unwrap()),
                protocol: Protocol::from_level(record.level).unwrap(),
                expiry_s: record.expiry_s,
                away_since_ms: NOW_MS,
                limits,
                version: record.version + 1,
                last_seq: queue.last,
                subscriptions: queue.subscriptions.iter().map(|(f, (o, i))| (f.clone(), *o, *i)).collect(),
                messages,
                released: queue.released.iter().map(|(seq, order)| (*seq, *order)).collect(),
                received: Vec::new(),
                past: gatemq_broker::Past::default(),
                will: None,
            };
            let session = sessions.restore(restored, &mut Default::default()).unwrap_or_else(|session| {
                ended.push(session.clone());
                session
            });
            for (group, seqs) in by_group {
                given.entry(group).or_default().push((session.clone(), seqs));
            }
        }
        let mut over = Vec::new();
        for (number, queue) in self.queues.iter().rev() {
            let Some(filter) = queue.filter.clone() else { continue };
            let messages = queue.entries.iter().map(|(seq, of)| (*seq, of.first, of.message.clone())).collect();
            let given = given.remove(number).unwrap_or_default();
            let restored = RestoredGroup { number: *number, filter, last_seq: queue.last, messages, given };
            if !tenant.restore_group(restored) {
                // Its last member had ended.
                over.push(*number);
            }
        }
        for number in over {
            self.apply(Change::SessionEnded(number));
        }
        for session in ended {
            sessions.end_restored(&session, NOW_MS, spare);
        }
        let mut changes = Vec::new();
        spare.changes.submit(|all| changes = all);
        changes.into_iter().for_each(|change| self.apply(change));
        let (here, ended) = (self.queues.keys().next_back(), self.ended.last());
        sessions.store_from(here.max(ended).map_or(1, |last| last + 1));
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
