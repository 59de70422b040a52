//! Re-authentication (5.0, 4.12.1): an admitted client shows again who it is, while everything else goes on. It may only be
//! who it was; what it may do is new.

use std::sync::Arc;
use std::task::{Context, Poll};

use gatemq_mqtt::Breach;
use gatemq_mqtt::packet::auth::{self, Auth};
use gatemq_plugin_loader::{CallFailure, Pinned, Plugin};
use gatemq_types::event::Fact;
use gatemq_types::{AuthOutcome, Blame, CloseReason, Connect, Identity as Given, ReasonCode, Secret, Verdict};

use super::Ending;
use super::client::{Client, Lane, LastWords};
use super::renew::{Answer, Failure, Renewing};
use crate::config::Limits;
use crate::listen::Listener;
use crate::node::Node;
use crate::plugins::tell_failure;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// For events of what it may not have any more.
const WHEN: &str = "when it authenticated again";

/// What a client whose CONNECT had an Authentication Method keeps, so that it can authenticate again.
pub(super) struct Again {
    /// Who admitted it.
    provider: Arc<Plugin>,
    /// As it was, without secrets.
    connect: Arc<Connect>,
    rounds_max: u32,
    ms_max: u64,
    under_way: Option<UnderWay>,
}

struct UnderWay {
    /// Who goes on: the instance that began.
    provider: Pinned,
    until_ms: u64,
    /// AUTH packets that were sent.
    rounds: u32,
    /// What the provider said with the last one.
    state: u64,
    turn: Turn,
}

/// Who is to say something.
enum Turn {
    Client,
    Provider(Answer<AuthOutcome>),
    /// It has the new identity, and the provider is asked which of its subscriptions it may keep. With it: Authentication Data
    /// for the client, at the end.
    Subscriptions(Renewing, Vec<u8>),
}

impl Again {
    /// Of a client that is admitted; `connect` has no secrets any more.
    pub(super) fn of(
        connect: &Connect,
        provider: Arc<Plugin>,
        listener: &Listener,
        limits: &Limits,
    ) -> Option<Box<Again>> {
        connect.auth_method.as_ref()?;
        let ms_max = u64::try_from(listener.connect_timeout().as_millis()).unwrap_or(u64::MAX);
        let (connect, rounds_max) = (Arc::new(connect.clone()), limits.auth_rounds_max);
        Some(Box::new(Again { provider, connect, rounds_max, ms_max, under_way: None }))
    }

    /// Whether one is under way.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    fn method(&self) -> &str {
        self.connect.auth_method.as_deref().unwrap_or_default()
    }

    fn exchange(&self, provider: Pinned, data: Option<&[u8]>, state: u64) -> Answer<AuthOutcome> {
        let connect = self.connect.clone();
        let data = Secret::new(data.unwrap_or_default().to_vec());
        Box::pin(async move { provider.exchange(&connect, data.as_bytes(), state, true).await })
    }
}

impl Client {
    /// Takes an AUTH. The answer comes in [`Client::go_on_again`].
    ///
    /// # Errors
    /// It was not this client's turn.
    #[cold]
    pub(super) fn authenticate_again(&mut self, lane: &Lane, auth: &Auth<'_>) -> Result<(), Ending> {
        // The state lets no AUTH through of a client that had no method.
        let Some(again) = &mut self.again else { return Err(Breach::AuthNotOffered.into()) };
        let (provider, until_ms, rounds, state) = match &again.under_way {
            None => {
                // It has admitted this client, so there is one.
                let provider = again.provider.pin().map_err(|_| Ending::of(CloseReason::AuthenticationFailed))?;
                (provider, lane.now_ms.saturating_add(again.ms_max), 0, 0)
            }
            Some(UnderWay { provider, until_ms, rounds, state, turn: Turn::Client }) => {
                (provider.clone(), *until_ms, *rounds, *state)
            }
            Some(_) => return Err(Breach::AuthCode.into()),
        };
        let turn = Turn::Provider(again.exchange(provider.clone(), auth.data, state));
        again.under_way = Some(UnderWay { provider, until_ms, rounds, state, turn });
        Ok(())
    }

    /// Goes on with a re-authentication, if one is under way and its provider has answered.
    ///
    /// # Errors
    /// It failed (MQTT-4.12.1-2).
    #[inline]
    pub(super) fn go_on_again(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        match &self.again {
            Some(again) if again.under_way.is_some() => self.poll_again(cx, worker, hot),
            _ => Ok(()),
        }
    }

    #[cold]
    fn poll_again(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        let node = &worker.node;
        loop {
            let under_way = self.again.as_mut().and_then(|again| again.under_way.as_mut());
            let next = match under_way.map(|under_way| &mut under_way.turn) {
                None | Some(Turn::Client) => return Ok(()),
                Some(Turn::Provider(answer)) => {
                    let Poll::Ready(answer) = answer.as_mut().poll(cx) else { return Ok(()) };
                    self.answered_again(node, hot, answer, worker.now_ms.get())
                }
                Some(Turn::Subscriptions(renewing, _)) => {
                    let Poll::Ready(answer) = renewing.answer.as_mut().poll(cx) else { return Ok(()) };
                    self.subscription_answered(node, hot, answer, worker.now_ms.get())
                }
            };
            next.map_err(|failure| self.failed_again(node, failure))?;
        }
    }

    fn answered_again(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        answer: Result<AuthOutcome, CallFailure>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let failure = match answer {
            Ok(AuthOutcome::Accept(given)) => return self.accepted_again(node, hot, *given, now_ms),
            Ok(AuthOutcome::Continue { data, state }) => return self.continue_again(hot, &data, state),
            Ok(AuthOutcome::Reject { code, reason, reason_string, .. }) => {
                let words = LastWords { reason_string, server: None };
                let code = code.in_disconnect();
                return Err(Failure { code, words, ..Failure::new(CloseReason::AuthenticationRefused, reason) });
            }
            Ok(AuthOutcome::Next) => {
                return Err(Failure::new(CloseReason::AuthenticationRefused, "its provider had nothing to say"));
            }
            Ok(AuthOutcome::Redirect { server, moved }) => {
                let code = if moved { ReasonCode::SERVER_MOVED } else { ReasonCode::USE_ANOTHER_SERVER };
                let plugin = self.again.as_ref().map_or("", |again| again.provider.name()).to_owned();
                let fact = Fact::ClientRedirected {
                    code: code.0.into(),
                    server: server.clone().into(),
                    plugin: plugin.into(),
                };
                node.events.emit(Some(&self.peer), fact);
                let words = LastWords { reason_string: None, server: Some(server) };
                let reason = "its provider sends it to another server";
                return Err(Failure { code, words, ..Failure::new(CloseReason::Redirected, reason) });
            }
            Ok(AuthOutcome::Unavailable { .. }) => CallFailure::Failed("it is not available".into()),
            Err(failure) => failure,
        };
        let plugin = self.again.as_ref().map_or("", |again| again.provider.name());
        tell_failure(&node.events, plugin, "exchange", &failure);
        let code = match failure {
            ref busy if busy.is_busy() => ReasonCode::SERVER_BUSY,
            _ => ReasonCode::SERVER_UNAVAILABLE.in_disconnect(),
        };
        Err(Failure { code, ..Failure::new(CloseReason::AuthenticationFailed, failure.to_string()) })
    }

    fn continue_again(&mut self, hot: &mut Hot, data: &[u8], state: u64) -> Result<(), Failure> {
        let Some(again) = &mut self.again else { return Ok(()) };
        let (rounds_max, connect) = (again.rounds_max, again.connect.clone());
        let Some(under_way) = &mut again.under_way else { return Ok(()) };
        if under_way.rounds >= rounds_max {
            let reason = "its provider wants more rounds than auth_rounds_max";
            let failure = Failure::new(CloseReason::AuthenticationRefused, reason);
            return Err(Failure { blame: Blame::Limit, ..failure });
        }
        under_way.rounds += 1;
        (under_way.state, under_way.turn) = (state, Turn::Client);
        let method = connect.auth_method.as_deref().unwrap_or_default();
        self.write_auth(hot, ReasonCode::CONTINUE_AUTHENTICATION, method, data)
    }

    fn write_auth(&self, hot: &mut Hot, code: ReasonCode, method: &str, data: &[u8]) -> Result<(), Failure> {
        let data = Some(data).filter(|data| !data.is_empty());
        match auth::write(&mut hot.reply, code, method, data, self.packet_bytes_max) {
            true => Ok(()),
            false => {
                Err(Failure::new(CloseReason::PacketTooLarge, "its Maximum Packet Size leaves no room for an AUTH"))
            }
        }
    }

    fn accepted_again(&mut self, node: &Node, hot: &mut Hot, given: Given, now_ms: u64) -> Result<(), Failure> {
        let Some(again) = &self.again else { return Ok(()) };
        let (connect, provider) = (again.connect.clone(), again.provider.clone());
        let data = given.auth_data.clone();
        self.forget_refresh(now_ms);
        let renewing = self.renew(node, hot, (&connect, &provider), given, now_ms, WHEN)?;
        self.renewed_again(node, hot, renewing, data)
    }

    fn subscription_answered(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        answer: Result<Verdict, CallFailure>,
        now_ms: u64,
    ) -> Result<(), Failure> {
        let under_way = self.again.as_mut().and_then(|again| again.under_way.as_mut());
        let turn = under_way.map(|under_way| std::mem::replace(&mut under_way.turn, Turn::Client));
        let Some(Turn::Subscriptions(renewing, data)) = turn else { return Ok(()) };
        let renewing = self.go_on_renewing(node, hot, renewing, answer, now_ms)?;
        self.renewed_again(node, hot, renewing, data)
    }

    /// Asks about the next subscription; when there is none left, it is done.
    fn renewed_again(
        &mut self,
        node: &Node,
        hot: &mut Hot,
        renewing: Option<Renewing>,
        data: Vec<u8>,
    ) -> Result<(), Failure> {
        let Some(renewing) = renewing else { return self.done_again(node, hot, &data) };
        if let Some(under_way) = self.again.as_mut().and_then(|again| again.under_way.as_mut()) {
            under_way.turn = Turn::Subscriptions(renewing, data);
        }
        Ok(())
    }

    fn done_again(&mut self, node: &Node, hot: &mut Hot, data: &[u8]) -> Result<(), Failure> {
        let Some(again) = &mut self.again else { return Ok(()) };
        again.under_way = None;
        self.state.reauthenticated();
        let (connect, plugin) = (again.connect.clone(), again.provider.name().to_owned());
        let method = connect.auth_method.as_deref().unwrap_or_default();
        self.write_auth(hot, ReasonCode::SUCCESS, method, data)?;
        let fact = Fact::ClientReauthenticated { method: method.to_owned().into(), plugin: plugin.into() };
        node.events.emit(Some(&self.peer), fact);
        Ok(())
    }

    fn failed_again(&mut self, node: &Node, failure: Failure) -> Ending {
        let Failure { close, code, reason, blame, words } = failure;
        if let Some(again) = &mut self.again {
            again.under_way = None;
        }
        // Who is sent elsewhere has failed at nothing.
        if let (Some(again), false) = (&self.again, close == CloseReason::Redirected) {
            let fact = Fact::ReauthenticationFailed {
                method: again.method().to_owned().into(),
                code: code.0.into(),
                reason: reason.into(),
                plugin: again.provider.name().to_owned().into(),
                blame: blame.name().into(),
            };
            node.events.emit(Some(&self.peer), fact);
        }
        self.last_words = Some(Box::new(words));
        Ending::with_code(close, code)
    }

    /// Looked at once a second: it may take as long as a connection may take to begin.
    pub(super) fn overdue_again(&mut self, node: &Node, now_ms: u64) -> Option<Ending> {
        let under_way = self.again.as_ref()?.under_way.as_ref()?;
        if now_ms < under_way.until_ms {
            return None;
        }
        let failure = match under_way.turn {
            Turn::Client => Failure {
                blame: Blame::Peer,
                ..Failure::new(CloseReason::AuthenticationRefused, "the client sent no AUTH in time")
            },
            Turn::Provider(_) | Turn::Subscriptions(..) => {
                let failure = Failure::new(CloseReason::AuthenticationFailed, "its provider did not decide in time");
                Failure { code: failure.code.in_disconnect(), ..failure }
            }
        };
        Some(self.failed_again(node, failure))
    }

    /// The connection ends; was one under way?
    pub(super) fn tell_again_aborted(&mut self, node: &Node, ending: Ending) {
        let Some(again) = &mut self.again else { return };
        let Some(under_way) = again.under_way.take() else { return };
        let fact = Fact::AuthExchangeAborted {
            method: again.method().to_owned().into(),
            rounds: under_way.rounds.into(),
            reason: ending.reason.name().into(),
            blame: ending.reason.blame().name().into(),
        };
        node.events.emit(Some(&self.peer), fact);
    }
}
