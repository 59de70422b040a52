//! One request to a running broker, one answer.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::Value;

use crate::app::EXIT_UNAVAILABLE;
use crate::platform::{self, admin};

/// Exit code: the broker has nothing like that (sysexits: EX_NOINPUT).
const EXIT_NOT_FOUND: u8 = 66;
/// Exit code: the broker does not do it (EX_DATAERR).
const EXIT_REFUSED: u8 = 65;
/// Exit code: this user may not (EX_NOPERM).
const EXIT_NOT_ALLOWED: u8 = 77;
/// How long an answer may take.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// A request.
pub(crate) struct Call {
    method: Method,
    path: String,
    body: Option<Value>,
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// Nobody answers at the socket.
    Socket(PathBuf, io::Error),
    /// What came is no answer.
    Garbled(String),
    /// The broker says no.
    Refused(StatusCode, String),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Socket(path, e) => {
                let next = match e.kind() {
                    io::ErrorKind::PermissionDenied => platform::NOT_ALLOWED,
                    io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                        "does the broker run, and is this its admin.socket? Name it with --socket, or the broker's file with --config"
                    }
                    _ => "does the broker run?",
                };
                write!(f, "{}: {e}; {next}", path.display())
            }
            Failed::Garbled(why) => write!(f, "the broker's answer cannot be read: {why}"),
            Failed::Refused(_, why) => f.write_str(why),
        }
    }
}

impl Failed {
    /// What the command exits with.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Failed::Socket(_, e) if e.kind() == io::ErrorKind::PermissionDenied => EXIT_NOT_ALLOWED,
            Failed::Socket(..) | Failed::Garbled(_) => EXIT_UNAVAILABLE,
            Failed::Refused(StatusCode::NOT_FOUND, _) => EXIT_NOT_FOUND,
            Failed::Refused(status, _) if status.is_server_error() => EXIT_UNAVAILABLE,
            Failed::Refused(..) => EXIT_REFUSED,
        }
    }
}

impl Call {
    /// Reads what is at `path`; parameters that are `None` are left out.
    pub(crate) fn get(path: &str, parameters: &[(&str, Option<String>)]) -> Self {
        Call { method: Method::GET, path: with(path, parameters), body: None }
    }

    /// Has something done.
    pub(crate) fn post(path: &str, body: Value) -> Self {
        Call { method: Method::POST, path: path.to_owned(), body: Some(body) }
    }

    /// Makes the call.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) fn make(&self, socket: &Path) -> Result<Value, Failed> {
        let failed = |e| Failed::Socket(socket.to_owned(), e);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            let stream = admin::connect(socket).await.map_err(failed)?;
            match tokio::time::timeout(ANSWER_MAX, self.exchange(stream)).await {
                Ok(answer) => answer,
                Err(_) => Err(failed(io::ErrorKind::TimedOut.into())),
            }
        })
    }

    /// Makes the call, for an answer that is read as it comes.
    ///
    /// # Errors
    /// See [`Failed`].
    pub(crate) async fn open(&self, socket: &Path) -> Result<Incoming, Failed> {
        let stream = admin::connect(socket).await.map_err(|e| Failed::Socket(socket.to_owned(), e))?;
        let answer = self.send(stream).await?;
        if answer.status().is_success() { Ok(answer.into_body()) } else { Err(refused(answer).await) }
    }

    async fn exchange(&self, stream: admin::Stream) -> Result<Value, Failed> {
        let answer = self.send(stream).await?;
        if !answer.status().is_success() {
            return Err(refused(answer).await);
        }
        read(answer).await
    }

    async fn send(&self, stream: admin::Stream) -> Result<Response<Incoming>, Failed> {
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(|e| garbled(&e))?;
        tokio::spawn(connection);
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let request = Request::builder()
            .method(self.method.clone())
            .uri(&self.path)
            .header("host", "gatemq")
            .header("content-type", "application/json")
            .body(Full::new(Bytes::from(body)))
            .map_err(|e| garbled(&e))?;
        sender.send_request(request).await.map_err(|e| garbled(&e))
    }
}

fn garbled(e: &dyn fmt::Display) -> Failed {
    Failed::Garbled(e.to_string())
}

async fn read(answer: Response<Incoming>) -> Result<Value, Failed> {
    let body = answer.into_body().collect().await.map_err(|e| garbled(&e))?.to_bytes();
    serde_json::from_slice(&body).map_err(|e| garbled(&e))
}

async fn refused(answer: Response<Incoming>) -> Failed {
    let status = answer.status();
    match read(answer).await {
        Ok(value) => Failed::Refused(status, value.get("error").map_or_else(|| status.to_string(), super::shown)),
        Err(failed) => failed,
    }
}

fn with(path: &str, parameters: &[(&str, Option<String>)]) -> String {
    let given: Vec<_> = parameters.iter().filter_map(|(name, value)| Some((name, value.as_ref()?))).collect();
    match serde_urlencoded::to_string(&given) {
        Ok(query) if !query.is_empty() => format!("{path}?{query}"),
        _ => path.to_owned(),
    }
}
