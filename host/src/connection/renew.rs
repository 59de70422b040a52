//! What an admitted client may do is replaced while everything else goes on: rules and limits, its subscriptions, and what waits
//! for it. The client begins that by authenticating again ([`super::reauthenticate`]), or the broker ([`super::refresh`]).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use gatemq_broker::router::{self, AskedAgain};
use gatemq_broker::{Decision, SubscribeAction, Verdicts};
use gatemq_mqtt::PacketLimits;
use gatemq_mqtt::topic::Filter;
use gatemq_plugin_loader::{CallFailure, Plugin};
use gatemq_types::event::Fact;
use gatemq_types::{ActionKind, Blame, CloseReason, Connect, Identity as Given, ReasonCode, Verdict};

use super::bind::{Granted, as_u32, grant, packets};
use super::client::{Client, LastWords, VERDICTS_MAX};
use super::open::tell_revoked;
use super::rate::Rate;
use super::subscribe::filter_action;
use crate::denials::Known;
use crate::exclusive::Held;
use crate::node::Node;
use crate::plugins::tell_failure;
use crate::worker::hot::Hot;

/// An answer of a provider that is waited for.
pub(super) type Answer<A> = Pin<Box<dyn Future<Output = Result<A, CallFailure>>>>;

/// It has the new identity, and the provider is asked which of its subscriptions it may keep.
pub(super) struct Renewing {
    /// About `asked`.
    pub(super) answer: Answer<Verdict>,
    asked: AskedAgain,
    left: Vec<AskedAgain>,
    when: &'static str,
}

/// Why it came to nothing: the client is disconnected.
pub(super) struct Failure {
    pub(super) close: CloseReason,
    pub(super) code: ReasonCode,
    pub(super) reason: String,
    pub(super) blame: Blame,
    pub(super) words: LastWords,
}

impl Failure {
    pub(super) fn new(close: CloseReason, reason: impl Into<String>) -> Self {
        let words = LastWords::default();
        Failure { close, code: close.code(), reason: reason.into(), blame: close.blame(), words }
    }
}

impl Client {
    /// The same client with other grants: they hold from here on, and its subscriptions are checked with them. `by` is its CONNECT,
    /// without secrets, and who gives the identity; `when` is for events. `None`: nothing is left to be asked, it is done.
    ///
    /// # Errors
    /// It is somebody else now, the identity cannot be used, or nobody can be asked.
    pub(super) fn renew(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        by: (&Arc<Connect>, &Arc<Plugin>),
        mut given: Given,
        now_ms: u64,
        when: &'static str,
    ) -> Result<Option<Renewing>, Failure> {
        let (connect, provider) = by;
        let key = self.identity.key().clone();
        let same_client_id = given.client_id.as_deref().is_none_or(|id| id == key.client_id());
        if given.tenant != key.tenant().name() || given.user != key.user() || !same_client_id {
            let reason = "it is somebody else now: tenant, user or client identifier";
            return Err(Failure::new(CloseReason::AuthenticationRefused, reason));
        }
        given.client_id = Some(key.client_id().to_owned());
        let granted = grant(node, connect, &given, &key, Some(provider), now_ms);
        let granted = granted.map_err(|reason| Failure::new(CloseReason::IdentityUnusable, reason))?;
        if granted.place.is_some() && granted.place.as_ref() != self.place().map(Held::place) {
            // It would take somebody's place in the middle of its connection; with the next one it may.
            return Err(Failure::new(
                CloseReason::IdentityUnusable,
                "it became exclusive while its client is connected",
            ));
        }
        self.replace_identity(node, granted, connect, now_ms);
        let found = router::recheck(&self.identity, &self.session, &mut hot.out.spare.changes);
        for (filter, code) in found.revoked {
            tell_revoked(node, &self.peer, &filter, code, &format!("grants, {when}"));
        }
        self.ask_next(hot, found.ask, now_ms, when)
    }

    /// What CONNACK has announced of the limits stays as announced: nobody can take it back (3.2.2.3).
    fn replace_identity(&mut self, node: &Node, granted: Granted, connect: &Arc<Connect>, now_ms: u64) {
        self.plan_refresh(&granted, connect);
        let Granted { identity, limits, asked, valid_until_ms, place, .. } = granted;
        let (proven, held) = self.known.take().map_or((None, None), |known| (known.proven, known.place));
        self.known = Known::of(proven, held.filter(|_| place.is_some()));
        let PacketLimits { packet_bytes_max, topic_alias_max, .. } = *self.state.limits();
        self.state.set_limits(PacketLimits { packet_bytes_max, topic_alias_max, ..packets(node, &limits) });
        self.rate = Rate::instead(self.rate.as_deref(), &limits, now_ms);
        self.rate_waits = limits.rate_wait_allowed != Some(0);
        self.stalled_ms_max = as_u32(limits.stalled_ms_max);
        self.expiry_s_max = as_u32(limits.session_expiry_s_max);
        (self.identity, self.asked, self.valid_until_ms) = (identity, asked, valid_until_ms);
        self.verdicts = Verdicts::new(VERDICTS_MAX);
        self.session.replace_will_identity(&self.identity);
    }

    /// Asks about the next subscription. When there is none left, what waits and came by those it has lost goes.
    fn ask_next(
        &mut self,
        hot: &mut Hot,
        mut left: Vec<AskedAgain>,
        now_ms: u64,
        when: &'static str,
    ) -> Result<Option<Renewing>, Failure> {
        let Some(asked) = left.pop() else {
            router::drop_revoked(&self.session, now_ms, &mut hot.out.spare);
            return Ok(None);
        };
        let Some((instance, session)) = self.asked.clone() else {
            return Err(Failure::new(CloseReason::AuthorizationFailed, "there is no provider to ask"));
        };
        let filter = Filter::trusted(&asked.filter);
        let action = filter_action(ActionKind::Subscribe, filter, asked.qos, asked.qos.bits(), Vec::new());
        let answer: Answer<Verdict> = Box::pin(async move { instance.authorize(&session, action).await });
        Ok(Some(Renewing { answer, asked, left, when }))
    }

    /// Takes the answer about a subscription. `None`: it was the last one, it is done.
    ///
    /// # Errors
    /// There was none.
    pub(super) fn go_on_renewing(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        renewing: Renewing,
        answer: Result<Verdict, CallFailure>,
        now_ms: u64,
    ) -> Result<Option<Renewing>, Failure> {
        let Renewing { asked: AskedAgain { filter, qos, question }, left, when, .. } = renewing;
        let verdict = answer.map_err(|failure| self.no_verdict(node, &filter, &failure))?;
        let action = SubscribeAction { filter: Filter::trusted(&filter), qos };
        let denied = match self.identity.answer_subscribe(action, question, &verdict) {
            Decision::Permit(_) => None,
            Decision::Denied(code) => Some(code),
            Decision::Ask(_) => Some(ReasonCode::NOT_AUTHORIZED),
        };
        if let Some(code) = denied {
            router::revoke(&self.session, &filter, &mut hot.out.spare.changes);
            tell_revoked(node, &self.peer, &filter, code, &format!("its provider, {when}"));
        }
        self.ask_next(hot, left, now_ms, when)
    }

    fn no_verdict(&self, node: &Node, filter: &str, failure: &CallFailure) -> Failure {
        let plugin = self.asked.as_ref().map_or("", |(instance, _)| instance.name()).to_owned();
        tell_failure(&node.events, &plugin, "authorize", failure);
        let fact = Fact::AuthorizationFailed {
            action: ActionKind::Subscribe.name().into(),
            topic: filter.to_owned().into(),
            plugin: plugin.into(),
            error: failure.to_string().into(),
        };
        node.events.emit(Some(&self.peer), fact);
        Failure::new(CloseReason::AuthorizationFailed, failure.to_string())
    }
}
