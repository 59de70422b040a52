//! What depends on the system: whose a new file is, and whether a path still leads to it. Each has a file with the same functions.

#[cfg(unix)]
mod unix;
#[cfg(windows)]
mod windows;

#[cfg(unix)]
pub(crate) use unix::{Identity, for_group, read_at};
#[cfg(windows)]
pub(crate) use windows::{Identity, for_group, read_at};
