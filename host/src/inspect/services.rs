//! What a plugin may ask where no broker runs: it is heard, and there is nobody to do anything.

use gatemq_plugin_loader::{Answer, Level, Services};
use gatemq_types::service::{Request, ServiceError};

/// Log lines go to stderr, from warnings on; requests are answered `NotFound`: there are no clients and no denials.
pub(super) struct Alone;

impl Services for Alone {
    fn log_level(&self) -> Level {
        Level::Warn
    }

    fn log(&self, level: Level, _: &str, message: &str) {
        let level = if level == Level::Error { "error" } else { "warning" };
        eprintln!("plugin: {level}: {}", message.escape_debug());
    }

    fn count(&self, _: &str, _: u64) {}

    fn gauge(&self, _: &str, _: i64) {}

    fn request(&self, _: Request, answer: Answer) {
        answer(Err(ServiceError::NotFound));
    }
}
