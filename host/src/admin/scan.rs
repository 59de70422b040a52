//! Looks at the connections of all workers; the desk's thread waits for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use gatemq_types::service::ServiceError;

use crate::node::Node;
use crate::worker::scan::{Looks, Scan};

/// How often it is looked whether the desk stops: a worker that was left behind never answers.
const LOOK: Duration = Duration::from_millis(100);

/// See the module.
pub(super) struct Scanner<'a> {
    pub(super) node: &'a Arc<Node>,
    /// Whether the desk stops.
    pub(super) stop: &'a AtomicBool,
}

impl Scanner<'_> {
    /// Looks at every connection, on all workers at the same time. When this returns each connection that was known before has
    /// been looked at.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn all(&self, look: &Looks) -> Result<(), ServiceError> {
        let workers = self.node.workers();
        let (done, is_done) = sync_channel(workers);
        for worker in 0..workers {
            let scan = Scan { from: 0, look: look.clone(), done: done.clone() };
            self.node.send(worker, |mail| mail.scans.push(scan));
        }
        drop(done);
        (0..workers).try_for_each(|_| self.wait(&is_done).map(drop))
    }

    /// Looks at one worker's connections from number `from` on; returns where to go on, or `None`: there are no more.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn one(&self, worker: usize, from: u32, look: &Looks) -> Result<Option<u32>, ServiceError> {
        let (done, is_done) = sync_channel(1);
        let scan = Scan { from, look: look.clone(), done };
        self.node.send(worker, |mail| mail.scans.push(scan));
        self.wait(&is_done)
    }

    fn wait(&self, is_done: &Receiver<Option<u32>>) -> Result<Option<u32>, ServiceError> {
        loop {
            match is_done.recv_timeout(LOOK) {
                Ok(next) => return Ok(next),
                Err(RecvTimeoutError::Timeout) if !self.stop.load(Ordering::SeqCst) => {}
                Err(_) => return Err(ServiceError::Unavailable),
            }
        }
    }
}
