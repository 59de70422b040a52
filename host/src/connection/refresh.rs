//! The broker asks a client's provider again what the client may do, without its password: shortly before its time is over where
//! the identity says `Refresh`, and when a plugin has it revoked.
//!
//! The grants of before hold until the answer is there, at most for the provider's `timeout_ms`, and never longer than they are
//! valid. Anything but the same client, accepted, disconnects it.

use std::sync::Arc;
use std::task::{Context, Poll};

use gatemq_plugin_loader::CallFailure;
use gatemq_types::event::Fact;
use gatemq_types::{AuthOutcome, CloseReason, Connect, ReasonCode, Verdict};

use super::Ending;
use super::bind::Granted;
use super::client::{Client, LastWords};
use super::renew::{Answer, Failure, Renewing};
use crate::node::Node;
use crate::plugins::tell_failure;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// How long before an identity's time is over its provider is asked, at most.
const LEAD_MS: u64 = 10_000;
/// How long it is tried again when the provider has too much to do, while the grants of before are valid.
const BUSY_MS_MAX: u64 = 60_000;
/// Time between two such tries; those of many clients are spread over it.
const BUSY_AGAIN_MS: u64 = 4_000;
/// For events of what it may not have any more.
const WHEN: &str = "when its provider was asked again";

/// What is kept of a client whose provider may be asked again.
pub(super) struct Refresh {
    /// As it was, without secrets.
    connect: Arc<Connect>,
    /// When to ask, in milliseconds since 1970; 0: not by itself.
    at_ms: u64,
    /// How long it is tried; 0: it is not tried yet.
    until_ms: u64,
    turn: Option<Turn>,
    /// Somebody wants it once more, after what is under way.
    once_more: bool,
}

/// What is waited for.
enum Turn {
    Provider(Answer<AuthOutcome>),
    Subscriptions(Renewing),
}

/// When the provider of an identity is to be asked again.
pub(super) fn refresh_at_ms(valid_until_ms: u64, now_ms: u64) -> u64 {
    let left = valid_until_ms.saturating_sub(now_ms);
    valid_until_ms - (left / 2).min(LEAD_MS)
}

impl Refresh {
    /// For an identity that may be asked for again.
    pub(super) fn of(granted: &Granted, connect: impl FnOnce() -> Arc<Connect>) -> Option<Box<Refresh>> {
        let at_ms = granted.refresh_at_ms;
        let new = || Refresh { connect: connect(), at_ms, until_ms: 0, turn: None, once_more: false };
        granted.asked.is_some().then(|| Box::new(new()))
    }
}

impl Client {
    /// It has another identity.
    pub(super) fn plan_refresh(&mut self, granted: &Granted, connect: &Arc<Connect>) {
        let once_more = self.refresh.take().is_some_and(|refresh| refresh.once_more);
        self.refresh = Refresh::of(granted, || connect.clone());
        if let Some(refresh) = self.refresh.as_mut().filter(|_| once_more) {
            refresh.at_ms = 1;
        }
    }

    /// It has authenticated again by itself: an answer that is waited for is about what it was before. What it is now may still be
    /// what its provider said before somebody wanted it asked, so it is asked again.
    pub(super) fn forget_refresh(&mut self, now_ms: u64) {
        let due = self.refresh_is_due(now_ms);
        if let Some(refresh) = &mut self.refresh {
            refresh.once_more |= due || refresh.turn.take().is_some();
        }
    }

    /// Its identity is revoked: its provider is asked again as soon as possible.
    ///
    /// # Errors
    /// Nothing was kept to ask with.
    pub(super) fn revoked(&mut self, node: &Node, now_ms: u64) -> Result<(), Ending> {
        match &mut self.refresh {
            None => return Err(Ending::of(CloseReason::IdentityRevoked)),
            Some(refresh) if refresh.turn.is_some() => refresh.once_more = true,
            Some(refresh) => (refresh.at_ms, refresh.until_ms) = (now_ms.max(1), 0),
        }
        self.begin_refresh(node, now_ms);
        Ok(())
    }

    /// Whether it is time to ask; looked at once a second.
    pub(super) fn refresh_is_due(&self, now_ms: u64) -> bool {
        let due = |refresh: &Refresh| refresh.turn.is_none() && refresh.at_ms != 0 && now_ms >= refresh.at_ms;
        self.refresh.as_ref().is_some_and(|refresh| due(refresh))
    }

    /// Asks, unless the client is authenticating again: then it is due as long as that takes.
    pub(super) fn begin_refresh(&mut self, node: &Node, now_ms: u64) {
        if !self.refresh_is_due(now_ms) || self.again.as_ref().is_some_and(|again| again.is_under_way()) {
            return;
        }
        let (Some(refresh), Some((provider, session))) = (&mut self.refresh, self.asked.clone()) else { return };
        self.revoked_before = node.revocations.count();
        if refresh.until_ms == 0 {
            refresh.until_ms = now_ms.saturating_add(BUSY_MS_MAX);
        }
        refresh.at_ms = 0;
        refresh.turn = Some(Turn::Provider(Box::pin(async move { provider.refresh(&session).await })));
    }

    /// Goes on, if something is under way and its provider has answered.
    ///
    /// # Errors
    /// The client may not stay.
    #[inline]
    pub(super) fn go_on_refreshing(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        match &self.refresh {
            Some(refresh) if refresh.turn.is_some() => self.poll_refresh(cx, worker, hot),
            _ => Ok(()),
        }
    }

    #[cold]
    fn poll_refresh(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        let (node, now_ms) = (&worker.node, worker.now_ms.get());
        loop {
            let turn = self.refresh.as_mut().and_then(|refresh| refresh.turn.take());
            let next = match turn {
                None => return Ok(()),
                Some(Turn::Provider(mut answer)) => match answer.as_mut().poll(cx) {
                    Poll::Pending => return self.wait_for(Turn::Provider(answer)),
                    Poll::Ready(answer) => self.refresh_answered(node, hot, answer, now_ms),
                },
                Some(Turn::Subscriptions(mut renewing)) => match renewing.answer.as_mut().poll(cx) {
                    Poll::Pending => return self.wait_for(Turn::Subscriptions(renewing)),
                    Poll::Ready(answer) => self.refresh_goes_on(node, hot, renewing, answer, now_ms),
                },
            };
            next.map_err(|failure| self.refresh_failed(node, failure))?;
        }
    }

    fn wait_for(&mut self, turn: Turn) -> Result<(), Ending> {
        if let Some(refresh) = &mut self.refresh {
            refresh.turn = Some(turn);
        }
        Ok(())
    }

    fn refresh_answered(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        answer: Result<AuthOutcome, CallFailure>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let Some(refresh) = &mut self.refresh else { return Ok(()) };
        let refused = |reason: &str| Err(Failure::new(CloseReason::IdentityRevoked, reason));
        let failure = match answer {
            Ok(AuthOutcome::Accept(given)) => {
                let Some((provider, _)) = self.asked.clone() else { return Ok(()) };
                let connect = refresh.connect.clone();
                let renewing = self.renew(node, hot, (&connect, &provider), *given, now_ms, WHEN)?;
                return self.refreshed(node, hot, renewing, now_ms);
            }
            Ok(AuthOutcome::Reject { reason, reason_string, .. }) => {
                let words = LastWords { reason_string, server: None };
                return Err(Failure { words, ..Failure::new(CloseReason::IdentityRevoked, reason) });
            }
            Ok(AuthOutcome::Next) => return refused("its provider had nothing to say"),
            Ok(AuthOutcome::Continue { .. } | AuthOutcome::Redirect { .. }) => {
                return refused("its provider did not say whether it may stay");
            }
            Ok(AuthOutcome::Unavailable { .. }) => CallFailure::Failed("it is not available".into()),
            Err(failure) => failure,
        };
        if failure.is_busy() && now_ms < refresh.until_ms {
            refresh.at_ms = now_ms + 1000 + self.peer.connection % BUSY_AGAIN_MS;
            return Ok(());
        }
        let plugin = self.asked.as_ref().map_or("", |(provider, _)| provider.name());
        tell_failure(&node.events, plugin, "refresh", &failure);
        Err(Failure::new(CloseReason::AuthenticationFailed, failure.to_string()))
    }

    fn refresh_goes_on(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        renewing: Renewing,
        answer: Result<Verdict, CallFailure>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let renewing = self.go_on_renewing(node, hot, renewing, answer, now_ms)?;
        self.refreshed(node, hot, renewing, now_ms)
    }

    /// The next question, or the end.
    fn refreshed(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        renewing: Option<Renewing>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        if let Some(refresh) = &mut self.refresh {
            refresh.turn = renewing.map(Turn::Subscriptions);
            if refresh.turn.is_some() {
                return Ok(());
            }
            if std::mem::take(&mut refresh.once_more) {
                (refresh.at_ms, refresh.until_ms) = (now_ms.max(1), 0);
            }
        }
        let fact = Fact::ClientRefreshed { plugin: self.provider.to_string().into() };
        node.events.emit(Some(&self.peer), fact);
        self.readmit_retained(node, hot, now_ms);
        self.begin_refresh(node, now_ms);
        Ok(())
    }

    fn refresh_failed(&mut self, node: &Node, failure: Failure) -> Ending {
        let Failure { close, reason, blame, words, .. } = failure;
        let code = ReasonCode::NOT_AUTHORIZED;
        let fact = Fact::RefreshFailed {
            code: code.0.into(),
            reason: reason.into(),
            plugin: self.provider.to_string().into(),
            blame: blame.name().into(),
        };
        node.events.emit(Some(&self.peer), fact);
        self.last_words = Some(Box::new(words));
        Ending::with_code(close, code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards that a provider is asked while its last answer still holds, also one that holds for a moment only.
    #[test]
    fn asked_in_time() {
        assert_eq!(refresh_at_ms(100_000, 0), 90_000);
        assert_eq!(refresh_at_ms(4_000, 2_000), 3_000);
        assert_eq!(refresh_at_ms(4_000, 4_000), 4_000);
    }
}
