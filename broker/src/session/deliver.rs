//! A message becomes bytes for its receiver, or waits.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatemq_types::QoS;

use super::flights::Kept;
use super::moving::DIRECT;
use super::own::Parts;
use super::queue::{Queue, Queued};
use super::stored::Stored;
use super::{Encoded, Home, Message, Output, Session, Source, Spare};
use crate::changes::Places;
use crate::shared::Group;

/// Bytes that may wait before messages wait as messages. One message is let in whatever its size.
pub(super) const OUTPUT_BYTES_MAX: usize = 64 * 1024;

/// What became of a message for one receiver.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivered {
    /// The connection had nothing to write before: tell it.
    Armed(Home),
    /// The connection knows already, or the message waits.
    Quiet,
    /// Too large for the client, its queue is full, or it is away and the message has QoS 0.
    Dropped,
    /// As much waits as its tenant may have waiting.
    QuotaExceeded,
    /// The session ended.
    Closed,
    /// It has another version now: to be encoded for that one.
    Changed,
}

/// QoS of a PUBLISH by its first byte.
pub(crate) fn qos_of(first: u8) -> QoS {
    QoS::from_bits(first >> 1 & 3).unwrap_or_default()
}

/// What became of a message of a shared subscription for one member.
pub(crate) enum Offered {
    /// It has it. `Some`: the connection had nothing to write before, and is to be told.
    Taken(Option<Home>),
    /// It has no room now, or is away; the group is on its list.
    NotNow,
    /// Too large for the client.
    TooLarge,
    /// The session ended.
    Closed,
    /// It has another version now: to be encoded for that one.
    Changed,
}

/// A message that waited in a shared subscription.
pub(crate) struct Offer<'a> {
    /// First byte of its PUBLISH for this member.
    pub(crate) first: u8,
    /// Its Subscription Identifier.
    pub(crate) identifier: u32,
    pub(crate) message: &'a Arc<Message>,
    pub(crate) group: &'a Arc<Group>,
    /// Where the store has it, or may have it.
    pub(crate) places: &'a Places,
    /// It was published at QoS 2.
    pub(crate) exactly_once: bool,
}

/// Whether a message became bytes.
pub(super) enum Appended {
    Yes,
    /// Not yet, but it is this session's.
    Waits,
    NotNow,
    TooLarge,
}

impl Session {
    /// One message for this receiver; `first` is the first byte of its PUBLISH.
    #[inline]
    pub(crate) fn deliver(
        self: &Arc<Self>,
        message: &Encoded<'_>,
        first: u8,
        identifier: u32,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        let mut output = self.output.lock();
        let Some(home) = output.home else { return output.away(self, identifier, first, source, spare) };
        if self.is_five() != message.five {
            return Delivered::Changed;
        }
        if output.is_stored(first) {
            return output.wait(self, identifier, first, source, spare);
        }
        match output.append(message, first, identifier, source, spare, None) {
            Appended::Yes => {}
            other => return output.not_appended(&other, self, identifier, first, source, spare),
        }
        if self.armed.load(Ordering::Relaxed) {
            return Delivered::Quiet;
        }
        self.armed.store(true, Ordering::Release);
        Delivered::Armed(home)
    }

    /// One message of a shared subscription for this member, if it can have it now.
    pub(crate) fn offer(
        self: &Arc<Self>,
        message: &Encoded<'_>,
        first: u8,
        identifier: u32,
        source: &mut Source<'_>,
        spare: &mut Spare,
        group: &Arc<Group>,
    ) -> Offered {
        let mut output = self.output.lock();
        if !output.open {
            return Offered::Closed;
        }
        if output.home.is_some() && self.is_five() != message.five {
            return Offered::Changed;
        }
        let appended = match output.home {
            Some(_) if output.is_stored(first) => {
                let queued = Queued::new(first, identifier, source.message(), Some(group));
                output.take_shared(self, queued, &Places::new(), spare)
            }
            Some(_) => output.append(message, first, identifier, source, spare, Some(group)),
            None => Appended::NotNow,
        };
        self.offered(&mut output, &appended, Some(group))
    }

    /// As [`Self::offer`], of a message that waited. `comes`: only while the connection with that epoch has the session,
    /// and the group is on its list already.
    pub(crate) fn offer_waiting(
        self: &Arc<Self>,
        waiting: &Offer<'_>,
        comes: Option<u32>,
        now_ms: u64,
        spare: &mut Spare,
    ) -> Offered {
        let Offer { first, identifier, message, group, places, exactly_once } = *waiting;
        let mut output = self.output.lock();
        if !output.open {
            return Offered::Closed;
        }
        let is_its = output.home.is_some() && comes.is_none_or(|epoch| epoch == output.epoch);
        // To nobody else at QoS 2 once it is sent, so the store lets go of it before.
        let awaits_store = exactly_once && !places.is_empty() && qos_of(first) != QoS::AtMostOnce;
        let appended = if is_its && (output.is_stored(first) || awaits_store) {
            output.take_shared(self, Queued::new(first, identifier, message.clone(), Some(group)), places, spare)
        } else if is_its && output.queue.is_none() {
            let (message, group) = (message.clone(), Some(group.clone()));
            let kept = Kept { first, identifier, message, group, seq: 0 };
            output.append_message(kept, None, self.is_five(), now_ms, spare)
        } else {
            Appended::NotNow
        };
        self.offered(&mut output, &appended, comes.is_none().then_some(group))
    }

    fn offered(&self, output: &mut Output, appended: &Appended, list: Option<&Arc<Group>>) -> Offered {
        match appended {
            Appended::Yes if self.armed.swap(true, Ordering::AcqRel) => Offered::Taken(None),
            Appended::Yes => Offered::Taken(output.home),
            Appended::Waits => Offered::Taken(None),
            Appended::NotNow => {
                output.groups.extend(list.cloned());
                Offered::NotNow
            }
            Appended::TooLarge => Offered::TooLarge,
        }
    }
}

impl Output {
    /// Whether a message for it is stored before it becomes bytes.
    #[inline]
    fn is_stored(&self, first: u8) -> bool {
        self.stored.as_ref().is_some_and(|stored| stored.number != 0) && qos_of(first) != QoS::AtMostOnce
    }

    /// A message of a shared subscription that is to be bytes as soon as the store has what changes by that; only if there
    /// is room for it then, so that nothing is given to a session that cannot send it.
    fn take_shared(
        &mut self,
        session: &Arc<Session>,
        mut queued: Queued,
        places: &Places,
        spare: &mut Spare,
    ) -> Appended {
        let Queued { first, identifier, ref message, .. } = queued;
        if !self.fits(session.is_five(), first, identifier, message) {
            return Appended::TooLarge;
        }
        let (waiting, bytes) = self.queue.as_ref().map_or((0, 0), |queue| (queue.len(), queue.bytes.get()));
        let in_flight = self.flights.as_ref().map_or(0, |flights| flights.in_flight());
        let bytes = self.bytes.len() + bytes;
        let room = bytes == 0 || bytes + message.len() <= OUTPUT_BYTES_MAX;
        if self.held || !room || waiting + in_flight >= usize::from(self.limits.inflight_max) {
            return Appended::NotNow;
        }
        let stored = self.stored.get_or_insert_default();
        queued.seq = stored.next_seq();
        match stored.number {
            0 => stored.await_moved(session, queued.seq, places.clone(), spare),
            _ => stored.append(session, &queued, places.clone(), spare),
        }
        let queue = self.queue.get_or_insert_with(|| Box::new(Queue::new(session.usage())));
        queue.push_anyway(queued);
        Appended::Waits
    }

    /// Whether a message may become bytes now.
    #[inline]
    pub(super) fn may_append(&self, bytes: usize, first: u8) -> bool {
        let room = self.bytes.is_empty() || self.bytes.len() + bytes <= OUTPUT_BYTES_MAX;
        let window = || self.flights.as_ref().is_none_or(|flights| flights.has_room(self.limits.inflight_max));
        room && (qos_of(first) == QoS::AtMostOnce || window())
    }

    /// A message becomes bytes, if it may and nothing waits: what came earlier goes out earlier (4.6).
    #[inline(always)]
    fn append(
        &mut self,
        message: &Encoded<'_>,
        first: u8,
        identifier: u32,
        source: &mut Source<'_>,
        spare: &mut Spare,
        group: Option<&Arc<Group>>,
    ) -> Appended {
        if message.five && (identifier != 0 || self.aliases.is_some()) {
            return self.append_own(message, first, identifier, source, spare, group);
        }
        let bytes_max = self.limits.packet_bytes_max as usize;
        if bytes_max != 0 && message.bytes.len() > bytes_max {
            return Appended::TooLarge;
        }
        if self.queue.is_some() || !self.may_append(message.bytes.len(), first) {
            return Appended::NotNow;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare.get();
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(message.bytes);
        if let Some(byte) = self.bytes.get_mut(from) {
            *byte = first;
        }
        if qos_of(first) != QoS::AtMostOnce {
            self.number(from + message.packet_id_at, first, identifier, source, group);
        }
        Appended::Yes
    }

    /// As [`Self::append`], with what only this receiver's packet has.
    #[inline(never)]
    fn append_own(
        &mut self,
        message: &Encoded<'_>,
        first: u8,
        identifier: u32,
        source: &mut Source<'_>,
        spare: &mut Spare,
        group: Option<&Arc<Group>>,
    ) -> Appended {
        let topic = source.topic();
        let parts = Parts::new(message, topic, first);
        let bytes_max = self.limits.packet_bytes_max;
        let own = self.own(true, identifier, topic, |own| parts.fits(own, bytes_max).is_some());
        let Some(bytes) = parts.fits(&own, bytes_max) else { return Appended::TooLarge };
        if self.queue.is_some() || !self.may_append(bytes, first) {
            return Appended::NotNow;
        }
        if self.bytes.capacity() == 0 {
            self.bytes = spare.get();
        }
        let packet_id_at = parts.write(&mut self.bytes, &own);
        self.keep_alias(&own, topic);
        if qos_of(first) != QoS::AtMostOnce {
            self.number(packet_id_at, first, identifier, source, group);
        }
        Appended::Yes
    }

    /// Gives the packet its identifier, where it has one.
    #[inline]
    fn number(&mut self, at: usize, first: u8, identifier: u32, source: &mut Source<'_>, group: Option<&Arc<Group>>) {
        if qos_of(first) == QoS::AtMostOnce {
            return;
        }
        let packet_id = self.flights.get_or_insert_default().send(qos_of(first));
        if self.expiry_s > 0 || group.is_some() && qos_of(first) == QoS::AtLeastOnce {
            let (message, group) = (source.message(), group.cloned());
            let kept = Kept { first, identifier, message, group, seq: 0 };
            self.flights.get_or_insert_default().keep(packet_id, kept);
        }
        if let Some(place) = self.bytes.get_mut(at..at + 2) {
            place.copy_from_slice(&packet_id.to_be_bytes());
        }
    }

    #[cold]
    fn not_appended(
        &mut self,
        why: &Appended,
        session: &Arc<Session>,
        identifier: u32,
        first: u8,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        match why {
            Appended::TooLarge => {
                self.count_dropped();
                Delivered::Dropped
            }
            _ => self.wait(session, identifier, first, source, spare),
        }
    }

    fn wait(
        &mut self,
        session: &Arc<Session>,
        identifier: u32,
        first: u8,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        if self.was_heard(source.publication(), first) {
            return Delivered::Quiet;
        }
        if !self.may_wait(source.len()) {
            return Delivered::Dropped;
        }
        self.enqueue(session, Queued::new(first, identifier, source.message(), None), spare)
    }

    /// Whether so many bytes more may wait; else they are counted as dropped.
    fn may_wait(&mut self, len: usize) -> bool {
        let (waiting, bytes) = self.queue.as_ref().map_or((0, 0), |queue| (queue.messages, queue.bytes.get()));
        let limits = &self.limits;
        let may = waiting < limits.queue_messages_max as usize && bytes + len <= limits.queue_bytes_max as usize;
        self.count_overflowed(usize::from(!may));
        may
    }

    /// It waits, if its tenant may have it waiting, and is stored where the session is. What it waits for is the store then.
    pub(super) fn enqueue(&mut self, session: &Arc<Session>, queued: Queued, spare: &mut Spare) -> Delivered {
        if !self.is_new(&queued, DIRECT) {
            return Delivered::Quiet;
        }
        self.enqueue_new(session, queued, spare)
    }

    pub(super) fn enqueue_new(&mut self, session: &Arc<Session>, mut queued: Queued, spare: &mut Spare) -> Delivered {
        let queue = self.queue.get_or_insert_with(|| Box::new(Queue::new(session.usage())));
        let len = queued.message.len();
        if !queue.bytes.take(len) {
            if queue.is_empty() && !self.held {
                self.queue = None;
            }
            self.count_dropped();
            return Delivered::QuotaExceeded;
        }
        if let Some(stored) = Stored::there(&mut self.stored).filter(|_| qos_of(queued.first) != QoS::AtMostOnce) {
            queued.seq = stored.next_seq();
            stored.append(session, &queued, Places::new(), spare);
        }
        queue.push_counted(queued);
        Delivered::Quiet
    }

    /// Its client is not there.
    #[cold]
    fn away(
        &mut self,
        session: &Arc<Session>,
        identifier: u32,
        first: u8,
        source: &mut Source<'_>,
        spare: &mut Spare,
    ) -> Delivered {
        match qos_of(first) {
            _ if !self.open => Delivered::Closed,
            QoS::AtMostOnce => Delivered::Dropped,
            _ => self.wait(session, identifier, first, source, spare),
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemq_mqtt::kind;
    use gatemq_types::{Protocol, ReasonCode};

    use super::super::testing::{HOME, deliver, with};
    use super::super::{Ack, SessionLimits};
    use super::*;

    fn ack(kind: u8, packet_id: u16) -> Ack {
        Ack { kind, packet_id, reason: ReasonCode::SUCCESS }
    }

    /// Guards the prototype's stall: when taking bytes lets more messages become bytes, the session stays armed, nobody is
    /// told again, and the owner gets everything by taking until there is no more.
    #[test]
    fn taking_lets_more_become_bytes_and_stays_armed() {
        let (session, mut spare) = (with(Protocol::V311, SessionLimits::default()), Spare::default());
        let payload = [7; 1000];
        let mut told = Vec::new();
        for _ in 0..200 {
            told.push(deliver(&session, 0x30, &payload, &mut spare));
        }
        assert_eq!(told[0], Delivered::Armed(HOME));
        assert!(told[1..].iter().all(|delivered| *delivered == Delivered::Quiet), "told once");
        let (mut bytes, mut takes) = (0, 0);
        while session.has_more() {
            let taken = session.take(0, &mut spare).unwrap();
            assert!(taken.len() <= OUTPUT_BYTES_MAX);
            bytes += taken.len();
            takes += 1;
            spare.put(taken);
        }
        assert_eq!((bytes, takes), (200 * (3 + 3 + 1000), 4));
        assert_eq!(session.take(0, &mut spare), None);
        assert_eq!(deliver(&session, 0x30, &payload, &mut spare), Delivered::Armed(HOME), "told again");
    }

    /// Guards the client's Receive Maximum (MQTT-3.3.4-9): beyond it messages wait, in order, until one is acknowledged.
    #[test]
    fn the_window_holds_messages_back() {
        let limits = SessionLimits { inflight_max: 2, ..SessionLimits::default() };
        let (session, mut spare) = (with(Protocol::V311, limits), Spare::default());
        for n in 0..3 {
            deliver(&session, 0x32, &[n], &mut spare);
        }
        deliver(&session, 0x30, &[9], &mut spare);
        let packet = |id, n| [0x32, 6, 0, 1, b't', 0, id, n];
        assert_eq!(session.take(0, &mut spare).unwrap(), [packet(1, 0), packet(2, 1)].concat());
        assert_eq!(session.take(0, &mut spare), None);
        session.settle(&[ack(kind::PUBACK, 2)], 0, &mut Vec::new(), &mut spare);
        let rest = [&packet(2, 2)[..], &[0x30, 4, 0, 1, b't', 9]].concat();
        assert_eq!(session.take(0, &mut spare).unwrap(), rest, "with the free identifier, and in order");
        assert!(!session.has_more());
    }

    /// Guards the bounds of the queue: what does not fit is dropped and counted, by messages and by bytes.
    #[test]
    fn a_full_queue_drops_and_counts() {
        for (messages, bytes) in [(3, 1 << 20), (1 << 20, 3 * 2)] {
            let limits = SessionLimits {
                inflight_max: 1,
                queue_messages_max: messages,
                queue_bytes_max: bytes,
                ..SessionLimits::default()
            };
            let (session, mut spare) = (with(Protocol::V311, limits), Spare::default());
            let delivered: Vec<_> = (0..6).map(|n| deliver(&session, 0x32, &[n], &mut spare)).collect();
            assert_eq!(delivered[3..], [Delivered::Quiet, Delivered::Dropped, Delivered::Dropped]);
            assert_eq!(session.dropped(), 2);
            let mut got = Vec::new();
            while let Some(taken) = session.take(0, &mut spare) {
                got.extend(taken.chunks(8).map(|packet| packet[7]));
                session.settle(&[ack(kind::PUBACK, 1)], 0, &mut Vec::new(), &mut spare);
            }
            assert_eq!(got, [0, 1, 2, 3], "the oldest stay");
            let again: Vec<_> = (0..6).map(|n| deliver(&session, 0x32, &[n], &mut spare)).collect();
            assert_eq!(again, delivered, "what left the queue makes room in it");
        }
    }

    /// Guards MQTT-3.1.2-24: what is larger than the client takes is not sent, and counted.
    #[test]
    fn too_large_for_the_client_is_dropped() {
        let limits = SessionLimits { packet_bytes_max: 8, ..SessionLimits::default() };
        let (session, mut spare) = (with(Protocol::V5, limits), Spare::default());
        assert_eq!(deliver(&session, 0x30, b"abc", &mut spare), Delivered::Dropped);
        assert_eq!(deliver(&session, 0x30, b"ab", &mut spare), Delivered::Armed(HOME));
        assert_eq!(session.dropped(), 1);
    }

    /// Guards takeover: a closed session gets no bytes, and those that waited are gone.
    #[test]
    fn closed_gets_nothing() {
        let (session, mut spare) = (with(Protocol::V311, SessionLimits::default()), Spare::default());
        deliver(&session, 0x30, b"a", &mut spare);
        assert_eq!(session.close().home, Some(HOME));
        assert_eq!(session.close().home, None, "once");
        assert_eq!(deliver(&session, 0x30, b"a", &mut spare), Delivered::Closed);
        assert_eq!(session.take(0, &mut spare), None);
        assert!(session.is_closed());
    }

    /// Guards the change of version between two connections: what was encoded for the other one is not sent.
    #[test]
    fn bytes_of_another_version_are_not_sent() {
        use gatemq_mqtt::{PacketLimits, Publish, write};
        let (session, mut spare) = (with(Protocol::V5, SessionLimits::default()), Spare::default());
        let mut bytes = Vec::new();
        let packet_id_at = write::publish(&mut bytes, Protocol::V311, 0x30, "t", &[], b"x");
        let message = Publish::read(&bytes, 2, Protocol::V311, &PacketLimits::default()).unwrap();
        for (five, delivered) in [(false, Delivered::Changed), (true, Delivered::Armed(HOME))] {
            let encoded = Encoded { bytes: &bytes, packet_id_at, five };
            let source = &mut Source::new("t", &message, 0);
            assert_eq!(session.session().deliver(&encoded, 0x30, 0, source, &mut spare), delivered);
        }
    }
}
