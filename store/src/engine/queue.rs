//! Entries come, are released, and go.

use super::apply::Shared;
use super::entry::{Place, Stored, write_position};
use super::keys::{self, part};
use super::staging::{Map, Staging};
use super::{Engine, State};
use crate::{Append, Delivery, Epoch, OpResult, Outcome, Seq, SessionId, StoreError};

/// Shorter messages are stored with each entry: a number and a second read would cost more.
const SHARED_BYTES_MIN: usize = 64;

impl Engine {
    pub(super) fn append(&mut self, staging: &mut Staging<'_>, shared: &mut Shared, append: &Append) -> OpResult {
        let Append { session, epoch, seq: Seq(seq), message, delivery, limit } = append;
        let state = self.owned(*session, *epoch)?;
        if *seq == 0 || *seq == u64::MAX {
            return Err(StoreError::Conflict);
        }
        let key = keys::entry(*session, *seq);
        if state.is_done(*seq) || (*seq <= state.last && staging.get(&key)?.is_some()) {
            return Ok(Outcome::Repeated);
        }
        state.last = state.last.max(*seq);
        let bytes = state.bytes + message.len() as u64;
        if limit.is_some_and(|limit| state.messages >= limit.messages_max || bytes > limit.bytes_max) {
            state.finish(*seq);
            return Err(StoreError::Full);
        }
        (state.messages, state.bytes) = (state.messages + 1, bytes);
        let sharing = shared.get_mut(&std::sync::Arc::as_ptr(message)).filter(|(count, _)| *count > 1);
        let place = match sharing.filter(|_| message.len() >= SHARED_BYTES_MIN) {
            None => Place::Inline(message.as_bytes()),
            Some((_, number)) => {
                let number = *number.get_or_insert_with(|| {
                    staging.put(keys::payload(self.next_shared), message.as_bytes().to_vec());
                    self.next_shared += 1;
                    self.next_shared - 1
                });
                *self.shared.entry(number).or_default() += 1;
                Place::Shared(number, u32::try_from(message.len()).unwrap_or(u32::MAX))
            }
        };
        staging.put(key, Stored { delivery: delivery.clone(), place }.write());
        Ok(Outcome::Done)
    }

    pub(super) fn ack_one(
        &mut self,
        staging: &mut Staging<'_>,
        session: SessionId,
        epoch: Epoch,
        Seq(seq): Seq,
    ) -> OpResult {
        let state = self.owned(session, epoch)?;
        if seq == 0 || seq == u64::MAX {
            return Err(StoreError::Conflict);
        }
        if state.is_done(seq) {
            return Ok(Outcome::Repeated);
        }
        let key = keys::entry(session, seq);
        if let Some(value) = staging.get(&key)? {
            self.remove_entry(staging, session, key, &value)?;
        }
        let state = self.owned(session, epoch)?;
        state.last = state.last.max(seq);
        state.finish(seq);
        state.stage_position(staging, session);
        Ok(Outcome::Done)
    }

    /// The receiver has a message. The order in which workers' batches come does not matter: what is done with stays so,
    /// and what is released is not appended any more.
    pub(super) fn release(
        &mut self,
        staging: &mut Staging<'_>,
        session: SessionId,
        epoch: Epoch,
        Seq(seq): Seq,
        order: u64,
    ) -> OpResult {
        let state = self.owned(session, epoch)?;
        if seq == 0 || seq == u64::MAX {
            return Err(StoreError::Conflict);
        }
        if state.is_done(seq) {
            return Ok(Outcome::Repeated);
        }
        let key = keys::entry(session, seq);
        match staging.get(&key)? {
            None => {
                state.last = state.last.max(seq);
                state.messages += 1;
            }
            Some(value) => {
                let stored = Stored::read(&value).ok_or_else(|| staging.damaged(&key))?;
                if matches!(stored.place, Place::Released(_)) {
                    return Ok(Outcome::Repeated);
                }
                state.bytes = state.bytes.saturating_sub(stored.len());
                self.forget_message(staging, &stored.place);
            }
        }
        let stored = Stored { delivery: Delivery::default(), place: Place::Released(order) };
        staging.put(key, stored.write());
        Ok(Outcome::Done)
    }

    pub(super) fn ack_up_to(
        &mut self,
        staging: &mut Staging<'_>,
        session: SessionId,
        epoch: Epoch,
        Seq(seq): Seq,
    ) -> OpResult {
        let state = self.owned(session, epoch)?;
        if seq == u64::MAX {
            return Err(StoreError::Conflict);
        }
        if seq <= state.acked {
            return Ok(Outcome::Repeated);
        }
        let (from, to) = (keys::entry(session, state.acked + 1), keys::entry(session, seq + 1));
        for (key, value) in staging.collect(&from, &to, usize::MAX)? {
            self.remove_entry(staging, session, key, &value)?;
        }
        let state = self.owned(session, epoch)?;
        state.acked = state.done.advance(seq);
        state.last = state.last.max(state.acked);
        state.stage_position(staging, session);
        Ok(Outcome::Done)
    }

    /// Takes an entry away, and its message when nobody else has it.
    pub(super) fn remove_entry(
        &mut self,
        staging: &mut Staging<'_>,
        session: SessionId,
        key: Vec<u8>,
        value: &[u8],
    ) -> Result<(), StoreError> {
        let stored = Stored::read(value).ok_or_else(|| staging.damaged(&key))?;
        if let Some(state) = self.sessions.get_mut(&session) {
            state.messages = state.messages.saturating_sub(1);
            state.bytes = state.bytes.saturating_sub(stored.len());
        }
        self.forget_message(staging, &stored.place);
        match stored.place {
            // It was another value before, which may be older than this group.
            Place::Released(_) => staging.remove(key),
            _ => staging.remove_new(key),
        }
        Ok(())
    }

    /// One entry less has a message; it is taken away when nobody else has it.
    fn forget_message(&mut self, staging: &mut Staging<'_>, place: &Place<'_>) {
        if let Place::Shared(number, _) = place
            && let Some(count) = self.shared.get_mut(number)
        {
            *count -= 1;
            if *count == 0 {
                self.shared.remove(number);
                staging.remove_new(keys::payload(*number));
            }
        }
    }
}

impl State {
    fn is_done(&self, seq: u64) -> bool {
        seq <= self.acked || self.done.contains(seq)
    }

    fn finish(&mut self, seq: u64) {
        self.done.insert(seq);
        self.acked = self.done.advance(self.acked);
    }

    fn stage_position(&self, staging: &mut Staging<'_>, session: SessionId) {
        staging.put(keys::session_part(session, part::POSITION), write_position(self.acked, self.last));
    }
}
