//! QoS 1 and 2 in flight: a slab by packet identifier for what was sent, and the identifiers of what was received.

use gatemq_mqtt::kind;
use gatemq_types::QoS;
use hashbrown::HashSet;

use crate::Hasher;

/// Bounded by the window of what may be sent and by the receive maximum.
#[derive(Default)]
pub(super) struct Flights {
    /// Packet identifier - 1 is the index; the value is the kind of acknowledgement awaited, 0 none.
    sent: Vec<u8>,
    free: Vec<u16>,
    /// Identifiers of QoS 2 messages that were received and not yet released.
    received: HashSet<u16, Hasher>,
}

/// What became of an acknowledgement.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Settled {
    /// It was awaited (or is a repeated PUBREC).
    Known,
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
    /// More messages are unreleased than the receive maximum allows (0x93).
    TooMany,
}

impl Flights {
    /// Whether another message may be sent while at most `window` are in flight.
    pub(super) fn has_room(&self, window: u16) -> bool {
        !self.free.is_empty() || self.sent.len() < usize::from(window)
    }

    /// Gives out a packet identifier; there must be room.
    pub(super) fn send(&mut self, qos: QoS) -> u16 {
        let at = self.free.pop().unwrap_or_else(|| {
            self.sent.push(0);
            (self.sent.len() - 1) as u16
        });
        self.sent[usize::from(at)] = if qos == QoS::ExactlyOnce { kind::PUBREC } else { kind::PUBACK };
        at + 1
    }

    /// An acknowledgement of something sent. `failed`: the receiver refused, which ends the flight (MQTT-4.4.0-2).
    pub(super) fn settle(&mut self, kind: u8, packet_id: u16, failed: bool) -> Settled {
        let at = packet_id.wrapping_sub(1);
        let Some(awaited) = self.sent.get_mut(usize::from(at)) else { return Settled::Unknown };
        match (*awaited, kind) {
            (kind::PUBREC, kind::PUBREC) if !failed => *awaited = kind::PUBCOMP,
            // Sent again because our PUBREL was not seen.
            (kind::PUBCOMP, kind::PUBREC) if !failed => {}
            (awaits, kind) if awaits == kind && awaits != 0 => {
                *awaited = 0;
                self.free.push(at);
            }
            _ => return Settled::Unknown,
        }
        Settled::Known
    }

    /// Registers an incoming QoS 2 message.
    pub(super) fn receive(&mut self, packet_id: u16, receive_max: u16) -> Received {
        if self.received.contains(&packet_id) {
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
        self.received.remove(&packet_id)
    }
}
