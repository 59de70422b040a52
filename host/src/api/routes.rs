//! Which path does what. Answers are JSON; a refusal is `{"error": "…"}` with the HTTP status that fits.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::handler::Handler;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Api, away, client, cluster, desk, events, explain, metrics, openapi, plugins};

/// Longest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Why a request is not carried out.
#[derive(Debug)]
pub(crate) struct Refusal {
    status: StatusCode,
    why: String,
}

impl Refusal {
    /// Why.
    pub(crate) fn why(&self) -> &str {
        &self.why
    }

    /// With that status.
    pub(super) fn new(status: StatusCode, why: impl Into<String>) -> Self {
        Refusal { status, why: why.into() }
    }

    /// There is nothing like that.
    pub(crate) fn not_found(why: impl Into<String>) -> Self {
        Refusal { status: StatusCode::NOT_FOUND, why: why.into() }
    }

    /// The request makes no sense.
    pub(crate) fn invalid(why: impl Into<String>) -> Self {
        Refusal { status: StatusCode::BAD_REQUEST, why: why.into() }
    }

    /// Not now.
    pub(crate) fn unavailable(why: impl Into<String>) -> Self {
        Refusal { status: StatusCode::SERVICE_UNAVAILABLE, why: why.into() }
    }

    /// It makes sense, and cannot be done as things are.
    pub(crate) fn conflict(why: impl Into<String>) -> Self {
        Refusal { status: StatusCode::CONFLICT, why: why.into() }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        (self.status, Json(json!({ "error": self.why }))).into_response()
    }
}

impl From<QueryRejection> for Refusal {
    fn from(rejection: QueryRejection) -> Self {
        Refusal { status: rejection.status(), why: rejection.body_text() }
    }
}

impl From<JsonRejection> for Refusal {
    fn from(rejection: JsonRejection) -> Self {
        Refusal { status: rejection.status(), why: rejection.body_text() }
    }
}

/// What a route answers.
pub(crate) type Answer = Result<Json<Value>, Refusal>;

/// One thing that can be asked for.
pub(super) struct Route {
    /// `get` or `post`.
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    /// One line of what it does.
    pub(super) what: &'static str,
    /// What may be given: parameters of a `get`, members of the body of a `post`.
    pub(super) given: &'static [&'static str],
    to: MethodRouter<Api>,
}

fn route(
    path: &'static str,
    given: &'static [&'static str],
    what: &'static str,
    (method, to): (&'static str, MethodRouter<Api>),
) -> Route {
    Route { method, path, what, given, to }
}

const WHICH: &[&str] = &["tenant", "user", "client_id", "connection", "tag", "leaf_sha256", "page"];
const QUESTION: &[&str] = &["tenant", "user", "client_id", "action", "topic", "qos", "retain", "payload_bytes"];
const EVENTS: &[&str] = &["kind", "class", "tenant", "user", "client_id", "recent"];

/// Everything that can be asked for. The OpenAPI document is made of it.
pub(super) fn table() -> Vec<Route> {
    fn read<H: Handler<T, Api>, T: 'static>(handler: H) -> (&'static str, MethodRouter<Api>) {
        ("get", get(handler))
    }
    fn act<H: Handler<T, Api>, T: 'static>(handler: H) -> (&'static str, MethodRouter<Api>) {
        ("post", post(handler))
    }
    vec![
        route("/v1/node", &[], "The node in numbers", read(node)),
        route("/v1/cluster", &[], "The cluster as this node sees it", read(cluster::status)),
        route(
            "/v1/cluster/forbid",
            &["node", "forbidden"],
            "Forbids a node everywhere, or allows it",
            act(cluster::forbid),
        ),
        route(
            "/v1/cluster/keys",
            &[],
            "Keys of gossip that this node accepts, the one in use first",
            read(cluster::keys),
        ),
        route("/v1/cluster/keys", &["action", "secret", "key"], "Adds, uses or removes a key here", act(cluster::key)),
        route("/v1/clients", WHICH, "Clients that are connected, a page of them", read(desk::clients)),
        route(
            "/v1/sessions/away",
            &["tenant", "user", "client_id", "page"],
            "Sessions whose clients are away, a page of them",
            read(away::sessions),
        ),
        route(
            "/v1/client",
            &["tenant", "user", "client_id"],
            "One client: identity, certificate, grants, subscriptions",
            read(client::client),
        ),
        route("/v1/clients/kick", &["clients", "reason"], "Disconnects clients; their sessions stay", act(desk::kick)),
        route("/v1/denials", &["page"], "Denials in force, a page of them", read(desk::denials)),
        route("/v1/denials", &["subject", "ttl_ms", "reason"], "Raises a denial", act(desk::deny)),
        route("/v1/denials/lift", &["subject"], "Lifts all denials of a subject", act(desk::lift)),
        route("/v1/explain", QUESTION, "Why a client may do something, or may not", read(explain::explain)),
        route("/v1/plugins", &[], "Plugins, with health, breakers and calls", read(plugins::list)),
        route("/v1/reload", &["plugin"], "Reloads the configuration, or one plugin", act(plugins::reload)),
        route("/v1/events", EVENTS, "Events as they happen, as server-sent events", read(events::follow)),
        route("/v1/offenders", &[], "Who caused most of the latest security events", read(events::offenders)),
        route("/v1/openapi.json", &[], "This document", read(openapi::document)),
        route("/metrics", &[], "Metrics in the text format of OpenMetrics", read(metrics::metrics)),
    ]
}

/// The whole API.
pub(super) fn router(api: Api) -> Router {
    let router = table().into_iter().fold(Router::new(), |router, route| router.route(route.path, route.to));
    router
        .fallback(|| async {
            Refusal::not_found("there is no such path; is the command older or newer than the broker?")
        })
        .method_not_allowed_fallback(|| async {
            Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why: "not with this method".into() }
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// The node in numbers.
async fn node(State(api): State<Api>) -> Answer {
    let node = &api.node;
    Ok(Json(json!({
        "name": node.events.node(),
        "version": env!("CARGO_PKG_VERSION"),
        "workers": node.workers(),
        "connections": node.load(),
        "sessions": node.sessions.len(),
        "sessions_away": node.sessions.detached(),
    })))
}
