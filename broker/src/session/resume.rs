//! A session between two connections.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatemq_types::{Protocol, QoS};

use super::deliver::qos_of;
use super::flights::Restarted;
use super::own::Aliases;
use super::queue::Queue;
use super::{Attached, Home, Session, SessionLimits, Spare};
use crate::Will;

/// What a connection brings to its session.
pub(crate) struct Opening {
    pub(crate) protocol: Protocol,
    pub(crate) limits: SessionLimits,
    pub(crate) home: Home,
    pub(crate) expiry_s: u32,
    pub(crate) will: Option<Will>,
}

/// What a resumed session begins with.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Begun {
    /// PUBLISH and PUBREL packets that are sent again.
    pub again: usize,
    /// Messages that waited and are sent for the first time.
    pub waiting: usize,
    /// Messages that the client may not have any more.
    pub dropped: usize,
}

impl Session {
    /// Another connection has it from now on; the one before, if there is one, is returned with the will it had left. What
    /// comes waits until [`Attached::begin`].
    pub(crate) fn attach(self: &Arc<Self>, opening: Opening) -> (Attached, Option<Home>, Option<Box<Will>>) {
        let Opening { protocol, limits, home, expiry_s, will } = opening;
        let mut output = self.output.lock();
        output.epoch = output.epoch.wrapping_add(1);
        (output.held, output.expiry_s) = (true, expiry_s);
        output.limits = SessionLimits { inflight_max: limits.inflight_max.max(1), ..limits };
        // Of what was bytes already, QoS 1 and 2 are in flight and are sent again.
        output.bytes = Vec::new();
        output.queue.get_or_insert_with(|| Box::new(Queue::new(self.usage())));
        output.aliases = Aliases::allowed(limits.topic_alias_max);
        if let Some(stored) = &mut output.stored {
            stored.away_since_ms = 0;
        }
        self.level.store(protocol.level(), Ordering::Relaxed);
        self.armed.store(false, Ordering::Release);
        let will_before = std::mem::replace(&mut output.will, will.map(Box::new));
        let home_before = output.home.replace(home);
        (Attached::to(self, protocol, output.epoch), home_before, will_before)
    }

    /// Its connection has gone.
    pub(crate) fn detach(&self, expiry_s: u32, now_ms: u64) {
        let mut output = self.output.lock();
        output.epoch = output.epoch.wrapping_add(1);
        (output.home, output.held, output.expiry_s) = (None, false, expiry_s);
        (output.bytes, output.aliases) = (Vec::new(), None);
        if let Some(stored) = &mut output.stored {
            stored.away_since_ms = now_ms;
        }
        self.armed.store(false, Ordering::Release);
    }

    /// While it is away it keeps only what it has to: no QoS 0.
    pub(crate) fn trim(&self) {
        let mut output = self.output.lock();
        if output.home.is_some() {
            return;
        }
        if let Some(queue) = &mut output.queue {
            // What is in the store has QoS 1 or 2, so nothing of it goes.
            queue.restart(Vec::new(), &mut |first, _| qos_of(first) != QoS::AtMostOnce);
        }
        if output.queue.as_ref().is_some_and(|queue| queue.is_empty()) {
            output.queue = None;
        }
    }
}

impl Attached {
    /// Whether it is this connection's; for the registry, under its lock.
    pub(crate) fn own_expiry_s(&self) -> Option<u32> {
        self.own().map(|output| output.expiry_s)
    }

    /// A resumed session begins to send: first again what was not acknowledged (MQTT-4.4.0-1), in order, then what waits
    /// and has a topic that is `wanted`. A session that is not held has begun.
    pub(crate) fn begin(&self, now_ms: u64, spare: &mut Spare, wanted: &mut dyn FnMut(&str) -> bool) -> Begun {
        let mut begun = Begun::default();
        let Some(mut guard) = self.own() else { return begun };
        let output = &mut *guard;
        if !std::mem::take(&mut output.held) {
            return begun;
        }
        let dropped = &mut begun.dropped;
        let mut wanted = |topic: &str| {
            let wanted = wanted(topic);
            *dropped += usize::from(!wanted);
            wanted
        };
        let Restarted { releases, messages, ended, released } =
            output.flights.as_mut().map(|flights| flights.restart(&mut wanted)).unwrap_or_default();
        let again = messages.len();
        let queue = output.queue.get_or_insert_with(|| Box::new(Queue::new(self.usage())));
        // QoS 0 is no part of a session's state (4.1).
        let unsent = queue.restart(messages, &mut |first, message| {
            qos_of(first) != QoS::AtMostOnce && message.is_some_and(|message| wanted(message.topic()))
        });
        begun.waiting = queue.len() - again;
        begun.again = releases.len() + again;
        output.count_denied(begun.dropped);
        let session = self.session();
        for seq in ended {
            output.done(session, seq, false, spare);
        }
        for (seq, order) in released {
            output.released(seq, order, spare);
        }
        for packet_id in releases {
            output.write_release(packet_id, spare);
        }
        for (seq, first) in unsent {
            output.not_sent(session, seq, first, spare);
        }
        output.refill(session, self.protocol() == Protocol::V5, now_ms, spare);
        self.session().armed.store(!output.bytes.is_empty(), Ordering::Release);
        drop(guard);
        self.feed(now_ms, spare);
        begun
    }

    /// What waits and has a topic that is not `wanted` goes; returns how many messages that were.
    pub(crate) fn drop_waiting(&self, now_ms: u64, spare: &mut Spare, wanted: &mut dyn FnMut(&str) -> bool) -> usize {
        let Some(mut guard) = self.own() else { return 0 };
        let output = &mut *guard;
        let Some(queue) = &mut output.queue else { return 0 };
        let unsent = queue.drop_unwanted(wanted);
        output.count_denied(unsent.len());
        for (seq, first) in &unsent {
            output.not_sent(self.session(), *seq, *first, spare);
        }
        drop(guard);
        self.feed(now_ms, spare);
        unsent.len()
    }
}
