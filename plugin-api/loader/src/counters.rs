//! What is counted of a plugin's calls, over all its generations.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::CallFailure;
use crate::durations::{Counted, DURATION_BUCKETS as BUCKETS, Durations};

/// See the module.
#[derive(Default)]
pub(crate) struct Counters {
    calls: AtomicU64,
    failures: AtomicU64,
    timeouts: AtomicU64,
    refused: AtomicU64,
    latency: Durations,
    latency_us_max: AtomicU64,
}

/// Counts of a plugin's calls since the node started.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Calls that ended with an answer or a failure.
    pub calls: u64,
    /// Those that failed, those without an answer in time included.
    pub failures: u64,
    /// Those without an answer in time.
    pub timeouts: u64,
    /// Calls that were not made: too many were under way, or the breaker was open.
    pub refused: u64,
    /// Half of the calls took no longer than this many microseconds (rounded up to a power of two); 0: there were none.
    pub latency_us_p50: u64,
    /// As before, 99 percent of the calls.
    pub latency_us_p99: u64,
    /// The longest call in microseconds.
    pub latency_us_max: u64,
    /// Microseconds of all calls together.
    pub latency_us_sum: u64,
    /// Calls that took less than 2^n µs, and no less than half of it; the last one has the longer ones too.
    pub latency: [u64; BUCKETS],
}

impl Counters {
    pub(crate) fn ended(&self, took: Duration, failed: bool, failure: Option<&CallFailure>) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency.note(took);
        self.latency_us_max.fetch_max(us, Ordering::Relaxed);
        self.calls.fetch_add(1, Ordering::Relaxed);
        if failed {
            self.failures.fetch_add(1, Ordering::Relaxed);
        }
        if matches!(failure, Some(CallFailure::TimedOut { .. })) {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(crate) fn refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn read(&self) -> Counts {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let Counted { buckets, us_sum } = self.latency.read();
        let max = of(&self.latency_us_max);
        Counts {
            calls: of(&self.calls),
            failures: of(&self.failures),
            timeouts: of(&self.timeouts),
            refused: of(&self.refused),
            latency_us_p50: percentile(&buckets, 50).min(max),
            latency_us_p99: percentile(&buckets, 99).min(max),
            latency_us_max: max,
            latency_us_sum: us_sum,
            latency: buckets,
        }
    }
}

fn percentile(buckets: &[u64], percent: u64) -> u64 {
    let wanted = (buckets.iter().sum::<u64>() * percent).div_ceil(100);
    let mut seen = 0;
    let found = buckets.iter().position(|n| {
        seen += n;
        seen >= wanted
    });
    found.filter(|_| wanted > 0).map_or(0, |bucket| 1 << bucket)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards what `gatemq plugin list` shows: the percentiles bound what was measured, the counts tell failures apart.
    #[test]
    fn counts_and_percentiles() {
        let counters = Counters::default();
        assert_eq!(counters.read(), Counts::default());
        for _ in 0..98 {
            counters.ended(Duration::from_micros(100), false, None);
        }
        counters.ended(Duration::from_millis(3), true, None);
        let timed_out = CallFailure::TimedOut { timeout_ms: 5000 };
        counters.ended(Duration::from_secs(5), true, Some(&timed_out));
        counters.refused();
        let mut latency = [0; BUCKETS];
        (latency[7], latency[12], latency[23]) = (98, 1, 1);
        let wanted = Counts {
            calls: 100,
            failures: 2,
            timeouts: 1,
            refused: 1,
            latency_us_p50: 128,
            latency_us_p99: 4096,
            latency_us_max: 5_000_000,
            latency_us_sum: 5_012_800,
            latency,
        };
        assert_eq!(counters.read(), wanted);
    }
}
