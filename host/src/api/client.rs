//! One client in full.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gatemq_broker::{SessionKey, router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::routes::{Answer, Refusal};
use crate::admin::hex;
use crate::connection::Client;

/// Subscriptions, and grants, that are told; there may be more of them.
const ROWS_MAX: usize = 1000;

/// Which one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Who {
    tenant: String,
    user: String,
    client_id: String,
}

/// Its session, and where it is connected its connection, identity, certificate and grants. Of a certificate the hashes are told:
/// the chain itself is in the event ClientConnected, and is not kept.
pub(super) async fn client(State(api): State<Api>, who: Result<Query<Who>, QueryRejection>) -> Answer {
    let Query(who) = who?;
    let unknown = || Refusal::not_found("there is no session of that tenant, user and client id");
    let tenant = api.node.tenants.get(&who.tenant).ok_or_else(unknown)?;
    let key = SessionKey::new(tenant, &who.user, &who.client_id).map_err(|e| Refusal::invalid(e.to_string()))?;
    let session = api.node.sessions.get(&key).ok_or_else(unknown)?;
    let connection = match session.home() {
        None => None,
        Some(home) => {
            let key = session.key().clone();
            let told = api.node.on_worker(home.worker, move |worker| {
                worker.look_at(home.connection, |connection| {
                    let client = connection.client();
                    // Its number may be another's by now.
                    (**client.identity().key() == *key).then(|| connected(client))
                })
            });
            told.await.flatten().flatten()
        }
    };
    let filters = router::filters_of(&session, ROWS_MAX);
    let subscriptions: Vec<Value> =
        filters.into_iter().map(|(filter, qos)| json!({ "filter": filter, "qos": qos.bits() })).collect();
    Ok(Json(json!({
        "tenant": who.tenant,
        "user": who.user,
        "client_id": who.client_id,
        "protocol": session.protocol().name(),
        "expiry_s": session.expiry_s(),
        "waiting": session.waiting(),
        "dropped": session.dropped(),
        "subscription_count": session.subscriptions(),
        "subscriptions": subscriptions,
        "connection": connection,
    })))
}

fn connected(client: &Client) -> Value {
    let peer = &client.peer;
    let grants = client.identity().grants().source();
    let certificate = client.proven().map(|proven| {
        json!({
            "leaf_sha256": hex(&proven.leaf),
            "key_sha256": hex(&proven.key),
            "issuers_sha256": proven.issuers.iter().map(|issuer| hex(issuer)).collect::<Vec<_>>(),
        })
    });
    json!({
        "connection": peer.connection,
        "listener": &*peer.listener,
        "transport": peer.transport.name(),
        "remote": peer.remote.to_string(),
        "connected_ms": client.connected_ms(),
        "provider": client.provider(),
        "tags": client.tags(),
        "certificate": certificate,
        "grant_count": grants.len(),
        "grants": (0..).zip(grants).take(ROWS_MAX).map(|(at, grant)| super::explain::grant(at, grant)).collect::<Vec<_>>(),
    })
}
