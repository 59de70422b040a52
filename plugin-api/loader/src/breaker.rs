//! A breaker: a plugin that keeps failing is not called for a while. No clock: time is an argument.
//!
//! It looks at the last calls. When as many as it looks at have been made and enough of them failed, it opens: calls are
//! refused without being made. After a while one call is let through, the probe: its success closes the breaker, its failure
//! opens it again. Of one address only one failure counts among the calls that it looks at, so that nobody opens it alone.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BreakerOptions {
    /// Calls that are looked at; 0: it never opens.
    pub calls: usize,
    /// Percent of them that fail, from which on it opens.
    pub failed_percent: u8,
    /// How long it is open.
    pub open: Duration,
}

impl Default for BreakerOptions {
    fn default() -> Self {
        BreakerOptions { calls: 20, failed_percent: 50, open: Duration::from_secs(30) }
    }
}

/// What counts as one address: an IPv4 address, the /64 of an IPv6 address, which is what one subscriber has.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Network(u128);

impl Network {
    /// The one that an address is in.
    pub fn of(ip: IpAddr) -> Network {
        match ip.to_canonical() {
            // The form in which IPv6 carries it, which is in no /64 of a subscriber.
            IpAddr::V4(v4) => Network(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Network(v6.to_bits() >> 64 << 64),
        }
    }
}

/// Whether calls are made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerState {
    /// They are.
    Closed,
    /// They are not.
    Open,
    /// One is, to see how it goes.
    HalfOpen,
}

impl BreakerState {
    /// `closed`, `open` or `half-open`.
    pub fn name(self) -> &'static str {
        match self {
            BreakerState::Closed => "closed",
            BreakerState::Open => "open",
            BreakerState::HalfOpen => "half-open",
        }
    }
}

#[derive(Clone, Copy)]
enum State {
    Closed,
    Open { until: Instant },
    HalfOpen { probing: bool },
}

/// What the end of a call has changed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BreakerChange {
    /// It is open from now on.
    Opened {
        /// Calls that failed, of those that it looks at; 1 when it was the probe.
        failed: usize,
        /// Calls that it looks at.
        calls: usize,
        /// For how long.
        open: Duration,
    },
    /// It is closed again.
    Closed,
}

/// See the module.
pub(crate) struct Breaker {
    options: BreakerOptions,
    state: State,
    /// The last calls: of failed ones the address.
    last: VecDeque<Option<Network>>,
}

/// A call may be made; whoever makes it says how it ended, or that it did not.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Admitted {
    Call,
    /// The one by which the breaker sees how it goes.
    Probe,
}

impl Breaker {
    pub(crate) fn new(options: BreakerOptions) -> Self {
        Breaker { options, state: State::Closed, last: VecDeque::with_capacity(options.calls) }
    }

    pub(crate) fn state(&self) -> BreakerState {
        match self.state {
            State::Closed => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }

    /// Whether a call may be made now.
    ///
    /// # Errors
    /// How long it may not.
    pub(crate) fn admit(&mut self, now: Instant) -> Result<Admitted, Duration> {
        if let State::Open { until } = self.state {
            match until.checked_duration_since(now).filter(|left| !left.is_zero()) {
                Some(left) => return Err(left),
                None => self.state = State::HalfOpen { probing: false },
            }
        }
        match &mut self.state {
            State::HalfOpen { probing: true } => Err(Duration::ZERO),
            State::HalfOpen { probing } => {
                *probing = true;
                Ok(Admitted::Probe)
            }
            _ => Ok(Admitted::Call),
        }
    }

    /// A call ended without an answer that says anything: whoever asked has left.
    pub(crate) fn left(&mut self, admitted: Admitted) {
        if let (State::HalfOpen { probing }, Admitted::Probe) = (&mut self.state, admitted) {
            *probing = false;
        }
    }

    /// A call ended; `failed` is the address whose it was.
    pub(crate) fn ended(&mut self, now: Instant, admitted: Admitted, failed: Option<Network>) -> Option<BreakerChange> {
        match (self.state, admitted, failed) {
            (State::HalfOpen { .. }, Admitted::Probe, None) => {
                self.last.clear();
                self.state = State::Closed;
                Some(BreakerChange::Closed)
            }
            (State::HalfOpen { .. }, Admitted::Probe, Some(_)) => Some(self.open(now, 1, 1)),
            (State::Closed, ..) => self.count(now, failed),
            // Begun before it opened.
            _ => None,
        }
    }

    fn count(&mut self, now: Instant, failed: Option<Network>) -> Option<BreakerChange> {
        let BreakerOptions { calls, failed_percent, .. } = self.options;
        if calls == 0 || failed.is_some() && self.last.contains(&failed) {
            return None;
        }
        if self.last.len() >= calls {
            self.last.pop_front();
        }
        self.last.push_back(failed);
        let failures = self.last.iter().flatten().count();
        match self.last.len() >= calls && failures * 100 >= calls * usize::from(failed_percent) && failures > 0 {
            true => Some(self.open(now, failures, calls)),
            false => None,
        }
    }

    fn open(&mut self, now: Instant, failed: usize, calls: usize) -> BreakerChange {
        self.last.clear();
        self.state = State::Open { until: now + self.options.open };
        BreakerChange::Opened { failed, calls, open: self.options.open }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    const OPTIONS: BreakerOptions = BreakerOptions { calls: 4, failed_percent: 50, open: Duration::from_secs(30) };

    fn address(n: u8) -> Option<Network> {
        Some(Network::of(Ipv4Addr::new(192, 0, 2, n).into()))
    }

    /// Makes calls, one for each of `failed`; what the last of them changed.
    fn calls(breaker: &mut Breaker, now: Instant, failed: &[Option<Network>]) -> Option<BreakerChange> {
        let mut change = None;
        for failed in failed {
            let admitted = breaker.admit(now).expect("it is closed, or wants a probe");
            change = breaker.ended(now, admitted, *failed);
        }
        change
    }

    /// Promise 3: half of the calls failed, no fewer, and it opens; after its time one call decides, and only one is made.
    #[test]
    fn promise_3_it_opens_and_one_probe_decides() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPTIONS);
        assert_eq!(
            calls(&mut breaker, now, &[None, address(1), None, None, None, address(2)]),
            None,
            "one of four, twice"
        );
        let opened = BreakerChange::Opened { failed: 2, calls: 4, open: OPTIONS.open };
        assert_eq!(calls(&mut breaker, now, &[address(3)]), Some(opened));
        assert_eq!(breaker.admit(now), Err(OPTIONS.open));
        let later = now + OPTIONS.open;
        assert_eq!(breaker.admit(later), Ok(Admitted::Probe));
        assert_eq!(breaker.admit(later), Err(Duration::ZERO), "one probe at a time");
        assert_eq!(breaker.ended(later, Admitted::Call, None), None, "a call from before says nothing");
        let again = BreakerChange::Opened { failed: 1, calls: 1, open: OPTIONS.open };
        assert_eq!(breaker.ended(later, Admitted::Probe, address(1)), Some(again));
        let later = later + OPTIONS.open;
        assert_eq!(breaker.admit(later), Ok(Admitted::Probe));
        breaker.left(Admitted::Probe);
        assert_eq!(calls(&mut breaker, later, &[None]), Some(BreakerChange::Closed), "the next one is the probe");
        assert_eq!(calls(&mut breaker, later, &[address(1), None, None, None]), None, "it begins anew");
    }

    /// Guards against whoever would shut everybody out: one address, and one /64, fails once among the calls looked at.
    #[test]
    fn one_address_cannot_open_it() {
        let now = Instant::now();
        let mut breaker = Breaker::new(OPTIONS);
        let subscriber = |n: u8| Some(Network::of(format!("2001:db8::{n}").parse().unwrap()));
        for n in 0..100 {
            assert_eq!(calls(&mut breaker, now, &[address(1), None]), None);
            assert_eq!(calls(&mut Breaker::new(OPTIONS), now, &[subscriber(n), subscriber(n + 1), None, None]), None);
        }
        assert_eq!(calls(&mut breaker, now, &[None, None, address(2)]), None);
        let change = calls(&mut breaker, now, &[address(3)]);
        assert!(matches!(change, Some(BreakerChange::Opened { .. })), "the twin: two addresses, {change:?}");
    }

    /// Guards 0, which is no breaker.
    #[test]
    fn none_never_opens() {
        let now = Instant::now();
        let mut breaker = Breaker::new(BreakerOptions { calls: 0, ..OPTIONS });
        let all: Vec<_> = (0..=255).map(address).collect();
        assert_eq!(calls(&mut breaker, now, &all), None);
    }
}
