//! The plugins of this node: found, loaded, started; the chain of auth providers and the collectors.

mod auth;
mod find;
mod services;
mod start;

pub(crate) use auth::{Admission, AuthChain, judge};
pub(crate) use start::{PluginSet, Problem, start};

use gatemq_plugin_loader::CallFailure;
use gatemq_types::event::Fact;

/// The event that a failed call is.
pub(crate) fn failure_event(plugin: &str, method: &'static str, failure: &CallFailure) -> Fact {
    let (plugin, method) = (plugin.to_owned().into(), method.into());
    match failure {
        CallFailure::TimedOut { timeout_ms } => Fact::PluginCallTimedOut { plugin, method, timeout_ms: *timeout_ms },
        CallFailure::Panicked(message) => Fact::PluginPanicked { plugin, method, message: message.clone().into() },
        CallFailure::Fenced(_) => Fact::PluginFenced { plugin, why: failure.to_string().into() },
        other => Fact::PluginCallFailed { plugin, method, error: other.to_string().into() },
    }
}
