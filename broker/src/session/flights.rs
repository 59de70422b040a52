//! QoS 1 and 2 in flight: a slab by packet identifier for what was sent, and the identifiers of what was received.

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
    /// Packet identifier - 1 is the index; the value is the kind of acknowledgement awaited, 0 none; [`RESERVED`]: a message
    /// that waits has it.
    sent: Vec<u8>,
    free: Vec<u16>,
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
    /// The packet identifier that was reserved for it; 0: none.
    pub(super) packet_id: u16,
}

/// Awaits nothing yet.
const RESERVED: u8 = u8::MAX;
/// Identifiers that messages may have which wait. The others are for those in flight.
const RESERVED_MAX: usize = 32_767;

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
    /// More messages are unreleased than the receive maximum allows (0x93). Not of an MQTT 3 client, which was not told of
    /// one.
    TooMany,
    /// Another connection has the session: neither to be handled nor acknowledged, the client sends it there.
    TakenOver,
}

/// What a new connection begins with.
#[derive(Default)]
pub(super) struct Restarted {
    /// Packet identifiers of the PUBRELs that are sent again.
    pub(super) releases: Vec<u16>,
    /// Packet identifiers of the messages that are sent again.
    pub(super) messages: Vec<u16>,
    /// What is not sent again: number in the store, and packet identifier of a QoS 2 message (else 0).
    pub(super) ended: Vec<(u64, u16)>,
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

    /// Gives out a packet identifier; there must be room, and nothing may wait to be sent again.
    pub(super) fn send(&mut self, qos: QoS) -> u16 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.sent.push(0);
            (self.sent.len() - 1) as u16
        });
        self.in_flight += 1;
        self.sent[usize::from(at)] = if qos == QoS::ExactlyOnce { kind::PUBREC } else { kind::PUBACK };
        at + 1
    }

    /// Gives out a packet identifier to a message that waits.
    pub(super) fn reserve(&mut self) -> Option<u16> {
        let at = match self.free.pop() {
            Some(at) => at,
            None if self.sent.len() < RESERVED_MAX => {
                self.sent.push(0);
                (self.sent.len() - 1) as u16
            }
            None => return None,
        };
        self.sent[usize::from(at)] = RESERVED;
        Some(at + 1)
    }

    /// A message is sent with the identifier that was reserved for it; there must be room.
    pub(super) fn send_reserved(&mut self, packet_id: u16) {
        if let Some(awaited) = self.sent.get_mut(usize::from(packet_id - 1)) {
            *awaited = kind::PUBREC;
            self.in_flight += 1;
        }
    }

    /// A message is not sent at all.
    pub(super) fn give_back(&mut self, packet_id: u16) {
        if let Some(awaited) = self.sent.get_mut(usize::from(packet_id - 1)) {
            *awaited = 0;
            self.free.push(packet_id - 1);
        }
    }

    /// Keeps what was sent with this identifier, so that it can be sent again.
    #[cold]
    pub(super) fn keep(&mut self, packet_id: u16, sent: Kept) {
        let at = usize::from(packet_id - 1);
        if self.kept.len() <= at {
            self.kept.resize_with(at + 1, || None);
        }
        let order = self.order();
        self.kept[at] = Some(InFlight { order, seq: sent.seq, waits: false, sent: Some(sent) });
    }

    fn order(&mut self) -> u64 {
        self.next_order += 1;
        self.next_order
    }

    /// An acknowledgement of something sent. `failed`: the receiver refused, which ends the flight (MQTT-4.4.0-2).
    pub(super) fn settle(&mut self, kind: u8, packet_id: u16, failed: bool) -> Settled {
        let at = packet_id.wrapping_sub(1);
        let Some(awaited) = self.sent.get_mut(usize::from(at)) else { return Settled::Unknown };
        match (*awaited, kind) {
            (kind::PUBREC, kind::PUBREC) if !failed => {
                *awaited = kind::PUBCOMP;
                self.released(usize::from(at))
            }
            // Sent again because our PUBREL was not seen.
            (kind::PUBCOMP, kind::PUBREC) if !failed => Settled::Repeated,
            (awaits, kind) if awaits == kind && awaits != 0 => {
                Settled::Ended { seq: self.end(packet_id), exactly_once: awaits != kind::PUBACK }
            }
            _ => Settled::Unknown,
        }
    }

    /// From now on it is a PUBREL that would be sent again.
    fn released(&mut self, at: usize) -> Settled {
        let (order, mut seq) = (self.order(), 0);
        if let Some(Some(kept)) = self.kept.get_mut(at) {
            if std::mem::take(&mut kept.waits) {
                self.in_flight += 1;
            }
            (kept.order, kept.sent, seq) = (order, None, kept.seq);
        }
        Settled::Released { seq, order }
    }

    /// Ends a flight; its identifier is free. Returns its number in the store, or 0.
    pub(super) fn end(&mut self, packet_id: u16) -> u64 {
        let at = packet_id - 1;
        let kept = self.kept.get_mut(usize::from(at)).and_then(Option::take);
        if !kept.as_ref().is_some_and(|kept| kept.waits) {
            self.in_flight -= 1;
        }
        self.sent[usize::from(at)] = 0;
        self.free.push(at);
        kept.map_or(0, |kept| kept.seq)
    }

    /// A new connection: nothing is in flight on it. Returns the identifiers of the PUBRELs and of the messages that are
    /// to be sent again, each in their order; PUBRELs count as sent. Messages whose topic is not `wanted` any more end.
    pub(super) fn restart(&mut self, wanted: &mut dyn FnMut(&str) -> bool) -> Restarted {
        let mut again: Vec<(u64, u16)> = Vec::new();
        let mut ended = Vec::new();
        self.in_flight = 0;
        for at in 0..self.sent.len() {
            if matches!(self.sent[at], 0 | RESERVED) {
                continue;
            }
            let packet_id = at as u16 + 1;
            match self.kept.get_mut(at) {
                Some(Some(kept)) if kept.sent.as_ref().is_none_or(|sent| wanted(sent.message.topic())) => {
                    again.push((kept.order, packet_id));
                    kept.waits = kept.sent.is_some();
                }
                _ => {
                    self.in_flight += 1; // Which the end takes back.
                    if let Some(Some(kept)) = self.kept.get_mut(at) {
                        kept.waits = false;
                    }
                    let exactly_once = self.sent[at] != kind::PUBACK;
                    let seq = self.end(packet_id);
                    ended.push((seq, if exactly_once { packet_id } else { 0 }));
                }
            }
        }
        again.sort_unstable();
        let awaits = |packet_id: &u16| self.sent[usize::from(*packet_id) - 1];
        let (releases, messages): (Vec<u16>, Vec<u16>) =
            again.into_iter().map(|(_, packet_id)| packet_id).partition(|id| awaits(id) == kind::PUBCOMP);
        self.in_flight = releases.len() as u32;
        Restarted { releases, messages, ended }
    }

    /// What is to be sent again with this identifier, its first byte with DUP (MQTT-3.3.1-1). `None`: it was acknowledged
    /// meanwhile.
    pub(super) fn waiting(&self, packet_id: u16) -> Option<Kept> {
        let kept = self.kept.get(usize::from(packet_id) - 1)?.as_ref().filter(|kept| kept.waits)?;
        let sent = kept.sent.clone()?;
        Some(Kept { first: sent.first | 0b1000, ..sent })
    }

    /// It was sent again.
    pub(super) fn sent_again(&mut self, packet_id: u16) {
        if let Some(Some(kept)) = self.kept.get_mut(usize::from(packet_id) - 1) {
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
    pub(super) fn restore_released(&mut self, packet_id: u16, seq: u64, order: u64) {
        self.take_up(packet_id, kind::PUBCOMP);
        let at = usize::from(packet_id - 1);
        if self.kept.len() <= at {
            self.kept.resize_with(at + 1, || None);
        }
        self.next_order = self.next_order.max(order);
        self.kept[at] = Some(InFlight { order, seq, waits: false, sent: None });
        self.in_flight += 1;
    }

    /// What the store gives back: the identifier of a message that waits.
    pub(super) fn restore_reserved(&mut self, packet_id: u16) {
        self.take_up(packet_id, RESERVED);
    }

    /// Takes an identifier that is free.
    fn take_up(&mut self, packet_id: u16, awaited: u8) {
        let at = packet_id - 1;
        while self.sent.len() <= usize::from(at) {
            self.free.push(self.sent.len() as u16);
            self.sent.push(0);
        }
        self.free.retain(|free| *free != at);
        self.sent[usize::from(at)] = awaited;
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
