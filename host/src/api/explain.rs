//! Why a client may publish or subscribe to something, or may not: what its identity says now.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gatemq_broker::{Because, Explanation, Identity, PublishAction, SessionKey};
use gatemq_mqtt::topic::{self, Filter};
use gatemq_types::{Actions, Effect, Grant, QoS};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::routes::{Answer, Refusal};

/// A question.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(crate) struct Question {
    tenant: String,
    user: String,
    client_id: String,
    action: Kind,
    /// Topic, or filter; `$share/…/` included.
    pub(crate) topic: String,
    #[serde(default)]
    pub(crate) qos: u8,
    #[serde(default)]
    pub(crate) retain: bool,
    #[serde(default)]
    pub(crate) payload_bytes: u32,
}

#[derive(Deserialize, Clone, Copy, Default)]
#[serde(rename_all = "lowercase")]
enum Kind {
    #[default]
    Publish,
    Subscribe,
    Unsubscribe,
}

impl Question {
    /// May somebody whose identity is told later publish this?
    pub(crate) fn publish(topic: &str, qos: QoS, retain: bool, payload_bytes: u32) -> Question {
        Question {
            action: Kind::Publish,
            topic: topic.into(),
            qos: qos.bits(),
            retain,
            payload_bytes,
            ..Question::default()
        }
    }

    /// May it subscribe to this?
    pub(crate) fn subscribe(filter: &str, qos: QoS) -> Question {
        Question { action: Kind::Subscribe, topic: filter.into(), qos: qos.bits(), ..Question::default() }
    }

    /// Whether it is about a message.
    pub(crate) fn is_publish(&self) -> bool {
        matches!(self.action, Kind::Publish)
    }

    /// What the identity says.
    pub(crate) fn of(&self, identity: &Identity) -> Result<Explanation, Refusal> {
        let (text, levels_max) = (&*self.topic, gatemq_broker::TOPIC_LEVELS_MAX as u16);
        let qos = QoS::from_bits(self.qos).ok_or_else(|| Refusal::invalid("qos must be 0, 1 or 2"))?;
        let filter =
            || Filter::read(text, levels_max).map_err(|breach| Refusal::invalid(format!("the filter: {breach}")));
        Ok(match self.action {
            Kind::Publish => {
                topic::name(text.as_bytes(), levels_max)
                    .map_err(|breach| Refusal::invalid(format!("the topic: {breach}")))?;
                let (retain, payload_bytes) = (self.retain, self.payload_bytes);
                identity.explain_publish(PublishAction { topic: text, qos, retain, payload_bytes })
            }
            Kind::Subscribe => identity.explain_subscribe(filter()?, qos),
            Kind::Unsubscribe => identity.explain_unsubscribe(filter()?),
        })
    }
}

/// Answers it. Only a client that is connected has an identity.
pub(super) async fn explain(State(api): State<Api>, question: Result<Query<Question>, QueryRejection>) -> Answer {
    let Query(question) = question?;
    let unknown = || Refusal::not_found("there is no session of that tenant, user and client id");
    let tenant = api.node.tenants.get(&question.tenant).ok_or_else(unknown)?;
    let key =
        SessionKey::new(tenant, &question.user, &question.client_id).map_err(|e| Refusal::invalid(e.to_string()))?;
    let session = api.node.sessions.get(&key).ok_or_else(unknown)?;
    let away = || Refusal::conflict("the client is away: what it may do is decided when it connects");
    let home = session.home().ok_or_else(away)?;
    let explained = api.node.on_worker(home.worker, move |worker| {
        worker.look_at(home.connection, |connection| {
            let client = connection.client();
            // Its number may be another's by now.
            (**client.identity().key() == key).then(|| (question.of(client.identity()), client.provider().to_owned()))
        })
    });
    let (explanation, provider) = explained.await.flatten().flatten().ok_or_else(away)?;
    Ok(Json(told(&explanation?, &provider)))
}

/// An explanation as it is answered.
pub(crate) fn told(explanation: &Explanation, provider: &str) -> Value {
    let verdict = effect(explanation.effect);
    let (because, grant) = match &explanation.because {
        Because::Grant(place, rule) => {
            (format!("grant {} is the first that matches", place + 1), Some(grant(*place, rule)))
        }
        Because::NoMatch => (format!("no grant matches, and the identity then says {verdict}"), None),
        Because::Limit(name) => (format!("the limit {name} of the identity rules it out"), None),
        Because::NodesTopic => ("clients never publish to topics that begin with $".to_owned(), None),
        Because::Free => ("no grant speaks of unsubscribing, so it is allowed".to_owned(), None),
    };
    json!({
        "verdict": verdict,
        "qos": explanation.qos.bits(),
        "because": because,
        "grant": grant,
        "provider": provider,
    })
}

fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Allow => "allow",
        Effect::Deny => "deny",
        Effect::Ask => "ask",
    }
}

/// A grant as the provider wrote it.
pub(crate) fn grant(place: usize, grant: &Grant) -> Value {
    let actions = [
        (Actions::PUBLISH, "publish"),
        (Actions::SUBSCRIBE, "subscribe"),
        (Actions::UNSUBSCRIBE, "unsubscribe"),
        (Actions::RECEIVE, "receive"),
        (Actions::WILL, "will"),
    ];
    let actions: Vec<_> =
        actions.iter().filter(|(set, _)| grant.actions.contains(*set)).map(|(_, name)| *name).collect();
    let constraints = &grant.constraints;
    json!({
        "number": place + 1,
        "effect": effect(grant.effect),
        "actions": actions,
        "filter": grant.filter,
        "qos_max": constraints.qos_max.bits(),
        "retain": constraints.retain,
        "payload_bytes_max": constraints.payload_bytes_max,
        "share_groups": constraints.share_groups,
    })
}
