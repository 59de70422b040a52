//! What waits, and how it becomes bytes.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};

use gatemq_types::{Protocol, QoS};

use super::deliver::qos_of;
use super::flights::Flights;
use super::{Attached, Message, Output, Spare};
use crate::retained::Sent;

/// One message that waits, with the first byte that its PUBLISH gets.
pub(super) enum Waiting {
    Message(u8, Arc<Message>),
    /// A retained message. The tenant keeps it; what replaced it since came as a message of its own.
    Retained(u8, Weak<Message>),
    /// Sent on an earlier connection with this packet identifier, and kept with what is in flight.
    Again(u16),
}

/// In order, and counted.
#[derive(Default)]
pub(super) struct Queue {
    waiting: VecDeque<Waiting>,
    /// Of [`Waiting::Message`].
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) retained: usize,
}

impl Queue {
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn count(&mut self, waiting: &Waiting, came: bool) {
        let change = |n: &mut usize, by: usize| *n = if came { *n + by } else { *n - by };
        match waiting {
            Waiting::Message(_, message) => {
                change(&mut self.messages, 1);
                change(&mut self.bytes, message.len());
            }
            Waiting::Retained(..) => change(&mut self.retained, 1),
            Waiting::Again(_) => {}
        }
    }

    pub(super) fn push(&mut self, waiting: Waiting) {
        self.count(&waiting, true);
        self.waiting.push_back(waiting);
    }

    fn push_front(&mut self, waiting: Waiting) {
        self.count(&waiting, true);
        self.waiting.push_front(waiting);
    }

    fn pop(&mut self) -> Option<Waiting> {
        let waiting = self.waiting.pop_front()?;
        self.count(&waiting, false);
        Some(waiting)
    }

    /// What is to be sent again goes before everything else; the rest stays as far as it is `kept`.
    pub(super) fn restart(&mut self, again: Vec<u16>, kept: &mut dyn FnMut(u8, Option<&Message>) -> bool) {
        let before = std::mem::take(self);
        self.waiting.extend(again.into_iter().map(Waiting::Again));
        for waiting in before.waiting {
            let keep = match &waiting {
                Waiting::Message(first, message) => kept(*first, Some(message)),
                Waiting::Retained(first, message) => kept(*first, message.upgrade().as_deref()),
                Waiting::Again(_) => false,
            };
            if keep {
                self.push(waiting);
            }
        }
    }
}

impl Output {
    /// What waits becomes bytes while window and bound allow, unless it is held.
    #[cold]
    pub(super) fn refill(&mut self, five: bool, now_ms: u64, spare: &mut Spare) {
        if self.held {
            return;
        }
        let Some(mut queue) = self.queue.take() else { return };
        while let Some(waiting) = queue.pop() {
            let Some((first, message)) = resolve(&waiting, self.flights.as_deref()) else { continue };
            let again = match waiting {
                Waiting::Again(packet_id) => Some(packet_id),
                _ => None,
            };
            let bytes = message.packet_bytes(five, first);
            let expired = again.is_none() && now_ms >= message.expires_ms();
            if expired || !message.fits(bytes, self.limits.packet_bytes_max) {
                self.dropped += 1;
                // As if it had been sent and acknowledged (MQTT-3.1.2-25).
                if let (Some(packet_id), Some(flights)) = (again, &mut self.flights) {
                    flights.end(packet_id);
                }
                continue;
            }
            if !self.may_append(bytes, first) {
                queue.push_front(waiting);
                break;
            }
            self.append_message(first, message, again, five, now_ms, spare);
        }
        if !queue.is_empty() {
            self.queue = Some(queue);
        }
    }

    fn append_message(
        &mut self,
        first: u8,
        message: Arc<Message>,
        again: Option<u16>,
        five: bool,
        now_ms: u64,
        spare: &mut Spare,
    ) {
        if self.bytes.capacity() == 0 {
            self.bytes = spare.get();
        }
        let packet_id_at = message.write(&mut self.bytes, five, first, now_ms);
        let packet_id = match again {
            Some(packet_id) => {
                if let Some(flights) = &mut self.flights {
                    flights.sent_again(packet_id);
                }
                packet_id
            }
            None if qos_of(first) == QoS::AtMostOnce => return,
            None => self.send(first, || message),
        };
        if let Some(place) = self.bytes.get_mut(packet_id_at..packet_id_at + 2) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
    }
}

fn resolve(waiting: &Waiting, flights: Option<&Flights>) -> Option<(u8, Arc<Message>)> {
    match waiting {
        Waiting::Message(first, message) => Some((*first, message.clone())),
        Waiting::Retained(first, message) => message.upgrade().map(|message| (*first, message)),
        Waiting::Again(packet_id) => flights?.waiting(*packet_id),
    }
}

impl Attached {
    /// Retained messages for a new subscription, behind what waits. At most `retained_max` of them wait at a time; what
    /// exceeds that is dropped and counted. Returns how many were.
    pub(crate) fn deliver_retained(
        &self,
        sent: Vec<Sent>,
        retained_max: usize,
        now_ms: u64,
        spare: &mut Spare,
    ) -> usize {
        let Some(mut output) = self.own() else { return sent.len() };
        let queue = output.queue.get_or_insert_default();
        let fits = sent.len().min(retained_max.saturating_sub(queue.retained));
        let dropped = sent.len() - fits;
        queue.waiting.reserve(fits);
        for (first, message) in sent.into_iter().take(fits) {
            queue.push(Waiting::Retained(first, message));
        }
        output.dropped += dropped as u64;
        output.refill(self.protocol() == Protocol::V5, now_ms, spare);
        self.session().armed.store(!output.bytes.is_empty(), Ordering::Release);
        dropped
    }
}
