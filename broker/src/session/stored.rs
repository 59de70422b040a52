//! A session that is in the store: what it got becomes bytes only when the store has it, so that nothing is acknowledged or
//! sent twice after a restart that the client has seen before.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use gatemq_types::QoS;
use parking_lot::Mutex;

use super::queue::{Queue, Queued};
use super::{Home, Message, Output, Session, Spare, qos_of};
use crate::changes::{Appended, Change, Places, Record, SessionNumber};
use crate::sessions::Restored;
use crate::shared::Group;
use crate::tree::Place;

/// What a session knows of itself in the store. One that is not there (number 0) has this while it awaits the store.
#[derive(Default)]
pub(super) struct Stored {
    pub(super) number: SessionNumber,
    /// Number of the last message that it got at QoS 1 or 2.
    pub(super) last_seq: u64,
    /// Those that the store does not have yet, and where it may have them instead.
    under_way: BTreeMap<u64, Places>,
}

impl Stored {
    /// Of a session with that number; absent where that is 0.
    pub(super) fn numbered(number: SessionNumber) -> Option<Box<Self>> {
        (number != 0).then(|| Box::new(Stored { number, ..Stored::default() }))
    }

    /// Where the store has a message, or may have it.
    pub(super) fn places(&mut self, seq: u64) -> Places {
        let mut places = self.under_way.remove(&seq).unwrap_or_default();
        if self.number != 0 && seq != 0 {
            places.push((self.number, seq));
        }
        places
    }

    /// Whether the store has a message; one without number need not be there.
    pub(super) fn has(&self, seq: u64) -> bool {
        seq == 0 || !self.under_way.contains_key(&seq)
    }
}

impl Output {
    /// Numbers a message that is to wait, and has it stored. False: no packet identifier is left for it.
    /// `places`: where it comes from.
    pub(super) fn append_stored(
        &mut self,
        session: &Arc<Session>,
        queued: &mut Queued,
        places: &Places,
        spare: &mut Spare,
    ) -> bool {
        let qos = qos_of(queued.first);
        let is_stored = |stored: &&mut Box<Stored>| stored.number != 0 && qos != QoS::AtMostOnce;
        let Some(stored) = self.stored.as_mut().filter(is_stored) else { return true };
        if qos == QoS::ExactlyOnce {
            // It keeps its identifier over restarts: the client knows it by that.
            match self.flights.get_or_insert_default().reserve() {
                Some(packet_id) => queued.packet_id = packet_id,
                None => return false,
            }
        }
        stored.last_seq += 1;
        queued.seq = stored.last_seq;
        stored.under_way.insert(queued.seq, places.clone());
        let Queued { first, identifier, packet_id, seq, ref message, ref group } = *queued;
        spare.changes.rely_on(|| {
            let packet_id = (packet_id != 0).then_some(packet_id);
            let (session, message) = (session.clone(), message.clone());
            let group = group.as_ref().map_or(0, |group| group.number());
            Change::Appended(Appended { session, seq, first, packet_id, identifier, group, message })
        });
        true
    }

    /// Numbers a message of a session that is not in the store, which becomes bytes when what has changed is stored.
    pub(super) fn await_store(
        &mut self,
        session: &Arc<Session>,
        queued: &mut Queued,
        places: &Places,
        spare: &mut Spare,
    ) {
        let stored = self.stored.get_or_insert_default();
        stored.last_seq += 1;
        queued.seq = stored.last_seq;
        stored.under_way.insert(queued.seq, places.clone());
        spare.changes.rely_on(|| Change::Awaited(session.clone(), stored.last_seq));
    }

    /// A message is done with. One without number was never stored.
    pub(super) fn done(&mut self, seq: u64, packet_id: u16, spare: &mut Spare) {
        if let Some(stored) = &mut self.stored
            && seq != 0
        {
            stored.under_way.remove(&seq);
            let session = stored.number;
            if session != 0 {
                let packet_id = (packet_id != 0).then_some(packet_id);
                spare.changes.note(|| Change::Done { session, seq, packet_id });
            }
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
    /// Packet identifier of a QoS 2 message; 0: none.
    pub packet_id: u16,
    /// The message; shared where the store had shared it.
    pub message: Arc<Message>,
}

impl Session {
    /// A session that the store gives back; its client is away. Its subscriptions come after it.
    pub(crate) fn restored(restored: Restored) -> Arc<Session> {
        let Restored { number, key, protocol, expiry_s, limits, last_seq, messages, released, received, .. } = restored;
        let stored = Some(Box::new(Stored { number, last_seq, under_way: BTreeMap::new() }));
        let mut output = Output { open: true, expiry_s, limits, stored, ..Output::default() };
        if !released.is_empty() || !received.is_empty() || messages.iter().any(|message| message.packet_id != 0) {
            let flights = output.flights.get_or_insert_default();
            for (packet_id, seq, order) in released.into_iter().filter(|(packet_id, ..)| *packet_id != 0) {
                flights.restore_released(packet_id, seq, order);
            }
            for message in messages.iter().filter(|message| message.packet_id != 0) {
                flights.restore_reserved(message.packet_id);
            }
            received.into_iter().for_each(|packet_id| flights.restore_received(packet_id));
        }
        if !messages.is_empty() {
            let mut queue = Box::new(Queue::new(&key.tenant().usage));
            // Nobody knows which of them were sent; later ones were not. Those that may have been are sent again (MQTT-3.3.1-1).
            let sent_max = usize::from(limits.inflight_max);
            for (n, restored) in messages.into_iter().enumerate() {
                let RestoredMessage { seq, first, identifier, packet_id, message } = restored;
                let first = if n < sent_max { first | 0b1000 } else { first };
                queue.push_anyway(Queued { first, identifier, message, group: None, seq, packet_id });
            }
            output.queue = Some(queue);
        }
        let (level, armed) = (AtomicU8::new(protocol.level()), AtomicBool::new(false));
        Arc::new(Session { key, number, level, armed, output: Mutex::new(output) })
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

    /// What the store is to know of it now; `None`: nothing. `away_since_ms` is 0 while its client is there.
    pub(crate) fn record(&self, away_since_ms: u64) -> Option<Change> {
        (self.number() != 0).then(|| {
            Change::Session(Record {
                session: self.number(),
                key: self.key().clone(),
                level: self.protocol().level(),
                expiry_s: self.expiry_s(),
                away_since_ms,
            })
        })
    }

    /// The store has these messages: they may become bytes. Returns the connection that now has something to write.
    pub fn stored(&self, seqs: impl Iterator<Item = u64>, now_ms: u64, spare: &mut Spare) -> Option<Home> {
        let mut output = self.output.lock();
        let stored = output.stored.as_mut()?;
        for seq in seqs {
            stored.under_way.remove(&seq);
        }
        let home = output.home?;
        output.refill(self.is_five(), now_ms, spare);
        // Whoever takes comes for what waits in its shared subscriptions too.
        let has_more = !output.bytes.is_empty() || output.has_room_to_share();
        if !has_more || self.armed.swap(true, Ordering::AcqRel) {
            return None;
        }
        Some(home)
    }
}
