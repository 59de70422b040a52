//! An HTTP server that answers as a test says: well, badly, or not at all. With a thread a connection, and requests kept.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::Value;

use crate::pki::{Credentials, Pki};
use crate::{PATIENCE, wait_for};

/// A request that came.
#[derive(Clone, Debug)]
pub struct Request {
    /// Method and path, as in `POST /x`.
    pub what: String,
    /// Header fields by their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body as JSON; null if it is none.
    pub body: Value,
    /// Whether the connection showed a certificate that was verified.
    pub certificate: bool,
}

/// What it answers.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Status 200, a JSON text, and further header lines, each with its line end; the connection stays.
    Json(Value, &'static str),
    /// These bytes, and the end of the connection.
    Bytes(Vec<u8>),
    /// Nothing, for as long as the server lives or until [`Http::release`].
    Hang,
}

impl Reply {
    /// A JSON text that must not be kept.
    pub fn json(value: Value) -> Reply {
        Reply::Json(value, "")
    }

    /// A status with a body that would be a good one.
    pub fn status(line: &str, body: &Value) -> Reply {
        let body = body.to_string();
        Reply::Bytes(format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).into_bytes())
    }
}

type Answer = dyn Fn(&Request) -> Reply + Send + Sync;

struct Shared {
    answer: Box<Answer>,
    requests: Mutex<Vec<Request>>,
    released: Mutex<bool>,
    release: Condvar,
    tls: Option<Arc<ServerConfig>>,
}

/// See the module.
pub struct Http {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Http {
    /// Speaks plain HTTP on a loopback address.
    pub fn start(answer: impl Fn(&Request) -> Reply + Send + Sync + 'static) -> Http {
        Self::with(None, Box::new(answer))
    }

    /// Speaks HTTPS as `server`. With `clients` it wants a certificate of theirs.
    pub fn start_tls(
        server: &Credentials,
        clients: Option<&Pki>,
        answer: impl Fn(&Request) -> Reply + Send + Sync + 'static,
    ) -> Http {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let builder = builder.expect("versions");
        let builder = match clients {
            None => builder.with_no_client_auth(),
            Some(pki) => {
                let mut roots = RootCertStore::empty();
                roots.add(pki.root()).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let config = builder.with_single_cert(server.chain.clone(), server.key()).expect("a certificate");
        Self::with(Some(Arc::new(config)), Box::new(answer))
    }

    fn with(tls: Option<Arc<ServerConfig>>, answer: Box<Answer>) -> Http {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            answer,
            requests: Mutex::default(),
            released: Mutex::default(),
            release: Condvar::new(),
            tls,
        });
        let served = Arc::downgrade(&shared);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (Some(shared), Ok(stream)) = (served.upgrade(), stream) else { return };
                // A client that breaks off is no fault of the server's.
                std::thread::spawn(move || drop(shared.serve(stream)));
            }
        });
        Http { address, shared }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        let scheme = if self.shared.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/asked", self.address)
    }

    /// The requests that have come, in their order.
    pub fn requests(&self) -> Vec<Request> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// How many have come.
    pub fn count(&self) -> usize {
        self.shared.requests.lock().unwrap().len()
    }

    /// Waits until this many have come.
    ///
    /// # Panics
    /// When they do not.
    pub fn wait_for_count(&self, count: usize) {
        wait_for("the requests", PATIENCE, || (self.count() >= count).then_some(()));
    }

    /// Ends what hangs, now and later: it is answered with 500.
    pub fn release(&self) {
        *self.shared.released.lock().unwrap() = true;
        self.shared.release.notify_all();
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        self.release();
    }
}

impl Shared {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        match &self.tls {
            None => self.speak(BufReader::new(&mut stream), false),
            Some(config) => {
                let mut connection = ServerConnection::new(config.clone()).map_err(io::Error::other)?;
                while connection.is_handshaking() {
                    connection.complete_io(&mut stream)?;
                }
                let certificate = connection.peer_certificates().is_some();
                self.speak(BufReader::new(StreamOwned::new(connection, stream)), certificate)
            }
        }
    }

    fn speak<S: Read + Write>(&self, mut stream: BufReader<S>, certificate: bool) -> io::Result<()> {
        while let Some(request) = read(&mut stream, certificate)? {
            self.requests.lock().unwrap().push(request.clone());
            let reply = (self.answer)(&request);
            let out = stream.get_mut();
            match reply {
                Reply::Json(value, headers) => {
                    let body = value.to_string();
                    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n{headers}\r\n", body.len());
                    out.write_all(&[head.as_bytes(), body.as_bytes()].concat())?;
                    out.flush()?;
                }
                Reply::Bytes(bytes) => {
                    out.write_all(&bytes)?;
                    return out.flush();
                }
                Reply::Hang => {
                    let released = self.released.lock().unwrap();
                    drop(self.release.wait_while(released, |released| !*released));
                    out.write_all(b"HTTP/1.1 500 Released\r\ncontent-length: 0\r\n\r\n")?;
                    return out.flush();
                }
            }
        }
        Ok(())
    }
}

/// The next request; `None` at the end of the connection.
fn read(stream: &mut impl BufRead, certificate: bool) -> io::Result<Option<Request>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let what = line.rsplit_once(" HTTP/1.1").map_or("", |(what, _)| what).to_owned();
    let mut headers = BTreeMap::new();
    loop {
        line.clear();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body)?;
    Ok(Some(Request { what, headers, body: serde_json::from_slice(&body).unwrap_or_default(), certificate }))
}
