//! A question to the provider: the connection is not read until it is answered, so the order of packets is kept.

use std::future::Future;
use std::pin::Pin;

use gatemq_broker::Question;
use gatemq_mqtt::Publish;
use gatemq_plugin_loader::CallFailure;
use gatemq_types::event::Fact;
use gatemq_types::{Action, ActionKind, CloseReason, QoS, Verdict};

use super::Ending;
use super::client::{Client, Lane};
use crate::node::Node;
use crate::plugins::tell_failure;

/// A question under way.
pub(super) struct Asking {
    pub(super) question: Question,
    pub(super) answer: Pin<Box<dyn Future<Output = Result<Verdict, CallFailure>>>>,
    /// What was asked, for the event of a failure.
    pub(super) kind: ActionKind,
    pub(super) topic: String,
}

/// The action of a PUBLISH.
pub(super) fn action(kind: ActionKind, topic: &str, qos: QoS, message: &Publish<'_>) -> Action {
    let pair = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
    Action {
        kind,
        topic: topic.to_owned(),
        share_group: None,
        qos,
        retain: message.retain,
        payload_bytes: u32::try_from(message.payload.len()).unwrap_or(u32::MAX),
        options: 0,
        user_properties: message.properties.user().map(pair).collect(),
    }
}

impl Client {
    /// Puts a question to the provider.
    ///
    /// # Errors
    /// There is nobody to ask (`--dev`): nothing is granted.
    #[cold]
    pub(super) fn ask(&mut self, lane: &Lane, question: Question, action: Action) -> Result<Asking, Ending> {
        let Some((instance, session)) = self.asked.clone() else {
            let fact = Fact::AuthorizationFailed {
                action: action.kind.name().into(),
                topic: action.topic.into(),
                plugin: "".into(),
                error: "there is no provider to ask".into(),
            };
            lane.node.events.emit(Some(&self.peer), fact);
            return Err(Ending::of(CloseReason::AuthorizationFailed));
        };
        let (kind, topic) = (action.kind, action.topic.clone());
        let answer = Box::pin(async move { instance.authorize(&session, action).await });
        Ok(Asking { question, answer, kind, topic })
    }

    /// Takes the answer. A failure is never kept: a message's ends the connection unacknowledged, so that the client sends
    /// it again; a filter's is told in its SUBACK or UNSUBACK.
    pub(super) fn answered(
        &mut self,
        node: &Node,
        asking: Asking,
        answer: Result<Verdict, CallFailure>,
    ) -> Result<(), Ending> {
        let failure = match answer {
            Ok(verdict) => {
                self.answer = Some((asking.question, verdict));
                return Ok(());
            }
            Err(failure) => failure,
        };
        let plugin = self.asked.as_ref().map_or("", |(instance, _)| instance.name()).to_owned();
        tell_failure(&node.events, &plugin, "authorize", &failure);
        let fact = Fact::AuthorizationFailed {
            action: asking.kind.name().into(),
            topic: asking.topic.into(),
            plugin: plugin.into(),
            error: failure.to_string().into(),
        };
        node.events.emit(Some(&self.peer), fact);
        match asking.kind {
            ActionKind::Subscribe | ActionKind::Unsubscribe => {
                self.decided(CloseReason::AuthorizationFailed.code());
                Ok(())
            }
            _ => Err(Ending::of(CloseReason::AuthorizationFailed)),
        }
    }
}
