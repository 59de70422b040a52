//! What every request goes through before anything of it is understood: who asks, from where, and for how long.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::{StreamExt, future};
use gatemq_broker::denials::Proven;
use gatemq_types::event::{Fact, Peer};

use super::tokens::Tokens;
use crate::api::caller::Caller;
use crate::api::routes::Refusal;
use crate::events::Events;
use crate::listen::Listener;

/// How long a request may take, its body included; not how long its answer is read.
const REQUEST_MAX: Duration = Duration::from_secs(30);
/// What anybody may ask for: the page without anything to show, and whether the node serves.
const OPEN: [&str; 5] = ["/", "/console.js", "/console.css", "/live", "/ready"];
/// Nothing but what the page itself brings, and no other page around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A connection, as its requests know it.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) peer: Arc<Peer>,
    /// The certificate that it has proven.
    pub(super) certificate: Option<Shown>,
}

impl Connection {
    /// Without a certificate.
    pub(super) fn of(peer: Peer) -> Connection {
        Connection { peer: Arc::new(peer), certificate: None }
    }
}

/// A certificate that a connection has proven.
#[derive(Clone)]
pub(super) struct Shown {
    pub(super) subject: Arc<str>,
    pub(super) proven: Arc<Proven>,
    pub(super) listener: Arc<Listener>,
}

impl Shown {
    /// Why the listener would not take it any more: connections stay, and what is trusted is exchanged by a reload.
    fn refused(&self) -> Option<&'static str> {
        self.listener.tls.as_ref()?.refuses(Some(&self.proven))
    }
}

/// Who may ask.
pub(super) struct Gate {
    /// Those in force; a reload exchanges them.
    pub(super) tokens: Arc<ArcSwap<Tokens>>,
    pub(super) events: Arc<Events>,
}

impl Gate {
    /// Who asks.
    ///
    /// # Errors
    /// What is missing or wrong.
    fn caller(&self, connection: &Connection, headers: &HeaderMap) -> Result<Caller, &'static str> {
        let mut given = headers.get_all(header::AUTHORIZATION).iter();
        match (given.next(), given.next(), &connection.certificate) {
            (Some(_), Some(_), _) => Err("more than one Authorization header"),
            (Some(value), None, _) => {
                let token =
                    value.to_str().ok().and_then(bearer).ok_or("the Authorization header has no bearer token")?;
                self.tokens.load().owner(token).map(Caller::Token).ok_or("the token is not known")
            }
            (None, _, Some(shown)) => match shown.refused() {
                None => Ok(Caller::Certificate(shown.subject.clone())),
                Some(why) => Err(why),
            },
            (None, _, None) => Err("neither a token nor a certificate"),
        }
    }
}

fn bearer(value: &str) -> Option<&str> {
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// Lets a request through, or refuses it; every answer gets the headers that keep browsers from doing more than they should.
pub(super) async fn guard(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let mut response = admit(&gate, request, next).await;
    let headers = response.headers_mut();
    let text = HeaderValue::from_static;
    headers.insert(header::CONTENT_SECURITY_POLICY, text(POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, text("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, text("DENY"));
    headers.insert(header::REFERRER_POLICY, text("no-referrer"));
    headers.insert(header::CACHE_CONTROL, text("no-store"));
    headers.insert("cross-origin-resource-policy", text("same-origin"));
    response
}

async fn admit(gate: &Arc<Gate>, mut request: Request, next: Next) -> Response {
    let Some(connection) = request.extensions().get::<Connection>().cloned() else {
        return Refusal::unavailable("the connection is not known").into_response();
    };
    let is_open = matches!(*request.method(), Method::GET | Method::HEAD) && OPEN.contains(&request.uri().path());
    if !is_open {
        if let Err(why) = check_origin(request.headers(), request.uri()) {
            return refuse(gate, &connection, StatusCode::FORBIDDEN, why);
        }
        match gate.caller(&connection, request.headers()) {
            Ok(caller) => {
                request.extensions_mut().insert(ConnectInfo(caller));
            }
            Err(why) => return refuse(gate, &connection, StatusCode::UNAUTHORIZED, why),
        }
    }
    let headers = request.headers().clone();
    match tokio::time::timeout(REQUEST_MAX, next.run(request)).await {
        Ok(response) => while_admitted(gate, connection, headers, response),
        Err(_) => Refusal::new(StatusCode::REQUEST_TIMEOUT, "the request took too long").into_response(),
    }
}

/// Events are told for as long as whoever follows them may ask for them: what comes when its token or certificate is not good any more
/// ends the answer instead, at the latest what is sent to see whether somebody is still there.
fn while_admitted(gate: &Arc<Gate>, connection: Connection, headers: HeaderMap, response: Response) -> Response {
    let kind = response.headers().get(header::CONTENT_TYPE);
    if kind.is_none_or(|kind| !kind.as_bytes().starts_with(b"text/event-stream")) {
        return response;
    }
    let (parts, body) = response.into_parts();
    let gate = gate.clone();
    let told = body.into_data_stream().take_while(move |_| {
        let refused = gate.caller(&connection, &headers).err();
        if let Some(why) = refused {
            gate.events.emit(Some(&connection.peer), Fact::AdminRefused { why: why.into() });
        }
        future::ready(refused.is_none())
    });
    Response::from_parts(parts, Body::from_stream(told))
}

fn refuse(gate: &Gate, connection: &Connection, status: StatusCode, why: &'static str) -> Response {
    gate.events.emit(Some(&connection.peer), Fact::AdminRefused { why: why.into() });
    let mut response = Refusal::new(status, why).into_response();
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"gatemq\""));
    }
    response
}

/// A browser sends the certificate of its user with what any page asks for: only this page may.
fn check_origin(headers: &HeaderMap, uri: &Uri) -> Result<(), &'static str> {
    // What a page of somebody else only embeds has no Origin.
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if site.is_some_and(|site| site != b"same-origin" && site != b"none") {
        return Err("the request is of a page of another origin");
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let host = uri.authority().map(|a| a.as_str()).or_else(|| headers.get(header::HOST)?.to_str().ok());
    let is_own = origin.to_str().ok().and_then(|origin| origin.split_once("://")).is_some_and(|(_, o)| Some(o) == host);
    if is_own { Ok(()) } else { Err("the request is of a page of another origin") }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    /// Guards against other pages: a browser that has a certificate, or that was led here by a name that is not ours, asks for
    /// nothing on their behalf; the page's own requests and programs, which send no Origin, go through.
    #[test]
    fn pages_of_others_are_refused() {
        for (origin, host, is_own) in [
            (None, "127.0.0.1:9180", true),
            (Some("http://127.0.0.1:9180"), "127.0.0.1:9180", true),
            (Some("https://gate.example:9180"), "gate.example:9180", true),
            (Some("http://evil.example"), "127.0.0.1:9180", false),
            (Some("http://127.0.0.1:9181"), "127.0.0.1:9180", false),
            (Some("null"), "127.0.0.1:9180", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            origin.map(|origin| headers.insert(header::ORIGIN, HeaderValue::from_static(origin)));
            assert_eq!(check_origin(&headers, &Uri::from_static("/v1/node")).is_ok(), is_own, "{origin:?}");
        }
        for (site, is_own) in [("same-origin", true), ("none", true), ("cross-site", false), ("same-site", false)] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static("sec-fetch-site"), HeaderValue::from_static(site))]);
            assert_eq!(check_origin(&headers, &Uri::from_static("/v1/node")).is_ok(), is_own, "{site}");
        }
    }
}
