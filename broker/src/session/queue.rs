//! What waits, and how it becomes bytes.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use gatemq_mqtt::{kind, write};
use gatemq_types::{Protocol, QoS};

use super::deliver::{Appended, qos_of};
use super::flights::{Flights, Kept, packet_id};
use super::own::Own;
use super::stored::Stored;
use super::{Attached, Message, Output, Session, Spare};
use crate::changes::Places;
use crate::retained::Sent;
use crate::shared::Group;
use crate::tenant::{QueueBytes, Usage};

/// One message that waits, with the first byte that its PUBLISH gets and its Subscription Identifier (0: none).
pub(super) enum Waiting {
    Message(Queued),
    /// A retained message. The tenant keeps it; what replaced it since came as a message of its own. The last is the number
    /// that it is to have in the store, where it comes when its turn is near; 0: it is not to be there.
    Retained(u8, u32, Weak<Message>, u64),
    /// Sent on an earlier connection with this packet identifier, and kept with what is in flight.
    Again(u16),
}

/// A message that waits.
pub(super) struct Queued {
    pub(super) first: u8,
    pub(super) identifier: u32,
    pub(super) message: Arc<Message>,
    /// The shared subscription by which it came.
    pub(super) group: Option<Arc<Group>>,
    /// Its number in the store; 0: it is not there.
    pub(super) seq: u64,
}

impl Queued {
    /// One that is not in the store.
    pub(super) fn new(first: u8, identifier: u32, message: Arc<Message>, group: Option<&Arc<Group>>) -> Self {
        Queued { first, identifier, message, group: group.cloned(), seq: 0 }
    }
}

impl From<Queued> for Kept {
    fn from(queued: Queued) -> Self {
        let Queued { first, identifier, message, group, seq } = queued;
        Kept { first, identifier, message, group, seq }
    }
}

/// In order, and counted.
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Of [`Waiting::Message`].
    pub(super) messages: usize,
    pub(super) bytes: QueueBytes,
    pub(super) retained: usize,
}

impl Queue {
    /// Empty, of a session of that tenant.
    pub(super) fn new(usage: &Arc<Usage>) -> Self {
        Queue { waiting: VecDeque::new(), messages: 0, bytes: QueueBytes::new(usage), retained: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// All that waits, the newest first.
    pub(super) fn newest(&self) -> impl Iterator<Item = &Waiting> {
        self.waiting.iter().rev()
    }

    /// A message whose bytes are counted already.
    pub(super) fn push_counted(&mut self, queued: Queued) {
        self.messages += 1;
        self.waiting.push_back(Waiting::Message(queued));
    }

    /// One that is let in whatever the bounds: it comes back from the store, or is about to be sent.
    pub(super) fn push_anyway(&mut self, queued: Queued) {
        self.bytes.take_anyway(queued.message.len());
        self.push_counted(queued);
    }

    /// What came back from the store with these numbers came by a shared subscription.
    pub(super) fn restore_group(&mut self, seqs: &HashSet<u64>, group: &Arc<Group>) {
        for waiting in &mut self.waiting {
            // What was perhaps sent at QoS 2 goes to nobody else (MQTT-4.8.2-4).
            if let Waiting::Message(queued) = waiting
                && (qos_of(queued.first) == QoS::AtLeastOnce || queued.first & 0b1000 == 0)
                && seqs.contains(&queued.seq)
            {
                queued.group = Some(group.clone());
            }
        }
    }

    /// What came by shared subscriptions and was not sent, in order.
    pub(super) fn into_shared(self) -> impl Iterator<Item = Kept> {
        self.waiting.into_iter().filter_map(|waiting| match waiting {
            Waiting::Message(queued) if queued.group.is_some() => Some(queued.into()),
            _ => None,
        })
    }

    fn push_retained(&mut self, first: u8, identifier: u32, message: Weak<Message>, seq: u64) {
        self.retained += 1;
        self.waiting.push_back(Waiting::Retained(first, identifier, message, seq));
    }

    /// Retained messages among the first `count` that are to be in the store: `append` brings them there.
    fn store_retained(&mut self, count: usize, mut append: impl FnMut(&Queued)) {
        for waiting in self.waiting.iter_mut().take(count) {
            let Waiting::Retained(first, identifier, message, seq @ 1..) = waiting else { continue };
            let Some(message) = message.upgrade() else { continue };
            let queued = Queued { seq: *seq, ..Queued::new(*first, *identifier, message, None) };
            append(&queued);
            self.bytes.take_anyway(queued.message.len());
            (self.messages, self.retained) = (self.messages + 1, self.retained - 1);
            *waiting = Waiting::Message(queued);
        }
    }

    /// What was popped waits on.
    fn push_front(&mut self, waiting: Waiting) {
        match &waiting {
            Waiting::Message(queued) => {
                self.messages += 1;
                self.bytes.take_anyway(queued.message.len());
            }
            Waiting::Retained(..) => self.retained += 1,
            Waiting::Again(_) => {}
        }
        self.waiting.push_front(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.uncount(&waiting);
        Some(waiting)
    }

    fn uncount(&mut self, waiting: &Waiting) {
        match waiting {
            Waiting::Message(queued) => {
                self.messages -= 1;
                self.bytes.give(queued.message.len());
            }
            Waiting::Retained(..) => self.retained -= 1,
            Waiting::Again(_) => {}
        }
    }

    /// What is to be sent again goes before everything else; the rest stays as far as it is `kept`. Returns what does not:
    /// number in the store, and first byte.
    pub(super) fn restart(
        &mut self,
        again: Vec<u16>,
        kept: &mut dyn FnMut(u8, Option<&Message>) -> bool,
    ) -> Vec<(u64, u8)> {
        let dropped = self.sift(&mut |waiting| match waiting {
            Waiting::Message(queued) => kept(queued.first, Some(&queued.message)),
            Waiting::Retained(first, _, message, _) => kept(*first, message.upgrade().as_deref()),
            Waiting::Again(_) => false,
        });
        let rest = std::mem::take(&mut self.waiting);
        self.waiting = again.into_iter().map(Waiting::Again).chain(rest).collect();
        dropped
    }

    /// What has a topic that is not `wanted` goes, but for what was sent before: number in the store, and first byte.
    pub(super) fn drop_unwanted(&mut self, wanted: &mut dyn FnMut(&str) -> bool) -> Vec<(u64, u8)> {
        self.sift(&mut |waiting| match waiting {
            Waiting::Message(queued) => wanted(queued.message.topic()),
            Waiting::Retained(_, _, message, _) => message.upgrade().is_none_or(|message| wanted(message.topic())),
            Waiting::Again(_) => true,
        })
    }

    fn sift(&mut self, kept: &mut dyn FnMut(&Waiting) -> bool) -> Vec<(u64, u8)> {
        let mut dropped = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            if kept(&waiting) {
                self.waiting.push_back(waiting);
                continue;
            }
            self.uncount(&waiting);
            if let Waiting::Message(Queued { seq, first, .. }) | Waiting::Retained(first, .., seq) = waiting {
                dropped.push((seq, first));
            }
        }
        dropped
    }
}

impl Output {
    /// What waits becomes bytes while window and bound allow, unless it is held.
    #[cold]
    pub(super) fn refill(&mut self, session: &Arc<Session>, five: bool, now_ms: u64, spare: &mut Spare) {
        if self.held {
            return;
        }
        let Some(mut queue) = self.queue.take() else { return };
        while let Some(waiting) = queue.pop() {
            // Held, so that it cannot go in between.
            let unstored = match &waiting {
                Waiting::Retained(.., message, 1..) => message.upgrade(),
                _ => None,
            };
            if unstored.is_some() || matches!(&waiting, Waiting::Message(queued) if !self.may_leave(queued.seq)) {
                queue.push_front(waiting);
                if let Some(stored) = self.stored.as_mut().filter(|_| queue.retained > 0) {
                    let count = self.limits.inflight_max.into();
                    queue.store_retained(count, |queued| stored.append(session, queued, Places::new(), spare));
                }
                break;
            }
            let Some(mut message) = resolve(&waiting, self.flights.as_deref_mut()) else {
                if let Waiting::Retained(.., seq) = waiting {
                    self.done(session, seq, false, spare);
                }
                continue;
            };
            if session.number() == 0 {
                // It was numbered to await the store, and has no packet identifier by that.
                message.seq = 0;
            }
            let again = match waiting {
                Waiting::Again(packet_id) => Some(packet_id),
                _ => None,
            };
            let expired = again.is_none() && now_ms >= message.message.expires_ms();
            let (seq, first) = (message.seq, message.first);
            let appended = match expired {
                true => Appended::TooLarge, // It is dropped as well.
                false => self.append_message(message, again, five, now_ms, spare),
            };
            match appended {
                Appended::Yes | Appended::Waits => {}
                Appended::NotNow => {
                    queue.push_front(waiting);
                    break;
                }
                Appended::TooLarge => {
                    self.count_dropped();
                    match again {
                        Some(packet_id) => self.not_sent_again(session, packet_id, first, spare),
                        None => self.not_sent(session, seq, first, spare),
                    }
                }
            }
        }
        if !queue.is_empty() {
            self.queue = Some(queue);
        }
    }

    /// A message that waited is not sent, as if it had been and were acknowledged (MQTT-3.1.2-25). If an earlier run of the
    /// node may have sent it, it is released instead, for its receiver may have it (see [`Flights::restart`]).
    pub(super) fn not_sent(&mut self, session: &Arc<Session>, seq: u64, first: u8, spare: &mut Spare) {
        let may_have_it = seq != 0 && first & 0b1000 != 0 && qos_of(first) == QoS::ExactlyOnce;
        match &mut self.flights {
            Some(flights) if may_have_it => {
                let order = flights.release_unsent(seq);
                self.released(seq, order, spare);
                self.write_release(packet_id(seq), spare);
            }
            _ => self.done(session, seq, false, spare),
        }
    }

    /// The same of one that was sent on an earlier connection.
    fn not_sent_again(&mut self, session: &Arc<Session>, packet_id: u16, first: u8, spare: &mut Spare) {
        let Some(flights) = &mut self.flights else { return };
        if qos_of(first) == QoS::ExactlyOnce {
            let (seq, order) = flights.release_sent(packet_id);
            self.released(seq, order, spare);
            self.write_release(packet_id, spare);
        } else {
            let seq = flights.end(packet_id);
            self.done(session, seq, false, spare);
        }
    }

    /// PUBREL goes out.
    pub(super) fn write_release(&mut self, packet_id: u16, spare: &mut Spare) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.get();
        }
        write::ack(&mut self.bytes, kind::PUBREL, packet_id);
    }

    /// Whether MQTT has such a packet, and the client takes it.
    pub(super) fn fits(&self, five: bool, first: u8, identifier: u32, message: &Message) -> bool {
        let bytes_max = self.limits.packet_bytes_max;
        let size = |own: &Own| message.packet_bytes(five, first, own);
        let own = self.own(five, identifier, message.topic(), |own| Message::fits(size(own), bytes_max));
        Message::fits(size(&own), bytes_max)
    }

    /// A message that waited becomes bytes, if it may; `again` is the packet identifier that it has.
    pub(super) fn append_message(
        &mut self,
        kept: Kept,
        again: Option<u16>,
        five: bool,
        now_ms: u64,
        spare: &mut Spare,
    ) -> Appended {
        let (first, message) = (kept.first, &kept.message);
        let bytes_max = self.limits.packet_bytes_max;
        let size = |own: &Own| message.packet_bytes(five, first, own);
        let own = self.own(five, kept.identifier, message.topic(), |own| Message::fits(size(own), bytes_max));
        let bytes = size(&own);
        if !Message::fits(bytes, bytes_max) {
            return Appended::TooLarge;
        }
        if !self.may_append(bytes, first) {
            return Appended::NotNow;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare.get();
        }
        let packet_id_at = message.write(&mut self.bytes, five, first, now_ms, &own);
        self.keep_alias(&own, message.topic());
        if qos_of(first) == QoS::AtMostOnce {
            return Appended::Yes;
        }
        let flights = self.flights.get_or_insert_default();
        let packet_id = match again {
            Some(packet_id) => {
                flights.sent_again(packet_id);
                packet_id
            }
            None if kept.seq != 0 => {
                let packet_id = packet_id(kept.seq);
                flights.send_numbered(packet_id, qos_of(first));
                if let Some(stored) = &mut self.stored {
                    stored.sent_seq = stored.sent_seq.max(kept.seq);
                }
                packet_id
            }
            None => flights.send(qos_of(first)),
        };
        if again.is_none()
            && (kept.seq != 0 || self.expiry_s > 0 || kept.group.is_some() && qos_of(first) == QoS::AtLeastOnce)
        {
            flights.keep(packet_id, kept);
        }
        if let Some(place) = self.bytes.get_mut(packet_id_at..packet_id_at + 2) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
        Appended::Yes
    }
}

fn resolve(waiting: &Waiting, flights: Option<&mut Flights>) -> Option<Kept> {
    Some(match waiting {
        Waiting::Message(queued) => Kept {
            first: queued.first,
            identifier: queued.identifier,
            message: queued.message.clone(),
            group: queued.group.clone(),
            seq: queued.seq,
        },
        Waiting::Retained(first, identifier, message, seq) => {
            let (first, identifier, message, seq) = (*first, *identifier, message.upgrade()?, *seq);
            Kept { first, identifier, message, group: None, seq }
        }
        Waiting::Again(packet_id) => return flights?.waiting(*packet_id),
    })
}

impl Attached {
    /// Retained messages for a new subscription, behind what waits. At most `retained_max` of them wait at a time; what
    /// exceeds that is dropped and counted. Returns how many were.
    pub(crate) fn deliver_retained(
        &self,
        sent: Vec<Sent>,
        identifier: u32,
        retained_max: usize,
        now_ms: u64,
        spare: &mut Spare,
    ) -> usize {
        let Some(mut guard) = self.own() else { return sent.len() };
        let output = &mut *guard;
        let stored = &mut output.stored;
        let queue = output.queue.get_or_insert_with(|| Box::new(Queue::new(self.usage())));
        let fits = sent.len().min(retained_max.saturating_sub(queue.retained));
        let dropped = sent.len() - fits;
        queue.waiting.reserve(fits);
        for (first, message) in sent.into_iter().take(fits) {
            let stored = Stored::there(stored).filter(|_| qos_of(first) != QoS::AtMostOnce);
            queue.push_retained(first, identifier, message, stored.map_or(0, |stored| stored.next_seq()));
        }
        output.count_overflowed(dropped);
        output.refill(self.session(), self.protocol() == Protocol::V5, now_ms, spare);
        self.session().armed.store(!output.bytes.is_empty(), Ordering::Release);
        dropped
    }
}
