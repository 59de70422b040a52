//! QoS 1 and 2 in flight: a slab of what was sent, and the identifiers of what was received.
//!
//! What is in the store has a packet identifier that follows from its number there, so that it has the same one after a
//! restart and none has to be stored. Of a session that is not, the identifier is the place in the slab.

use std::collections::BTreeMap;
use std::sync::Arc;

use gatemq_mqtt::kind;
use gatemq_types::QoS;

use super::Message;
use super::deliver::qos_of;
use super::packet_ids::PacketIds;
use crate::shared::Group;

/// Bounded by the window of what may be sent and by the receive maximum.
#[derive(Default)]
pub(super) struct Flights {
    /// The kind of acknowledgement that each awaits, 0 none; of what is not in the store the packet identifier is the index
    /// + 1.
    sent: Vec<u8>,
    free: Vec<u16>,
    /// Of what is in the store: packet identifier, and index.
    numbered: BTreeMap<u16, u16>,
    /// How many of them were sent on this connection.
    in_flight: u32,
    /// By the same index, in sessions that outlive their connection.
    kept: Vec<Option<InFlight>>,
    next_order: u64,
    /// Identifiers of QoS 2 messages that were received and not yet released.
    received: PacketIds,
}

/// What is needed to send something again.
struct InFlight {
    packet_id: u16,
    /// What was sent earlier has a lower one (MQTT-4.6.0-1), and so has what was released earlier (MQTT-4.6.0-4).
    order: u64,
    /// Its number in the store; 0: it is not there.
    seq: u64,
    /// It was sent on an earlier connection, and not yet on this one.
    waits: bool,
    /// `None`: it is the PUBREL that was sent.
    sent: Option<Kept>,
}

/// A message that was sent.
#[derive(Clone)]
pub(super) struct Kept {
    /// First byte of its PUBLISH.
    pub(super) first: u8,
    /// Subscription Identifier; 0 is none.
    pub(super) identifier: u32,
    pub(super) message: Arc<Message>,
    /// The shared subscription by which it came.
    pub(super) group: Option<Arc<Group>>,
    /// Its number in the store; 0: it is not there.
    pub(super) seq: u64,
}

/// Numbers that lie so far apart have the same packet identifier.
pub(super) const NUMBERS: u64 = u16::MAX as u64;

/// The packet identifier of a message with this number in the store, which is not 0.
pub(super) fn packet_id(seq: u64) -> u16 {
    (seq.wrapping_sub(1) % NUMBERS) as u16 + 1
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    /// It ends the flight.
    Ended {
        /// Number of the message in the store, or 0.
        seq: u64,
        /// It had QoS 2.
        exactly_once: bool,
    },
    /// From now on PUBREL is what is sent again.
    Released {
        /// Number of the message in the store, or 0.
        seq: u64,
        /// What has a lower one is sent again earlier.
        order: u64,
    },
    /// It had been awaited before.
    Repeated,
    /// Its identifier is not in flight, or awaits another kind.
    Unknown,
}

/// What became of an incoming QoS 2 message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Received {
    /// To be handled.
    New,
    /// Its identifier is not released yet: to be acknowledged and not routed again (4.3.3).
    Repeated,
    /// So it is, and it is not known yet whether other nodes take it: not to be acknowledged now.
    UnderWay,
    /// More messages are unreleased than the receive maximum allows (0x93). Not of an MQTT 3 client, which was not told of
    /// one.
    TooMany,
    /// Another connection has the session: neither to be handled nor acknowledged, the client sends it there.
    TakenOver,
}

/// What a new connection begins with.
#[derive(Default)]
pub(super) struct Restarted {
    /// Packet identifiers of the PUBRELs that are sent.
    pub(super) releases: Vec<u16>,
    /// Packet identifiers of the messages that are sent again.
    pub(super) messages: Vec<u16>,
    /// Numbers in the store of what is not sent again.
    pub(super) ended: Vec<u64>,
    /// What is not sent again, but released, as its receiver may have it: number in the store, and order.
    pub(super) released: Vec<(u64, u64)>,
}

/// The kind of acknowledgement that a message awaits.
#[inline]
fn awaited_after(qos: QoS) -> u8 {
    if qos == QoS::ExactlyOnce { kind::PUBREC } else { kind::PUBACK }
}

impl Flights {
    /// Whether another message may be sent while at most `window` are in flight.
    #[inline]
    pub(super) fn has_room(&self, window: u16) -> bool {
        self.in_flight < u32::from(window)
    }

    /// How many are in flight.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight as usize
    }

    /// Takes a place for something that awaits this kind of acknowledgement.
    #[inline]
    fn take(&mut self, awaits: u8) -> u16 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.sent.push(0);
            (self.sent.len() - 1) as u16
        });
        self.in_flight += 1;
        self.sent[usize::from(at)] = awaits;
        at
    }

    /// Gives out a packet identifier to what is not in the store; there must be room, and nothing may wait to be sent again.
    #[inline]
    pub(super) fn send(&mut self, qos: QoS) -> u16 {
        self.take(awaited_after(qos)) + 1
    }

    /// Whether the packet identifier of something that is in the store is that of something in flight.
    pub(super) fn has(&self, packet_id: u16) -> bool {
        self.numbered.contains_key(&packet_id)
    }

    /// What is in the store is sent with its own packet identifier, which must not be in flight; there must be room.
    pub(super) fn send_numbered(&mut self, packet_id: u16, qos: QoS) {
        let at = self.take(awaited_after(qos));
        self.numbered.insert(packet_id, at);
    }

    /// Where something in flight is; beyond the end: nowhere.
    #[inline]
    fn at(&self, packet_id: u16) -> usize {
        if self.numbered.is_empty() {
            return usize::from(packet_id.wrapping_sub(1));
        }
        self.numbered.get(&packet_id).map_or(usize::MAX, |at| usize::from(*at))
    }

    fn kept(&mut self, packet_id: u16) -> Option<&mut InFlight> {
        let at = self.at(packet_id);
        self.kept.get_mut(at)?.as_mut()
    }

    /// Keeps what was sent with this identifier, so that it can be sent again.
    #[cold]
    pub(super) fn keep(&mut self, packet_id: u16, sent: Kept) {
        let order = self.order();
        self.put(InFlight { packet_id, order, seq: sent.seq, waits: false, sent: Some(sent) });
    }

    fn put(&mut self, in_flight: InFlight) {
        let at = self.at(in_flight.packet_id);
        if self.kept.len() <= at {
            self.kept.resize_with(at + 1, || None);
        }
        self.kept[at] = Some(in_flight);
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// The kind of acknowledgement that something in flight awaits; 0: nothing has that packet identifier.
    pub(super) fn awaits(&self, packet_id: u16) -> u8 {
        self.sent.get(self.at(packet_id)).copied().unwrap_or(0)
    }

    /// An acknowledgement of something sent. `failed`: the receiver refused, which ends the flight (MQTT-4.4.0-2).
    pub(super) fn settle(&mut self, kind: u8, packet_id: u16, failed: bool) -> Settled {
        let at = self.at(packet_id);
        let Some(awaited) = self.sent.get_mut(at) else { return Settled::Unknown };
        match (*awaited, kind) {
            (kind::PUBREC, kind::PUBREC) if !failed => {
                let (seq, order) = self.release_sent(packet_id);
                Settled::Released { seq, order }
            }
            // Sent again because our PUBREL was not seen.
            (kind::PUBCOMP, kind::PUBREC) if !failed => Settled::Repeated,
            (awaits, kind) if awaits == kind && awaits != 0 => {
                Settled::Ended { seq: self.end(packet_id), exactly_once: awaits != kind::PUBACK }
            }
            _ => Settled::Unknown,
        }
    }

    /// From now on it is a PUBREL that would be sent again. Returns its number in the store, or 0, and its order.
    pub(super) fn release_sent(&mut self, packet_id: u16) -> (u64, u64) {
        let (at, order) = (self.at(packet_id), self.order());
        if let Some(awaited) = self.sent.get_mut(at) {
            *awaited = kind::PUBCOMP;
        }
        let Some(Some(kept)) = self.kept.get_mut(at) else { return (0, order) };
        if std::mem::take(&mut kept.waits) {
            self.in_flight += 1;
        }
        (kept.order, kept.sent) = (order, None);
        (kept.seq, order)
    }

    /// As if PUBREC had come for a message with this number, which nobody knows whether it was sent. Returns the order.
    pub(super) fn release_unsent(&mut self, seq: u64) -> u64 {
        let order = self.order();
        self.restore_released(seq, order);
        order
    }

    /// Ends a flight; its identifier is free. Returns its number in the store, or 0.
    pub(super) fn end(&mut self, packet_id: u16) -> u64 {
        let at = self.at(packet_id);
        let kept = self.kept.get_mut(at).and_then(Option::take);
        if !kept.as_ref().is_some_and(|kept| kept.waits) {
            self.in_flight -= 1;
        }
        if let Some(awaited) = self.sent.get_mut(at) {
            *awaited = 0;
            self.free.push(at as u16);
        }
        self.numbered.remove(&packet_id);
        kept.map_or(0, |kept| kept.seq)
    }

    /// A new connection: nothing is in flight on it. Returns what is to be sent again, each in their order; PUBRELs count as
    /// sent. Messages whose topic is not `wanted` any more are not sent again: at QoS 1 they end, at QoS 2 they are released,
    /// because their receiver may have them, and would take whatever has their identifier next for the same.
    pub(super) fn restart(&mut self, wanted: &mut dyn FnMut(&str) -> bool) -> Restarted {
        let (mut again, mut unwanted, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        self.in_flight = 0;
        for (at, awaits) in self.sent.iter().enumerate().filter(|(_, awaits)| **awaits != 0) {
            let Some(Some(kept)) = self.kept.get_mut(at) else {
                self.in_flight += 1; // Which the end takes back.
                ends.push(at as u16 + 1);
                continue;
            };
            kept.waits = kept.sent.is_some();
            match kept.sent.as_ref().is_none_or(|sent| wanted(sent.message.topic())) {
                true => again.push((kept.order, kept.packet_id)),
                false if *awaits == kind::PUBACK => ends.push(kept.packet_id),
                false => unwanted.push((kept.order, kept.packet_id)),
            }
        }
        let ended = ends.into_iter().map(|packet_id| self.end(packet_id)).collect();
        unwanted.sort_unstable();
        let mut released = Vec::new();
        for (_, packet_id) in unwanted {
            let (seq, order) = self.release_sent(packet_id);
            released.push((seq, order));
            again.push((order, packet_id));
        }
        again.sort_unstable();
        let awaits = |packet_id: &u16| self.sent.get(self.at(*packet_id)).copied();
        let (releases, messages): (Vec<u16>, Vec<u16>) =
            again.into_iter().map(|(_, packet_id)| packet_id).partition(|id| awaits(id) == Some(kind::PUBCOMP));
        self.in_flight = releases.len() as u32;
        Restarted { releases, messages, ended, released }
    }

    /// What is to be sent again with this identifier, its first byte with DUP (MQTT-3.3.1-1). `None`: it was acknowledged
    /// meanwhile.
    pub(super) fn waiting(&mut self, packet_id: u16) -> Option<Kept> {
        let kept = self.kept(packet_id).filter(|kept| kept.waits)?;
        let sent = kept.sent.clone()?;
        Some(Kept { first: sent.first | 0b1000, ..sent })
    }

    /// It was sent again.
    pub(super) fn sent_again(&mut self, packet_id: u16) {
        if let Some(kept) = self.kept(packet_id) {
            kept.waits = false;
            self.in_flight += 1;
        }
    }

    /// QoS 1 messages of shared subscriptions that were not acknowledged, in the order in which they were sent. The session
    /// ends: others get them.
    pub(super) fn take_shared(&mut self) -> Vec<Kept> {
        let mut shared: Vec<(u64, Kept)> = Vec::new();
        for in_flight in self.kept.drain(..).flatten() {
            let Some(kept) = in_flight.sent.filter(|kept| kept.group.is_some()) else { continue };
            if qos_of(kept.first) == QoS::AtLeastOnce {
                shared.push((in_flight.order, kept));
            }
        }
        shared.sort_unstable_by_key(|(order, _)| *order);
        shared.into_iter().map(|(_, kept)| kept).collect()
    }

    /// What the store gives back: a PUBREL that is to be sent again.
    pub(super) fn restore_released(&mut self, seq: u64, order: u64) {
        let (packet_id, at) = (packet_id(seq), self.take(kind::PUBCOMP));
        self.numbered.insert(packet_id, at);
        self.next_order = self.next_order.max(order);
        self.put(InFlight { packet_id, order, seq, waits: false, sent: None });
    }

    /// What the store gives back: a QoS 2 message of the client that is not released.
    pub(super) fn restore_received(&mut self, packet_id: u16) {
        self.received.insert(packet_id);
    }

    /// Registers an incoming QoS 2 message.
    pub(super) fn receive(&mut self, packet_id: u16, receive_max: u16) -> Received {
        if self.received.contains(packet_id) {
            Received::Repeated
        } else if self.received.len() >= usize::from(receive_max) {
            Received::TooMany
        } else {
            self.received.insert(packet_id);
            Received::New
        }
    }

    /// Forgets an incoming QoS 2 message; false if it was not there.
    pub(super) fn release(&mut self, packet_id: u16) -> bool {
        self.received.remove(packet_id)
    }
}
