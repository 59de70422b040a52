//! At most so many questions at a time, and a bounded number that wait for their turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// See the module.
pub(crate) struct Gate {
    turns: Semaphore,
    turns_max: usize,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Why there is no turn.
pub(crate) enum NoTurn {
    /// As many as may wait already.
    Full(String),
    /// It was not its turn in time.
    Late,
}

impl Gate {
    pub(crate) fn new(turns_max: usize, waiting_max: usize) -> Self {
        Gate { turns: Semaphore::new(turns_max), turns_max, waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Waits for a turn, which ends when it is dropped. Who has waited longest is next.
    pub(crate) async fn turn(&self, timeout: Duration) -> Result<SemaphorePermit<'_>, NoTurn> {
        if let Ok(turn) = self.turns.try_acquire() {
            return Ok(turn);
        }
        let Some(_place) = Place::take(&self.waiting, self.waiting_max) else {
            let (turns, waiting) = (self.turns_max, self.waiting_max);
            return Err(NoTurn::Full(format!("{turns} questions are under way and {waiting} wait")));
        };
        match tokio::time::timeout(timeout, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(NoTurn::Late),
        }
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
