//! Which path does what. Answers are JSON; a refusal is `{"error": "…"}` with the HTTP status that fits.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use super::{Api, desk, explain, plugins};

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

/// The whole API.
pub(super) fn router(api: Api) -> Router {
    Router::new()
        .route("/v1/node", get(node))
        .route("/v1/explain", get(explain::explain))
        .route("/v1/clients", get(desk::clients))
        .route("/v1/clients/kick", post(desk::kick))
        .route("/v1/denials", get(desk::denials).post(desk::deny))
        .route("/v1/denials/lift", post(desk::lift))
        .route("/v1/plugins", get(plugins::list))
        .route("/v1/cluster", get(cluster))
        .route("/v1/reload", post(plugins::reload))
        .fallback(|| async {
            Refusal::not_found("there is no such path; is the command older or newer than the broker?")
        })
        .method_not_allowed_fallback(|| async {
            Refusal { status: StatusCode::METHOD_NOT_ALLOWED, why: "not with this method".into() }
        })
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .with_state(api)
}

/// The cluster as this node sees it.
async fn cluster(State(api): State<Api>) -> Answer {
    let cluster = api
        .node
        .cluster()
        .ok_or_else(|| Refusal::conflict("the node is in no cluster: [cluster] is not configured"))?;
    Ok(Json(cluster.status()))
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
