//! The engine of what is stored.

use super::Engine;
use super::entry::{Place, Stored, read_number, read_position};
use super::keys::{self, part};
use super::staging::Map;
use crate::{Record, SessionId, StoreError};

impl Engine {
    /// Reads what is stored, except the subscriptions, what was received, retained messages and denials.
    ///
    /// # Errors
    /// It cannot be read, or something is missing that is referred to.
    pub(crate) fn load(map: &dyn Map) -> Result<Self, StoreError> {
        let mut engine = Engine { next_session: 1, next_shared: 1, ..Engine::default() };
        engine.load_ended(map)?;
        engine.load_sessions(map)?;
        engine.load_entries(map)?;
        engine.check_shared(map)?;
        let stored = map.get(keys::NEXT_SESSION)?;
        let damaged = || map.damaged(keys::NEXT_SESSION);
        let next = stored.map_or(Ok(1), |value| read_number(&value).ok_or_else(damaged))?;
        if engine.sessions.keys().any(|session| session.0 >= next) {
            return Err(damaged());
        }
        engine.next_session = next;
        Ok(engine)
    }

    fn load_ended(&mut self, map: &dyn Map) -> Result<(), StoreError> {
        map.range(b"x", b"y", &mut |key, _| {
            let (session, _) = keys::number(key).ok_or_else(|| map.damaged(key))?;
            self.ended.insert(SessionId(session));
            Ok(true)
        })
    }

    fn load_sessions(&mut self, map: &dyn Map) -> Result<(), StoreError> {
        map.range(b"s", b"t", &mut |key, value| {
            let damaged = || map.damaged(key);
            let (session, rest) = keys::number(key).ok_or_else(damaged)?;
            let session = SessionId(session);
            if self.ended.contains(&session) {
                return Ok(true);
            }
            match rest {
                [part::RECORD] => {
                    let record = Record::read(value).ok_or_else(damaged)?;
                    self.sessions.entry(session).or_default().set(&record);
                }
                [part::POSITION] => {
                    let state = self.sessions.get_mut(&session).ok_or_else(damaged)?;
                    (state.acked, state.last) = read_position(value).ok_or_else(damaged)?;
                }
                _ if !self.sessions.contains_key(&session) => return Err(damaged()),
                _ => {}
            }
            Ok(true)
        })
    }

    fn load_entries(&mut self, map: &dyn Map) -> Result<(), StoreError> {
        map.range(b"q", b"r", &mut |key, value| {
            let damaged = || map.damaged(key);
            let (session, rest) = keys::number(key).ok_or_else(damaged)?;
            let session = SessionId(session);
            let seq = read_number(rest).ok_or_else(damaged)?;
            let stored = Stored::read(value).ok_or_else(damaged)?;
            if let Place::Shared(number, _) = stored.place {
                *self.shared.entry(number).or_default() += 1;
            }
            match self.sessions.get_mut(&session) {
                Some(state) => {
                    state.messages += 1;
                    state.bytes += stored.len();
                    state.last = state.last.max(seq);
                }
                None if self.ended.contains(&session) => {}
                None => return Err(damaged()),
            }
            Ok(true)
        })
    }

    /// Every message that is referred to is there.
    fn check_shared(&mut self, map: &dyn Map) -> Result<(), StoreError> {
        let mut found = 0;
        map.range(b"p", b"q", &mut |key, _| {
            let (number, _) = keys::number(key).ok_or_else(|| map.damaged(key))?;
            self.next_shared = number + 1;
            found += usize::from(self.shared.contains_key(&number));
            Ok(true)
        })?;
        if found < self.shared.len() {
            return Err(map.damaged(b"p"));
        }
        Ok(())
    }
}
