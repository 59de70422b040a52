//! The runtime that an author's futures run on, and what happens when their code does not give its threads back.
//!
//! Two threads. A watch spawns a probe while calls are under way; when a probe has not run for [`STUCK_MS`], every thread
//! is held by code that blocks or loops. The runtime is then left to itself, a new one takes over, and the calls that had
//! not begun move to it. A runtime that comes back is ended. With [`ABANDONED_MAX`] that have not come back, the plugin is
//! fenced: it answers nothing until one of them comes back.
//!
//! What `Host::spawn` is given has a runtime of its own, which is never replaced: it lives as long as the plugin, and where it
//! blocks it holds up no client.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::contain::{Contained, discard};

const THREADS: usize = 2;
/// Of the runtime for what is spawned.
const SPAWNED_THREADS: usize = 1;
const PROBE_EVERY: Duration = Duration::from_millis(100);
/// How long a probe may wait. Code that blocks for longer costs a new runtime.
pub(crate) const STUCK_MS: u64 = 400;
/// Runtimes that may be stuck at the same time.
const ABANDONED_MAX: usize = 4;
/// Calls that may wait for a thread.
const QUEUE_MAX: usize = 4096;

type Call = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

/// One tokio runtime, and whether its last probe ran.
struct Generation {
    runtime: Option<tokio::runtime::Runtime>,
    /// Calls that began on it and have not ended.
    busy: Arc<AtomicUsize>,
    alive: Arc<AtomicBool>,
}

#[derive(Default)]
struct State {
    current: Option<Generation>,
    /// For what is spawned; not replaced.
    spawned: Option<Generation>,
    abandoned: Vec<Generation>,
    waiting: VecDeque<Call>,
    ended: bool,
    watched: bool,
    /// The watch waits for the next call. Whoever clears it wakes it.
    watch_sleeps: bool,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Runtime {
    state: Mutex<State>,
    called: Condvar,
}

fn fenced() -> String {
    format!("fenced until one comes back: {ABANDONED_MAX} runtimes are held by code that does not return")
}

impl Runtime {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why it answers nothing more, if so.
    pub(crate) fn fenced(&self) -> Option<String> {
        let is_fenced = self.lock().is_fenced();
        is_fenced.then(fenced)
    }

    /// Runs a future for as long as the plugin lives. False: it has ended.
    pub(crate) fn spawn(self: &Arc<Self>, future: impl Future<Output = ()> + Send + 'static) -> bool {
        let mut future = Contained::new(future);
        // The hook has logged a panic: nobody else waits for it.
        let contained = async move { std::future::poll_fn(|cx| future.poll(cx)).await.unwrap_or_default() };
        let mut state = self.lock();
        if state.ended {
            return false;
        }
        if state.spawned.is_none() {
            state.spawned = Generation::new(SPAWNED_THREADS, "plugin-spawned").ok();
        }
        state.spawned.as_ref().is_some_and(|generation| generation.spawn(contained))
    }

    /// Begins the call that `make` makes as soon as a thread is free. An error says why it was not even made.
    pub(crate) fn call(self: &Arc<Self>, make: impl FnOnce() -> Call) -> Result<(), String> {
        let mut state = self.lock();
        if state.is_fenced() {
            return Err(fenced());
        }
        if state.waiting.len() >= QUEUE_MAX {
            return Err(format!("{QUEUE_MAX} calls wait already"));
        }
        let begin = self.begin_one(Self::current(&mut state)?);
        state.waiting.push_back(make());
        self.watch(&mut state);
        // Not under the lock, which the woken thread wants first. A runtime that is replaced meanwhile drops the task; the
        // call waits already, and begins on the new one.
        drop(state);
        begin();
        Ok(())
    }

    fn current(state: &mut State) -> Result<&mut Generation, String> {
        if state.ended {
            return Err("the plugin has ended".into());
        }
        match &mut state.current {
            Some(generation) => Ok(generation),
            none => Ok(none.insert(Generation::new(THREADS, "plugin")?)),
        }
    }

    /// Spawns, when it is called, a task that takes the call which has waited longest.
    fn begin_one(self: &Arc<Self>, generation: &Generation) -> impl FnOnce() + use<> {
        let (shared, busy) = (self.clone(), generation.busy.clone());
        let handle = generation.runtime.as_ref().map(|runtime| runtime.handle().clone());
        let task = async move {
            let call = shared.lock().waiting.pop_front();
            let Some(call) = call else { return };
            busy.fetch_add(1, Ordering::Relaxed);
            call().await;
            busy.fetch_sub(1, Ordering::Relaxed);
        };
        move || drop(handle.map(|handle| handle.spawn(task)))
    }

    /// Starts the watch with the first call; wakes it otherwise.
    fn watch(self: &Arc<Self>, state: &mut State) {
        if state.watched {
            // Waking is a system call also where nobody waits.
            if std::mem::take(&mut state.watch_sleeps) {
                self.called.notify_one();
            }
            return;
        }
        state.watched = true;
        let runtime = Arc::downgrade(self);
        let spawned = std::thread::Builder::new().name("plugin-watch".into()).spawn(move || {
            while let Some(runtime) = runtime.upgrade() {
                if !runtime.watch_turn() {
                    return;
                }
            }
        });
        if spawned.is_err() {
            state.watched = false;
        }
    }

    /// Waits for work, probes the runtime, replaces it when it is stuck. False: the plugin has ended.
    fn watch_turn(self: &Arc<Self>) -> bool {
        let mut state = self.lock();
        if state.ended {
            return false;
        }
        state.watch_sleeps = !state.working();
        if state.watch_sleeps {
            // Woken by the next call; looks now and then whether the plugin is still there.
            let (_state, _) =
                self.called.wait_timeout(state, Duration::from_secs(5)).unwrap_or_else(PoisonError::into_inner);
            return true;
        }
        let Some(probe) = state.current.as_ref().map(Generation::probe) else { return true };
        drop(state);
        let began = Instant::now();
        while !probe.load(Ordering::Acquire) {
            std::thread::sleep(Duration::from_millis(10));
            if began.elapsed() > Duration::from_millis(STUCK_MS) {
                self.replace();
                return true;
            }
        }
        std::thread::sleep(PROBE_EVERY);
        self.lock().bury();
        true
    }

    /// Leaves the stuck runtime to itself and moves what has not begun to a new one.
    fn replace(self: &Arc<Self>) {
        let mut state = self.lock();
        state.bury();
        if let Some(stuck) = state.current.take() {
            tracing::warn!(
                "code of this plugin held every thread of its runtime for {STUCK_MS} ms; a new one takes over"
            );
            stuck.probe_again();
            state.abandoned.push(stuck);
        }
        let waiting = match state.abandoned.len() {
            n if n >= ABANDONED_MAX => std::mem::take(&mut state.waiting),
            _ => {
                let waiting = state.waiting.len();
                // Where no new runtime can be had, the next call tries again.
                if let Ok(generation) = Self::current(&mut state) {
                    (0..waiting).for_each(|_| self.begin_one(generation)());
                }
                VecDeque::new()
            }
        };
        drop(state);
        // Dropping a call answers it, which takes locks of others: not under ours.
        if !waiting.is_empty() {
            tracing::error!("{}", fenced());
            discard(waiting);
        }
    }

    /// No new work; what runs is dropped where it waits.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let (current, spawned) = (state.current.take(), state.spawned.take());
        let abandoned = std::mem::take(&mut state.abandoned);
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        self.called.notify_all();
        discard(waiting);
        for generation in abandoned.into_iter().chain(current).chain(spawned) {
            generation.end();
        }
    }
}

impl State {
    fn working(&self) -> bool {
        !self.waiting.is_empty() || self.current.as_ref().is_some_and(|g| g.busy.load(Ordering::Relaxed) > 0)
    }

    /// Whether as many runtimes as may be are away.
    fn is_fenced(&mut self) -> bool {
        if self.abandoned.len() >= ABANDONED_MAX {
            self.bury();
        }
        self.abandoned.len() >= ABANDONED_MAX
    }

    /// Ends abandoned runtimes that came back and have nothing more to do.
    fn bury(&mut self) {
        let (back, stuck) = std::mem::take(&mut self.abandoned)
            .into_iter()
            .partition(|g| g.alive.load(Ordering::Acquire) && g.busy.load(Ordering::Relaxed) == 0);
        self.abandoned = stuck;
        for generation in Vec::<Generation>::into_iter(back) {
            generation.end();
        }
    }
}

impl Generation {
    fn new(threads: usize, name: &str) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads)
            .max_blocking_threads(16)
            .thread_name(name)
            .enable_all()
            .build()
            .map_err(|e| format!("the plugin's runtime cannot be started: {e}"))?;
        Ok(Generation { runtime: Some(runtime), busy: Arc::default(), alive: Arc::default() })
    }

    fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        self.runtime.as_ref().map(|r| r.spawn(future)).is_some()
    }

    /// Set once a task of this runtime has run.
    fn probe(&self) -> Arc<AtomicBool> {
        let probe = Arc::new(AtomicBool::new(false));
        let ran = probe.clone();
        self.spawn(async move { ran.store(true, Ordering::Release) });
        probe
    }

    /// Marks the runtime alive when it comes back.
    fn probe_again(&self) {
        let alive = self.alive.clone();
        self.spawn(async move { alive.store(true, Ordering::Release) });
    }

    fn end(mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Generation {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    /// Guards `Host::spawn` (until the plugin is dropped): a task goes on after calls held every thread of the calls'
    /// runtime, which was replaced and ended.
    #[test]
    fn a_spawned_task_outlives_a_replaced_runtime() {
        let runtime = Runtime::new();
        let (ask, mut asked) = tokio::sync::mpsc::channel::<()>(1);
        let (answer, answered) = sync_channel(1);
        let task = async move {
            while asked.recv().await.is_some() {
                let _ = answer.send(());
            }
        };
        assert!(runtime.spawn(task));
        let mut releases = Vec::new();
        for _ in 0..THREADS {
            let (release, held) = sync_channel::<()>(0);
            releases.push(release);
            let hold: Call = Box::new(move || Box::pin(async move { held.recv().unwrap_or_default() }));
            runtime.call(move || hold).unwrap();
        }
        while runtime.lock().abandoned.is_empty() {
            std::thread::yield_now();
        }
        drop(releases);
        // The watch looks while calls are under way.
        while !runtime.lock().abandoned.is_empty() {
            // Full, on a slow machine, is as good: calls are under way.
            let _ = runtime.call(|| Box::new(|| Box::pin(std::future::ready(()))));
            std::thread::yield_now();
        }
        ask.try_send(()).unwrap();
        assert_eq!(answered.recv_timeout(Duration::from_secs(20)), Ok(()));
        runtime.end();
        assert!(!runtime.spawn(async {}), "the plugin has ended");
    }
}
