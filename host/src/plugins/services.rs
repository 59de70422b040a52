//! What the host does for a plugin instance.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use gatemq_plugin_loader::{Answer, Level, Services};
use gatemq_types::service::Request;
use parking_lot::Mutex;

use crate::admin::{Asker, By, Desk};

/// Counters and gauges that a plugin may have.
const METRICS_MAX: usize = 256;
/// Log lines of a plugin in a second; further ones are left out and counted.
const LOG_LINES_PER_S_MAX: u32 = 1000;

/// Services of one instance.
pub(crate) struct InstanceServices {
    name: String,
    asker: Arc<Asker>,
    desk: Arc<Desk>,
    metrics: Mutex<HashMap<String, i64>>,
    lines: Mutex<Lines>,
}

/// A plugin's message with its control characters escaped: it may hold what a peer said. Quotes stay as they are.
fn one_line(message: &str) -> Cow<'_, str> {
    if !message.contains(char::is_control) {
        return Cow::Borrowed(message);
    }
    let mut line = String::with_capacity(message.len() + 8);
    for c in message.chars() {
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    Cow::Owned(line)
}

/// The log budget of the running second.
#[derive(Default)]
struct Lines {
    second: u64,
    written: u32,
    left_out: u64,
}

impl InstanceServices {
    /// For an instance of that name.
    pub(crate) fn new(name: &str, desk: &Arc<Desk>) -> Self {
        let (asker, desk) = (Asker::new(By::Plugin(name.into())), desk.clone());
        InstanceServices { name: name.to_owned(), asker, desk, metrics: Mutex::default(), lines: Mutex::default() }
    }

    /// Whether one more line may be written, and how many were left out before it.
    fn line_allowed(&self) -> Option<u64> {
        let now = crate::clock::now_ms() / 1000;
        let mut lines = self.lines.lock();
        if lines.second != now {
            (lines.second, lines.written) = (now, 0);
        }
        if lines.written >= LOG_LINES_PER_S_MAX {
            lines.left_out += 1;
            return None;
        }
        lines.written += 1;
        Some(std::mem::take(&mut lines.left_out))
    }

    fn metric(&self, name: &str, change: impl FnOnce(&mut i64)) {
        let mut metrics = self.metrics.lock();
        if let Some(value) = metrics.get_mut(name) {
            change(value);
        } else if metrics.len() < METRICS_MAX {
            change(metrics.entry(name.to_owned()).or_insert(0));
        }
    }
}

impl Services for InstanceServices {
    fn log_level(&self) -> Level {
        // The host's filter decides on each line; the bound here spares plugins the formatting.
        match tracing::level_filters::LevelFilter::current() {
            l if l >= tracing::level_filters::LevelFilter::TRACE => Level::Trace,
            l if l >= tracing::level_filters::LevelFilter::DEBUG => Level::Debug,
            l if l >= tracing::level_filters::LevelFilter::INFO => Level::Info,
            l if l >= tracing::level_filters::LevelFilter::WARN => Level::Warn,
            _ => Level::Error,
        }
    }

    fn log(&self, level: Level, target: &str, message: &str) {
        let Some(left_out) = self.line_allowed() else { return };
        let plugin = &self.name;
        if left_out > 0 {
            tracing::warn!(target: "gatemq::plugin", plugin, left_out, "more log lines than a plugin may write in a second");
        }
        let message = one_line(message);
        match level {
            Level::Error => tracing::error!(target: "gatemq::plugin", plugin, from = target, "{message}"),
            Level::Warn => tracing::warn!(target: "gatemq::plugin", plugin, from = target, "{message}"),
            Level::Info => tracing::info!(target: "gatemq::plugin", plugin, from = target, "{message}"),
            Level::Debug => tracing::debug!(target: "gatemq::plugin", plugin, from = target, "{message}"),
            Level::Trace => tracing::trace!(target: "gatemq::plugin", plugin, from = target, "{message}"),
        }
    }

    fn count(&self, counter: &str, add: u64) {
        self.metric(counter, |value| *value = value.saturating_add(i64::try_from(add).unwrap_or(i64::MAX)));
    }

    fn gauge(&self, gauge: &str, to: i64) {
        self.metric(gauge, |value| *value = to);
    }

    fn request(&self, request: Request, answer: Answer) {
        self.desk.request(&self.asker, request, answer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the log against what peers say through plugins: no line break, no terminal sequence; quotes stay readable.
    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(one_line("a=\"b\" \n\u{1b}[2J\u{85}"), r#"a="b" \n\u{1b}[2J\u{85}"#);
    }

    /// Promise 6: a plugin that floods log and metrics is bounded.
    #[test]
    fn promise_6_a_flooding_plugin_is_bounded() {
        let services = InstanceServices::new("p", &Desk::new());
        (0..10_000).for_each(|n| services.count(&format!("c{n}"), 1));
        assert_eq!(services.metrics.lock().len(), METRICS_MAX);
        // Over at most three turns of the second.
        let written = (0..10_000).filter(|_| services.line_allowed().is_some()).count();
        assert!(written <= 4 * LOG_LINES_PER_S_MAX as usize, "{written}");
    }
}
