//! PUBLISH: permit, route, acknowledge, and what it takes of the rates.

use std::time::Instant;

use gatemq_broker::router::Routed;
use gatemq_broker::session::Received;
use gatemq_broker::{Decision, PublishAction, Retention, router};
use gatemq_mqtt::{Breach, Publish, kind, write};
use gatemq_types::event::Fact;
use gatemq_types::{ActionKind, CloseReason, Protocol, QoS, ReasonCode, Verdict};

use super::Ending;
use super::client::{Client, Lane, Step};
use super::retained::tell_retention;
use crate::worker::hot::Hot;

/// This message is measured, and no other until the worker's next tick.
#[cold]
fn sample(hot: &mut Hot) -> Option<Instant> {
    hot.sampled = false;
    Some(Instant::now())
}

impl Client {
    #[inline]
    pub(super) fn publish(&mut self, lane: &mut Lane, message: &Publish<'_>) -> Result<Step, Ending> {
        let topic = self.aliases.resolve(message)?;
        let topic = &*topic;
        let action = PublishAction::new(message, topic);
        let (identity, now_ms) = (&self.identity, lane.now_ms);
        let (decision, verdict) = match self.answer.take() {
            None => (identity.may_publish(&mut self.verdicts, action, now_ms), None),
            Some((question, verdict)) => {
                (identity.answer_publish(&mut self.verdicts, action, question, &verdict, now_ms), Some(verdict))
            }
        };
        match decision {
            Decision::Permit(permit) => {
                if message.qos == QoS::ExactlyOnce {
                    match self.session.receive(message.packet_id, &mut lane.hot.out.spare.changes) {
                        Received::New => {}
                        Received::Repeated => {
                            let write = |out: &mut _| write::ack(out, kind::PUBREC, message.packet_id);
                            self.acknowledge(lane.hot, message.frame.len(), write);
                            return self.rated(lane, message);
                        }
                        // Its acknowledgement is on its way; or it came by an earlier connection, and the client is to try again.
                        Received::UnderWay if self.awaits(message.packet_id) => return self.rated(lane, message),
                        Received::UnderWay => return Err(Ending::of(CloseReason::ClusterUnavailable)),
                        Received::TakenOver => return Err(Ending::of(CloseReason::TakenOver)),
                        Received::TooMany => return Err(Breach::ReceiveMaximumExceeded.into()),
                    }
                }
                let began = if lane.hot.sampled { sample(lane.hot) } else { None };
                let routed = router::publish(&permit, &self.session, message, now_ms, &mut lane.hot.out);
                if let Some(began) = began {
                    lane.node.timings.routing.note(began.elapsed());
                }
                if let Some(limit) = routed.exceeded {
                    self.tell_exceeded(lane.node, limit, now_ms);
                }
                if routed.retention != Retention::None {
                    self.tell_retained(lane, topic, message, routed.retention);
                    if routed.retention == Retention::Refused {
                        return self.not_retained(lane, message);
                    }
                }
                self.messages_published += 1;
                if lane.node.events.traffic_wanted() {
                    self.tell_received(lane, topic, message, &routed);
                }
                self.acknowledge_message(lane, message);
                self.rated(lane, message)
            }
            Decision::Denied(code) => self.denied(lane, topic, message, code, verdict),
            Decision::Ask(question) => {
                let asked = super::ask::action(ActionKind::Publish, topic, message.qos, message);
                self.ask(lane, question, asked).map(Step::Ask)
            }
        }
    }

    /// The client is told in the way that its version and the QoS allow; what cannot be told ends the connection.
    #[cold]
    fn denied(
        &mut self,
        lane: &mut Lane,
        topic: &str,
        message: &Publish<'_>,
        code: ReasonCode,
        verdict: Option<Verdict>,
    ) -> Result<Step, Ending> {
        let by_limits = verdict.is_none();
        let (reason, reason_string, disconnect) = match verdict {
            Some(Verdict::Deny { reason, reason_string, disconnect, .. }) => (reason, reason_string, disconnect),
            _ => ("grants".to_owned(), None, false),
        };
        let fact = Fact::PublishDenied {
            topic: topic.to_owned().into(),
            qos: message.qos.bits().into(),
            code: code.0.into(),
            reason: reason.into(),
        };
        lane.node.events.emit(Some(&self.peer), fact);
        if self.acknowledges_denied && !disconnect && self.state.protocol() != Protocol::V5 {
            self.acknowledge_message(lane, message);
            return self.rated(lane, message);
        }
        // What CONNACK ruled out is a protocol error (MQTT-3.2.2-11, -14).
        match code {
            ReasonCode::QOS_NOT_SUPPORTED if by_limits && message.qos > self.announced.qos_max => {
                return Err(Breach::QosNotAnnounced.into());
            }
            ReasonCode::RETAIN_NOT_SUPPORTED if by_limits && !self.announced.retain => {
                return Err(Breach::RetainNotAnnounced.into());
            }
            _ if disconnect => return Err(self.goes_with(reason_string, code)),
            _ => {}
        }
        self.answer_failure(lane, message, code.in_puback(), &reason_string)
    }

    /// Its tenant retains as much as it may, so the message went to nobody.
    #[cold]
    fn not_retained(&mut self, lane: &mut Lane, message: &Publish<'_>) -> Result<Step, Ending> {
        if message.qos == QoS::ExactlyOnce {
            self.session.release(message.packet_id, &mut lane.hot.out.spare.changes);
        }
        self.answer_failure(lane, message, ReasonCode::QUOTA_EXCEEDED, &None)
    }

    /// A message that went to nobody: an MQTT 3 client cannot be told, and is closed rather than lied to.
    fn answer_failure(
        &mut self,
        lane: &mut Lane,
        message: &Publish<'_>,
        code: ReasonCode,
        reason_string: &Option<String>,
    ) -> Result<Step, Ending> {
        let protocol = self.state.protocol();
        let kind = match message.qos {
            QoS::AtMostOnce => return self.rated(lane, message),
            _ if protocol != Protocol::V5 => return Err(Ending::with_code(CloseReason::PublishDenied, code)),
            QoS::AtLeastOnce => kind::PUBACK,
            QoS::ExactlyOnce => kind::PUBREC,
        };
        let (words, bytes_max) = (self.words(reason_string), self.packet_bytes_max);
        let write = |out: &mut _| write::ack_with_words(out, kind, message.packet_id, code, words, bytes_max);
        self.acknowledge(lane.hot, message.frame.len(), write);
        self.rated(lane, message)
    }

    #[cold]
    fn tell_retained(&self, lane: &Lane, topic: &str, message: &Publish<'_>, retention: Retention) {
        tell_retention(lane.node, &self.peer, topic, message.payload.len(), retention);
    }

    #[cold]
    fn tell_received(&self, lane: &Lane, topic: &str, message: &Publish<'_>, routed: &Routed) {
        let fact = Fact::MessageReceived {
            topic: topic.to_owned().into(),
            qos: message.qos.bits().into(),
            payload_bytes: message.payload.len() as u64,
        };
        lane.node.events.emit(Some(&self.peer), fact);
        let fact = Fact::MessageRouted {
            topic: topic.to_owned().into(),
            receivers: (routed.delivered - routed.nodes).into(),
            dropped: routed.dropped.into(),
            nodes: routed.nodes.into(),
        };
        lane.node.events.emit(Some(&self.peer), fact);
    }

    #[inline]
    fn acknowledge_message(&mut self, lane: &mut Lane, message: &Publish<'_>) {
        let kind = match message.qos {
            QoS::AtMostOnce => return,
            QoS::AtLeastOnce => kind::PUBACK,
            QoS::ExactlyOnce => kind::PUBREC,
        };
        self.acknowledge(lane.hot, message.frame.len(), |out| write::ack(out, kind, message.packet_id));
    }
}
