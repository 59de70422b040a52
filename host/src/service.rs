//! What the service manager is told (`sd_notify`): ready, reloading, stopping, and that the node is alive. Where nobody asked to
//! be told (`NOTIFY_SOCKET`), nothing happens.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use sd_notify::NotifyState;

use crate::node::Node;

/// The node serves.
pub(crate) fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The node ends; nobody is accepted any more.
pub(crate) fn stopping() {
    tell(&[NotifyState::Stopping]);
}

/// A reload. When it is dropped the node is ready again, with its new configuration or with that of before.
pub(crate) struct Reloading(());

impl Reloading {
    /// It begins.
    pub(crate) fn begin() -> Reloading {
        // With the time, as units of type notify-reload want it.
        let began = NotifyState::monotonic_usec_now().inspect_err(untold);
        tell(&[NotifyState::Reloading].into_iter().chain(began.ok()).collect::<Vec<_>>());
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
    let Some(within) = sd_notify::watchdog_enabled() else { return };
    let mut every = tokio::time::interval((within / 2).max(Duration::from_millis(1)));
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        for worker in (0..).take(node.workers()) {
            // Also none where it has ended: the node is about to.
            let _ = node.on_worker(worker, |_| ()).await;
        }
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(state: &[NotifyState]) {
    if let Err(e) = sd_notify::notify(state) {
        untold(&e);
    }
}

fn untold(error: &io::Error) {
    tracing::warn!("the service manager cannot be told what the node does: {error}");
}
