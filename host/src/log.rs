//! The log: lines on stderr, as text or JSON.

use std::sync::OnceLock;

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

/// Exchanges the filter of the log that was begun.
static EXCHANGE: OnceLock<Box<dyn Fn(EnvFilter) -> bool + Send + Sync>> = OnceLock::new();

/// Begins to log.
///
/// # Errors
/// As [`filter`]; or a log was begun before.
pub(crate) fn init(log: &Log) -> Result<(), String> {
    let lines = fmt().with_env_filter(filter(log)?).with_writer(std::io::stderr);
    let (set, exchange): (_, Box<dyn Fn(EnvFilter) -> bool + Send + Sync>) = match log.format {
        LogFormat::Text => {
            let lines = lines.with_ansi(false).with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.try_init(), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
        LogFormat::Json => {
            let lines = lines.json().with_filter_reloading();
            let handle = lines.reload_handle();
            (lines.try_init(), Box::new(move |filter| handle.reload(filter).is_ok()))
        }
    };
    set.map_err(|e| format!("the log cannot be started: {e}"))?;
    // Once: a second log was refused.
    drop(EXCHANGE.set(exchange));
    Ok(())
}

/// Logs from now on what `filter` says.
pub(crate) fn adjust(filter: EnvFilter) {
    if !EXCHANGE.get().is_some_and(|exchange| exchange(filter)) {
        tracing::error!("log.level could not be changed; it is in effect from the next start on");
    }
}
