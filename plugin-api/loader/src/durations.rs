//! How long things took, counted by powers of two of a microsecond.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The last one is above 30 minutes.
pub const DURATION_BUCKETS: usize = 32;

/// See the module.
#[derive(Default)]
pub struct Durations {
    /// Those of less than 2^n µs, and no less than half of it.
    buckets: [AtomicU64; DURATION_BUCKETS],
    us_sum: AtomicU64,
}

/// What was counted up to now.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counted {
    /// As in [`Durations`]; the last one has the longer ones too.
    pub buckets: [u64; DURATION_BUCKETS],
    /// Microseconds of all together.
    pub us_sum: u64,
}

impl Durations {
    /// One more took this long.
    pub fn note(&self, took: Duration) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = (u64::BITS - us.leading_zeros()) as usize;
        self.buckets[bucket.min(DURATION_BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
        self.us_sum.fetch_add(us, Ordering::Relaxed);
    }

    /// All of them.
    pub fn read(&self) -> Counted {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counted { buckets: std::array::from_fn(|at| of(&self.buckets[at])), us_sum: of(&self.us_sum) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bounds of the histogram: 2^n µs is above what is counted there.
    #[test]
    fn what_took_long_is_in_a_high_bucket() {
        let durations = Durations::default();
        for us in [0, 1, 2, 3, 1000, u64::MAX] {
            durations.note(Duration::from_micros(us));
        }
        let Counted { buckets, .. } = durations.read();
        let wanted = [(0, 1), (1, 1), (2, 2), (10, 1), (DURATION_BUCKETS - 1, 1)];
        assert!(wanted.iter().all(|(at, n)| buckets[*at] == *n) && buckets.iter().sum::<u64>() == 6, "{buckets:?}");
    }
}
