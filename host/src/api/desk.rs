//! Denials, clients, kicks: put to the desk, as plugins do, by the operator.

use std::net::IpAddr;

use axum::Json;
use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{ConnectInfo, Query, State};
use gatemq_types::Subject;
use gatemq_types::event::Fact;
use gatemq_types::service::{Reply, Request, Selector, ServiceError};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::caller::Caller;
use super::routes::{Answer, Refusal};

/// Who is meant; as `rows` of the desk write it.
#[derive(Deserialize, Debug)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
enum Whom {
    Address { address: IpAddr, bits: Option<u8> },
    Certificate { sha256: String },
    Key { sha256: String },
    Issuer { sha256: String },
    User { tenant: String, user: String },
    Client { tenant: String, user: String, client_id: String },
}

impl Whom {
    fn subject(self) -> Result<Subject, Refusal> {
        Ok(match self {
            Whom::Address { address, bits } => {
                let whole = if address.is_ipv4() { 32 } else { 128 };
                Subject::Address { address, bits: bits.unwrap_or(whole) }
            }
            Whom::Certificate { sha256 } => Subject::Certificate(hash(&sha256)?),
            Whom::Key { sha256 } => Subject::Key(hash(&sha256)?),
            Whom::Issuer { sha256 } => Subject::Issuer(hash(&sha256)?),
            Whom::User { tenant, user } => Subject::User { tenant, user },
            Whom::Client { tenant, user, client_id } => Subject::Client { tenant, user, client_id },
        })
    }
}

/// A SHA-256: 64 hexadecimal digits, with or without colons, as other tools print it.
fn hash(text: &str) -> Result<[u8; 32], Refusal> {
    let digits: Option<Vec<u8>> =
        text.chars().filter(|c| *c != ':').map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let bytes = digits
        .map(|digits| digits.chunks(2).filter(|pair| pair.len() == 2).map(|pair| pair[0] << 4 | pair[1]).collect());
    let bytes: Option<Vec<u8>> = bytes;
    let whole =
        bytes.filter(|_| text.chars().filter(|c| *c != ':').count() == 64).and_then(|bytes| bytes.try_into().ok());
    whole.ok_or_else(|| Refusal::invalid("a SHA-256 is 64 hexadecimal digits"))
}

/// Has the desk carry it out.
async fn carry_out(api: &Api, request: Request) -> Result<Reply, Refusal> {
    let (tell, told) = tokio::sync::oneshot::channel();
    // Whoever asked may have gone.
    api.desk.request(&api.asker, request, Box::new(move |outcome| drop(tell.send(outcome))));
    let stops = || Refusal::unavailable("the broker stops");
    told.await.map_err(|_| stops())?.map_err(|e| match e {
        ServiceError::NotFound => Refusal::not_found(e.to_string()),
        ServiceError::Invalid => Refusal::invalid(e.to_string()),
        ServiceError::Busy | ServiceError::Unavailable => Refusal::unavailable(e.to_string()),
        ServiceError::NotAllowed | ServiceError::NotSupported => Refusal::conflict(e.to_string()),
    })
}

/// Says that an operator did something.
pub(super) fn tell(api: &Api, caller: &Caller, action: String) {
    api.node.events.emit(None, Fact::AdminActed { by: caller.to_string().into(), action: action.into() });
}

/// A reply as JSON. Its rows are JSON already.
fn told(reply: Reply) -> Json<Value> {
    let rows: Vec<Value> = reply.rows.iter().filter_map(|row| serde_json::from_str(row).ok()).collect();
    Json(json!({ "count": reply.count, "rows": rows, "next_page": reply.next_page }))
}

/// Where a listing goes on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    #[serde(default)]
    page: u64,
}

/// Lists denials.
pub(super) async fn denials(State(api): State<Api>, page: Result<Query<Page>, QueryRejection>) -> Answer {
    let Query(Page { page }) = page?;
    carry_out(&api, Request::Denials { page }).await.map(told)
}

/// A denial to raise.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Deny {
    subject: Whom,
    /// 0: until it is lifted.
    #[serde(default)]
    ttl_ms: u64,
    #[serde(default)]
    reason: String,
}

/// Raises one.
pub(super) async fn deny(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<Deny>, JsonRejection>,
) -> Answer {
    let Json(Deny { subject, ttl_ms, reason }) = body?;
    let subject = subject.subject()?;
    let action = format!("deny add {subject}");
    let reply = carry_out(&api, Request::Deny { subject, ttl_ms, reason }).await?;
    tell(&api, &caller, action);
    Ok(told(reply))
}

/// Whose denial is to be lifted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Lift {
    subject: Whom,
}

/// Lifts it.
pub(super) async fn lift(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<Lift>, JsonRejection>,
) -> Answer {
    let Json(Lift { subject }) = body?;
    let subject = subject.subject()?;
    let action = format!("deny lift {subject}");
    let reply = carry_out(&api, Request::Allow { subject }).await?;
    tell(&api, &caller, action);
    Ok(told(reply))
}

/// Which clients; all that is given must hold.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Which {
    tenant: Option<String>,
    user: Option<String>,
    client_id: Option<String>,
    connection: Option<u64>,
    tag: Option<String>,
    leaf_sha256: Option<String>,
    page: u64,
}

impl Which {
    fn selector(self) -> Result<Selector, Refusal> {
        let Which { tenant, user, client_id, connection, tag, leaf_sha256, page: _ } = self;
        let leaf_sha256 = leaf_sha256.map(|text| hash(&text)).transpose()?;
        Ok(Selector { tenant, user, client_id, connection, tag, leaf_sha256 })
    }
}

/// Lists clients that are connected.
pub(super) async fn clients(State(api): State<Api>, which: Result<Query<Which>, QueryRejection>) -> Answer {
    let Query(which) = which?;
    let page = which.page;
    let selector = which.selector()?;
    carry_out(&api, Request::Sessions { selector, page }).await.map(told)
}

/// What a selector gives, for an event.
fn shown(selector: &Selector) -> String {
    let Selector { tenant, user, client_id, connection, tag, leaf_sha256 } = selector;
    let text = |name: &str, value: &Option<String>| value.as_ref().map(|value| format!("{name}={value:?}"));
    let given = [
        text("tenant", tenant),
        text("user", user),
        text("client_id", client_id),
        connection.map(|number| format!("connection={number}")),
        text("tag", tag),
        leaf_sha256.map(|hash| Subject::Certificate(hash).to_string()),
    ];
    given.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Whom to disconnect, and why.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct KickThem {
    clients: Which,
    #[serde(default)]
    reason: String,
}

/// Disconnects clients. Their sessions stay.
pub(super) async fn kick(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<KickThem>, JsonRejection>,
) -> Answer {
    let Json(KickThem { clients, reason }) = body?;
    let selector = clients.selector()?;
    if selector == Selector::default() {
        return Err(Refusal::invalid("say who: tenant, user, client_id, connection, tag or leaf_sha256"));
    }
    let action = format!("kick {}", shown(&selector));
    let reply = carry_out(&api, Request::Disconnect { selector, reason }).await?;
    tell(&api, &caller, action);
    Ok(told(reply))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards fingerprints as people paste them, and that nothing else passes for one.
    #[test]
    fn a_fingerprint_is_read_as_tools_print_it() {
        let plain = "00ff".repeat(16);
        let colons: Vec<_> =
            plain.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase()).collect();
        let wanted: Vec<u8> = [0x00, 0xFF].repeat(16);
        assert_eq!(hash(&plain).unwrap()[..], wanted);
        assert_eq!(hash(&colons.join(":")).unwrap()[..], wanted);
        for wrong in ["", "00", &plain[1..], &format!("{plain}0"), &plain.replace('f', "g")] {
            assert!(hash(wrong).is_err(), "{wrong}");
        }
    }
}
