//! A PKI and a TLS client for the tests of this module.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair};
use rustls::client::{ResolvesClientCert, Resumption};
use rustls::crypto::aws_lc_rs;
use rustls::sign::CertifiedKey;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, SignatureScheme, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::config::{CertificateFiles, ClientAuth, ListenerTls, TlsVersion};
use crate::listen::tls::Acceptor;
use crate::listen::tls::{HandshakeError, TlsConfigError};
use gatemq_types::Tls;

pub(crate) type Issuer = CertifiedIssuer<'static, KeyPair>;

/// A certificate authority with a root, two levels of intermediates and whatever leaves a test wants.
pub(crate) struct Pki {
    pub(crate) root: Issuer,
    pub(crate) upper: Issuer,
    pub(crate) lower: Issuer,
}

/// A certificate chain, leaf first, and the leaf's key.
pub(crate) struct Credentials {
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: KeyPair,
}

pub(crate) fn parameters(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![]).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.distinguished_name.push(DnType::OrganizationName, "Acme");
    params
}

fn ca_parameters(name: &str) -> CertificateParams {
    let mut params = parameters(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

pub(crate) fn root(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issuer {
    let mut params = ca_parameters(name);
    change(&mut params);
    Issuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

impl Pki {
    pub(crate) fn new(name: &str) -> Pki {
        let key = || KeyPair::generate().unwrap();
        let root = root(&format!("{name} Root"), |_| {});
        let upper = Issuer::signed_by(ca_parameters(&format!("{name} Upper")), key(), &root).unwrap();
        let lower = Issuer::signed_by(ca_parameters(&format!("{name} Lower")), key(), &upper).unwrap();
        Pki { root, upper, lower }
    }

    /// A client certificate from the lower intermediate, with the chain up to the upper one.
    pub(crate) fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Credentials {
        let mut params = parameters(name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let leaf = params.signed_by(&key, &self.lower).unwrap();
        let chain = vec![leaf.der().clone(), self.lower.der().clone(), self.upper.der().clone()];
        Credentials { chain, key }
    }
}

/// Shows its certificates and signs with its key, whether they belong together or not.
#[derive(Debug)]
struct Shows(Arc<CertifiedKey>);

impl ResolvesClientCert for Shows {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// A clock that a test sets.
#[derive(Debug)]
pub(crate) struct Clock(AtomicU64);

impl Clock {
    pub(crate) fn new() -> Arc<Clock> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        Arc::new(Clock(AtomicU64::new(now.as_secs())))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_secs(), Ordering::Relaxed);
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        Some(UnixTime::since_unix_epoch(Duration::from_secs(self.0.load(Ordering::Relaxed))))
    }
}

/// A listener's files, and clients for it.
pub(crate) struct Bench {
    pub(crate) dir: TempDir,
    pub(crate) pki: Pki,
    pub(crate) tls: ListenerTls,
    pub(crate) clock: Arc<Clock>,
    server: CertificateDer<'static>,
}

/// What client and server say of a handshake.
pub(crate) struct Outcome {
    pub(crate) server: Result<Tls, HandshakeError>,
    /// An echo over the new connection, or what the client saw instead.
    pub(crate) client: std::io::Result<()>,
}

pub(crate) enum Wanted {
    None,
    Optional,
    Required,
}

impl Bench {
    pub(crate) fn new(wanted: Wanted) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let pki = Pki::new("Acme");
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".into()]).unwrap().self_signed(&key).unwrap();
        let write = |name: &str, text: String| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            path
        };
        let ca_file = write("ca.pem", pki.root.pem());
        let tls = ListenerTls {
            certificate_file: write("server.pem", server.pem()),
            private_key_file: write("server.key", key.serialize_pem()),
            client_auth: match wanted {
                Wanted::None => ClientAuth::None,
                Wanted::Optional => ClientAuth::Optional { ca_file },
                Wanted::Required => ClientAuth::Required { ca_file },
            },
            sni: Default::default(),
            client_crl: None,
            min_version: TlsVersion::V1_2,
            resumption: false,
        };
        Bench { dir, pki, tls, clock: Clock::new(), server: server.der().clone() }
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// With a certificate for a further host.
    pub(crate) fn with_host(&mut self, host: &str) {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![host.into()]).unwrap().self_signed(&key).unwrap();
        let files = CertificateFiles {
            certificate_file: self.write("host.pem", &certificate.pem()),
            private_key_file: self.write("host.key", &key.serialize_pem()),
        };
        self.tls.sni.insert(host.into(), files);
    }

    pub(crate) fn acceptor(&self) -> Result<Acceptor, TlsConfigError> {
        Acceptor::with_clock(&self.tls, self.clock.clone(), None)
    }

    /// A client; one that is used again may resume.
    pub(crate) fn client(
        &self,
        credentials: Option<&Credentials>,
        version: &'static SupportedProtocolVersion,
    ) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(self.server.clone()).unwrap();
        let builder = ClientConfig::builder_with_provider(provider.clone())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match credentials {
            None => builder.with_no_client_auth(),
            Some(c) => {
                let key = PrivateKeyDer::try_from(c.key.serialize_der()).unwrap();
                let key = provider.key_provider.load_private_key(key).unwrap();
                let certified = CertifiedKey::new(c.chain.clone(), key);
                builder.with_client_cert_resolver(Arc::new(Shows(Arc::new(certified))))
            }
        };
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        config.resumption = Resumption::in_memory_sessions(8);
        config
    }
}

/// One connection of `client` to `acceptor` over a socket of this machine.
pub(crate) async fn connect(acceptor: &Acceptor, client: &ClientConfig) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client.clone()));
    let client = async {
        let tcp = TcpStream::connect(address).await?;
        let mut stream = connector.connect(ServerName::try_from("localhost").unwrap(), tcp).await?;
        stream.write_all(b"ping").await?;
        let mut echo = [0; 4];
        stream.read_exact(&mut echo).await?;
        Ok(())
    };
    let server = async {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tcp, connection, tls) = acceptor.accept(tcp).await?;
        echo(tcp, connection).await.unwrap();
        Ok(tls)
    };
    let both = async { tokio::join!(server, client) };
    let (server, client) = tokio::time::timeout(Duration::from_secs(5), both).await.expect("the handshake hangs");
    Outcome { server, client }
}

/// Sends four bytes back, using the socket and the TLS state apart, as the broker does.
async fn echo(mut tcp: TcpStream, mut connection: rustls::ServerConnection) -> std::io::Result<()> {
    use std::io::{Read, Write};
    let mut plain = [0; 4];
    while connection.reader().read_exact(&mut plain).is_err() {
        let mut bytes = [0; 4096];
        let n = tcp.read(&mut bytes).await?;
        if n == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        connection.read_tls(&mut &bytes[..n])?;
        connection.process_new_packets().map_err(std::io::Error::other)?;
    }
    connection.writer().write_all(&plain)?;
    let mut out = Vec::new();
    while connection.wants_write() {
        connection.write_tls(&mut out)?;
    }
    tcp.write_all(&out).await
}
