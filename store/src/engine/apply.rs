//! An operation, checked and staged.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;
use std::sync::Arc;

use super::keys::{self, part};
use super::staging::{Map, Staging};
use super::{Engine, State, purge};
use crate::types::denial;
use crate::{Batch, Epoch, Message, Op, OpResult, Outcome, Record, SessionId, StoreError};

/// How often each message is in a batch, and the number that it got.
pub(super) type Shared = HashMap<*const Message, (u32, Option<u64>)>;

impl Engine {
    /// Stages a batch. The results are those of its operations.
    ///
    /// # Errors
    /// The map cannot be read: nothing of the group may be stored.
    pub(crate) fn apply(&mut self, staging: &mut Staging<'_>, batch: &Batch) -> Result<Vec<OpResult>, StoreError> {
        let mut shared = Shared::new();
        if batch.ops.len() > 1 {
            for op in &batch.ops {
                if let Op::Append(append) = op {
                    shared.entry(Arc::as_ptr(&append.message)).or_default().0 += 1;
                }
            }
        }
        let mut results = Vec::with_capacity(batch.ops.len());
        for op in &batch.ops {
            match self.apply_one(staging, &mut shared, op) {
                Err(error) if !error.is_refusal() => return Err(error),
                result => results.push(result),
            }
        }
        Ok(results)
    }

    /// Takes away some of what ended sessions left. Returns whether there is more.
    pub(crate) fn purge(&mut self, staging: &mut Staging<'_>) -> Result<bool, StoreError> {
        purge::some(self, staging)
    }

    fn apply_one(&mut self, staging: &mut Staging<'_>, shared: &mut Shared, op: &Op) -> OpResult {
        match op {
            Op::Append(append) => self.append(staging, shared, append),
            Op::AckUpTo { session, epoch, seq } => self.ack_up_to(staging, *session, *epoch, *seq),
            Op::AckOne { session, epoch, seq } => self.ack_one(staging, *session, *epoch, *seq),
            Op::Release { session, epoch, seq, order } => self.release(staging, *session, *epoch, *seq, *order),
            Op::PutSession { session, record } => self.put_session(staging, *session, record),
            Op::DeleteSession { session, epoch } => self.delete_session(staging, *session, *epoch),
            Op::Claim { session, expected, node } => self.claim(staging, *session, *expected, *node),
            Op::PutRetained { tenant, retained } => {
                staging.put(keys::retained(tenant, retained.message.topic()), retained.write(tenant));
                Ok(Outcome::Done)
            }
            Op::DeleteRetained { tenant, topic } => {
                staging.remove(keys::retained(tenant, topic));
                Ok(Outcome::Done)
            }
            Op::PutDenial(put) => {
                staging.put(keys::denial(&denial::write_name(&put.subject, &put.raised_by)), denial::write(put));
                Ok(Outcome::Done)
            }
            Op::DeleteDenial { subject, raised_by } => {
                staging.remove(keys::denial(&denial::write_name(subject, raised_by)));
                Ok(Outcome::Done)
            }
            Op::PutValue { owner, key, value } => {
                staging.put(keys::value(owner, key), value.write(owner, key));
                Ok(Outcome::Done)
            }
            Op::DeleteValue { owner, key } => {
                staging.remove(keys::value(owner, key));
                Ok(Outcome::Done)
            }
            _ => self.apply_part(staging, op),
        }
    }

    /// Subscriptions, and what the client has not released.
    fn apply_part(&mut self, staging: &mut Staging<'_>, op: &Op) -> OpResult {
        let (session, epoch, key, value) = match op {
            Op::PutSubscription { session, epoch, subscription } => {
                let key = keys::subscription(*session, &subscription.filter);
                (session, epoch, key, Some(subscription.write()))
            }
            Op::DeleteSubscription { session, epoch, filter } => {
                (session, epoch, keys::subscription(*session, filter), None)
            }
            Op::PutIncoming { session, epoch, packet_id } => {
                (session, epoch, keys::incoming(*session, *packet_id), Some(Vec::new()))
            }
            Op::DeleteIncoming { session, epoch, packet_id } => {
                (session, epoch, keys::incoming(*session, *packet_id), None)
            }
            _ => return Err(StoreError::Conflict),
        };
        self.owned(*session, *epoch)?;
        match value {
            Some(value) => staging.put(key, value),
            None => staging.remove(key),
        }
        Ok(Outcome::Done)
    }

    /// The session, if it may be written with this epoch.
    pub(super) fn owned(&mut self, session: SessionId, epoch: Epoch) -> Result<&mut State, StoreError> {
        let state = self.sessions.get_mut(&session).ok_or(StoreError::NoSession)?;
        match epoch.cmp(&state.epoch) {
            std::cmp::Ordering::Less => Err(StoreError::Fenced),
            std::cmp::Ordering::Greater => Err(StoreError::Conflict),
            std::cmp::Ordering::Equal => Ok(state),
        }
    }

    fn put_session(&mut self, staging: &mut Staging<'_>, session: SessionId, record: &Record) -> OpResult {
        match self.sessions.entry(session) {
            Slot::Occupied(slot) if record.epoch < slot.get().epoch => return Err(StoreError::Fenced),
            Slot::Occupied(slot) if record.epoch == slot.get().epoch && record.version < slot.get().version => {
                return Ok(Outcome::Repeated);
            }
            Slot::Occupied(mut slot) => slot.get_mut().set(record),
            // It has ended: its number was given out before, or this is not its first record.
            Slot::Vacant(_) if self.ended.contains(&session) || record.version > 0 => return Err(StoreError::Conflict),
            Slot::Vacant(slot) => {
                let next = session.0.checked_add(1).ok_or(StoreError::Conflict)?;
                slot.insert(State::default()).set(record);
                if self.next_session < next {
                    self.next_session = next;
                    staging.put(keys::NEXT_SESSION.to_vec(), next.to_be_bytes().to_vec());
                }
            }
        }
        staging.put(keys::session_part(session, part::RECORD), record.write());
        Ok(Outcome::Done)
    }

    fn delete_session(&mut self, staging: &mut Staging<'_>, session: SessionId, epoch: Epoch) -> OpResult {
        self.owned(session, epoch)?;
        self.sessions.remove(&session);
        self.ended.insert(session);
        staging.put(keys::ended(session), Vec::new());
        staging.remove(keys::session_part(session, part::RECORD));
        Ok(Outcome::Done)
    }

    fn claim(&mut self, staging: &mut Staging<'_>, session: SessionId, expected: Epoch, node: u64) -> OpResult {
        let state = self.sessions.get_mut(&session).ok_or(StoreError::NoSession)?;
        if state.epoch != expected {
            return Err(StoreError::Conflict);
        }
        let key = keys::session_part(session, part::RECORD);
        let stored = staging.get(&key)?;
        let record = stored.as_deref().and_then(Record::read).ok_or_else(|| staging.damaged(&key))?;
        let epoch = Epoch(expected.0.checked_add(1).ok_or(StoreError::Conflict)?);
        state.epoch = epoch;
        staging.put(key, Record { epoch, node, ..record }.write());
        Ok(Outcome::Claimed(epoch))
    }
}
