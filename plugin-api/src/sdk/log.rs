//! `tracing` of the plugin's library, sent to the host's log.

use std::fmt::{self, Write};
use std::sync::Once;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::Interest;
use tracing::{Event, Level, Metadata, Subscriber};

use super::Host;

/// Every library has a dispatcher of its own: this makes it the host's.
pub(crate) fn install(host: &Host) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // Fails only where the author installed a subscriber before: that one is theirs to have.
        let _ = tracing::subscriber::set_global_default(ToHost { host: host.clone(), spans: AtomicU64::new(1) });
    });
}

struct ToHost {
    host: Host,
    spans: AtomicU64,
}

fn number(level: &Level) -> u8 {
    match *level {
        Level::ERROR => 1,
        Level::WARN => 2,
        Level::INFO => 3,
        Level::DEBUG => 4,
        Level::TRACE => 5,
    }
}

impl Subscriber for ToHost {
    /// By default tracing remembers the first answer of `enabled` for ever; the host's level may change.
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_span() { Interest::never() } else { Interest::sometimes() }
    }
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        !metadata.is_span() && number(metadata.level()) <= self.host.log_level()
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(self.spans.fetch_add(1, Ordering::Relaxed))
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        let mut line = Line::default();
        event.record(&mut line);
        self.host.log(number(event.metadata().level()), event.metadata().target(), &line.finish());
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// `message key=value …`
#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn finish(mut self) -> String {
        self.message.push_str(&self.fields);
        self.message
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}
