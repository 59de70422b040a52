//! Nobody is told: the node is no service of the service control manager, it runs in a console or below a program that makes it one.

use std::io;
use std::time::Duration;

/// Ready.
pub(crate) fn ready() -> io::Result<()> {
    Ok(())
}

/// Reloading.
pub(crate) fn reloading() -> io::Result<()> {
    Ok(())
}

/// Stopping.
pub(crate) fn stopping() -> io::Result<()> {
    Ok(())
}

/// Alive.
pub(crate) fn alive() -> io::Result<()> {
    Ok(())
}

/// It never wants to be told.
pub(crate) fn watchdog() -> Option<Duration> {
    None
}
