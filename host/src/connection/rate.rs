//! Rates of a client and of its tenant: who outruns one is not read for a while, or disconnected, as `limits.rate_policy` says.

use gatemq_broker::rate::{Over, Rates, What};
use gatemq_broker::{EPISODE_MS, TenantLimit};
use gatemq_mqtt::Publish;
use gatemq_types::event::Fact;
use gatemq_types::{CloseReason, Limits};

use super::Ending;
use super::client::{Client, Lane, Step};

/// What a client may publish per second. Only one with a limit has this.
pub(super) struct Rate {
    rates: Rates,
    /// When it last had to wait, and how long: to tell it once an episode.
    last_ms: u64,
}

impl Rate {
    /// `None` where there is no limit.
    pub(super) fn new(limits: &Limits, now_ms: u64) -> Option<Box<Self>> {
        let rates = Rates::new(limits.messages_per_s_max, limits.bytes_per_s_max, now_ms)?;
        Some(Box::new(Rate { rates, last_ms: 0 }))
    }

    /// As [`Rate::new`], for a client that had another until now: what it has used up stays used up.
    pub(super) fn instead(before: Option<&Rate>, limits: &Limits, now_ms: u64) -> Option<Box<Self>> {
        let mut rate = Rate::new(limits, now_ms)?;
        rate.rates = rate.rates.instead_of(before.map(|before| &before.rates));
        rate.last_ms = before.map_or(0, |before| before.last_ms);
        Some(rate)
    }

    /// Takes a message. When there was too much: by how much, and whether an episode of it begins.
    fn take(&mut self, bytes: u64, now_ms: u64) -> Option<(Over, bool)> {
        let over = self.rates.take(bytes, now_ms)?;
        let begins = self.last_ms == 0 || now_ms.saturating_sub(self.last_ms) >= EPISODE_MS;
        self.last_ms = now_ms.saturating_add(over.wait_ms);
        Some((over, begins))
    }
}

impl Client {
    /// Takes a message that was handled from what it and its tenant may publish.
    ///
    /// # Errors
    /// It was too much, and whoever publishes too much is disconnected.
    #[inline]
    pub(super) fn rated(&mut self, lane: &Lane, message: &Publish<'_>) -> Result<Step, Ending> {
        match self.rate.is_none() && !self.share.has_rates() {
            true => Ok(Step::Next),
            false => self.paced(lane, message.frame.len() as u64),
        }
    }

    #[inline(never)]
    fn paced(&mut self, lane: &Lane, bytes: u64) -> Result<Step, Ending> {
        let mut wait_ms = 0;
        let action = if self.rate_waits { "slowed down" } else { "disconnected" };
        if let Some((over, begins)) = self.rate.as_mut().and_then(|rate| rate.take(bytes, lane.now_ms)) {
            wait_ms = over.wait_ms;
            let which = match over.what {
                What::Messages => "messages_per_s_max",
                What::Bytes => "bytes_per_s_max",
            };
            if begins {
                self.tell_over(lane, which, over, action);
            }
        }
        if self.share.has_rates()
            && let Some(over) = self.share.take_rate(bytes, lane.now_ms)
        {
            wait_ms = wait_ms.max(over.wait_ms);
            let limit = TenantLimit::from(over.what);
            if self.share.tenant().reached(limit, lane.now_ms) {
                self.tell_over(lane, limit.name(), over, action);
            }
        }
        match wait_ms {
            0 => Ok(Step::Next),
            _ if !self.rate_waits => Err(Ending::of(CloseReason::RateExceeded)),
            ms => Ok(Step::Wait(ms)),
        }
    }

    #[cold]
    fn tell_over(&self, lane: &Lane, which: &'static str, over: Over, action: &'static str) {
        let Over { max, actual, .. } = over;
        let fact = Fact::LimitExceeded { which: which.into(), max, actual, action: action.into() };
        lane.node.events.emit(Some(&self.peer), fact);
    }
}
