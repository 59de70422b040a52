//! Windows. Compiled, and run under Wine alone (README.md).

use std::fs::Metadata;
use std::io;
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use gatemq_plugin_api::tracing;

use crate::file::Stamp;

/// std cannot ask who may write to a file, or read it: it is believed, and the operator is told once what to see to.
pub(crate) fn check_writers(_: &Metadata) -> Result<(), String> {
    static TOLD: Once = Once::new();
    TOLD.call_once(|| {
        tracing::warn!(
            "this system does not tell who may write to the files that decide who is admitted, or read their secrets: see to it that \
             their access control lists name the broker's user and administrators alone"
        );
    });
    Ok(())
}

/// Not known.
pub(crate) fn others_read(_: &Metadata) -> bool {
    false
}

/// Of a file. What std has of it are two times that whoever writes may set back: one who does that, with as many bytes, is not noticed.
pub(crate) fn stamp(meta: &Metadata) -> Stamp {
    let modified = since_1970(meta.modified());
    let changed = modified.max(since_1970(meta.created()));
    Stamp { device: 0, inode: 0, bytes: meta.len(), modified, changed }
}

/// Seconds and nanoseconds.
fn since_1970(at: io::Result<SystemTime>) -> (i64, i64) {
    let since = at.ok().and_then(|at| at.duration_since(UNIX_EPOCH).ok()).unwrap_or_default();
    (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos().into())
}
