//! One collector: its rings, and the thread that hands batches to the plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{CallFailure, Instance, Interest};
use gatemq_types::event::{Event, EventKind, Fact, Ring as Which};
use parking_lot::Mutex;

use super::Events;
use super::ring::Ring;
use crate::clock;

/// Events of a batch.
const BATCH_MAX: usize = 256;
/// How long the first event of a batch waits for others.
const BATCH_WAIT: Duration = Duration::from_millis(50);
/// Failures of a collector are told this often at most: telling is an event that it gets, and fails at, again.
const TELL_EVERY_MS: u64 = 10_000;

/// See the module.
pub(crate) struct Collector {
    instance: Arc<Instance>,
    interest: Interest,
    rings: [Ring; 3],
    thread: Mutex<Option<JoinHandle<()>>>,
    waker: Mutex<Option<Thread>>,
    /// The thread waits for a first event. Whoever clears it wakes the thread.
    sleeping: AtomicBool,
    stopping: AtomicBool,
    told_ms: AtomicU64,
}

impl Collector {
    /// For a started plugin.
    pub(crate) fn new(instance: Arc<Instance>, interest: Interest, ring_events: usize) -> Arc<Self> {
        Arc::new(Collector {
            instance,
            interest,
            rings: [Ring::new(ring_events), Ring::new(ring_events), Ring::new(ring_events)],
            thread: Mutex::new(None),
            waker: Mutex::new(None),
            sleeping: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            told_ms: AtomicU64::new(0),
        })
    }

    /// Starts its thread.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(self: &Arc<Self>, events: &Arc<Events>) -> std::io::Result<()> {
        let (collector, events) = (self.clone(), events.clone());
        let name = format!("events-{}", self.instance.name());
        let thread = std::thread::Builder::new().name(name).spawn(move || collector.run(&events))?;
        *self.waker.lock() = Some(thread.thread().clone());
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Name of its plugin.
    pub(crate) fn name(&self) -> &str {
        self.instance.name()
    }

    /// Bits of classes of which it wants something.
    pub(crate) fn classes(&self) -> u32 {
        let of = |number: &u32| EventKind::ALL.iter().find(|k| k.number() == *number).map_or(0, |k| k.class() as u32);
        self.interest.kinds.iter().map(of).fold(self.interest.classes, |bits, class| bits | class)
    }

    /// Whether it wants an event of that kind, about a client of that tenant (empty: of none).
    pub(crate) fn wants(&self, kind: EventKind, tenant: &str) -> bool {
        let i = &self.interest;
        let of_kind = i.classes & kind.class() as u32 != 0 || i.kinds.contains(&kind.number());
        of_kind && (tenant.is_empty() || i.tenants.is_empty() || i.tenants.iter().any(|t| t == tenant))
    }

    /// Puts an event into its ring. Never waits.
    pub(crate) fn push(&self, event: Arc<Event>) {
        let waiting = self.rings[event.kind().class().ring() as usize].push(event);
        if self.sleeping.load(Ordering::SeqCst) && self.sleeping.swap(false, Ordering::SeqCst) || waiting == BATCH_MAX {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(thread) = &*self.waker.lock() {
            thread.unpark();
        }
    }

    fn waiting(&self) -> usize {
        self.rings.iter().map(Ring::len).sum()
    }

    fn run(&self, events: &Events) {
        loop {
            self.sleep();
            let batch = self.take(events);
            if batch.is_empty() {
                if self.stopping.load(Ordering::SeqCst) {
                    return;
                }
                continue;
            }
            let views: Vec<&Event> = batch.iter().map(|e| &**e).collect();
            if let Err(failure) = self.instance.collect(&views) {
                self.tell(events, failure);
            }
        }
    }

    /// Until there is an event, and then until there are enough or it has waited long enough.
    fn sleep(&self) {
        while self.waiting() == 0 && !self.stopping.load(Ordering::SeqCst) {
            self.sleeping.store(true, Ordering::SeqCst);
            // Looked at again after the flag is up: an event that came before it finds nobody to wake.
            if self.waiting() == 0 && !self.stopping.load(Ordering::SeqCst) {
                std::thread::park();
            }
            self.sleeping.store(false, Ordering::SeqCst);
        }
        let first = Instant::now();
        while self.waiting() < BATCH_MAX && !self.stopping.load(Ordering::SeqCst) {
            match BATCH_WAIT.checked_sub(first.elapsed()) {
                Some(left) if !left.is_zero() => std::thread::park_timeout(left),
                _ => return,
            }
        }
    }

    /// At most one batch, in the order of the events; before it what was lost.
    fn take(&self, events: &Events) -> Vec<Arc<Event>> {
        let mut batch = Vec::new();
        for which in Which::ALL {
            if let Some(lost) = self.rings[which as usize].take_lost() {
                let fact =
                    Fact::EventsLost { ring: which.name().into(), from: lost.from, to: lost.to, count: lost.count };
                batch.push(Arc::new(events.event(None, fact)));
            }
        }
        let told = batch.len();
        // Each ring its share, so that a full one does not hold up the others; what is left goes to whoever has more.
        for share in [BATCH_MAX / 3, BATCH_MAX] {
            for ring in &self.rings {
                for _ in 0..share {
                    if batch.len() >= BATCH_MAX {
                        break;
                    }
                    let Some(event) = ring.pop() else { break };
                    batch.push(event);
                }
            }
        }
        batch[told..].sort_by_key(|e| e.sequence);
        batch
    }

    fn tell(&self, events: &Events, failure: CallFailure) {
        let now = clock::now_ms();
        let before = self.told_ms.load(Ordering::Relaxed);
        if now < before + TELL_EVERY_MS {
            return;
        }
        self.told_ms.store(now, Ordering::Relaxed);
        events.emit(None, crate::plugins::failure_event(self.instance.name(), "collect", &failure));
    }

    /// Lets the thread take what waits and end; waits for it until `deadline`. False: the plugin is still in a call.
    pub(crate) fn stop(&self, deadline: Instant) -> bool {
        self.stopping.store(true, Ordering::SeqCst);
        self.wake();
        let Some(thread) = self.thread.lock().take() else { return true };
        while !thread.is_finished() {
            if Instant::now() >= deadline {
                return false;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        thread.join().is_ok()
    }
}
