//! Rates: buckets that hold a second's worth and start full. Whoever takes more than there is has taken it all the same, and
//! waits until the debt is paid.

/// A clock that goes back further than workers differ was set.
const CLOCK_SET_MS: u64 = 10_000;

/// A bucket, in thousandths, so that nothing is lost where little comes in a millisecond.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_s: u64,
    left: i64,
}

fn thousandths(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX).saturating_mul(1000)
}

impl Bucket {
    /// `None`: there is no bound. One of 0 is taken as 1: nobody would ever be read again.
    fn new(per_s: Option<u64>) -> Option<Self> {
        per_s.map(|per_s| Bucket { per_s: per_s.max(1), left: thousandths(per_s.max(1)) })
    }

    fn fill(&mut self, elapsed_ms: u64) {
        let more = i64::try_from(self.per_s.saturating_mul(elapsed_ms)).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(more).min(thousandths(self.per_s));
    }

    fn take(&mut self, n: u64) {
        self.left = self.left.saturating_sub(thousandths(n));
    }

    /// How many there are; 0 in debt.
    fn left(&self) -> u64 {
        u64::try_from(self.left / 1000).unwrap_or(0)
    }

    fn over(&self) -> Option<Over> {
        let debt = u64::try_from(self.left.saturating_neg()).ok().filter(|debt| *debt > 0)?;
        let actual = self.per_s.saturating_add(debt.div_ceil(1000));
        Some(Over { what: What::Messages, wait_ms: debt.div_ceil(self.per_s), max: self.per_s, actual })
    }
}

/// Of what there was too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Messages.
    Messages,
    /// Bytes of packets.
    Bytes,
}

/// More was taken than there was.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Over {
    /// Of what.
    pub what: What,
    /// Milliseconds until the debt is paid, at least 1.
    pub wait_ms: u64,
    /// What may be taken in a second.
    pub max: u64,
    /// What was taken in one, and what is owed.
    pub actual: u64,
}

/// Messages and bytes per second.
#[derive(Clone, Copy, Debug)]
pub struct Rates {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    filled_ms: u64,
}

impl Rates {
    /// `None` where neither is bounded.
    pub fn new(messages_per_s: Option<u64>, bytes_per_s: Option<u64>, now_ms: u64) -> Option<Self> {
        let rates = Rates { messages: Bucket::new(messages_per_s), bytes: Bucket::new(bytes_per_s), filled_ms: now_ms };
        (rates.messages.is_some() || rates.bytes.is_some()).then_some(rates)
    }

    /// As what follows `before`: what it has used up stays used up.
    #[must_use]
    pub fn instead_of(mut self, before: Option<&Rates>) -> Self {
        if let Some(before) = before {
            self.filled_ms = before.filled_ms;
            for (bucket, before) in [(&mut self.messages, before.messages), (&mut self.bytes, before.bytes)] {
                if let (Some(bucket), Some(before)) = (bucket, before) {
                    bucket.left = bucket.left.min(before.left);
                }
            }
        }
        self
    }

    /// Takes a message of that many bytes.
    pub fn take(&mut self, bytes: u64, now_ms: u64) -> Option<Over> {
        self.fill(now_ms);
        for (bucket, n) in [(&mut self.messages, 1), (&mut self.bytes, bytes)] {
            bucket.iter_mut().for_each(|bucket| bucket.take(n));
        }
        self.over()
    }

    /// The callers' clocks differ a little: time that has been given is not given again.
    fn fill(&mut self, now_ms: u64) {
        if now_ms < self.filled_ms && self.filled_ms - now_ms < CLOCK_SET_MS {
            return;
        }
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        self.buckets().for_each(|bucket| bucket.fill(elapsed_ms));
    }

    fn buckets(&mut self) -> impl Iterator<Item = &mut Bucket> {
        self.messages.iter_mut().chain(&mut self.bytes)
    }

    /// The longer of the two debts.
    fn over(&self) -> Option<Over> {
        let over = |bucket: Option<Bucket>, what| bucket.and_then(|bucket| Some(Over { what, ..bucket.over()? }));
        let both = [over(self.messages, What::Messages), over(self.bytes, What::Bytes)];
        both.into_iter().flatten().max_by_key(|over| over.wait_ms)
    }

    /// Pays what `budget` owes, and gives it more, as far as there is more.
    pub(crate) fn refill(&mut self, budget: &mut Budget, now_ms: u64) -> Option<Over> {
        self.fill(now_ms);
        for (bucket, left) in [(&mut self.messages, &mut budget.messages), (&mut self.bytes, &mut budget.bytes)] {
            let Some(bucket) = bucket else {
                *left = i64::MAX;
                continue;
            };
            bucket.take(u64::try_from(left.saturating_neg()).unwrap_or(0));
            *left = (*left).max(0);
            let slice = (bucket.per_s / SLICES_PER_S).max(1).saturating_sub(left.unsigned_abs()).min(bucket.left());
            bucket.take(slice);
            *left += i64::try_from(slice).unwrap_or(0);
        }
        self.over()
    }
}

/// Slices that make up a second's worth.
const SLICES_PER_S: u64 = 20;

/// What one worker has taken of the rates that it shares with others: a twentieth of a second's worth at a time, so that they
/// meet so seldom. It may keep that much unused.
#[derive(Clone, Copy, Debug, Default)]
pub struct Budget {
    messages: i64,
    bytes: i64,
}

impl Budget {
    /// Takes a message of that many bytes; false when there was not enough: it is owed, and to be refilled.
    #[must_use]
    pub fn take(&mut self, bytes: u64) -> bool {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.messages >= 0 && self.bytes >= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound: over ten seconds a client that waits as told publishes ten seconds' worth and the first bucket.
    #[test]
    fn a_client_that_waits_as_told_stays_within_its_rate() {
        let mut rates = Rates::new(Some(100), None, 0).unwrap();
        let (mut now_ms, mut taken) = (0, 0);
        while now_ms < 10_000 {
            taken += 1;
            now_ms += rates.take(10, now_ms).map_or(0, |over| over.wait_ms);
        }
        assert!((1100..=1101).contains(&taken), "{taken}");
        assert!(Rates::new(None, None, 0).is_none());
        let mut rates = Rates::new(None, Some(1000), 0).unwrap();
        assert_eq!(rates.take(1000, 0), None);
        let over = Over { what: What::Bytes, wait_ms: 500, max: 1000, actual: 1500 };
        assert_eq!(rates.take(500, 0), Some(over));
        // Who authenticates again gets no second bucket by it.
        let mut again = Rates::new(None, Some(1000), 0).unwrap().instead_of(Some(&rates));
        assert_eq!(again.take(500, 0).map(|over| over.wait_ms), Some(1000));
    }

    /// Guards who publishes slowly against rounding: at its rate it never waits, however its messages fall.
    #[test]
    fn who_keeps_to_a_low_rate_never_waits() {
        let mut rates = Rates::new(Some(3), None, 0).unwrap();
        let late = (0..300).filter(|n| rates.take(1, n * 1000 / 3 + 1).is_some()).count();
        assert_eq!(late, 0);
    }

    /// Guards the bound that workers share: two that wait as told stay within it together, with what they may keep unused;
    /// that their clocks differ gives nothing twice, and a clock that is set back does not stop them.
    #[test]
    fn workers_share_a_rate() {
        let mut rates = Rates::new(Some(1000), Some(1 << 30), 0).unwrap();
        let mut budgets = [Budget::default(); 2];
        let (mut next_ms, mut taken, mut refills) = ([0, 0], 0, 0);
        while next_ms.iter().any(|ms| *ms < 10_000) {
            let at = usize::from(next_ms[1] < next_ms[0]);
            let clock_ms = (next_ms[at] + 100 * at as u64) / 100 * 100;
            taken += 1;
            if !budgets[at].take(100) {
                refills += 1;
                next_ms[at] += rates.refill(&mut budgets[at], clock_ms).map_or(0, |over| over.wait_ms);
            }
        }
        assert!((10_900..=11_300).contains(&taken), "{taken}");
        // The first second's worth in slices; whoever waits meets the others each time.
        assert!(refills < taken, "{refills} of {taken}");
        rates.refill(&mut budgets[0], 1_000_000);
        for _ in 0..2000 {
            let _ = budgets[1].take(1);
        }
        let owed = rates.refill(&mut budgets[1], 500_000).unwrap();
        assert!(owed.wait_ms > 0 && rates.refill(&mut budgets[1], 502_000).is_none());
    }
}
