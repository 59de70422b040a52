//! The TLS settings of a listener, and the handshake.

use std::path::PathBuf;
use std::sync::Arc;

use gatemq_types::{Der, Tls};
use rustls::crypto::aws_lc_rs;
use rustls::server::{NoServerSessionStorage, ServerSessionMemoryCache};
use rustls::time_provider::TimeProvider;
use rustls::{HandshakeKind, ServerConfig, ServerConnection, SupportedProtocolVersion, version};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::server::TlsStream;

use super::error::{HandshakeError, TlsConfigError, VerifyError};
use super::revocation::RevocationLists;
use super::server_certificate::ServerCertificates;
use super::trust::{self, Trust, Verified};
use super::verifier::{PeerVerifier, Record};
use crate::config::{ClientAuth, ListenerTls, TlsVersion};

/// The one application protocol. A client that offers none is accepted, one that offers only others is refused.
const ALPN: &[u8] = b"mqtt";
const FROM_TLS12: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];
const FROM_TLS13: &[&SupportedProtocolVersion] = &[&version::TLS13];
/// TLS 1.2 sessions kept for clients that take no tickets. Each holds the peer's chain: a few KiB.
const SESSIONS_MAX: usize = 1024;
/// Bytes discarded of what a refused peer had already sent.
const DISCARD_BYTES_MAX: usize = 128 * 1024;

/// The TLS side of a listener as its files were when they were read. Connections clone nothing but `Arc`s.
#[derive(Clone)]
pub(super) struct Loaded {
    /// Settings of a connection whose peer is not asked for a certificate.
    config: Arc<ServerConfig>,
    versions: &'static [&'static SupportedProtocolVersion],
    pub(super) client: Option<ClientTrust>,
}

/// How clients are verified.
#[derive(Clone)]
pub(super) struct ClientTrust {
    pub(super) trust: Arc<Trust>,
    required: bool,
}

impl Loaded {
    /// Reads certificates, keys, authorities and revocation lists. Session storage and ticket keys are its own: a session of another
    /// listener cannot be resumed here. `clock` says what is valid when.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub(super) fn new(tls: &ListenerTls, clock: Arc<dyn TimeProvider>) -> Result<Loaded, TlsConfigError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let versions = match tls.min_version {
            TlsVersion::V1_2 => FROM_TLS12,
            TlsVersion::V1_3 => FROM_TLS13,
        };
        let load = |file: &PathBuf| {
            let trust = Trust::load(std::slice::from_ref(file), &provider).map_err(|e| e.below("client_ca_file"))?;
            let Some(crl) = &tls.client_crl else { return Ok(Arc::new(trust)) };
            let lists =
                RevocationLists::load(&crl.file, crl.missing_allowed).map_err(|e| e.below("client_crl_file"))?;
            Ok(Arc::new(trust.with_lists(lists)))
        };
        let client = match &tls.client_auth {
            ClientAuth::None => None,
            ClientAuth::Optional { ca_file } => Some(ClientTrust { trust: load(ca_file)?, required: false }),
            ClientAuth::Required { ca_file } => Some(ClientTrust { trust: load(ca_file)?, required: true }),
        };
        let certificates = Arc::new(ServerCertificates::load(tls, &provider)?);
        let mut config = ServerConfig::builder_with_details(provider, clock)
            .with_protocol_versions(versions)
            .map_err(|e| TlsConfigError::new(&tls.certificate_file, format!("TLS cannot be set up: {e}")))?
            .with_no_client_auth()
            .with_cert_resolver(certificates);
        config.alpn_protocols = vec![ALPN.to_vec()];
        if tls.resumption {
            // One is enough: a client that resumes gets the next, and one connection is what an MQTT client has.
            config.send_tls13_tickets = 1;
            config.session_storage = ServerSessionMemoryCache::new(SESSIONS_MAX);
            config.ticketer = aws_lc_rs::Ticketer::new()
                .map_err(|e| TlsConfigError::new(&tls.certificate_file, format!("no ticket key could be made: {e}")))?;
        } else {
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
        }
        Ok(Loaded { config: Arc::new(config), versions, client })
    }

    /// Speaks another application protocol than MQTT.
    pub(super) fn speaking(mut self, protocol: &[u8]) -> Loaded {
        Arc::make_mut(&mut self.config).alpn_protocols = vec![protocol.to_vec()];
        self
    }

    /// With the sessions of `other`, so that its clients may resume them here: only where clients are verified as there.
    pub(super) fn with_sessions_of(self, other: &Loaded) -> Loaded {
        let mut config = ServerConfig::clone(&self.config);
        config.session_storage = other.config.session_storage.clone();
        config.ticketer = other.config.ticketer.clone();
        Loaded { config: Arc::new(config), ..self }
    }

    /// Now, in seconds since 1970; `None`: the clock cannot be read.
    pub(super) fn now_s(&self) -> Option<i64> {
        i64::try_from(self.config.time_provider.current_time()?.as_secs()).ok()
    }

    /// Serves the handshake of `tcp`. It may wait for the peer for ever: put a deadline on it. Bytes that came after
    /// the handshake are in the connection: read plaintext before reading the socket.
    ///
    /// # Errors
    /// The handshake failed; the peer was told, and what it sent is in the error.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Result<(TcpStream, ServerConnection, Tls), HandshakeError> {
        let (stream, tls) = self.accept_stream(tcp).await?;
        let (tcp, connection) = stream.into_inner();
        Ok((tcp, connection, tls))
    }

    /// As [`accept`](Self::accept), for whoever leaves records to tokio-rustls.
    ///
    /// # Errors
    /// As there.
    pub(crate) async fn accept_stream(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, Tls), HandshakeError> {
        let mut hello = LazyConfigAcceptor::new(rustls::server::Acceptor::default(), tcp);
        let start = match (&mut hello).await {
            Ok(start) => start,
            Err(e) => {
                close(hello.take_io()).await;
                return Err(HandshakeError::anonymous(e));
            }
        };
        let (config, verifier) = self.connection_config().map_err(HandshakeError::anonymous)?;
        match start.into_stream(config).into_fallible().await {
            Ok(stream) => match self.describe(stream.get_ref().1, verifier.as_deref()) {
                Ok(tls) => Ok((stream, tls)),
                Err(e) => {
                    let (tcp, mut connection) = stream.into_inner();
                    refuse(tcp, &mut connection).await;
                    Err(e)
                }
            },
            Err((e, tcp)) => {
                close(Some(tcp)).await;
                let record = verifier.map(|v| v.take()).unwrap_or_default();
                let error = match &record.verified {
                    Some(Err(refused)) => refused.to_string(),
                    _ => e.to_string(),
                };
                Err(HandshakeError { error, chain: record.chain, proven: record.proven })
            }
        }
    }

    /// The settings of one connection. rustls lets nobody exchange the verifier of a `ServerConfig`, so it is built
    /// again from the shared parts: a microsecond.
    fn connection_config(&self) -> Result<(Arc<ServerConfig>, Option<Arc<PeerVerifier>>), rustls::Error> {
        let Some(client) = &self.client else { return Ok((self.config.clone(), None)) };
        let verifier = Arc::new(PeerVerifier::new(client.trust.clone(), client.required));
        let shared = &self.config;
        let mut config =
            ServerConfig::builder_with_details(shared.crypto_provider().clone(), shared.time_provider.clone())
                .with_protocol_versions(self.versions)?
                .with_client_cert_verifier(verifier.clone())
                .with_cert_resolver(shared.cert_resolver.clone());
        config.alpn_protocols.clone_from(&shared.alpn_protocols);
        config.send_tls13_tickets = shared.send_tls13_tickets;
        config.session_storage = shared.session_storage.clone();
        config.ticketer = shared.ticketer.clone();
        Ok((Arc::new(config), Some(verifier)))
    }

    /// What the finished handshake says of the peer.
    fn describe(&self, connection: &ServerConnection, verifier: Option<&PeerVerifier>) -> Result<Tls, HandshakeError> {
        let resumed = connection.handshake_kind() == Some(HandshakeKind::Resumed);
        let (chain, verified) = match (&self.client, verifier) {
            (Some(client), Some(_)) if resumed => self.verify_again(client, connection)?,
            (Some(client), Some(verifier)) => verified_peer(client, verifier.take())?,
            _ => (Vec::new(), None),
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (path, anchor) = verified.map(|v| (v.path, Some(v.anchor))).unwrap_or_default();
        Ok(Tls {
            version: connection.protocol_version().map_or(0, u16::from),
            cipher: connection.negotiated_cipher_suite().map(cipher_name).unwrap_or_default(),
            server_name: connection.server_name().map(str::to_owned),
            alpn: connection.alpn_protocol().map(text),
            resumed,
            verified: anchor.is_some(),
            leaf_sha256: chain.first().map(|leaf| trust::sha256(leaf.as_bytes())),
            chain,
            path,
            anchor,
        })
    }

    /// rustls verified the chain of a resumed session when it was made: certificates may have expired since, and the
    /// authorities may be others.
    fn verify_again(
        &self,
        client: &ClientTrust,
        connection: &ServerConnection,
    ) -> Result<(Vec<Der>, Option<Verified>), HandshakeError> {
        let sent = connection.peer_certificates().unwrap_or_default();
        let chain: Vec<Der> = sent.iter().map(|c| Der::new(c)).collect();
        if chain.is_empty() && !client.required {
            return Ok((chain, None));
        }
        // A session is made only after CertificateVerify, and only its owner can resume it.
        let proven = !chain.is_empty();
        let verified = match self.config.time_provider.current_time() {
            Some(now) => client.trust.verify(sent, now).map_err(|e| e.to_string()),
            None => Err("the clock cannot be read".to_owned()),
        };
        match verified {
            Ok(verified) => Ok((chain, Some(verified))),
            Err(error) => Err(HandshakeError { error: format!("resumed session: {error}"), chain, proven }),
        }
    }
}

/// The peer of a full handshake. rustls has checked all of it; nobody passes here because rustls did not ask.
fn verified_peer(client: &ClientTrust, record: Record) -> Result<(Vec<Der>, Option<Verified>), HandshakeError> {
    let Record { chain, verified, proven } = record;
    let error = match verified {
        Some(Ok(verified)) if proven => return Ok((chain, Some(verified))),
        Some(Ok(_)) => "the peer did not prove to hold its certificate's key".to_owned(),
        Some(Err(e)) => e.to_string(),
        None if !client.required => return Ok((chain, None)),
        None => VerifyError::Missing.to_string(),
    };
    Err(HandshakeError { error, chain, proven })
}

/// rustls names the suites of TLS 1.3 in its own way; this is IANA's.
fn cipher_name(suite: rustls::SupportedCipherSuite) -> String {
    let name = suite.suite().as_str().unwrap_or("unknown");
    match name.strip_prefix("TLS13_") {
        Some(rest) => format!("TLS_{rest}"),
        None => name.to_owned(),
    }
}

/// Ends a connection whose handshake succeeded but whose peer is refused. rustls sends no fatal alert from here on,
/// so the peer gets close_notify.
async fn refuse(tcp: TcpStream, connection: &mut ServerConnection) {
    connection.send_close_notify();
    let mut bytes = Vec::new();
    while connection.wants_write() {
        if connection.write_tls(&mut bytes).is_err() {
            break;
        }
    }
    // A peer whose receive window is full now learns it from the end of the stream.
    let _ = tcp.try_write(&bytes);
    close(Some(tcp)).await;
}

/// Closes so that the alert arrives: a socket closed with unread bytes is reset, and the alert with it is lost. Waits
/// for nothing.
async fn close(tcp: Option<TcpStream>) {
    let Some(mut tcp) = tcp else { return };
    if tcp.shutdown().await.is_err() {
        return;
    }
    let mut discarded = 0;
    let mut buffer = [0; 4096];
    while discarded < DISCARD_BYTES_MAX {
        match tcp.try_read(&mut buffer) {
            Ok(n @ 1..) => discarded += n,
            _ => return,
        }
    }
}
