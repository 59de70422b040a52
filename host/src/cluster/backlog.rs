//! Control messages of one node that the driver has not taken yet: as many as there is room for, then its link is not read.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// Bytes of messages of a node that wait. A message counts as more than it has, for what it is made into.
const BYTES_MAX: usize = 64 << 20;
const EACH_BYTES: usize = 512;

/// See the module.
#[derive(Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    emptied: Notify,
}

/// A message's room, given back when it is dropped.
pub(super) struct Permit {
    backlog: Arc<Backlog>,
    bytes: usize,
}

impl Backlog {
    /// One more, with so many bytes.
    pub(super) fn enter(backlog: &Arc<Backlog>, bytes: usize) -> Permit {
        let bytes = bytes.saturating_add(EACH_BYTES);
        backlog.bytes.fetch_add(bytes, Ordering::Relaxed);
        Permit { backlog: backlog.clone(), bytes }
    }

    fn has_room(&self) -> bool {
        self.bytes.load(Ordering::Relaxed) < BYTES_MAX
    }

    /// Until there is room.
    pub(super) async fn room(&self) {
        loop {
            let mut emptied = std::pin::pin!(self.emptied.notified());
            emptied.as_mut().enable();
            if self.has_room() {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let before = self.backlog.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        if before >= BYTES_MAX && before - self.bytes < BYTES_MAX {
            self.backlog.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    /// Promise 6: what a node says faster than it is taken waits at that node, and goes on when some was taken.
    #[test]
    fn promise_6_a_node_waits_for_room() {
        let backlog = Arc::default();
        let small = Backlog::enter(&backlog, 1);
        assert!(backlog.room().now_or_never().is_some());
        let large = Backlog::enter(&backlog, BYTES_MAX);
        let mut waits = Box::pin(backlog.room());
        assert!(waits.as_mut().now_or_never().is_none());
        drop(small);
        assert!(waits.as_mut().now_or_never().is_none());
        drop(large);
        assert!(waits.as_mut().now_or_never().is_some());
    }
}
