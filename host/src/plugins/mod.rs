//! The plugins of this node.
//!
//! | module | what it does |
//! |---|---|
//! | [`find`] | which libraries, under which names |
//! | [`mod@start`] | loads and starts them; may the node serve with what it got? |
//! | [`load`] | one library to a started instance, at the start and at a reload |
//! | [`set`] | all of them: what is in force, how they are, their end |
//! | [`reload`] | replaces one while it is called |
//! | [`exchange`] | those that are new in the configuration come, those that are gone from it go |
//! | [`mod@check`] | looks at libraries and their configurations, and starts nothing |
//! | [`auth`] | the chain of auth providers of each listener |
//! | [`failures`] | refused clients of each address |
//! | [`services`] | what plugins may call |

mod auth;
mod check;
mod exchange;
mod failures;
mod find;
mod load;
mod reload;
mod services;
mod set;
mod start;

pub(crate) use auth::{Admission, Guard, judge};
pub(crate) use check::check;
pub(crate) use find::name_of;
pub(crate) use reload::Reloaded;
pub(crate) use set::Plugins;
pub(crate) use start::{Problem, start};

use gatemq_plugin_loader::CallFailure;
use gatemq_types::event::Fact;

use crate::events::Events;

/// Tells of a call that failed. One that was not made, because its breaker is open or the plugin not ready, is told by the events
/// of that, and by what becomes of the client.
pub(crate) fn tell_failure(events: &Events, plugin: &str, method: &'static str, failure: &CallFailure) {
    if failure.was_called() || failure.is_busy() {
        events.emit(None, failure_event(plugin, method, failure));
    }
}

/// The event that a failed call is.
fn failure_event(plugin: &str, method: &'static str, failure: &CallFailure) -> Fact {
    let (plugin, method) = (plugin.to_owned().into(), method.into());
    match failure {
        CallFailure::TimedOut { timeout_ms } => Fact::PluginCallTimedOut { plugin, method, timeout_ms: *timeout_ms },
        CallFailure::Panicked(message) => Fact::PluginPanicked { plugin, method, message: message.clone().into() },
        CallFailure::Fenced(_) => Fact::PluginFenced { plugin, why: failure.to_string().into() },
        other => Fact::PluginCallFailed { plugin, method, error: other.to_string().into() },
    }
}
