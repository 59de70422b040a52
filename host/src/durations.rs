//! How long things took, for `/metrics`: counted as calls of plugins are.

pub(crate) use gatemq_plugin_loader::{Counted, DURATION_BUCKETS as BUCKETS, Durations};

/// Those of a node.
#[derive(Default)]
pub(crate) struct Timings {
    /// From when a worker submits changes to when the store has them: what acknowledgements wait for.
    pub(crate) commits: Durations,
    /// Routing of a message: ten samples a second of each worker at most, for the clock costs more than most of them.
    pub(crate) routing: Durations,
}
