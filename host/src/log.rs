//! The log: lines on stderr, as text or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Begins to log.
///
/// # Errors
/// The level is no level and no filter.
pub(crate) fn init(log: &Log) -> Result<(), String> {
    let filter = EnvFilter::try_new(&log.level).map_err(|e| {
        format!("log.level: {:?} is neither a level (error, warn, info, debug, trace) nor a filter: {e}", log.level)
    })?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|e| format!("the log cannot be started: {e}"))
}
