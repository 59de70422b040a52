//! `sd_notify`. Where nobody asked to be told (`NOTIFY_SOCKET`), nothing happens.

use std::io;
use std::time::Duration;

use sd_notify::NotifyState;

/// Ready.
pub(crate) fn ready() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Ready])
}

/// Reloading, with the time, as units of type notify-reload want it; without it where there is none, which is the error then.
pub(crate) fn reloading() -> io::Result<()> {
    let began = NotifyState::monotonic_usec_now();
    let untimed = began.as_ref().err().map(|e| io::Error::new(e.kind(), e.to_string()));
    sd_notify::notify(&[NotifyState::Reloading].into_iter().chain(began.ok()).collect::<Vec<_>>())?;
    untimed.map_or(Ok(()), Err)
}

/// Stopping.
pub(crate) fn stopping() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Stopping])
}

/// Alive.
pub(crate) fn alive() -> io::Result<()> {
    sd_notify::notify(&[NotifyState::Watchdog])
}

/// How often at least it wants to be told; `None`: not at all.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}
