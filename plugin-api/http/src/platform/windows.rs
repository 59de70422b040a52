//! Windows. Compiled, and run under Wine alone (README.md).

use std::fs::Metadata;
use std::sync::Once;

use gatemq_plugin_api::tracing;

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
