//! Rates of an identity: a bucket that holds a second's worth and starts full. Who outruns it is not read for a while.

/// A bucket.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    per_s: u64,
    left: i64,
}

impl Bucket {
    fn new(per_s: u64) -> Self {
        Bucket { per_s, left: i64::try_from(per_s).unwrap_or(i64::MAX) }
    }

    fn fill(&mut self, elapsed_ms: u64) {
        let full = i64::try_from(self.per_s).unwrap_or(i64::MAX);
        let more = i64::try_from(self.per_s.saturating_mul(elapsed_ms) / 1000).unwrap_or(i64::MAX);
        self.left = self.left.saturating_add(more).min(full);
    }

    /// Milliseconds until it is not in debt.
    fn wait_ms(&self) -> u64 {
        match u64::try_from(-self.left) {
            Ok(debt @ 1..) => debt.saturating_mul(1000).div_ceil(self.per_s.max(1)),
            _ => 0,
        }
    }
}

/// What a client may publish per second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    messages: Option<Bucket>,
    bytes: Option<Bucket>,
    filled_ms: u64,
}

impl Rate {
    /// `None` where there is no bound. A bound of 0 is taken as 1: nobody would ever be read again.
    pub(crate) fn new(messages_per_s: Option<u64>, bytes_per_s: Option<u64>, now_ms: u64) -> Option<Self> {
        if messages_per_s.is_none() && bytes_per_s.is_none() {
            return None;
        }
        let bucket = |per_s: Option<u64>| per_s.map(|n| Bucket::new(n.max(1)));
        Some(Rate { messages: bucket(messages_per_s), bytes: bucket(bytes_per_s), filled_ms: now_ms })
    }

    /// As [`Rate::new`], for a client that had another until now: what it has used up stays used up.
    pub(crate) fn instead(
        before: Option<Rate>,
        messages_per_s: Option<u64>,
        bytes_per_s: Option<u64>,
        now_ms: u64,
    ) -> Option<Self> {
        let mut rate = Rate::new(messages_per_s, bytes_per_s, now_ms)?;
        if let Some(before) = before {
            rate.filled_ms = before.filled_ms;
            for (bucket, before) in [(&mut rate.messages, before.messages), (&mut rate.bytes, before.bytes)] {
                if let (Some(bucket), Some(before)) = (bucket, before) {
                    bucket.left = bucket.left.min(before.left);
                }
            }
        }
        Some(rate)
    }

    /// Takes a message. Milliseconds to wait before the next is read; 0: none.
    pub(crate) fn take(&mut self, bytes: usize, now_ms: u64) -> u64 {
        let elapsed_ms = now_ms.saturating_sub(self.filled_ms);
        self.filled_ms = now_ms;
        let cost = [1, i64::try_from(bytes).unwrap_or(i64::MAX)];
        let mut wait_ms = 0;
        for (bucket, cost) in [&mut self.messages, &mut self.bytes].into_iter().zip(cost) {
            if let Some(bucket) = bucket {
                bucket.fill(elapsed_ms);
                bucket.left = bucket.left.saturating_sub(cost);
                wait_ms = wait_ms.max(bucket.wait_ms());
            }
        }
        wait_ms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound: over ten seconds a client that waits as told publishes ten seconds' worth and the first bucket.
    #[test]
    fn a_client_that_waits_as_told_stays_within_its_rate() {
        let mut rate = Rate::new(Some(100), None, 0).unwrap();
        let (mut now_ms, mut taken) = (0, 0);
        while now_ms < 10_000 {
            taken += 1;
            now_ms += rate.take(10, now_ms);
        }
        assert!((1090..=1110).contains(&taken), "{taken}");
        assert!(Rate::new(None, None, 0).is_none());
        let mut rate = Rate::new(None, Some(1000), 0).unwrap();
        assert_eq!((rate.take(1000, 0), rate.take(500, 0)), (0, 500));
        // Who authenticates again gets no second bucket by it.
        let mut again = Rate::instead(Some(rate), None, Some(1000), 0).unwrap();
        assert_eq!(again.take(500, 0), 1000);
    }
}
