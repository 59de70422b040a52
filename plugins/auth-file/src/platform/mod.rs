//! What depends on the system: who may write to a file and read it, and what changes when it does. Each has a file with the same functions.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{check_writers, others_read, stamp};
#[cfg(windows)]
pub(crate) use windows::{check_writers, others_read, stamp};
