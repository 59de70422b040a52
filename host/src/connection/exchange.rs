//! Enhanced authentication before CONNACK (5.0, 4.12): AUTH by AUTH, all of it within the deadline of the connection.

use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;

use gatemq_mqtt::Breach;
use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::connection::{Exchange as Step, ExpectDecision};
use gatemq_mqtt::packet::auth;
use gatemq_plugin_loader::Pinned;
use gatemq_types::event::Fact;
use gatemq_types::{Blame, CloseReason, Connect, ReasonCode, Secret};
use tokio::time::Instant;

use super::Ending;
use super::admit::{Cut, Stranger, within};
use super::authenticate::{NotAdmitted, Refusal, answer};
use super::close::tell_breach;
use crate::plugins::{Admission, judge};
use crate::worker::Worker;

/// The enhanced authentication of a client that is not admitted yet, or that it offers none.
pub(super) struct Exchange<'a> {
    worker: &'a Rc<Worker>,
    state: &'a ExpectDecision,
    method: String,
    deadline: Instant,
    /// AUTH packets sent.
    rounds: u32,
}

/// Why it ends before the provider has decided.
struct Aborted {
    reason: String,
    blame: Blame,
    then: NotAdmitted,
}

impl Aborted {
    fn refused(blame: Blame, code: ReasonCode, reason: &str) -> Self {
        Aborted { reason: reason.to_owned(), blame, then: Refusal::new("exchange", code, reason).into() }
    }

    fn gone(ending: Ending) -> Self {
        let reason = match ending.reason {
            CloseReason::ClientDisconnected => "the client gave up",
            _ => "the client has gone",
        };
        Aborted { reason: reason.to_owned(), blame: Blame::Peer, then: NotAdmitted::Gone(ending) }
    }

    /// A part of it was cut off; `silent` says whose time was up.
    fn cut(cut: Cut, silent: Aborted) -> Self {
        match cut {
            Cut::TimedOut => silent,
            Cut::Stopping => Aborted {
                reason: "the broker stops".to_owned(),
                blame: Blame::Broker,
                then: Refusal::stopping().into(),
            },
        }
    }
}

impl<'a> Exchange<'a> {
    /// Of a client whose CONNECT has come; nothing happens yet.
    pub(super) fn new(worker: &'a Rc<Worker>, state: &'a ExpectDecision, connect: &Connect, deadline: Instant) -> Self {
        let method = connect.auth_method.clone().unwrap_or_default();
        Exchange { worker, state, method, deadline, rounds: 0 }
    }

    /// Whether an AUTH was sent.
    pub(super) fn has_begun(&self) -> bool {
        self.rounds > 0
    }

    /// Sends the client what its provider has for it (MQTT-4.12.0-2), and its answer (MQTT-4.12.0-3) to the provider.
    ///
    /// # Errors
    /// It is not admitted: it is gone, broke a rule, took too long, or the provider goes on for too long.
    pub(super) async fn round(
        &mut self,
        stranger: &mut Stranger,
        connect: &Connect,
        packet_bytes_max: u32,
        data: &[u8],
        state: u64,
        provider: &Pinned,
    ) -> Result<Admission, NotAdmitted> {
        let round = async {
            self.send(stranger, packet_bytes_max, data).await?;
            let sent = self.receive(stranger).await?;
            self.ask(stranger, connect, &sent, state, provider).await
        };
        match round.await {
            Ok(admission) => Ok(admission),
            Err(Aborted { reason, blame, then }) => {
                self.tell_aborted(stranger, &reason, blame);
                Err(then)
            }
        }
    }

    async fn send(&mut self, stranger: &mut Stranger, packet_bytes_max: u32, data: &[u8]) -> Result<(), Aborted> {
        if self.rounds >= self.worker.node.limits.auth_rounds_max {
            let reason = "its provider wants more rounds than auth_rounds_max";
            return Err(Aborted::refused(Blame::Limit, ReasonCode::NOT_AUTHORIZED, reason));
        }
        self.rounds += 1;
        let mut packet = Vec::new();
        let (code, data) = (ReasonCode::CONTINUE_AUTHENTICATION, Some(data).filter(|data| !data.is_empty()));
        if !auth::write(&mut packet, code, &self.method, data, packet_bytes_max) {
            let reason = "its Maximum Packet Size leaves no room for an AUTH";
            return Err(Aborted::refused(Blame::Peer, ReasonCode::PACKET_TOO_LARGE, reason));
        }
        stranger.write(self.worker, &packet).await.map_err(Aborted::gone)
    }

    async fn receive(&self, stranger: &mut Stranger) -> Result<Secret, Aborted> {
        let step = within(self.worker, self.deadline, pin!(self.step(stranger))).await;
        let step = step.map_err(|cut| {
            let reason = "the client sent no AUTH within the connect deadline";
            Aborted::cut(cut, Aborted::refused(Blame::Peer, ReasonCode::NOT_AUTHORIZED, reason))
        })?;
        match step {
            Ok(data) => Ok(data),
            Err(ending) => Err(match ending.breach {
                Some(breach) => self.broken(stranger, breach),
                None => Aborted::gone(ending),
            }),
        }
    }

    /// Authentication Data of the client's next packet; its end when it gives up.
    async fn step(&self, stranger: &mut Stranger) -> Result<Secret, Ending> {
        loop {
            match self.state.frame(&stranger.bytes)? {
                Framed::Incomplete { .. } => stranger.read(self.worker).await?,
                Framed::Frame { head, len, .. } => {
                    let data = match self.state.packet(&stranger.bytes[..len], head)? {
                        Step::Auth(auth) => Secret::new(auth.data.unwrap_or_default().to_vec()),
                        Step::Disconnect(_) => return Err(Ending::of(CloseReason::ClientDisconnected)),
                    };
                    stranger.bytes.remove_front(len);
                    return Ok(data);
                }
            }
        }
    }

    async fn ask(
        &self,
        stranger: &mut Stranger,
        connect: &Connect,
        data: &Secret,
        state: u64,
        provider: &Pinned,
    ) -> Result<Admission, Aborted> {
        let asking = provider.exchange(connect, data.as_bytes(), state, false);
        let answer = within(self.worker, self.deadline, pin!(answer(self.worker, stranger, pin!(asking)))).await;
        let answer = answer.map_err(|cut| {
            let reason = "its provider did not decide within the connect deadline";
            let then = Refusal::by(provider.plugin().name(), "exchange", ReasonCode::SERVER_UNAVAILABLE, reason).into();
            Aborted::cut(cut, Aborted { reason: reason.to_owned(), blame: Blame::Plugin, then })
        })?;
        let answer = answer.map_err(|not_admitted| match not_admitted {
            NotAdmitted::Gone(ending) => Aborted::gone(ending),
            then => Aborted { reason: "the broker stops".to_owned(), blame: Blame::Broker, then },
        })?;
        let answer = answer.map(|outcome| (outcome, provider.clone()));
        Ok(judge(provider.plugin(), connect, answer).unwrap_or_else(|| Admission::Refused {
            code: ReasonCode::NOT_AUTHORIZED,
            reason: "its provider had nothing to say in the middle of an exchange".to_owned(),
            reason_string: None,
            plugin: provider.plugin().name().to_owned(),
            delay: std::time::Duration::ZERO,
        }))
    }

    /// A client with a method sends nothing else before CONNACK (MQTT-3.1.2-30), as far as it can be seen.
    ///
    /// # Errors
    /// It did.
    pub(super) fn nothing_came_early(&self, stranger: &Stranger) -> Result<(), NotAdmitted> {
        let first = match self.state.frame(&stranger.bytes) {
            _ if self.method.is_empty() => return Ok(()),
            Ok(Framed::Incomplete { .. }) => return Ok(()),
            Ok(Framed::Frame { head, len, .. }) => self.state.packet(&stranger.bytes[..len], head).map(drop),
            Err(breach) => Err(breach),
        };
        first.map_err(|breach| {
            let Aborted { reason, blame, then } = self.broken(stranger, breach);
            self.tell_aborted(stranger, &reason, blame);
            then
        })
    }

    fn broken(&self, stranger: &Stranger, breach: Breach) -> Aborted {
        let peer = Arc::new(stranger.peer.clone());
        let node = &self.worker.node;
        tell_breach(&node.events, &peer, breach, node.limits.of_packets().exceeded_by(breach));
        Aborted::refused(Blame::Peer, breach.code(), breach.detail())
    }

    /// It ends before it is decided.
    pub(super) fn tell_aborted(&self, stranger: &Stranger, reason: &str, blame: Blame) {
        let fact = Fact::AuthExchangeAborted {
            method: self.method.clone().into(),
            rounds: self.rounds.into(),
            reason: reason.to_owned().into(),
            blame: blame.name().into(),
        };
        self.worker.node.events.emit(Some(&Arc::new(stranger.peer.clone())), fact);
    }
}
