//! Pages, sessions, scans.

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_types::Denial;

use super::Engine;
use super::entry::{Place, Stored, read_number, read_position};
use super::keys::{self, part};
use super::staging::Map;
use crate::types::denial;
use crate::{
    Content, Delivery, Entry, KeptValue, Message, Page, PageLimit, Record, Retained, Seq, SessionId, StoreError,
    StoredSession, Subscription,
};

/// What an entry holds, while a page is read.
enum Found {
    Whole(Content),
    /// The message is under this number.
    Elsewhere(Delivery, u64),
}

/// See [`Store::page`](crate::Store::page).
pub(crate) fn page(map: &dyn Map, session: SessionId, from: Seq, limit: PageLimit) -> Result<Page, StoreError> {
    let key = keys::session_part(session, part::POSITION);
    let position = match map.get(&key)? {
        None => 0,
        Some(value) => read_position(&value).ok_or_else(|| map.damaged(&key))?.0,
    };
    let first = keys::entry(session, from.0.max(position.saturating_add(1)));
    let mut entries: Vec<(Seq, Found)> = Vec::new();
    let (mut bytes, mut more) = (0, false);
    map.range(&first, &keys::behind(&keys::queue(session)), &mut |key, value| {
        let damaged = || map.damaged(key);
        let seq = keys::number(key).and_then(|(_, rest)| read_number(rest)).ok_or_else(damaged)?;
        let stored = Stored::read(value).ok_or_else(damaged)?;
        bytes += stored.len();
        more = !entries.is_empty() && (entries.len() >= limit.entries_max || bytes > limit.bytes_max);
        if more {
            return Ok(false);
        }
        let found = match stored.place {
            Place::Inline(message) => {
                let message = Arc::new(Message::read(message).ok_or_else(damaged)?);
                Found::Whole(Content::Message(stored.delivery, message))
            }
            Place::Shared(number, _) => Found::Elsewhere(stored.delivery, number),
            Place::Released(order) => Found::Whole(Content::Released(order)),
        };
        entries.push((Seq(seq), found));
        Ok(true)
    })?;
    let mut shared = HashMap::new();
    let mut fetch = |number: u64| -> Result<Arc<Message>, StoreError> {
        if let Some(message) = shared.get(&number) {
            return Ok(Arc::clone(message));
        }
        let key = keys::payload(number);
        let value = map.get(&key)?;
        let message = value.as_deref().and_then(Message::read).ok_or_else(|| map.damaged(&key))?;
        let message = Arc::new(message);
        shared.insert(number, message.clone());
        Ok(message)
    };
    let entries = entries.into_iter().map(|(seq, found)| {
        let content = match found {
            Found::Whole(content) => content,
            Found::Elsewhere(delivery, number) => Content::Message(delivery, fetch(number)?),
        };
        Ok(Entry { seq, content })
    });
    Ok(Page { entries: entries.collect::<Result<_, StoreError>>()?, more })
}

/// See [`Store::session`](crate::Store::session). `sizes` gives what only the engine knows: acknowledged position, last
/// number, entries and bytes.
pub(crate) fn session(
    map: &dyn Map,
    session: SessionId,
    sizes: &dyn Fn(SessionId) -> Option<Sizes>,
) -> Result<Option<StoredSession>, StoreError> {
    let prefix = keys::session(session);
    let mut found = None;
    sessions(map, &prefix, &keys::behind(&prefix), sizes, &mut |stored| {
        found = Some(stored);
        false
    })?;
    Ok(found)
}

/// Of a queue: acknowledged position, last number, entries, bytes.
pub(crate) type Sizes = (Seq, Seq, u32, u64);

/// Sessions in a range of keys.
pub(crate) fn sessions(
    map: &dyn Map,
    from: &[u8],
    to: &[u8],
    sizes: &dyn Fn(SessionId) -> Option<Sizes>,
    each: &mut dyn FnMut(StoredSession) -> bool,
) -> Result<(), StoreError> {
    let mut reading: Option<StoredSession> = None;
    let mut wants_more = true;
    map.range(from, to, &mut |key, value| {
        let damaged = || map.damaged(key);
        let (number, rest) = keys::number(key).ok_or_else(damaged)?;
        if rest == [part::RECORD] {
            if let Some(read) = reading.take() {
                wants_more = each(read);
            }
            let record = Record::read(value).ok_or_else(damaged)?;
            reading = begin(SessionId(number), record, sizes);
            return Ok(wants_more);
        }
        // Otherwise it is what an ended session has left.
        if let Some(read) = reading.as_mut().filter(|read| read.session.0 == number) {
            add(read, rest, value).ok_or_else(damaged)?;
        }
        Ok(true)
    })?;
    if let Some(read) = reading.filter(|_| wants_more) {
        each(read);
    }
    Ok(())
}

/// `None`: it ended meanwhile.
fn begin(session: SessionId, record: Record, sizes: &dyn Fn(SessionId) -> Option<Sizes>) -> Option<StoredSession> {
    let (acked, last, messages, bytes) = sizes(session)?;
    Some(StoredSession {
        session,
        record,
        acked,
        last,
        messages,
        bytes,
        subscriptions: Vec::new(),
        incoming: Vec::new(),
    })
}

fn add(read: &mut StoredSession, rest: &[u8], value: &[u8]) -> Option<()> {
    let (part, rest) = rest.split_first()?;
    let packet_id = || rest.try_into().ok().map(u16::from_be_bytes);
    match *part {
        part::POSITION => {}
        part::SUBSCRIPTION => read.subscriptions.push(Subscription::read(value)?),
        part::INCOMING => read.incoming.push(packet_id()?),
        _ => return None,
    }
    Some(())
}

/// See [`Store::scan_retained`](crate::Store::scan_retained).
pub(crate) fn retained(map: &dyn Map, each: &mut dyn FnMut(&str, Retained) -> bool) -> Result<(), StoreError> {
    map.range(b"r", b"s", &mut |key, value| {
        let (tenant, retained) = Retained::read(value).ok_or_else(|| map.damaged(key))?;
        Ok(each(&tenant, retained))
    })
}

/// See [`Store::scan_denials`](crate::Store::scan_denials).
pub(crate) fn denials(map: &dyn Map, each: &mut dyn FnMut(Denial) -> bool) -> Result<(), StoreError> {
    map.range(b"d", b"e", &mut |key, value| Ok(each(denial::read(value).ok_or_else(|| map.damaged(key))?)))
}

/// See [`Store::scan_values`](crate::Store::scan_values).
pub(crate) fn values(map: &dyn Map, each: &mut dyn FnMut(&str, &str, KeptValue) -> bool) -> Result<(), StoreError> {
    map.range(b"v", b"w", &mut |key, value| {
        let (owner, name, value) = KeptValue::read(value).ok_or_else(|| map.damaged(key))?;
        Ok(each(owner, name, value))
    })
}

impl Engine {
    /// Of a queue.
    pub(crate) fn sizes(&self, session: SessionId) -> Option<Sizes> {
        let state = self.sessions.get(&session)?;
        Some((Seq(state.acked), Seq(state.last), state.messages, state.bytes))
    }
}
