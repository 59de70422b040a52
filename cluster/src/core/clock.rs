//! The hybrid clock: later than everything that was seen, and close to the time of day.

use serde::{Deserialize, Serialize};

use super::name::NodeName;

/// How far ahead of our own clock a time may be that we take over, in milliseconds. Admission allows 2 s; what is further
/// ahead would keep the last word for as long, so it is refused.
pub const AHEAD_MS_MAX: u64 = 60_000;

/// A hybrid time: milliseconds since 1970 in the upper 48 bits, a counter below.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct HybridTime(pub u64);

impl HybridTime {
    /// The first of a millisecond.
    pub fn of_ms(ms: u64) -> Self {
        HybridTime(ms << 16)
    }

    /// Its milliseconds since 1970.
    pub fn ms(self) -> u64 {
        self.0 >> 16
    }
}

/// A hybrid time and the node that gave it: no two are equal.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Stamp {
    /// When.
    pub time: HybridTime,
    /// By whom.
    pub node: NodeName,
}

/// A session's fencing epoch: the keeper that granted it and when. The higher one owns the session. A store that wants one
/// number takes `time.0`.
pub type Epoch = Stamp;

/// The clock of a node.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    last: HybridTime,
}

impl Clock {
    /// A time above every one that was given or seen.
    pub(crate) fn next(&mut self, now_ms: u64) -> HybridTime {
        self.last = HybridTime::of_ms(now_ms).max(HybridTime(self.last.0 + 1));
        self.last
    }

    /// Takes note of another node's time. Whether it is close enough to ours to be believed.
    pub(crate) fn see(&mut self, time: HybridTime, now_ms: u64) -> bool {
        let believed = time.ms() <= now_ms.saturating_add(AHEAD_MS_MAX);
        if believed {
            self.last = self.last.max(time);
        }
        believed
    }

    /// The highest time that was given or seen.
    pub(crate) fn last(&self) -> HybridTime {
        self.last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An epoch is above every one that was seen, also with a clock behind; a time far ahead does not carry everybody away.
    #[test]
    fn time_only_goes_forward() {
        let mut clock = Clock::default();
        let first = clock.next(5);
        assert!(clock.next(5) > first && clock.next(3) > first);
        assert!(clock.see(HybridTime::of_ms(900), 5));
        assert!(clock.next(5) > HybridTime::of_ms(900));
        let far = HybridTime::of_ms(6 + AHEAD_MS_MAX);
        assert!(!clock.see(far, 5) && clock.next(5) < far);
        assert!(clock.see(far, 6));
    }
}
