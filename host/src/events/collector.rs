//! One collector: its rings, and the thread that hands batches to the plugin.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatemq_plugin_loader::{CallFailure, Interest, Plugin};
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
    plugin: Arc<Plugin>,
    interest: ArcSwap<Interest>,
    rings: [Ring; 3],
    thread: Mutex<Option<JoinHandle<()>>>,
    waker: Mutex<Option<Thread>>,
    /// Which thread hands over: the one before may still be in the plugin's code.
    epoch: AtomicU32,
    /// Generation of the plugin that is handed a batch; 0: none.
    inside: AtomicU32,
    /// The thread waits for a first event. Whoever clears it wakes the thread.
    sleeping: AtomicBool,
    stopping: AtomicBool,
    told_ms: AtomicU64,
}

impl Collector {
    /// For a plugin, which at first wants nothing.
    pub(crate) fn new(plugin: Arc<Plugin>, ring_events: usize) -> Arc<Self> {
        Arc::new(Collector {
            plugin,
            interest: ArcSwap::default(),
            rings: [Ring::new(ring_events), Ring::new(ring_events), Ring::new(ring_events)],
            thread: Mutex::new(None),
            waker: Mutex::new(None),
            epoch: AtomicU32::new(0),
            inside: AtomicU32::new(0),
            sleeping: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            told_ms: AtomicU64::new(0),
        })
    }

    /// Sets what it wants from now on; [`Events::interests_changed`] is due.
    pub(crate) fn set_interest(&self, interest: Interest) {
        self.interest.store(Arc::new(interest));
    }

    /// Starts its thread, unless it runs.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(self: &Arc<Self>, events: &Arc<Events>) -> std::io::Result<()> {
        let runs = self.thread.lock().is_some();
        if runs { Ok(()) } else { self.start_thread(events) }
    }

    /// Leaves the thread behind that hands a batch to a generation which was replaced, and starts another one, for the
    /// generation in force.
    ///
    /// # Errors
    /// No thread can be had: the collector gets nothing until the old one comes back.
    pub(crate) fn leave_behind(self: &Arc<Self>, generation: u32, events: &Arc<Events>) -> std::io::Result<bool> {
        if self.inside.load(Ordering::SeqCst) != generation || self.stopping.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.start_thread(events).map(|()| true)
    }

    fn start_thread(self: &Arc<Self>, events: &Arc<Events>) -> std::io::Result<()> {
        let (collector, events) = (self.clone(), events.clone());
        let name = format!("events-{}", self.plugin.name());
        let epoch = self.epoch.load(Ordering::SeqCst) + 1;
        // It hands over nothing before it is told that it may.
        let thread = std::thread::Builder::new().name(name).spawn(move || {
            while collector.epoch.load(Ordering::SeqCst) < epoch {
                std::thread::park();
            }
            collector.run(epoch, &events);
        })?;
        *self.waker.lock() = Some(thread.thread().clone());
        self.epoch.store(epoch, Ordering::SeqCst);
        thread.thread().unpark();
        *self.thread.lock() = Some(thread);
        Ok(())
    }

    /// Name of its plugin.
    pub(crate) fn name(&self) -> &str {
        self.plugin.name()
    }

    /// How many events wait in each of its rings.
    pub(crate) fn waiting_by_ring(&self) -> [usize; 3] {
        [0, 1, 2].map(|ring: usize| self.rings[ring].len())
    }

    /// Events that full rings dropped.
    pub(crate) fn lost(&self) -> u64 {
        self.rings.iter().map(Ring::lost_total).sum()
    }

    /// Whether there is an instance to hand events to.
    pub(crate) fn has_started(&self) -> bool {
        self.plugin.current().is_some()
    }

    /// Bits of classes of which it wants something.
    pub(crate) fn classes(&self) -> u32 {
        let of = |number: &u32| EventKind::ALL.iter().find(|k| k.number() == *number).map_or(0, |k| k.class() as u32);
        let interest = self.interest.load();
        interest.kinds.iter().map(of).fold(interest.classes, |bits, class| bits | class)
    }

    /// Whether it wants an event of that kind, about a client of that tenant (empty: of none).
    pub(crate) fn wants(&self, kind: EventKind, tenant: &str) -> bool {
        let i = self.interest.load();
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

    fn run(&self, epoch: u32, events: &Events) {
        while self.epoch.load(Ordering::SeqCst) == epoch {
            self.sleep();
            let batch = self.take(events);
            if batch.is_empty() {
                if self.stopping.load(Ordering::SeqCst) {
                    return;
                }
                continue;
            }
            // Whichever is in force now gets all of it: nothing is lost or told twice when it is replaced.
            let Some(generation) = self.plugin.current() else { continue };
            let views: Vec<&Event> = batch.iter().map(|e| &**e).collect();
            self.inside.store(generation.number(), Ordering::SeqCst);
            let collected = self.plugin.collect(&generation, &views);
            // Unless another thread has taken over meanwhile, which is inside something else.
            let _ = self.inside.compare_exchange(generation.number(), 0, Ordering::SeqCst, Ordering::SeqCst);
            drop(generation);
            if let Err(failure) = collected {
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
                batch.push(Arc::new(events.event(None, fact, clock::now_ms())));
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
        crate::plugins::tell_failure(events, self.plugin.name(), "collect", &failure);
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
