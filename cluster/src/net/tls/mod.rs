//! Mutual TLS between nodes: TLS 1.3, both ends with a certificate of the cluster's CA, no other mode.
//!
//! | module | what it does |
//! |---|---|
//! | [`identity`] | the names in a node's certificate |
//! | [`trust`] | verifies a chain: authorities, validity, purpose, revocation, exactly one name |
//! | [`verifier`] | what rustls asks, on either end |
//! | [`error`] | what is wrong with the files, why a peer's certificates are refused |
//!
//! Here a peer is only *who it says it is*. Whether a node of that name may come in is decided by its `Hello`, so that
//! both sides hear the reason in words.

pub(crate) mod error;
pub(crate) mod identity;
mod trust;
mod verifier;

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::NoServerSessionStorage;
use rustls::sign::CertifiedKey;
use rustls::sign::SingleCertAndKey;
use rustls::time_provider::{DefaultTimeProvider, TimeProvider};
use rustls::{ClientConfig, ServerConfig, version};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

use error::{CertificateError, TlsFileError};
use trust::{Trust, read_certificates};
use verifier::PeerVerifier;

use crate::core::SpiffeId;

/// The one application protocol: an MQTT client that comes here by mistake is refused in the handshake.
const ALPN: &[u8] = b"gatemq-cluster";
/// Bytes discarded of what a refused peer had already sent.
const DISCARD_BYTES_MAX: usize = 128 * 1024;

/// The files of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the node's certificate, then any intermediate ones.
    pub certificate_file: PathBuf,
    /// PEM: its private key, unencrypted.
    pub private_key_file: PathBuf,
    /// PEM: the cluster's certificate authorities; several while they are rotated.
    pub ca_file: PathBuf,
    /// PEM: what they revoked.
    pub crl_file: Option<PathBuf>,
}

/// The cluster's TLS. What is read anew counts from the next handshake on.
pub(crate) struct Tls {
    current: ArcSwap<Loaded>,
    clock: Arc<dyn TimeProvider>,
}

struct Loaded {
    trust: Arc<Trust>,
    key: Arc<CertifiedKey>,
    identity: SpiffeId,
}

/// The other end of a connection, verified.
#[derive(Debug, Clone)]
pub(crate) struct TlsPeer {
    /// The names in its certificate.
    pub(crate) identity: SpiffeId,
    /// Its certificates, leaf first.
    chain: Arc<[CertificateDer<'static>]>,
}

/// A handshake that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum HandshakeError {
    /// We refuse the peer's certificates, and told it.
    #[error("{0}")]
    Certificate(#[from] CertificateError),
    /// Anything else, the peer refusing ours among it.
    #[error("{0}")]
    Tls(String),
}

impl Tls {
    /// Reads all files. Our own certificate is checked as a peer would check it.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub(crate) fn load(files: &TlsFiles) -> Result<Tls, TlsFileError> {
        Tls::with_clock(files, Arc::new(DefaultTimeProvider))
    }

    /// As [`load`](Self::load), with a clock for what is valid when.
    pub(crate) fn with_clock(files: &TlsFiles, clock: Arc<dyn TimeProvider>) -> Result<Tls, TlsFileError> {
        let loaded = read(files, clock.as_ref())?;
        Ok(Tls { current: ArcSwap::from_pointee(loaded), clock })
    }

    /// Reads all files again. Afterwards ask [`verify_again`](Self::verify_again) about every open connection.
    ///
    /// # Errors
    /// The file that cannot be used; nothing changes then. Nor may a node change its name while it runs.
    pub(crate) fn reload(&self, files: &TlsFiles) -> Result<(), TlsFileError> {
        let loaded = read(files, self.clock.as_ref())?;
        let own = self.identity();
        if loaded.identity != own {
            let problem = format!("is for {}, this node is {}", loaded.identity, own);
            return Err(TlsFileError::new(&files.certificate_file, problem));
        }
        self.current.store(Arc::new(loaded));
        Ok(())
    }

    /// Our own names.
    pub(crate) fn identity(&self) -> SpiffeId {
        self.current.load().identity.clone()
    }

    /// Whether `peer`'s certificates would be accepted now.
    ///
    /// # Errors
    /// They expired or were revoked, or their authority is no longer one.
    pub(crate) fn verify_again(&self, peer: &TlsPeer) -> Result<(), CertificateError> {
        let now = self.clock.current_time().ok_or(CertificateError::Missing)?;
        self.current.load().trust.verify(&peer.chain, now).map(|_| ())
    }

    /// Serves the handshake of `tcp`. It may wait for the peer for ever: put a deadline on it.
    ///
    /// # Errors
    /// The peer is refused and was told, or it broke off.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, TlsPeer), HandshakeError> {
        let loaded = self.current.load_full();
        let verifier = Arc::new(PeerVerifier::new(loaded.trust.clone()));
        let mut config = ServerConfig::builder_with_details(provider(), self.clock.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(tls)?
            .with_client_cert_verifier(verifier.clone())
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        // A resumed session asks no verifier.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        match TlsAcceptor::from(Arc::new(config)).accept(tcp).into_fallible().await {
            Ok(stream) => finish(stream.into(), &verifier),
            Err((e, tcp)) => {
                close(tcp).await;
                Err(explain(&verifier, e))
            }
        }
    }

    /// Makes the handshake over `tcp` as its client. Put a deadline on it. That the peer refuses *us* is known only from
    /// the first read: TLS 1.3 is finished before the server has seen the client's certificate.
    ///
    /// # Errors
    /// The peer is refused and was told, or it broke off.
    pub(crate) async fn connect(&self, tcp: TcpStream) -> Result<(TlsStream<TcpStream>, TlsPeer), HandshakeError> {
        let loaded = self.current.load_full();
        let verifier = Arc::new(PeerVerifier::new(loaded.trust.clone()));
        let mut config = ClientConfig::builder_with_details(provider(), self.clock.clone())
            .with_protocol_versions(&[&version::TLS13])
            .map_err(tls)?
            .dangerous()
            .with_custom_certificate_verifier(verifier.clone())
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(loaded.key.clone())));
        config.alpn_protocols = vec![ALPN.to_vec()];
        config.resumption = rustls::client::Resumption::disabled();
        // Nodes are known by the name in their certificate, not by the host that they are reached at.
        config.enable_sni = false;
        let name = ServerName::try_from("gatemq-cluster.invalid").map_err(tls)?;
        match TlsConnector::from(Arc::new(config)).connect(name, tcp).into_fallible().await {
            Ok(stream) => finish(stream.into(), &verifier),
            Err((e, tcp)) => {
                close(tcp).await;
                Err(explain(&verifier, e))
            }
        }
    }
}

/// Nobody passes here because rustls did not ask.
fn finish(
    stream: TlsStream<TcpStream>,
    verifier: &PeerVerifier,
) -> Result<(TlsStream<TcpStream>, TlsPeer), HandshakeError> {
    let identity = verifier.take().unwrap_or(Err(CertificateError::Missing))?;
    let chain = stream.get_ref().1.peer_certificates().ok_or(CertificateError::Missing)?.to_vec().into();
    Ok((stream, TlsPeer { identity, chain }))
}

fn explain(verifier: &PeerVerifier, error: std::io::Error) -> HandshakeError {
    match verifier.take() {
        Some(Err(refused)) => refused.into(),
        _ => tls(error),
    }
}

fn tls(error: impl ToString) -> HandshakeError {
    HandshakeError::Tls(error.to_string())
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}

/// Closes so that the alert arrives: a socket closed with unread bytes is reset, and the alert with it is lost. Waits
/// for nothing.
async fn close(mut tcp: TcpStream) {
    if tcp.shutdown().await.is_err() {
        return;
    }
    let (mut discarded, mut buffer) = (0, [0; 4096]);
    while discarded < DISCARD_BYTES_MAX {
        match tcp.try_read(&mut buffer) {
            Ok(n @ 1..) => discarded += n,
            _ => return,
        }
    }
}

fn read(files: &TlsFiles, clock: &dyn TimeProvider) -> Result<Loaded, TlsFileError> {
    let provider = provider();
    let trust = Trust::load(files, &provider)?;
    let certificates = read_certificates(&files.certificate_file)?;
    let wrong = |problem: String| TlsFileError::new(&files.private_key_file, problem);
    let key = PrivateKeyDer::from_pem_file(&files.private_key_file).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => {
            wrong("holds no unencrypted private key in PEM form; convert it with `openssl pkey`".into())
        }
        other => wrong(format!("cannot be read: {other}")),
    })?;
    let now = clock.current_time().ok_or_else(|| wrong("cannot be used: the clock cannot be read".into()))?;
    let identity = trust.verify(&certificates, now).map_err(|e| {
        let ca = files.ca_file.display();
        TlsFileError::new(&files.certificate_file, format!("no peer would accept it (ca_file is {ca}): {e}"))
    })?;
    let key = CertifiedKey::from_der(certificates, key, &provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            wrong(format!("is not the key of the first certificate in {}", files.certificate_file.display()))
        }
        other => wrong(format!("cannot be used with its certificate: {other}")),
    })?;
    Ok(Loaded { trust: Arc::new(trust), key: Arc::new(key), identity })
}
