//! Events as operators follow them, and the latest of those that are about security or the node itself.
//!
//! Emitting never waits for a reader: it puts the event into a ring, and one task hands on. Full rings drop their oldest, and
//! readers are told how many.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use gatemq_types::event::{Class, Event};
use parking_lot::Mutex;
use tokio::sync::{Notify, broadcast};

use super::Events;
use super::ring::Ring;

/// Events that wait for the task that hands them on.
const RING_EVENTS: usize = 4096;
/// Events that wait for a reader; a reader that is further behind loses its oldest.
const READER_EVENTS: usize = 1024;
/// Latest events that are kept.
const RECENT_MAX: usize = 1024;
/// Readers at a time.
const READERS_MAX: usize = 64;
/// Classes that are kept, whether anybody reads or not.
const KEPT: u32 = Class::Security as u32 | Class::System as u32;

/// What a reader gets.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    /// Something happened.
    Event(Arc<Event>),
    /// So many events were lost before what comes next.
    Lost(u64),
}

/// See the module.
pub(super) struct Tail {
    ring: Ring,
    wake: Notify,
    /// Somebody hands on.
    runs: AtomicBool,
    recent: Mutex<VecDeque<Arc<Event>>>,
    told: broadcast::Sender<Told>,
    readers: AtomicUsize,
    /// Those that want everything, by class: lifecycle, traffic.
    wanted: [AtomicUsize; 2],
}

impl Default for Tail {
    fn default() -> Self {
        Tail {
            ring: Ring::new(RING_EVENTS),
            wake: Notify::new(),
            runs: AtomicBool::new(false),
            recent: Mutex::default(),
            told: broadcast::Sender::new(READER_EVENTS),
            readers: AtomicUsize::new(0),
            wanted: Default::default(),
        }
    }
}

const COUNTED: [Class; 2] = [Class::Lifecycle, Class::Traffic];

impl Tail {
    /// Bits of classes that are wanted.
    pub(super) fn classes(&self) -> u32 {
        let of = |(class, readers): (&Class, &AtomicUsize)| match readers.load(Ordering::Relaxed) {
            0 => 0,
            _ => *class as u32,
        };
        COUNTED.iter().zip(&self.wanted).map(of).fold(KEPT, |bits, class| bits | class)
    }

    /// Never waits.
    pub(super) fn push(&self, event: Arc<Event>) {
        self.ring.push(event);
        self.wake.notify_one();
    }

    fn hand_on(&self) {
        let mut recent = self.recent.lock();
        // Nobody reads: nothing is to be told.
        let tell = |told| drop(self.told.send(told));
        if let Some(lost) = self.ring.take_lost() {
            tell(Told::Lost(lost.count));
        }
        while let Some(event) = self.ring.pop() {
            if event.kind().class() as u32 & KEPT != 0 {
                recent.truncate(RECENT_MAX - 1);
                recent.push_front(event.clone());
            }
            tell(Told::Event(event));
        }
    }
}

impl Events {
    /// Hands on what happens to whoever follows it, until it is dropped. Once.
    pub(crate) async fn serve_readers(self: Arc<Self>) {
        if self.tail.runs.swap(true, Ordering::Relaxed) {
            return;
        }
        loop {
            self.tail.hand_on();
            self.tail.wake.notified().await;
        }
    }

    /// The latest events of classes security and system, the newest first.
    pub(crate) fn recent(&self) -> Vec<Arc<Event>> {
        self.tail.recent.lock().iter().cloned().collect()
    }

    /// Follows events of these classes (bits) from now on. `None`: there are as many readers as there may be.
    pub(crate) fn follow(self: &Arc<Self>, classes: u32) -> Option<Reader> {
        if self.tail.readers.fetch_add(1, Ordering::Relaxed) >= READERS_MAX {
            self.tail.readers.fetch_sub(1, Ordering::Relaxed);
            return None;
        }
        for (class, wanted) in COUNTED.iter().zip(&self.tail.wanted).filter(|(class, _)| classes & **class as u32 != 0)
        {
            tracing::debug!("somebody follows events of class {}", class.name());
            wanted.fetch_add(1, Ordering::Relaxed);
        }
        self.interests_changed();
        // Under the lock nothing is handed on, so none is missed and none seen twice.
        let recent = self.tail.recent.lock();
        let reader = Reader {
            events: self.clone(),
            classes,
            recent: recent.iter().cloned().collect(),
            receiver: self.tail.told.subscribe(),
        };
        Some(reader)
    }
}

/// Somebody who follows events.
pub(crate) struct Reader {
    events: Arc<Events>,
    classes: u32,
    receiver: broadcast::Receiver<Told>,
    /// What was there when it began, the newest first.
    pub(crate) recent: Vec<Arc<Event>>,
}

impl Reader {
    /// What is next; `None`: the node has ended.
    pub(crate) async fn next(&mut self) -> Option<Told> {
        match self.receiver.recv().await {
            Ok(told) => Some(told),
            Err(broadcast::error::RecvError::Lagged(lost)) => Some(Told::Lost(lost)),
            Err(broadcast::error::RecvError::Closed) => None,
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let tail = &self.events.tail;
        for (_, wanted) in COUNTED.iter().zip(&tail.wanted).filter(|(class, _)| self.classes & **class as u32 != 0) {
            wanted.fetch_sub(1, Ordering::Relaxed);
        }
        tail.readers.fetch_sub(1, Ordering::Relaxed);
        self.events.interests_changed();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gatemq_types::event::Fact;

    fn emit(events: &Events, name: &str) {
        events.emit(None, Fact::AdminActed { by: name.to_owned().into(), action: "".into() });
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    /// Promise 6: a reader that does not keep up loses its oldest events, is told how many, and holds nobody up; what is kept for
    /// those who come later is bounded too.
    #[test]
    fn promise_6_a_slow_reader_loses_its_oldest() {
        let events = Events::new("n");
        let mut reader = events.follow(0).unwrap();
        let total = READER_EVENTS + 10;
        for n in 0..total {
            emit(&events, &n.to_string());
            events.tail.hand_on();
        }
        run(async {
            let Some(Told::Lost(10)) = reader.next().await else { panic!("it is told what it lost") };
            let Some(Told::Event(event)) = reader.next().await else { panic!("the rest is there") };
            assert_eq!(event.sequence, 11);
        });
        assert_eq!((events.recent().len(), events.recent()[0].sequence), (RECENT_MAX, total as u64));
        // The ring in front of it, when nobody hands on.
        let mut reader = events.follow(0).unwrap();
        (0..RING_EVENTS + 5).for_each(|n| emit(&events, &n.to_string()));
        events.tail.hand_on();
        run(async { assert!(matches!(reader.next().await, Some(Told::Lost(_)))) });
    }

    /// Guards the hot path: events of class traffic are made only while somebody follows them; and readers are bounded.
    #[test]
    fn traffic_is_wanted_while_it_is_followed() {
        let events = Events::new("n");
        events.set_collectors(Vec::new());
        assert!(!events.traffic_wanted());
        let reader = events.follow(Class::Traffic as u32).unwrap();
        assert!(events.traffic_wanted());
        let others: Vec<_> = (1..READERS_MAX).map(|_| events.follow(0).unwrap()).collect();
        assert!(events.follow(0).is_none());
        drop((reader, others));
        assert!(!events.traffic_wanted() && events.follow(0).is_some());
    }
}
