//! The thread that an author's synchronous code runs on, one a plugin.
//!
//! A call that is not done by its deadline has its thread abandoned: the caller is refused, a new thread takes over the
//! calls that wait, and the old one ends when it comes back, if it does. With [`ABANDONED_MAX`] threads away the plugin is
//! fenced: a caller is refused at once.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::CallFailure;

/// Threads that may be away at the same time.
const ABANDONED_MAX: usize = 4;

struct Job {
    run: Box<dyn FnOnce() + Send>,
    deadline: Instant,
    /// How long it may run at least before its thread is given up: one that had to wait for its turn until shortly before
    /// its deadline does not hang yet.
    grace: Duration,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Job>,
    /// Which thread may take calls. Moves when one is abandoned.
    generation: u64,
    running: bool,
    /// When the call that the thread is in counts as hanging.
    busy_until: Option<Instant>,
    abandoned: usize,
    ended: bool,
}

/// See the module.
pub(crate) struct CallThread {
    name: String,
    waiting_max: usize,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl CallThread {
    pub(crate) fn new(name: &str, waiting_max: usize) -> Self {
        CallThread { name: format!("call-{name}"), waiting_max, shared: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Of its threads that were given up: for who has to know whether one is still inside a call.
    pub(crate) fn away(&self) -> Away {
        Away(self.shared.clone())
    }

    /// How many threads are away.
    #[cfg(test)]
    fn abandoned(&self) -> usize {
        self.lock().abandoned
    }

    /// Runs `f` on the thread. An answer that comes after `timeout` is dropped on the thread.
    pub(crate) async fn call<R: Send + 'static>(
        &self,
        timeout: Duration,
        f: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CallFailure> {
        let (sender, receiver) = oneshot::channel();
        let run = Box::new(move || {
            // Nobody waits any more: the call has no effect worth having.
            if !sender.is_closed() {
                let _ = sender.send(f());
            }
        });
        self.enqueue(Job { run, deadline: Instant::now() + timeout, grace: timeout / 4 })?;
        match tokio::time::timeout(timeout, receiver).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => Err(CallFailure::NotThere("the plugin ended")),
            Err(_) => {
                self.abandon_overdue();
                Err(CallFailure::TimedOut { timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX) })
            }
        }
    }

    fn enqueue(&self, job: Job) -> Result<(), CallFailure> {
        let mut state = self.lock();
        if state.ended {
            return Err(CallFailure::NotThere("the plugin ended"));
        }
        if state.abandoned >= ABANDONED_MAX {
            return Err(CallFailure::Fenced(state.abandoned));
        }
        if state.waiting.len() >= self.waiting_max {
            return Err(CallFailure::Busy { calls_max: self.waiting_max });
        }
        if !state.running {
            self.start(&mut state)?;
        }
        state.waiting.push_back(job);
        self.shared.1.notify_one();
        Ok(())
    }

    fn start(&self, state: &mut State) -> Result<(), CallFailure> {
        let (shared, generation) = (self.shared.clone(), state.generation);
        std::thread::Builder::new()
            .name(self.name.clone())
            .spawn(move || serve(&shared, generation))
            .map_err(|e| CallFailure::Failed(format!("its call thread cannot be started: {e}")))?;
        state.running = true;
        Ok(())
    }

    /// Gives up the thread if it is in a call whose deadline is over: the one that just timed out, or one before it whose
    /// caller has left.
    fn abandon_overdue(&self) {
        let mut state = self.lock();
        if state.ended || state.busy_until.is_none_or(|until| until > Instant::now()) {
            return;
        }
        state.busy_until = None;
        state.generation += 1;
        state.abandoned += 1;
        state.running = false;
        let waiting = match state.abandoned {
            n if n >= ABANDONED_MAX => std::mem::take(&mut state.waiting),
            _ if state.waiting.is_empty() => VecDeque::new(),
            _ => {
                // A thread that cannot be started is tried again with the next call.
                let _ = self.start(&mut state);
                VecDeque::new()
            }
        };
        self.shared.1.notify_all();
        drop(state);
        drop(waiting);
    }

    /// No more calls; those that wait are refused.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        let waiting = std::mem::take(&mut state.waiting);
        self.shared.1.notify_all();
        drop(state);
        drop(waiting);
    }
}

/// See [`CallThread::away`].
pub(crate) struct Away(Arc<(Mutex<State>, Condvar)>);

impl Away {
    /// None is.
    pub(crate) fn nobody(&self) -> bool {
        self.0.0.lock().unwrap_or_else(PoisonError::into_inner).abandoned == 0
    }
}

impl Drop for CallThread {
    fn drop(&mut self) {
        self.end();
    }
}

/// Takes calls until another thread has taken over, or the plugin has ended.
fn serve(shared: &(Mutex<State>, Condvar), generation: u64) {
    let mut state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if state.generation != generation {
            // It was given up and has come back after all.
            state.abandoned -= 1;
            return;
        }
        if let Some(job) = state.waiting.pop_front() {
            state.busy_until = Some(job.deadline.max(Instant::now() + job.grace));
            drop(state);
            (job.run)();
            state = shared.0.lock().unwrap_or_else(PoisonError::into_inner);
            if state.generation == generation {
                state.busy_until = None;
            }
        } else if state.ended {
            return;
        } else {
            state = shared.1.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::sync_channel;

    const SHORT: Duration = Duration::from_millis(30);
    const LONG: Duration = Duration::from_secs(20);

    /// Promise 3: calls that hang cost themselves; the next is served; the fourth fences; threads that come back lift it.
    #[tokio::test]
    async fn promise_3_hanging_calls_are_cut_off_and_then_fenced() {
        let thread = CallThread::new("t", 16);
        let mut releases = Vec::new();
        for n in 0..ABANDONED_MAX {
            let (release, hang) = sync_channel::<()>(0);
            releases.push(release);
            let hung = thread.call(SHORT, move || hang.recv()).await;
            assert!(matches!(hung, Err(CallFailure::TimedOut { .. })), "{hung:?}");
            assert_eq!(thread.abandoned(), n + 1);
            let next = thread.call(LONG, || 7).await;
            match n + 1 < ABANDONED_MAX {
                true => assert_eq!(next, Ok(7)),
                false => assert_eq!(next, Err(CallFailure::Fenced(ABANDONED_MAX))),
            }
        }
        drop(releases);
        while thread.abandoned() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(thread.call(LONG, || 8).await, Ok(8));
    }

    /// Promise 3: a hanging call whose caller has left is found by the next one that waits behind it.
    #[tokio::test]
    async fn promise_3_a_hanging_call_is_found_after_its_caller_left() {
        let thread = CallThread::new("t", 16);
        let (_release, hang) = sync_channel::<()>(0);
        let _ = tokio::time::timeout(Duration::from_millis(5), thread.call(SHORT, move || hang.recv())).await;
        let behind = thread.call(SHORT * 3, || 7).await;
        let next = thread.call(LONG, || 8).await;
        assert!(behind.is_err(), "the thread was held while it waited");
        assert_eq!(next, Ok(8));
    }

    /// Promise 6: more calls than a slow plugin can answer in time are refused, but its thread is not taken for a hanging
    /// one: that would fence it.
    #[tokio::test]
    async fn promise_6_a_slow_plugin_with_a_long_queue_is_not_fenced() {
        let thread = Arc::new(CallThread::new("t", 100));
        let mut calls = tokio::task::JoinSet::new();
        for _ in 0..60 {
            let thread = thread.clone();
            let slow = || std::thread::sleep(Duration::from_millis(20));
            calls.spawn(async move { thread.call(Duration::from_millis(400), slow).await });
        }
        let answers = calls.join_all().await;
        assert!(answers.iter().any(Result::is_ok) && answers.iter().any(Result::is_err), "{answers:?}");
        assert_eq!(thread.abandoned(), 0);
        assert_eq!(thread.call(LONG, || 7).await, Ok(7));
    }

    /// Guards that calls behind a hanging one are not lost with it.
    #[tokio::test]
    async fn waiting_calls_move_to_the_new_thread() {
        let thread = CallThread::new("t", 16);
        let (_release, hang) = sync_channel::<()>(0);
        let hung = thread.call(SHORT, move || hang.recv());
        let behind = thread.call(LONG, || 7);
        let (hung, behind) = tokio::join!(hung, behind);
        assert!(hung.is_err());
        assert_eq!(behind, Ok(7));
    }
}
