//! A clock that is wrong: a library that goes before the C library tells a broker another time of day.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tempfile::TempDir;

use crate::artifacts;
use crate::broker::Setup;

const SOURCE: &str = include_str!("clock.c");

/// A broker whose clock is so many seconds ahead; negative: behind.
///
/// # Panics
/// When there is no C compiler.
pub fn ahead(setup: Setup, seconds: i64) -> Setup {
    static BUILT: OnceLock<(TempDir, PathBuf)> = OnceLock::new();
    let (_, library) = BUILT.get_or_init(|| {
        let place = tempfile::tempdir().expect("a directory");
        let library = artifacts::library_of_c(place.path(), "clock", SOURCE);
        (place, library)
    });
    setup.environment("LD_PRELOAD", library).environment("CLOCK_AHEAD_S", Path::new(&seconds.to_string()))
}
