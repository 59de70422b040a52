//! The API over HTTP: off unless it is bound, for whoever has a token or a certificate, with metrics, health and the console page.
//!
//! | module | what it does |
//! |---|---|
//! | [`mod@tokens`] | who has which token |
//! | [`mod@guard`] | authentication before anything else, time, headers of answers |
//!
//! Connections, those of one address, and new ones a second are bounded as a listener's; headers, bodies and time are bounded here.
//! What is beyond is closed or refused, counted, and an event.

mod guard;
mod tokens;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::from_fn_with_state;
use gatemq_types::Tls;
use gatemq_types::event::Fact;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use x509_parser::prelude::FromDer;

use super::{Api, console, routes};
use crate::config;
use crate::denials;
use crate::events::Events;
use crate::listen::{self, Listener, Seat};
use crate::platform;
use guard::{Connection, Gate, Shown, guard};
pub(crate) use tokens::Tokens;

/// As which listener it is named in events: no other can have this name.
pub(crate) const NAME: &str = "[http]";
/// Connections at a time, and of one address.
const CONNECTIONS_MAX: usize = 128;
const ADDRESS_CONNECTIONS_MAX: u32 = 32;
/// New connections of one address in a second, and of all.
const ADDRESS_CONNECTIONS_PER_S_MAX: u32 = 200;
const CONNECTIONS_PER_S_MAX: u32 = 1000;
/// Until TLS is established.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Until the headers of a request, the next one's included, are whole.
const HEADERS_MAX: Duration = Duration::from_secs(10);
/// How long a peer may take nothing of what it is sent; the system closes it then.
const UNREAD_MAX: Duration = Duration::from_secs(30);
/// Bytes of a request's headers.
const HEADER_BYTES_MAX: usize = 16 << 10;
/// How many headers.
const HEADER_COUNT_MAX: usize = 64;
/// How long to wait when there is no descriptor or memory for another socket.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// Bound, with its files read.
pub(crate) struct Http {
    listener: Arc<Listener>,
    socket: TcpListener,
    tokens: Tokens,
}

/// Reads the token file, as a check of the configuration.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn check(http: &config::Http) -> Result<(), String> {
    parts(http).map(drop)
}

/// Reads a token file.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn tokens(file: &Path) -> Result<Tokens, String> {
    Tokens::read(file).map_err(|e| format!("http.token_file: {}: {e}", file.display()))
}

fn parts(http: &config::Http) -> Result<(Listener, Tokens), String> {
    let tokens = http.token_file.as_deref().map(tokens).transpose()?.unwrap_or_default();
    let listener = Listener::for_http(NAME, &settings(http)).map_err(|e| format!("http.tls.{}: {e}", e.key))?;
    Ok((listener, tokens))
}

/// As the settings of a listener.
fn settings(http: &config::Http) -> config::Listener {
    config::Listener {
        bind: http.bind,
        connections_max: CONNECTIONS_MAX,
        connections_per_s_max: CONNECTIONS_PER_S_MAX,
        address_connections_max: ADDRESS_CONNECTIONS_MAX,
        address_connections_per_s_max: ADDRESS_CONNECTIONS_PER_S_MAX,
        proxies: Vec::new(),
        handshakes_max: CONNECTIONS_MAX,
        connect_ms_max: u64::try_from(HANDSHAKE_MAX.as_millis()).unwrap_or(u64::MAX),
        acknowledges_denied: false,
        tls: http.tls.clone(),
        auth_chain: None,
        web_socket: None,
    }
}

/// Reads what it needs, and binds.
///
/// # Errors
/// What is wrong, with its key.
pub(crate) fn bind(http: &config::Http) -> Result<Http, String> {
    let (listener, tokens) = parts(http)?;
    let cannot = |e: std::io::Error| format!("http.bind: {}", listen::cannot_bind(http.bind, &e));
    let socket: std::net::TcpListener = listen::bind(http.bind).map_err(cannot)?.into();
    socket.set_nonblocking(true).map_err(cannot)?;
    let socket = TcpListener::from_std(socket).map_err(cannot)?;
    Ok(Http { listener: Arc::new(listener), socket, tokens })
}

impl Http {
    /// Where it listens.
    pub(crate) fn address(&self) -> Option<SocketAddr> {
        self.socket.local_addr().ok()
    }

    /// As a listener.
    pub(crate) fn listener(&self) -> &Arc<Listener> {
        &self.listener
    }

    /// Serves until it is dropped.
    pub(crate) async fn serve(self, api: Api) {
        let events = api.node.events.clone();
        api.reload.tokens.store(Arc::new(self.tokens));
        let gate = Arc::new(Gate { tokens: api.reload.tokens.clone(), events: events.clone() });
        let router = routes::router(api.clone()).merge(console::router(api.clone()));
        let router = router.layer(from_fn_with_state(gate, guard));
        loop {
            let (tcp, remote) = match self.socket.accept().await {
                Ok(accepted) => accepted,
                Err(e) => {
                    tracing::warn!("http: no connection can be accepted: {e}");
                    tokio::time::sleep(EXHAUSTED_WAIT).await;
                    continue;
                }
            };
            // For ever otherwise, should it take nothing of an answer.
            if let Err(e) = platform::bound_unread(&tcp, UNREAD_MAX) {
                tracing::warn!("http: a connection is closed, for its time cannot be bounded: {e}");
                continue;
            }
            let peer = listen::peer(&self.listener, api.node.next_connection(), remote);
            match self.listener.enter(remote) {
                Ok(seat) => drop(tokio::spawn(connection(seat, tcp, peer, router.clone(), events.clone()))),
                Err(limit) => {
                    events.emit(Some(&Arc::new(peer)), Fact::ConnectionRefused { reason: limit.into() });
                }
            }
        }
    }
}

/// One connection; its seat is given back at its end.
async fn connection(seat: Seat, tcp: TcpStream, peer: gatemq_types::event::Peer, router: Router, events: Arc<Events>) {
    let listener = seat.listener().clone();
    let Some(acceptor) = &listener.tls else {
        return serve(tcp, Connection::of(peer), router).await;
    };
    match tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept_stream(tcp)).await {
        Ok(Ok((stream, tls))) => {
            let peer = gatemq_types::event::Peer { leaf_sha256: tls.leaf_sha256, ..peer };
            let certificate = subject(&tls).zip(denials::proven(&tls)).map(|(subject, proven)| Shown {
                subject,
                proven: Arc::new(proven),
                listener: listener.clone(),
            });
            serve(stream, Connection { certificate, ..Connection::of(peer) }, router).await;
        }
        Ok(Err(e)) => {
            let fact = Fact::TlsHandshakeFailed { error: e.error.into(), chain: e.chain, proven: e.proven };
            events.emit(Some(&Arc::new(peer)), fact);
        }
        Err(_) => {
            let connect_ms_max = u64::try_from(HANDSHAKE_MAX.as_millis()).unwrap_or(u64::MAX);
            events.emit(Some(&Arc::new(peer)), Fact::ConnectTimedOut { stage: "tls".into(), connect_ms_max });
        }
    }
}

/// Subject of a certificate that was verified. One that cannot be read is nobody's.
fn subject(tls: &Tls) -> Option<Arc<str>> {
    let leaf = tls.chain.first().filter(|_| tls.verified)?;
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(leaf.as_bytes()).ok()?;
    Some(certificate.subject().to_string().into())
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + 'static, connection: Connection, router: Router) {
    let router = router.layer(axum::Extension(connection));
    let mut http = hyper::server::conn::http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(HEADERS_MAX)
        .max_headers(HEADER_COUNT_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    // How it ends is of no interest: what was refused has been told.
    let _ = http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).await;
}
