//! A browser's or a script's side of the API over HTTP: a connection a request, nothing understood that is not needed.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;

use crate::client::{Client, Tls, Version};

/// Who asks whom.
#[derive(Clone)]
pub struct Web {
    address: SocketAddr,
    tls: Option<Tls>,
    token: Option<String>,
}

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// Status; 0: the connection ended without an answer.
    pub status: u16,
    /// The header, in lower case.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }
}

impl Web {
    /// Somebody without a token.
    pub fn new(address: SocketAddr) -> Web {
        Web { address, tls: None, token: None }
    }

    /// With this token.
    pub fn token(mut self, token: &str) -> Web {
        self.token = Some(token.to_owned());
        self
    }

    /// Over TLS.
    pub fn tls(mut self, tls: Tls) -> Web {
        self.tls = Some(tls.alpn(&["h2", "http/1.1"]));
        self
    }

    /// A connection.
    ///
    /// # Errors
    /// Those of the socket and of the handshake.
    pub fn open(&self) -> io::Result<Client> {
        match &self.tls {
            Some(tls) => Client::tls(self.address, tls, Version::V5),
            None => Client::tcp(self.address, Version::V5),
        }
    }

    /// A request as text; `more` are header lines, each with its line end.
    pub fn request(&self, what: &str, more: &str, body: Option<&Value>) -> String {
        let body = body.map(Value::to_string);
        let token = self.token.as_ref().map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let about =
            body.as_ref().map(|body| format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len()));
        let about = about.unwrap_or_default();
        format!(
            "{what} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n{token}{about}{more}\r\n{}",
            self.address,
            body.unwrap_or_default()
        )
    }

    /// Sends a request, such as `GET /v1/node`, and reads the answer to its end.
    ///
    /// # Errors
    /// Those of the socket and of the handshake.
    pub fn try_ask(&self, what: &str, more: &str, body: Option<&Value>) -> io::Result<Answer> {
        let read = self.open()?.exchange(self.request(what, more, body).as_bytes(), |_| false)?;
        let text = String::from_utf8_lossy(&read).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Ok(Answer { status, head: head.to_lowercase(), body: body.to_owned() })
    }

    /// Reads what is at a path.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn get(&self, path: &str) -> Answer {
        self.try_ask(&format!("GET {path}"), "", None).unwrap_or_else(|e| panic!("{path}: {e}"))
    }

    /// Has something done.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.try_ask(&format!("POST {path}"), "", Some(body)).unwrap_or_else(|e| panic!("{path}: {e}"))
    }
}
