//! A session that is in the store: what it got becomes bytes only when the store has it, so that nothing is acknowledged or
//! sent twice after a restart that the client has seen before.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use parking_lot::Mutex;

use super::flights::{NUMBERS, packet_id};
use super::moving::Arriving;
use super::queue::{Queue, Queued};
use super::{Attached, Home, Message, Output, Session, Spare};
use crate::Past;
use crate::changes::{Appended, Change, Places, Record, SessionNumber};
use crate::sessions::Restored;
use crate::shared::Group;
use crate::tree::Place;

/// What a session knows of itself in the store. One that is not there (number 0) has this while it awaits the store.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) number: SessionNumber,
    /// Version of its record.
    version: u64,
    /// Since when its client is away, in milliseconds since 1970; 0: it is there.
    pub(super) away_since_ms: u64,
    /// The worker whose changes of it may not be stored yet.
    pub(super) worker: Option<u32>,
    /// Number of the last message that it got at QoS 1 or 2.
    pub(super) last_seq: u64,
    /// The highest of them that was sent.
    pub(super) sent_seq: u64,
    /// Those that the store does not have yet, with where it may have them instead, and QoS 2 messages of whose end it does
    /// not know yet.
    under_way: BTreeMap<u64, Places>,
    /// Packet identifiers of the client's QoS 2 messages of which is not known yet whether other nodes take them.
    forwarding: Vec<u16>,
    /// Where it was in a cluster.
    pub(super) past: Past,
    /// While it moves in from another node.
    pub(super) arriving: Option<Box<Arriving>>,
}

impl Stored {
    /// Of a session with that number; absent where that is 0.
    pub(super) fn numbered(number: SessionNumber, worker: u32) -> Option<Box<Self>> {
        (number != 0).then(|| Box::new(Stored { number, worker: Some(worker), ..Stored::default() }))
    }

    /// Of a session that is there.
    pub(super) fn there(stored: &mut Option<Box<Self>>) -> Option<&mut Self> {
        stored.as_deref_mut().filter(|stored| stored.number != 0)
    }

    /// The number of the next message.
    pub(super) fn next_seq(&mut self) -> u64 {
        self.last_seq += 1;
        self.last_seq
    }

    /// Where the store has a message, or may have it. The session has ended.
    pub(super) fn places(&mut self, seq: u64) -> Places {
        let mut places = self.under_way.remove(&seq).unwrap_or_default();
        if self.number != 0 && seq != 0 {
            places.push((self.number, seq));
        }
        places
    }

    /// Has a message stored; before that it may not leave. `places`: where the store may have it until then.
    pub(super) fn append(&mut self, session: &Arc<Session>, queued: &Queued, places: Places, spare: &mut Spare) {
        let Queued { first, identifier, seq, ref message, ref group } = *queued;
        self.under_way.insert(seq, places);
        spare.changes.rely_on(|| {
            let (session, message) = (session.clone(), message.clone());
            let group = group.as_ref().map_or(0, |group| group.number());
            Change::Appended(Appended { session, seq, first, identifier, group, message })
        });
    }

    /// A message of a session that is not in the store may not leave before the store knows that it is in these places no
    /// more.
    pub(super) fn await_moved(&mut self, session: &Arc<Session>, seq: u64, places: Places, spare: &mut Spare) {
        self.under_way.insert(seq, places);
        spare.changes.rely_on(|| Change::Awaited(session.clone(), seq));
    }
}

impl Output {
    /// Whether a message may be sent as far as the store is concerned: it has it, and knows that whatever had the same packet
    /// identifier before is done with. A crash would else leave two with the same, and nobody knew which the client has.
    pub(super) fn may_leave(&self, seq: u64) -> bool {
        let Some(stored) = self.stored.as_ref().filter(|_| seq != 0) else { return true };
        let before = seq.saturating_sub(NUMBERS);
        !stored.under_way.contains_key(&seq)
            && !stored.under_way.contains_key(&before)
            && self.flights.as_ref().is_none_or(|flights| !flights.has(packet_id(seq)))
    }

    /// A message is done with. One without number was never stored. `exactly_once`: the client has released it.
    pub(super) fn done(&mut self, session: &Arc<Session>, seq: u64, exactly_once: bool, spare: &mut Spare) {
        let Some(stored) = Stored::there(&mut self.stored).filter(|_| seq != 0) else { return };
        match exactly_once {
            true => stored.under_way.insert(seq, Places::new()),
            false => stored.under_way.remove(&seq),
        };
        let number = stored.number;
        spare.changes.note(|| Change::Done { session: number, seq, tell: exactly_once.then(|| session.clone()) });
    }

    /// Whether it is not known yet whether other nodes take a QoS 2 message of the client.
    pub(super) fn is_forwarding(&self, packet_id: u16) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.forwarding.contains(&packet_id))
    }

    /// A message is not sent any more, but its PUBREL.
    pub(super) fn released(&mut self, seq: u64, order: u64, spare: &mut Spare) {
        if let Some(stored) = Stored::there(&mut self.stored).filter(|_| seq != 0) {
            let session = stored.number;
            spare.changes.note(|| Change::Released { session, seq, order });
        }
    }
}

/// A message that the store gives back.
#[derive(Debug)]
pub struct RestoredMessage {
    /// Its number.
    pub seq: u64,
    /// First byte of its PUBLISH: QoS and RETAIN.
    pub first: u8,
    /// Subscription Identifier; 0 is none.
    pub identifier: u32,
    /// An earlier run of the node may have sent it.
    pub may_be_sent: bool,
    /// The message; shared where the store had shared it.
    pub message: Arc<Message>,
}

impl Session {
    /// A session that the store gives back; its client is away. Its subscriptions come after it.
    pub(crate) fn restored(restored: Restored) -> Arc<Session> {
        let Restored { number, key, protocol, expiry_s, away_since_ms, limits, version, last_seq, will, .. } = restored;
        let Restored { messages, released, received, past, .. } = restored;
        let sent_seq = messages.iter().filter(|message| message.may_be_sent).map(|message| message.seq).max();
        let sent_seq = sent_seq.unwrap_or(0);
        let stored = Stored { number, version, away_since_ms, last_seq, sent_seq, past, ..Stored::default() };
        let (stored, will) = (Some(Box::new(stored)), will.map(Box::new));
        let mut output = Output { open: true, expiry_s, limits, stored, will, ..Output::default() };
        if !messages.is_empty() || !released.is_empty() || !received.is_empty() {
            let flights = output.flights.get_or_insert_default();
            released.into_iter().for_each(|(seq, order)| flights.restore_released(seq, order));
            received.into_iter().for_each(|packet_id| flights.restore_received(packet_id));
        }
        if !messages.is_empty() {
            let mut queue = Box::new(Queue::new(&key.tenant().usage));
            for RestoredMessage { seq, first, identifier, may_be_sent, message } in messages {
                // Without DUP it would be the first attempt for sure (3.3.1.1).
                let first = if may_be_sent { first | 0b1000 } else { first };
                queue.push_anyway(Queued { seq, ..Queued::new(first, identifier, message, None) });
            }
            output.queue = Some(queue);
        }
        let (level, armed) = (AtomicU8::new(protocol.level()), AtomicBool::new(false));
        let withdrawn = AtomicBool::new(false);
        Arc::new(Session { key, number, level, armed, withdrawn, output: Mutex::new(output) })
    }

    /// What it got with these numbers came by a shared subscription; see [`Queue::restore_group`].
    pub(crate) fn restore_group(&self, seqs: &HashSet<u64>, group: &Arc<Group>) {
        if let Some(queue) = &mut self.output.lock().queue {
            queue.restore_group(seqs, group);
        }
    }

    pub(crate) fn restore_subscription(&self, place: Place) {
        self.output.lock().subscriptions.insert(place);
    }

    /// These QoS 2 messages of its client go to other nodes, which are to take them before they are acknowledged.
    pub fn forwards(&self, packet_ids: &[u16]) {
        if let Some(stored) = Stored::there(&mut self.output.lock().stored) {
            stored.forwarding.extend(packet_ids);
        }
    }

    /// They have them, or not all of them can take them, and then it is as if they had not come.
    pub fn forwarded(&self, packet_ids: &[u16], taken: bool) {
        let mut output = self.output.lock();
        if let Some(stored) = Stored::there(&mut output.stored) {
            stored.forwarding.retain(|packet_id| !packet_ids.contains(packet_id));
            if stored.forwarding.is_empty() {
                stored.forwarding = Vec::new();
            }
        }
        if let Some(flights) = output.flights.as_mut().filter(|_| !taken) {
            for packet_id in packet_ids {
                flights.release(*packet_id);
            }
        }
    }

    /// Whether other nodes have not answered yet for a QoS 2 message of its client.
    pub fn is_forwarded(&self) -> bool {
        self.output.lock().stored.as_ref().is_some_and(|stored| !stored.forwarding.is_empty())
    }

    /// What the store is to know of it now; `None`: nothing.
    pub(crate) fn record(&self) -> Option<Change> {
        let mut output = self.output.lock();
        let output = &mut *output;
        let stored = Stored::there(&mut output.stored)?;
        stored.version += 1;
        Some(Change::Session(Record {
            session: stored.number,
            key: self.key().clone(),
            version: stored.version - 1,
            level: self.protocol().level(),
            expiry_s: output.expiry_s,
            away_since_ms: stored.away_since_ms,
            sent_seq: stored.sent_seq,
            past: stored.past.clone(),
            will: output.will.as_ref().map(|will| will.left()),
        }))
    }

    /// The store has these messages, or knows of their end: they may become bytes. Returns the connection that now has
    /// something to write.
    pub fn stored(self: &Arc<Self>, seqs: impl Iterator<Item = u64>, now_ms: u64, spare: &mut Spare) -> Option<Home> {
        let mut output = self.output.lock();
        let stored = output.stored.as_mut()?;
        for seq in seqs {
            stored.under_way.remove(&seq);
        }
        let home = output.home?;
        output.refill(self, self.is_five(), now_ms, spare);
        // Whoever takes comes for what waits in its shared subscriptions too.
        let has_more = !output.bytes.is_empty() || output.has_room_to_share();
        if !has_more || self.armed.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(home)
    }
}

impl Attached {
    /// The worker that had the session before and may not have stored all its changes, where it is another one: nothing of the
    /// session is to change before that has, and then [`Self::arrived`] is to be said.
    pub fn worker_before(&self) -> Option<u32> {
        let output = self.own()?;
        let (home, stored) = (output.home?, output.stored.as_ref()?);
        stored.worker.filter(|worker| *worker != home.worker)
    }

    /// From now on its changes are made by this connection's worker.
    pub fn arrived(&self) {
        if let Some(mut output) = self.own()
            && let Some(home) = output.home
            && let Some(stored) = &mut output.stored
        {
            stored.worker = Some(home.worker);
        }
    }
}
