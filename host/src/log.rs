//! The log: lines on stderr, as text or JSON.

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt;

use crate::config::{Log, LogFormat};

/// Libraries that say at these levels what is an event of ours already, or what nobody wants to read of each call. What a
/// configuration says of them counts.
const LIBRARIES: &str = "tarpc=warn,memberlist_core=off,memberlist_proto=off";

/// What is logged.
///
/// # Errors
/// The level is no level and no filter.
pub(crate) fn filter(log: &Log) -> Result<EnvFilter, String> {
    EnvFilter::try_new(format!("{LIBRARIES},{}", log.level)).map_err(|e| {
        format!("log.level: {:?} is neither a level (error, warn, info, debug, trace) nor a filter: {e}", log.level)
    })
}

/// Begins to log.
///
/// # Errors
/// As [`filter`]; or a log was begun before.
pub(crate) fn init(log: &Log) -> Result<(), String> {
    let filter = filter(log)?;
    let lines = fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let set = match log.format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    set.map_err(|e| format!("the log cannot be started: {e}"))
}
