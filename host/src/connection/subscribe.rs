//! SUBSCRIBE and UNSUBSCRIBE: each filter decided, then one acknowledgement.

use gatemq_broker::{Decision, EPISODE_MS, SubscribeAction, router};
use gatemq_mqtt::packet::subscribe::{Subscribe, SubscribeOptions};
use gatemq_mqtt::packet::unsubscribe::Unsubscribe;
use gatemq_mqtt::packet::{suback, unsuback};
use gatemq_mqtt::topic::Filter;
use gatemq_types::event::Fact;
use gatemq_types::{Action, ActionKind, CloseReason, Protocol, QoS, ReasonCode, UserProperty, Verdict};

use super::Ending;
use super::client::{Client, Lane, SoFar, Step};

/// What one filter leads to.
enum Decided {
    Code(ReasonCode),
    Ask(Box<super::ask::Asking>),
}

impl Client {
    pub(super) fn subscribe(&mut self, lane: &mut Lane, packet: Subscribe<'_>) -> Result<Step, Ending> {
        for (filter, options) in packet.iter().skip(self.decided_count()) {
            let properties = || owned(packet.properties.user());
            let identifier = packet.subscription_id.unwrap_or(0);
            match self.subscribe_one(lane, filter, options, identifier, properties)? {
                // 3.1 knows no refusal: it is acknowledged as if it had been granted (MQTT 3.1, 3.8).
                Decided::Code(code) if code.is_failure() && self.state.protocol() == Protocol::V31 => {
                    self.decided(ReasonCode(options.qos().bits()));
                }
                Decided::Code(code) => self.decided(code),
                // The filters before it are decided; the packet comes again with the answer.
                Decided::Ask(asking) => return Ok(Step::Ask(*asking)),
            }
        }
        let SoFar { codes, reason_string } = *self.so_far.take().unwrap_or_default();
        let words = self.words(&reason_string);
        let protocol = self.state.protocol();
        let (bytes_max, mut fits) = (self.packet_bytes_max, true);
        let write = |out: &mut _| fits = suback::write(out, protocol, packet.packet_id, &codes, words, bytes_max);
        self.acknowledge(lane.hot, 0, write);
        match fits {
            true => Ok(Step::Next),
            false => Err(Ending::of(CloseReason::PacketTooLarge)),
        }
    }

    fn subscribe_one(
        &mut self,
        lane: &mut Lane,
        filter: Filter<'_>,
        options: SubscribeOptions,
        identifier: u32,
        properties: impl FnOnce() -> Vec<UserProperty>,
    ) -> Result<Decided, Ending> {
        let action = SubscribeAction { filter, qos: options.qos() };
        let (decision, verdict) = match self.answer.take() {
            None => (self.identity.may_subscribe(action), None),
            Some((question, verdict)) => (self.identity.answer_subscribe(action, question, &verdict), Some(verdict)),
        };
        match decision {
            Decision::Permit(permit) => {
                let out = &mut lane.hot.out;
                let subscribed =
                    router::subscribe_with_identifier(&permit, &self.session, options, identifier, lane.now_ms, out);
                if let Some(limit) = subscribed.exceeded {
                    self.tell_exceeded(lane.node, limit, lane.now_ms);
                }
                if subscribed.session_is_full {
                    self.tell_full(lane, permit.subscriptions_max());
                }
                let code = subscribed.code;
                let fact = match code.is_failure() {
                    true => denied(filter, code, "it cannot be added".to_owned()),
                    false => Fact::SubscriptionAdded { filter: filter.text.to_owned().into(), qos: code.0.into() },
                };
                lane.node.events.emit(Some(&self.peer), fact);
                Ok(Decided::Code(code))
            }
            Decision::Denied(code) => self.refused(lane, filter, code, verdict, denied).map(Decided::Code),
            Decision::Ask(question) => {
                let asked = filter_action(ActionKind::Subscribe, filter, options.qos(), options.bits(), properties());
                self.ask(lane, question, asked).map(|asking| Decided::Ask(Box::new(asking)))
            }
        }
    }

    /// It has as many subscriptions as it may: told once an episode.
    #[cold]
    fn tell_full(&mut self, lane: &Lane, max: u32) {
        let told_ms = std::mem::replace(&mut self.subscriptions_told_ms, lane.now_ms);
        if told_ms != 0 && lane.now_ms.saturating_sub(told_ms) < EPISODE_MS {
            return;
        }
        let (max, actual) = (max.into(), self.session.subscriptions() as u64);
        let fact = Fact::LimitExceeded { which: "subscriptions_max".into(), max, actual, action: "refused".into() };
        lane.node.events.emit(Some(&self.peer), fact);
    }

    /// A filter is refused; a verdict may end the connection with it.
    fn refused(
        &mut self,
        lane: &Lane,
        filter: Filter<'_>,
        code: ReasonCode,
        verdict: Option<Verdict>,
        fact: fn(Filter<'_>, ReasonCode, String) -> Fact,
    ) -> Result<ReasonCode, Ending> {
        let (reason, reason_string, disconnect) = match verdict {
            Some(Verdict::Deny { reason, reason_string, disconnect, .. }) => (reason, reason_string, disconnect),
            _ => ("grants".to_owned(), None, false),
        };
        lane.node.events.emit(Some(&self.peer), fact(filter, code, reason));
        if disconnect {
            return Err(self.goes_with(reason_string, code));
        }
        if reason_string.is_some() {
            let so_far = self.so_far.get_or_insert_default();
            so_far.reason_string = so_far.reason_string.take().or(reason_string);
        }
        Ok(code)
    }

    /// One filter more.
    pub(super) fn decided(&mut self, code: ReasonCode) {
        self.so_far.get_or_insert_default().codes.push(code);
    }

    fn decided_count(&self) -> usize {
        self.so_far.as_ref().map_or(0, |so_far| so_far.codes.len())
    }

    pub(super) fn unsubscribe(&mut self, lane: &mut Lane, packet: Unsubscribe<'_>) -> Result<Step, Ending> {
        for filter in packet.iter().skip(self.decided_count()) {
            let (decision, verdict) = match self.answer.take() {
                None => (self.identity.may_unsubscribe(filter), None),
                Some((question, verdict)) => {
                    (self.identity.answer_unsubscribe(filter, question, &verdict), Some(verdict))
                }
            };
            let code = match decision {
                Decision::Permit(permit) => {
                    let code = router::unsubscribe(&permit, &self.session, &mut lane.hot.out.spare.changes);
                    if code == ReasonCode::SUCCESS {
                        let fact = Fact::SubscriptionRemoved { filter: filter.text.to_owned().into() };
                        lane.node.events.emit(Some(&self.peer), fact);
                    }
                    code
                }
                Decision::Denied(code) => self.refused(lane, filter, code, verdict, unsubscribe_denied)?,
                Decision::Ask(question) => {
                    let properties = owned(packet.properties.user());
                    let asked = filter_action(ActionKind::Unsubscribe, filter, QoS::AtMostOnce, 0, properties);
                    return self.ask(lane, question, asked).map(Step::Ask);
                }
            };
            self.decided(code);
        }
        let SoFar { codes, reason_string } = *self.so_far.take().unwrap_or_default();
        let words = self.words(&reason_string);
        let protocol = self.state.protocol();
        let (bytes_max, mut fits) = (self.packet_bytes_max, true);
        let write = |out: &mut _| fits = unsuback::write(out, protocol, packet.packet_id, &codes, words, bytes_max);
        self.acknowledge(lane.hot, 0, write);
        match fits {
            true => Ok(Step::Next),
            false => Err(Ending::of(CloseReason::PacketTooLarge)),
        }
    }
}

fn owned<'a>(properties: impl Iterator<Item = (&'a str, &'a str)>) -> Vec<UserProperty> {
    properties.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

pub(super) fn denied(filter: Filter<'_>, code: ReasonCode, reason: String) -> Fact {
    Fact::SubscribeDenied { filter: filter.text.to_owned().into(), code: code.0.into(), reason: reason.into() }
}

fn unsubscribe_denied(filter: Filter<'_>, code: ReasonCode, reason: String) -> Fact {
    Fact::UnsubscribeDenied { filter: filter.text.to_owned().into(), code: code.0.into(), reason: reason.into() }
}

pub(super) fn filter_action(
    kind: ActionKind,
    filter: Filter<'_>,
    qos: QoS,
    options: u8,
    user_properties: Vec<UserProperty>,
) -> Action {
    Action {
        kind,
        topic: filter.filter.to_owned(),
        share_group: filter.share_name.map(str::to_owned),
        qos,
        retain: false,
        payload_bytes: 0,
        options,
        user_properties,
    }
}
