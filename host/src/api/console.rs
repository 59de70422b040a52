//! The console page: three files in the program, which ask the API for everything they show. Without a token they show nothing.

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;

use super::{Api, health};

const HTML: &str = include_str!("console/console.html");
const SCRIPT: &str = include_str!("console/console.js");
const STYLE: &str = include_str!("console/console.css");

/// What anybody may ask for: the page, and whether the node serves.
pub(super) fn router(api: Api) -> Router {
    let file = |kind: &'static str, text: &'static str| {
        get(move |State(_): State<Api>| async move { ([(header::CONTENT_TYPE, kind)], text).into_response() })
    };
    Router::new()
        .route("/", file("text/html; charset=utf-8", HTML))
        .route("/console.js", file("text/javascript; charset=utf-8", SCRIPT))
        .route("/console.css", file("text/css; charset=utf-8", STYLE))
        .route("/live", get(health::live))
        .route("/ready", get(health::ready))
        .with_state(api)
}
