//! What a store means, in the simplest way.

use std::collections::{BTreeMap, BTreeSet};

use gatemq_store::{
    Append, Content, Entry, Epoch, Op, OpResult, Outcome, Record, Retained, Seq, Store, StoreError, StoredSession,
    Subscription, wait,
};

use crate::support::{EVERYTHING, sessions};

#[derive(Clone)]
struct Session {
    record: Record,
    entries: BTreeMap<u64, Content>,
    done: BTreeSet<u64>,
    last: u64,
    subscriptions: BTreeMap<Box<str>, Subscription>,
    incoming: BTreeSet<u16>,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Naive {
    sessions: BTreeMap<u64, Session>,
    retained: BTreeMap<(Box<str>, String), Retained>,
    next: u64,
}

impl Session {
    fn acked(&self) -> u64 {
        (1..).take_while(|seq| self.done.contains(seq)).last().unwrap_or(0)
    }

    fn finish(&mut self, seq: u64) -> OpResult {
        self.last = self.last.max(seq);
        self.entries.remove(&seq);
        if self.done.insert(seq) { Ok(Outcome::Done) } else { Ok(Outcome::Repeated) }
    }

    fn append(&mut self, append: &Append) -> OpResult {
        let seq = append.seq.0;
        if self.done.contains(&seq) || self.entries.contains_key(&seq) {
            return Ok(Outcome::Repeated);
        }
        self.last = self.last.max(seq);
        if let Some(limit) = append.limit
            && (self.entries.len() as u64 >= u64::from(limit.messages_max)
                || self.bytes() + append.message.len() as u64 > limit.bytes_max)
        {
            self.done.insert(seq);
            return Err(StoreError::Full);
        }
        self.entries.insert(seq, Content::Message(append.delivery.clone(), append.message.clone()));
        Ok(Outcome::Done)
    }

    fn release(&mut self, seq: u64, order: u64) -> OpResult {
        if self.done.contains(&seq) || matches!(self.entries.get(&seq), Some(Content::Released(_))) {
            return Ok(Outcome::Repeated);
        }
        self.last = self.last.max(seq);
        self.entries.insert(seq, Content::Released(order));
        Ok(Outcome::Done)
    }

    fn bytes(&self) -> u64 {
        let bytes = self.entries.values().map(|content| match content {
            Content::Message(_, message) => message.len() as u64,
            Content::Released(_) => 0,
        });
        bytes.sum()
    }

    fn stored(&self, id: u64) -> StoredSession {
        StoredSession {
            session: gatemq_store::SessionId(id),
            record: self.record.clone(),
            acked: Seq(self.acked()),
            last: Seq(self.last),
            messages: self.entries.len() as u32,
            bytes: self.bytes(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            incoming: self.incoming.iter().copied().collect(),
        }
    }
}

impl Naive {
    fn owned(&mut self, session: u64, epoch: Epoch) -> Result<&mut Session, StoreError> {
        let session = self.sessions.get_mut(&session).ok_or(StoreError::NoSession)?;
        match session.record.epoch {
            owner if epoch < owner => Err(StoreError::Fenced),
            owner if epoch > owner => Err(StoreError::Conflict),
            _ => Ok(session),
        }
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    pub(crate) fn apply(&mut self, op: &Op) -> OpResult {
        match op {
            Op::Append(append) => self.owned(append.session.0, append.epoch)?.append(append),
            Op::AckOne { session, epoch, seq } => self.owned(session.0, *epoch)?.finish(seq.0),
            Op::Release { session, epoch, seq, order } => self.owned(session.0, *epoch)?.release(seq.0, *order),
            Op::AckUpTo { session, epoch, seq } => {
                let session = self.owned(session.0, *epoch)?;
                if seq.0 <= session.acked() {
                    return Ok(Outcome::Repeated);
                }
                for seq in 1..=seq.0 {
                    session.finish(seq)?;
                }
                Ok(Outcome::Done)
            }
            Op::PutSession { session, record } => self.put_session(session.0, record),
            Op::DeleteSession { session, epoch } => {
                self.owned(session.0, *epoch)?;
                self.sessions.remove(&session.0);
                Ok(Outcome::Done)
            }
            Op::Claim { session, expected, node } => {
                let session = self.sessions.get_mut(&session.0).ok_or(StoreError::NoSession)?;
                if session.record.epoch != *expected {
                    return Err(StoreError::Conflict);
                }
                (session.record.epoch, session.record.node) = (Epoch(expected.0 + 1), *node);
                Ok(Outcome::Claimed(session.record.epoch))
            }
            Op::PutRetained { tenant, retained } => {
                self.retained.insert((tenant.clone(), retained.message.topic().into()), retained.clone());
                Ok(Outcome::Done)
            }
            Op::DeleteRetained { tenant, topic } => {
                self.retained.remove(&(tenant.clone(), topic.to_string()));
                Ok(Outcome::Done)
            }
            _ => self.part(op),
        }
    }

    fn put_session(&mut self, id: u64, record: &Record) -> OpResult {
        match self.sessions.get_mut(&id) {
            Some(session) if record.epoch < session.record.epoch => return Err(StoreError::Fenced),
            Some(session) if record.epoch == session.record.epoch && record.version < session.record.version => {
                return Ok(Outcome::Repeated);
            }
            Some(session) => session.record = record.clone(),
            None if record.version > 0 => return Err(StoreError::Conflict),
            None => {
                let session = Session {
                    record: record.clone(),
                    entries: BTreeMap::new(),
                    done: BTreeSet::new(),
                    last: 0,
                    subscriptions: BTreeMap::new(),
                    incoming: BTreeSet::new(),
                };
                self.sessions.insert(id, session);
            }
        }
        Ok(Outcome::Done)
    }

    fn part(&mut self, op: &Op) -> OpResult {
        match op {
            Op::PutSubscription { session, epoch, subscription } => {
                let subscriptions = &mut self.owned(session.0, *epoch)?.subscriptions;
                subscriptions.insert(subscription.filter.clone(), subscription.clone());
            }
            Op::DeleteSubscription { session, epoch, filter } => {
                self.owned(session.0, *epoch)?.subscriptions.remove(filter);
            }
            Op::PutIncoming { session, epoch, packet_id } => {
                self.owned(session.0, *epoch)?.incoming.insert(*packet_id);
            }
            Op::DeleteIncoming { session, epoch, packet_id } => {
                self.owned(session.0, *epoch)?.incoming.remove(packet_id);
            }
            other => panic!("{other:?}"),
        }
        Ok(Outcome::Done)
    }

    /// Compares everything that can be read.
    pub(crate) fn compare(&self, store: &dyn Store) {
        let mut stored = sessions(store);
        stored.values_mut().for_each(|session| session.subscriptions.sort_by(|a, b| a.filter.cmp(&b.filter)));
        let wanted: BTreeMap<_, _> = self.sessions.iter().map(|(id, session)| (*id, session.stored(*id))).collect();
        assert_eq!(stored, wanted);
        for (id, session) in &self.sessions {
            let page = wait(|answer| store.page(gatemq_store::SessionId(*id), Seq(0), EVERYTHING, answer)).unwrap();
            let wanted =
                session.entries.iter().map(|(seq, content)| Entry { seq: Seq(*seq), content: content.clone() });
            assert_eq!(page.entries, wanted.collect::<Vec<_>>());
            let one = wait(|answer| store.session(gatemq_store::SessionId(*id), answer)).unwrap();
            assert_eq!(one.map(|one| one.record), Some(session.record.clone()));
        }
        let mut retained = BTreeMap::new();
        let scanned = store.scan_retained(&mut |tenant, found| {
            retained.insert((tenant.into(), found.message.topic().into()), found).is_none()
        });
        scanned.unwrap();
        assert_eq!(retained, self.retained);
    }

    /// A store that was opened again may have forgotten numbers that are done with and have no entry; the caller has them
    /// no more either.
    pub(crate) fn reopened(&mut self, store: &dyn Store) {
        let stored = sessions(store);
        for (id, session) in &mut self.sessions {
            let found = &stored[id];
            let highest = session.entries.keys().last().copied().unwrap_or(0);
            assert!(found.acked.0 <= session.acked() && found.last.0 >= highest && found.last >= found.acked);
            session.done = (1..=found.acked.0).collect();
            session.last = found.last.0;
        }
        assert!(store.recovery().next_session > self.sessions.keys().last().copied().unwrap_or(0));
    }
}
