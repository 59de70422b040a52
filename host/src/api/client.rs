//! One client in full.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use gatemq_broker::{SessionKey, router};
use rustls_pki_types::CertificateDer;
use serde::Deserialize;
use serde_json::{Value, json};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::Api;
use super::routes::{Answer, Refusal};
use crate::admin::hex;
use crate::connection::Client;
use crate::listen::tls::sha256;

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

/// Its session, and where it is connected its connection, identity, certificate chain and grants.
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
                    (**client.identity().key() == *key).then(|| (connected(client), connection.certificates().to_vec()))
                })
            });
            // Read here, for a worker has other things to do.
            told.await.flatten().flatten().map(|(told, chain)| with_chain(told, &chain))
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

/// With what each certificate of the chain says, as it was sent, leaf first.
fn with_chain(mut told: Value, chain: &[CertificateDer<'_>]) -> Value {
    if told["certificate"].is_object() {
        told["certificate"]["chain"] = chain.iter().map(|der| certificate(der)).collect();
    }
    told
}

/// Of one that cannot be read, its hash.
fn certificate(der: &[u8]) -> Value {
    let sha256 = hex(&sha256(der));
    let Ok((_, of)) = X509Certificate::from_der(der) else { return json!({ "sha256": sha256 }) };
    let names = of.subject_alternative_name().ok().flatten();
    let names = names.map(|names| names.value.general_names.iter().map(|name| name.to_string()).collect::<Vec<_>>());
    json!({
        "subject": of.subject().to_string(),
        "issuer": of.issuer().to_string(),
        "serial": hex(of.raw_serial()),
        "names": names.unwrap_or_default(),
        "not_before_ms": of.validity().not_before.timestamp().saturating_mul(1000),
        "not_after_ms": of.validity().not_after.timestamp().saturating_mul(1000),
        "sha256": sha256,
    })
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
