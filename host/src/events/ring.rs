//! A bounded ring of events: a full one drops its oldest, and says so.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use gatemq_types::event::Event;
use parking_lot::Mutex;

/// Events that were dropped, and the span of sequences they were in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Lost {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) count: u64,
}

/// See the module.
pub(crate) struct Ring {
    queue: ArrayQueue<Arc<Event>>,
    lost: Mutex<Option<Lost>>,
    lost_total: AtomicU64,
}

impl Ring {
    /// Holds `events_max` events, at least one.
    pub(crate) fn new(events_max: usize) -> Self {
        Ring { queue: ArrayQueue::new(events_max.max(1)), lost: Mutex::new(None), lost_total: AtomicU64::new(0) }
    }

    /// Never waits. Returns how many events wait now.
    pub(crate) fn push(&self, event: Arc<Event>) -> usize {
        if let Some(oldest) = self.queue.force_push(event) {
            self.lose(oldest.sequence);
        }
        self.queue.len()
    }

    fn lose(&self, sequence: u64) {
        self.lost_total.fetch_add(1, Ordering::Relaxed);
        let mut lost = self.lost.lock();
        let l = lost.get_or_insert(Lost { from: sequence, to: sequence, count: 0 });
        (l.from, l.to, l.count) = (l.from.min(sequence), l.to.max(sequence), l.count + 1);
    }

    /// The oldest event.
    pub(crate) fn pop(&self) -> Option<Arc<Event>> {
        self.queue.pop()
    }

    /// What was dropped since the last call.
    pub(crate) fn take_lost(&self) -> Option<Lost> {
        self.lost.lock().take()
    }

    /// How many were dropped at all.
    pub(crate) fn lost_total(&self) -> u64 {
        self.lost_total.load(Ordering::Relaxed)
    }

    /// How many events wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatemq_types::event::Fact;

    fn event(sequence: u64) -> Arc<Event> {
        let fact = Fact::ConnectionAccepted {};
        Arc::new(Event { sequence, time_ms: 0, node: "n".into(), peer: None, fact })
    }

    /// Promise 6: a collector that does not keep up loses its oldest events, counted, and nobody waits for it.
    #[test]
    fn promise_6_a_full_ring_drops_its_oldest_and_counts() {
        let ring = Ring::new(2);
        for n in 1..=5 {
            ring.push(event(n));
        }
        assert_eq!(ring.take_lost(), Some(Lost { from: 1, to: 3, count: 3 }));
        assert_eq!(ring.take_lost(), None);
        let left: Vec<u64> = std::iter::from_fn(|| ring.pop()).map(|e| e.sequence).collect();
        assert_eq!(left, [4, 5]);
    }
}
