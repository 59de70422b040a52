//! At most one verification per core at a time, and a bounded number that wait for their turn.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gatemq_plugin_api::tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Verifications at a time on a machine with more cores: a plugin's runtime has 16 threads for what blocks, and the users
/// file is to be read all the same.
const AT_A_TIME_MAX: usize = 12;

/// See the module.
pub(crate) struct Gate {
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl Gate {
    /// One turn per core.
    pub(crate) fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        Gate::with_turns(cores.min(AT_A_TIME_MAX))
    }

    fn with_turns(turns: usize) -> Self {
        Gate { turns: Arc::new(Semaphore::new(turns)), waiting: AtomicUsize::new(0) }
    }

    /// Waits for a turn, which ends when it is dropped. `None`: `queue_max` wait already.
    pub(crate) async fn turn(&self, queue_max: usize) -> Option<OwnedSemaphorePermit> {
        // Fair all the same: a turn that becomes free belongs to whoever has waited longest.
        if let Ok(turn) = self.turns.clone().try_acquire_owned() {
            return Some(turn);
        }
        let _place = Place::take(&self.waiting, queue_max)?;
        self.turns.clone().acquire_owned().await.ok()
    }
}

/// A place in the queue; left also by whoever gives up waiting.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize, max: usize) -> Option<Self> {
        let taken = waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| (n < max).then_some(n + 1));
        taken.ok().map(|_| Place(waiting))
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Promise 6: the queue is bounded; whoever finds it full is refused at once, and places and turns become free again,
    /// also those of clients that left while they waited.
    #[test]
    fn promise_6_the_queue_is_bounded() {
        let gate = Gate::with_turns(1);
        let cx = &mut Context::from_waker(Waker::noop());
        let Poll::Ready(Some(turn)) = pin!(gate.turn(1)).poll(cx) else { panic!("no first turn") };
        let mut second = Box::pin(gate.turn(1));
        assert!(second.as_mut().poll(cx).is_pending());
        assert!(matches!(pin!(gate.turn(1)).poll(cx), Poll::Ready(None)), "the queue is full");
        drop(second);
        let mut third = Box::pin(gate.turn(1));
        assert!(third.as_mut().poll(cx).is_pending(), "the place of one who left is free");
        drop(turn);
        let Poll::Ready(Some(turn)) = third.as_mut().poll(cx) else { panic!("no turn after the first one's end") };
        assert!(matches!(pin!(gate.turn(0)).poll(cx), Poll::Ready(None)), "no queue at all");
        drop(turn);
        assert!(matches!(pin!(gate.turn(0)).poll(cx), Poll::Ready(Some(_))));
    }
}
