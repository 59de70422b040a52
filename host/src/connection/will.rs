//! Wills: whether a client may leave one, and what is done with one that is due.

use std::pin::pin;
use std::sync::Arc;

use gatemq_broker::{Decision, LeftWill, Traffic, Will, router};
use gatemq_mqtt::packet::connect;
use gatemq_plugin_loader::CallFailure;
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{Action, ActionKind, ReasonCode, Verdict};

use super::admit::Stranger;
use super::authenticate::{NotAdmitted, Refusal, answer};
use super::client::Client;
use super::retained::tell_retention;
use crate::denials;
use crate::plugins::tell_failure;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Decides on the will of a CONNECT. A client whose will is denied is refused (section 5 of the design): it counts on it.
pub(super) async fn may_leave(
    worker: &Worker,
    stranger: &mut Stranger,
    client: &Client,
    will: &connect::Will,
) -> Result<Will, NotAdmitted> {
    let mut reason_string = None;
    let (code, reason) = match client.identity.may_leave_will(will) {
        Decision::Permit(will) => return Ok(will),
        Decision::Denied(code) => (code, "grants".to_owned()),
        Decision::Ask(question) => {
            let verdict = ask(worker, stranger, client, action(will)).await?;
            match client.identity.answer_will(will, question, &verdict) {
                Decision::Permit(will) => return Ok(will),
                Decision::Denied(code) => match verdict {
                    Verdict::Deny { reason, reason_string: told, .. } => {
                        reason_string = told;
                        (code, reason)
                    }
                    _ => (code, "grants".to_owned()),
                },
                Decision::Ask(_) => (ReasonCode::NOT_AUTHORIZED, "its grants changed meanwhile".to_owned()),
            }
        }
    };
    let fact = Fact::WillDenied { topic: will.topic.clone().into(), reason: reason.clone().into() };
    worker.node.events.emit(Some(&client.peer), fact);
    Err(Refusal::new("will", code, reason).saying(reason_string).into())
}

fn action(will: &connect::Will) -> Action {
    Action {
        kind: ActionKind::Will,
        topic: will.topic.clone(),
        share_group: None,
        qos: will.qos,
        retain: will.retain,
        payload_bytes: u32::try_from(will.payload.len()).unwrap_or(u32::MAX),
        options: 0,
        user_properties: will.user_properties(),
    }
}

/// Asks the provider about something that a client wants before it is admitted. No answer refuses the client: 0x88, 3.
pub(super) async fn ask(
    worker: &Worker,
    stranger: &mut Stranger,
    client: &Client,
    action: Action,
) -> Result<Verdict, NotAdmitted> {
    let events = &worker.node.events;
    let (kind, topic) = (action.kind, action.topic.clone());
    let failed = |plugin: &str, error: String| {
        let fact = Fact::AuthorizationFailed {
            action: kind.name().into(),
            topic: topic.into(),
            plugin: plugin.to_owned().into(),
            error: error.clone().into(),
        };
        events.emit(Some(&client.peer), fact);
        Refusal::by(plugin, "authorize", ReasonCode::SERVER_UNAVAILABLE, error)
    };
    let Some((instance, session)) = client.asked.clone() else {
        return Err(failed("", "there is no provider to ask".to_owned()).into());
    };
    let verdict: Result<Verdict, CallFailure> =
        answer(worker, stranger, pin!(instance.authorize(&session, action))).await?;
    verdict.map_err(|failure| {
        tell_failure(events, instance.name(), "authorize", &failure);
        failed(instance.name(), failure.to_string()).into()
    })
}

/// Publishes a will that is due, if its client may still publish it. The caller has who is armed told.
pub(crate) fn publish_will(worker: &Worker, hot: &mut Hot, peer: &Arc<Peer>, left: &LeftWill) {
    if denials::withholds_will(&worker.node, peer, worker.now_ms.get()) {
        return;
    }
    let (will, events) = (&left.will, &worker.node.events);
    let (topic, now_ms) = (will.topic().to_owned(), worker.now_ms.get());
    let tenant = left.session.key().tenant();
    match router::publish_will(left, now_ms, &mut hot.out) {
        Ok(routed) => {
            tell_retention(&worker.node, peer, &topic, will.payload_bytes(), routed.retention);
            if let Some(limit) = routed.exceeded {
                worker.node.tell_exceeded(peer, tenant, limit, now_ms);
            }
            let (messages_sent, messages_dropped) = (routed.delivered.into(), routed.dropped.into());
            tenant.add_traffic(&Traffic { messages_sent, messages_dropped, ..Traffic::default() });
            let (qos, receivers) = (will.qos().bits().into(), routed.delivered.into());
            let fact = Fact::WillPublished { topic: topic.into(), qos, retain: will.retain(), receivers };
            events.emit(Some(peer), fact);
        }
        Err(code) => {
            let reason = format!("its client may not publish it any more (0x{:02X})", code.0).into();
            events.emit(Some(peer), Fact::WillDenied { topic: topic.into(), reason });
        }
    }
}
