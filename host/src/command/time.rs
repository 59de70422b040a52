//! Times for people, and lengths of time from them.

use std::time::{Duration, UNIX_EPOCH};

use serde_json::Value;

/// Milliseconds since 1970 as UTC to the second; 0 is none.
pub(crate) fn shown(ms: &Value) -> String {
    match ms.as_u64() {
        None | Some(0) => "-".to_owned(),
        Some(ms) => {
            // Beyond year 9999 it cannot be written.
            let at = Duration::from_millis(ms).min(Duration::from_secs(253_402_300_799));
            humantime::format_rfc3339_seconds(UNIX_EPOCH + at).to_string()
        }
    }
}

/// Such as `90s`, `15m`, `12h` or `7d`, in milliseconds.
///
/// # Errors
/// What it must be.
pub(crate) fn length(text: &str) -> Result<u64, String> {
    let length = humantime::parse_duration(text).map_err(|e| format!("{e}; write such as 15m or 7d"))?;
    match u64::try_from(length.as_millis()) {
        Ok(0) => Err("it must be at least 1ms".to_owned()),
        Ok(ms) => Ok(ms),
        Err(_) => Err("it is too long; leave it out for ever".to_owned()),
    }
}
