//! Acknowledgements of the client, and what is answered.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatemq_mqtt::{kind, packet, write};
use gatemq_types::{Protocol, ReasonCode};

use super::flights::Settled;
use super::{Attached, Output, Session, Spare};
use crate::changes::Change;

/// An acknowledgement as the session looks at it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ack {
    /// PUBACK, PUBREC, PUBREL or PUBCOMP, of [`gatemq_mqtt::kind`].
    pub kind: u8,
    /// Packet identifier.
    pub packet_id: u16,
    /// Reason code; success in MQTT 3.
    pub reason: ReasonCode,
}

impl Ack {
    /// Of a packet that was read.
    #[inline]
    pub fn new(kind: u8, packet: &packet::ack::Ack<'_>) -> Self {
        Ack { kind, packet_id: packet.packet_id, reason: packet.reason }
    }
}

impl Attached {
    /// Whether something in flight awaits that PUBACK or PUBCOMP, which ends it. Ask before it is settled.
    pub fn is_ended_by(&self, ack: &Ack) -> bool {
        let awaits = |output: &Output| output.flights.as_ref().is_some_and(|f| f.awaits(ack.packet_id) == ack.kind);
        matches!(ack.kind, kind::PUBACK | kind::PUBCOMP) && self.own().is_some_and(|output| awaits(&output))
    }

    /// Takes the acknowledgements of one read batch, in order; answers are appended to `reply`. Messages that waited may
    /// become bytes: take afterwards. Returns how many named an identifier that is not in flight.
    pub fn settle(&self, acks: &[Ack], now_ms: u64, reply: &mut Vec<u8>, spare: &mut Spare) -> usize {
        let Some(mut output) = self.own() else { return 0 };
        let mut unknown = 0;
        for ack in acks {
            let (answer, settled) = output.settle(self.session(), ack, spare);
            unknown += usize::from(settled == Settled::Unknown);
            let reason = match settled {
                Settled::Unknown => ReasonCode::PACKET_IDENTIFIER_NOT_FOUND,
                _ => ReasonCode::SUCCESS,
            };
            if let Some(kind) = answer {
                write::ack_with_reason(reply, self.protocol(), kind, ack.packet_id, reason);
            }
        }
        if output.queue.is_some() {
            output.refill(self.session(), self.protocol() == Protocol::V5, now_ms, spare);
            self.session().armed.store(!output.bytes.is_empty(), Ordering::Release);
        }
        let shares = output.has_room_to_share();
        drop(output);
        if shares {
            self.feed(now_ms, spare);
        }
        unknown
    }
}

impl Output {
    /// What is answered, and whether the identifier was in flight.
    fn settle(&mut self, session: &Arc<Session>, ack: &Ack, spare: &mut Spare) -> (Option<u8>, Settled) {
        let failed = ack.reason.is_failure();
        let packet_id = ack.packet_id;
        let number = self.stored.as_ref().map(|stored| stored.number).filter(|number| *number != 0);
        let Some(flights) = &mut self.flights else {
            let answer = match ack.kind {
                kind::PUBREL => Some(kind::PUBCOMP),
                kind::PUBREC if !failed => Some(kind::PUBREL),
                _ => None,
            };
            return (answer, Settled::Unknown);
        };
        if ack.kind == kind::PUBREL {
            let known = flights.release(packet_id);
            if let Some(session) = number.filter(|_| known) {
                // The client uses the identifier again when it has the PUBCOMP.
                spare.changes.rely_on(|| Change::ReceivedReleased { session, packet_id });
            }
            return (Some(kind::PUBCOMP), if known { Settled::Repeated } else { Settled::Unknown });
        }
        let settled = flights.settle(ack.kind, packet_id, failed);
        match settled {
            Settled::Ended { seq, exactly_once } => self.done(session, seq, exactly_once, spare),
            Settled::Released { seq, order } if seq != 0 => {
                if let Some(session) = number {
                    // The client forgets the message when it has the PUBREL.
                    spare.changes.rely_on(|| Change::Released { session, seq, order });
                }
            }
            _ => {}
        }
        // A refusal of a message that was in flight ends it; every other PUBREC is released (MQTT-4.3.3-4).
        let released = ack.kind == kind::PUBREC && !failed;
        (released.then_some(kind::PUBREL), settled)
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::Protocol;

    use super::super::testing::{deliver, with};
    use super::super::{Received, SessionLimits};
    use super::*;

    fn ack(kind: u8, packet_id: u16, reason: ReasonCode) -> Ack {
        Ack { kind, packet_id, reason }
    }

    fn reply(session: &Attached, acks: &[Ack]) -> (Vec<u8>, usize) {
        let mut reply = Vec::new();
        let unknown = session.settle(acks, 0, &mut reply, &mut Spare::default());
        (reply, unknown)
    }

    /// A session with one message of that first byte in flight, identifier 1, and a second that waits for it.
    fn in_flight(protocol: Protocol, first: u8) -> Attached {
        let session = with(protocol, SessionLimits { inflight_max: 1, ..SessionLimits::default() });
        let mut spare = Spare::default();
        for _ in 0..2 {
            deliver(&session, first, b"x", &mut spare);
        }
        session.take(0, &mut spare).unwrap();
        assert!(!session.has_more());
        session
    }

    const OK: ReasonCode = ReasonCode::SUCCESS;
    const REFUSED: ReasonCode = ReasonCode::QUOTA_EXCEEDED;

    /// Guards 4.3.3 as a sender: PUBREC is answered with PUBREL, also when repeated, and PUBCOMP ends the flight.
    #[test]
    fn qos_2_is_sent_once() {
        let session = in_flight(Protocol::V5, 0x34);
        for _ in 0..2 {
            assert_eq!(reply(&session, &[ack(kind::PUBREC, 1, OK)]), (vec![0x62, 2, 0, 1], 0));
            assert!(!session.has_more(), "still in flight");
        }
        assert_eq!(reply(&session, &[ack(kind::PUBACK, 1, OK)]), (vec![], 1), "not what is awaited");
        assert_eq!(reply(&session, &[ack(kind::PUBCOMP, 1, OK)]), (vec![], 0));
        assert!(session.has_more(), "the second is sent");
    }

    /// Guards 4.3.3 and 4.9: a PUBREC with a failure ends the flight and is not released.
    #[test]
    fn a_refused_qos_2_message_ends() {
        let session = in_flight(Protocol::V5, 0x34);
        assert_eq!(reply(&session, &[ack(kind::PUBREC, 1, REFUSED)]), (vec![], 0));
        assert!(session.has_more());
    }

    /// Guards that acknowledgements of nothing end nothing, and are answered with 0x92 where the protocol can say so.
    #[test]
    fn unknown_identifiers_are_told() {
        for (protocol, told) in [(Protocol::V5, &[3, 0, 9, 0x92][..]), (Protocol::V311, &[2, 0, 9])] {
            let session = in_flight(protocol, 0x32);
            let expect = |kind, first| {
                let answer: Vec<u8> = [&[first][..], told].concat();
                assert_eq!(reply(&session, &[ack(kind, 9, OK)]), (answer, 1));
            };
            expect(kind::PUBREC, 0x62);
            expect(kind::PUBREL, 0x70);
            for other in [kind::PUBACK, kind::PUBCOMP] {
                assert_eq!(reply(&session, &[ack(other, 9, OK)]), (vec![], 1));
                assert_eq!(reply(&session, &[ack(other, 0, OK)]), (vec![], 1));
            }
            assert!(!session.has_more());
            assert_eq!(reply(&session, &[ack(kind::PUBACK, 1, OK)]), (vec![], 0));
            assert!(session.has_more(), "the second got the free identifier");
            assert_eq!(reply(&session, &[ack(kind::PUBACK, 1, OK)]), (vec![], 0));
            assert_eq!(reply(&session, &[ack(kind::PUBACK, 1, OK)]), (vec![], 1), "once");
        }
    }

    /// Guards 4.3.3 as a receiver: a repeated message is not new until released, and the set is bounded.
    #[test]
    fn qos_2_is_received_once_and_bounded() {
        let session = with(Protocol::V5, SessionLimits { receive_max: 2, ..SessionLimits::default() });
        assert_eq!(
            (session.receive(5, &mut Default::default()), session.receive(5, &mut Default::default())),
            (Received::New, Received::Repeated)
        );
        assert_eq!(
            (session.receive(6, &mut Default::default()), session.receive(7, &mut Default::default())),
            (Received::New, Received::TooMany)
        );
        assert_eq!(reply(&session, &[ack(kind::PUBREL, 5, OK)]), (vec![0x70, 2, 0, 5], 0));
        assert_eq!(
            (session.receive(7, &mut Default::default()), session.receive(6, &mut Default::default())),
            (Received::New, Received::Repeated)
        );
        session.release(6, &mut Default::default());
        assert_eq!(session.receive(6, &mut Default::default()), Received::New, "it had been refused");
        for protocol in [Protocol::V31, Protocol::V311] {
            let session = with(protocol, SessionLimits { receive_max: 2, ..SessionLimits::default() });
            let receive = |id| session.receive(id, &mut Default::default());
            assert!((1..=u16::MAX).all(|id| receive(id) == Received::New), "it was not told of a bound");
            assert_eq!(receive(9), Received::Repeated);
        }
    }
}
