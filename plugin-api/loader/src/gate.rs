//! Whether a plugin's instance may still be called, and when nobody is inside any more.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Instant;

use crate::CallFailure;

/// Refusal of every call after a stop.
pub(crate) const STOPPED: CallFailure = CallFailure::NotThere("it was stopped");

/// See the module. Entering never waits: the lock is held for writing only for the instant of finding it free, and by
/// nobody while the author's code runs.
#[derive(Default)]
pub(crate) struct Gate {
    closed: AtomicBool,
    inside: RwLock<()>,
}

impl Gate {
    /// Enters for a call; leave by dropping what is returned.
    pub(crate) fn enter(&self) -> Result<RwLockReadGuard<'_, ()>, CallFailure> {
        let inside = self.enter_closed();
        // Asked behind the lock: `empty` comes after `close`, so whoever enters after it sees that it is closed.
        self.open().map(|()| inside)
    }

    /// Enters for the call that stops, which comes after [`Gate::close`].
    pub(crate) fn enter_closed(&self) -> RwLockReadGuard<'_, ()> {
        self.inside.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Refuses every call from now on. False: it was closed already.
    pub(crate) fn close(&self) -> bool {
        !self.closed.swap(true, Ordering::SeqCst)
    }

    /// Whether it is still open: for callers that are known to have left in another way.
    pub(crate) fn open(&self) -> Result<(), CallFailure> {
        if self.closed.load(Ordering::SeqCst) { Err(STOPPED) } else { Ok(()) }
    }

    /// Waits until nobody is inside a closed gate, which nobody then enters any more, and `others` says the same of those
    /// that have not entered. False: somebody still is.
    pub(crate) fn emptied(&self, until: Instant, others: impl Fn() -> bool) -> bool {
        loop {
            if self.inside.try_write().is_ok() && others() {
                return true;
            }
            if Instant::now() >= until {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
    }
}
