//! Whether the node has more to do than it can. New connections are refused then, before any work for them; those that are there go
//! on.
//!
//! Each worker says when it is late, and one of them when the process has too much memory: the node is overloaded while at least one
//! says so. Each has two thresholds and must stay beyond one for a while, so that the state does not flap.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use gatemq_types::event::Fact;

use crate::config;
use crate::events::Events;
use crate::platform;

/// Ticks (of 100 ms) in a row that are late until a worker says so.
const LATE_TICKS: u32 = 3;
/// Ticks in a row that are not, by half the limit, until it takes that back.
const CALM_TICKS: u32 = 20;

/// See the module.
#[derive(Default)]
pub(crate) struct Overload {
    lag_ms_max: AtomicU64,
    memory_bytes_max: AtomicU64,
    /// How many say so.
    sources: AtomicUsize,
    since_ms: AtomicU64,
    refused: AtomicU64,
}

/// What one of those who say so knows of itself.
#[derive(Debug, Default)]
pub(crate) struct Source {
    late: u32,
    calm: u32,
    says: bool,
}

/// What a source begins or ceases to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    TooMuch,
    Over,
}

impl Source {
    /// One more measurement. `max` 0 is no limit; from `low` on it is not too much any more; `late` measurements in a row make it say
    /// so, `calm` take it back.
    fn measured(&mut self, actual: u64, max: u64, low: u64, late: u32, calm: u32) -> Said {
        let is_late = max > 0 && actual > max;
        let is_calm = max == 0 || actual <= low;
        self.late = if is_late { self.late.saturating_add(1) } else { 0 };
        self.calm = if is_calm { self.calm.saturating_add(1) } else { 0 };
        match self.says {
            false if self.late >= late => {
                self.says = true;
                Said::TooMuch
            }
            true if self.calm >= calm => {
                self.says = false;
                Said::Over
            }
            _ => Said::Nothing,
        }
    }
}

impl Overload {
    /// Has other limits from now on.
    pub(crate) fn adjust(&self, settings: config::Overload) {
        self.lag_ms_max.store(settings.lag_ms_max, Ordering::Relaxed);
        self.memory_bytes_max.store(settings.memory_bytes_max, Ordering::Relaxed);
    }

    /// Whether a new connection is refused. Counts it, if so.
    pub(crate) fn refuses(&self) -> bool {
        let refuses = self.sources.load(Ordering::Relaxed) > 0;
        if refuses {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        refuses
    }

    /// A worker came `lag_ms` late to its tick.
    pub(crate) fn lag(&self, source: &mut Source, lag_ms: u64, events: &Events, now_ms: u64) {
        let max = self.lag_ms_max.load(Ordering::Relaxed);
        let said = source.measured(lag_ms, max, max / 2, LATE_TICKS, CALM_TICKS);
        self.said(said, ("lag", lag_ms, max), events, now_ms);
    }

    /// The process has so much memory; looked at once a second.
    pub(crate) fn memory(&self, source: &mut Source, events: &Events, now_ms: u64) {
        let max = self.memory_bytes_max.load(Ordering::Relaxed);
        if max == 0 && !source.says {
            return;
        }
        // Where it cannot be known it does not count.
        let bytes = platform::resident_bytes().unwrap_or(0);
        let said = source.measured(bytes, max, max - max / 10, 1, 1);
        self.said(said, ("memory", bytes, max), events, now_ms);
    }

    fn said(&self, said: Said, (cause, actual, max): (&'static str, u64, u64), events: &Events, now_ms: u64) {
        match said {
            Said::Nothing => {}
            Said::TooMuch if self.sources.fetch_add(1, Ordering::Relaxed) == 0 => {
                self.since_ms.store(now_ms, Ordering::Relaxed);
                self.refused.store(0, Ordering::Relaxed);
                events.emit(None, Fact::OverloadEntered { cause: cause.into(), actual, max });
            }
            Said::Over if self.sources.fetch_sub(1, Ordering::Relaxed) == 1 => {
                let lasted_ms = now_ms.saturating_sub(self.since_ms.load(Ordering::Relaxed));
                events.emit(None, Fact::OverloadLeft { lasted_ms, refused: self.refused.load(Ordering::Relaxed) });
            }
            Said::TooMuch | Said::Over => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the two thresholds: what is late once, or in between, changes nothing; late in a row begins it, only calm in a row ends it.
    #[test]
    fn it_neither_flaps_nor_sticks() {
        let mut source = Source::default();
        let mut lag = |actual| source.measured(actual, 100, 50, 3, 4);
        assert!([200, 200, 10, 200, 200].map(&mut lag).iter().all(|said| *said == Said::Nothing));
        assert_eq!(lag(101), Said::TooMuch);
        assert!([10, 10, 10, 51, 10, 10, 10, 300, 10, 10, 10].map(&mut lag).iter().all(|said| *said == Said::Nothing));
        assert_eq!(lag(50), Said::Over);
        assert_eq!(lag(200), Said::Nothing);
    }

    /// Guards a limit that a reload takes away: the overload ends.
    #[test]
    fn no_limit_is_never_too_much() {
        let mut source = Source::default();
        assert_eq!(source.measured(u64::MAX, 0, 0, 1, 1), Said::Nothing);
        assert_eq!(source.measured(2, 1, 1, 1, 1), Said::TooMuch);
        assert_eq!(source.measured(2, 0, 0, 1, 1), Said::Over);
    }
}
