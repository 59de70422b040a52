//! Asks a server.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::time::Duration;

use gatemq_plugin_api::Host;
use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{RequestBuilder, StatusCode, Url};
use tokio::sync::oneshot;

use crate::max_age::max_age;

/// What a server answered, with status 200.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// The body, whole.
    pub body: Vec<u8>,
    /// How long it may be kept; `None`: not at all.
    pub max_age: Option<Duration>,
}

/// Why there is no answer. Holds nothing of what was sent or received, and no URL.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure(String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for Failure {}

/// Asks one server; see [`crate::Server`]. Its connections are kept and used again.
pub struct Client {
    http: reqwest::Client,
    url: Url,
    bytes_max: usize,
    host: Host,
}

impl Client {
    pub(crate) fn new(http: reqwest::Client, url: Url, bytes_max: usize, host: Host) -> Self {
        Client { http, url, bytes_max, host }
    }

    /// GET.
    ///
    /// # Errors
    /// Anything but a whole answer with status 200 within `timeout`.
    pub async fn get(&self, timeout: Duration) -> Result<Answer, Failure> {
        self.ask(self.http.get(self.url.clone()), timeout).await
    }

    /// POST of a JSON text.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn post(&self, json: Vec<u8>, timeout: Duration) -> Result<Answer, Failure> {
        let request = self.http.post(self.url.clone()).header(CONTENT_TYPE, "application/json").body(json);
        self.ask(request, timeout).await
    }

    async fn ask(&self, request: RequestBuilder, timeout: Duration) -> Result<Answer, Failure> {
        let request = request.header(ACCEPT, "application/json").timeout(timeout);
        let bytes_max = self.bytes_max;
        let answer = spawned(&self.host, async move { exchange(request, bytes_max).await }).await;
        answer.unwrap_or_else(|| Err(Failure("the plugin ends".into())))
    }
}

/// Runs `future` where `Host::spawn` does, and ends it when nobody waits for it any more. A connection lives where it was
/// begun, and is to outlive the runtime of one call. `None`: it panicked, or the plugin ends.
async fn spawned<T: Send + 'static>(host: &Host, future: impl Future<Output = T> + Send + 'static) -> Option<T> {
    let (mut sender, receiver) = oneshot::channel();
    host.spawn(async move {
        let done = tokio::select! {
            () = sender.closed() => return,
            done = future => done,
        };
        // Whoever asked has gone.
        let _ = sender.send(done);
    });
    receiver.await.ok()
}

/// One request and its answer.
async fn exchange(request: RequestBuilder, bytes_max: usize) -> Result<Answer, Failure> {
    let failed = |e: reqwest::Error| Failure(told(&e));
    let too_large = || Failure(format!("it answers with more than {bytes_max} bytes"));
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    if status.is_redirection() {
        return Err(Failure(format!("it answers {status}; redirects are not followed")));
    }
    if status != StatusCode::OK {
        return Err(Failure(format!("it answers {status}; wanted 200 OK")));
    }
    if response.content_length().is_some_and(|length| length > bytes_max as u64) {
        return Err(too_large());
    }
    let max_age = max_age(response.headers());
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if body.len() + chunk.len() > bytes_max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { body, max_age })
}

/// An error with its causes, without the URL: that may hold what is nobody's business.
pub(crate) fn told(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "it does not answer in time".into();
    }
    let mut texts: Vec<String> = Vec::new();
    // The first says only that there is an error for this URL.
    let mut cause = e.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        cause = error.source();
    }
    match texts.is_empty() {
        true => "the exchange failed".into(),
        false => texts.join(": "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::{SocketAddr, TcpListener};

    /// Answers every connection with these bytes, then closes it; `None`: never answers.
    fn server(bytes: Option<Vec<u8>>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let Some(bytes) = &bytes else {
                    held.push(stream);
                    continue;
                };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(bytes);
            }
        });
        address
    }

    async fn asked(address: SocketAddr, timeout: Duration) -> Result<Answer, Failure> {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        exchange(http.get(format!("http://{address}/secret-path")).timeout(timeout), 64).await
    }

    /// Promise 1: whatever is not a whole answer with status 200, in time and of a bounded size, is none; and says what was
    /// wrong without the URL.
    #[tokio::test]
    async fn promise_1_only_a_whole_answer_is_one() {
        const LONG: Duration = Duration::from_secs(20);
        let good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncache-control: max-age=9\r\n\r\n{}";
        let answer = asked(server(Some(good.to_vec())), LONG).await.unwrap();
        assert_eq!(answer, Answer { body: b"{}".to_vec(), max_age: Some(Duration::from_secs(9)) });
        let long = "x".repeat(65);
        let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n41\r\n{long}\r\n0\r\n\r\n");
        let elsewhere = "HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";
        for (bytes, says) in [
            ("HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}", "404 Not Found"),
            ("HTTP/1.1 500 Oops\r\ncontent-length: 2\r\n\r\n{}", "500"),
            ("HTTP/1.1 201 Created\r\ncontent-length: 2\r\n\r\n{}", "201"),
            ("HTTP/1.1 204 No Content\r\n\r\n", "204"),
            (elsewhere, "redirects are not followed"),
            ("HTTP/1.1 304 Not Modified\r\n\r\n", "304"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 65\r\n\r\n{}", "more than 64 bytes"),
            (&format!("HTTP/1.1 200 OK\r\n\r\n{long}"), "more than 64 bytes"),
            (&chunked, "more than 64 bytes"),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "end of file"),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n", "EOF"),
            ("220 smtp.example.com ESMTP\r\n", "invalid HTTP"),
            ("", "closed"),
        ] {
            let failure = asked(server(Some(bytes.into())), LONG).await.unwrap_err().to_string();
            assert!(failure.contains(says) && !failure.contains("secret-path"), "{bytes:?}: {failure}");
        }
        let failure = asked(server(None), Duration::from_millis(100)).await.unwrap_err().to_string();
        assert_eq!(failure, "it does not answer in time");
        let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let failure = asked(nobody, LONG).await.unwrap_err().to_string();
        assert!(failure.contains("refused") && !failure.contains("secret-path"), "{failure}");
    }
}
