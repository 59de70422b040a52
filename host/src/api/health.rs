//! Whether the node lives, and whether it serves: for load balancers and supervisors, who learn a yes or a no, and nothing else.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::extract::State;
use axum::http::StatusCode;
use gatemq_plugin_loader::Health;

use super::Api;

/// Whether the listeners are open. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Serving(Arc<AtomicBool>);

impl Serving {
    /// They are, or no longer.
    pub(crate) fn set(&self, serving: bool) {
        self.0.store(serving, Ordering::Relaxed);
    }
}

/// It answers.
pub(super) async fn live() -> &'static str {
    "yes\n"
}

/// Listeners open, required plugins ready, and of a cluster's node what it needs of the others.
pub(super) async fn ready(State(api): State<Api>) -> (StatusCode, &'static str) {
    match is_ready(&api) {
        true => (StatusCode::OK, "yes\n"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "no\n"),
    }
}

pub(super) fn is_ready(api: &Api) -> bool {
    let plugins = || {
        let required = api.reload.plugins.required();
        api.reload.plugins.status().iter().all(|plugin| {
            !matches!(plugin.health, Health::NotReady(_)) || !required.iter().any(|name| **name == *plugin.name)
        })
    };
    api.serving.0.load(Ordering::Relaxed) && api.node.cluster().is_none_or(|cluster| cluster.is_ready()) && plugins()
}
