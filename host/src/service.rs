//! What the service manager is told (`sd_notify` where there is systemd): ready, reloading, stopping, and that the node is alive. Where
//! nobody asked to be told (`NOTIFY_SOCKET`), nothing happens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::node::Node;
use crate::platform::supervisor;

/// The node serves.
pub(crate) fn ready() {
    tell(supervisor::ready());
}

/// The node ends; nobody is accepted any more.
pub(crate) fn stopping() {
    tell(supervisor::stopping());
}

/// A reload. When it is dropped the node is ready again, with its new configuration or with that of before.
pub(crate) struct Reloading(());

impl Reloading {
    /// It begins.
    pub(crate) fn begin() -> Reloading {
        tell(supervisor::reloading());
        Reloading(())
    }
}

impl Drop for Reloading {
    fn drop(&mut self) {
        ready();
    }
}

/// Says that the node is alive, twice in each time that the service manager gives it (`WatchdogSec=`), as long as every worker
/// answers: one that hangs has the node restarted. Ends at once where nobody watches.
pub(crate) async fn watched(node: Arc<Node>) {
    let Some(within) = supervisor::watchdog() else { return };
    let mut every = tokio::time::interval((within / 2).max(Duration::from_millis(1)));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for worker in (0..).take(node.workers()) {
            // Also none where it has ended: the node is about to.
            let _ = node.on_worker(worker, |_| ()).await;
        }
        tell(supervisor::alive());
    }
}

fn tell(told: io::Result<()>) {
    if let Err(error) = told {
        tracing::warn!("the service manager cannot be told what the node does: {error}");
    }
}
