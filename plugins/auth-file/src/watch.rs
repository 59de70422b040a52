//! Looks every two seconds whether the users file has changed, and has the broker ask again for whom it did.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use gatemq_plugin_api::service::{RevokeRetained, Selector, ServiceError};
use gatemq_plugin_api::tokio;
use gatemq_plugin_api::tracing;

use crate::state::State;

const EVERY: Duration = Duration::from_secs(2);

/// Marks that nobody watches any more, however the task ended: its runtime may be given up when the machine is slow.
struct Watching(Weak<State>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(state) = self.0.upgrade() {
            state.watched.store(false, Ordering::Release);
        }
    }
}

/// Watches, unless somebody does already. Cheap: called at every client.
pub(crate) fn watch(state: &Arc<State>) {
    if state.watched.load(Ordering::Acquire) || state.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let watching = Watching(Arc::downgrade(state));
    // Where the plugin has ended, the task is dropped, and its mark with it.
    state.host.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(state) = watching.0.upgrade() else { return };
            let looking = state.clone();
            match tokio::task::spawn_blocking(move || looking.look()).await {
                Ok(changed) => ask_again(&state, changed).await,
                Err(e) => tracing::error!("the users file could not be looked at: {e}"),
            }
        }
    });
}

/// Has the broker ask for the grants of clients again: they may be disabled, or may do other things now.
pub(crate) async fn ask_again(state: &State, changed: Vec<(String, String)>) {
    for (tenant, user) in changed {
        let selector = Selector { tenant: Some(tenant), user: Some(user.clone()), ..Selector::default() };
        match state.host.revoke(selector, RevokeRetained::Keep).await {
            Ok(_) | Err(ServiceError::NotFound) => {}
            Err(ServiceError::NotSupported) => {
                tracing::warn!("clients that are connected keep their grants: this broker cannot ask for them again");
                return;
            }
            Err(e) => tracing::error!("clients of {user:?} that are connected keep their grants: {e}"),
        }
    }
}
