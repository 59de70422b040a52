//! The generator's TLS. It accepts any server certificate: it measures the broker, not itself.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::TlsConnector;

/// Which TLS the client speaks.
pub struct TlsOptions<'a> {
    /// Resume sessions where the server lets us.
    pub resume: bool,
    /// TLS 1.2 instead of 1.3.
    pub tls12: bool,
    /// PEM files of the client's certificate chain and key.
    pub client_cert: Option<(&'a Path, &'a Path)>,
}

/// Accepts any server certificate and signature.
#[derive(Debug)]
struct TrustAll(Arc<CryptoProvider>);

impl ServerCertVerifier for TrustAll {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

fn in_file(path: &Path, e: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("{}: {e}", path.display()))
}

/// The certificates of a PEM file, one at least.
pub fn load_certs(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let certs = CertificateDer::pem_file_iter(path)
        .and_then(|all| all.collect::<Result<Vec<_>, _>>())
        .map_err(|e| in_file(path, e))?;
    if certs.is_empty() { Err(in_file(path, "no certificate")) } else { Ok(certs) }
}

/// The first private key of a PEM file.
pub fn load_key(path: &Path) -> io::Result<PrivateKeyDer<'static>> {
    PrivateKeyDer::from_pem_file(path).map_err(|e| in_file(path, e))
}

/// aws-lc-rs, as the broker uses it.
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

/// The verifier that accepts everything.
pub fn trust_all() -> Arc<dyn ServerCertVerifier> {
    Arc::new(TrustAll(provider()))
}

/// A connector for all connections of a run.
pub fn connector(o: &TlsOptions<'_>) -> io::Result<TlsConnector> {
    let version = if o.tls12 { &rustls::version::TLS12 } else { &rustls::version::TLS13 };
    let b = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[version])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(trust_all());
    let mut c = match o.client_cert {
        Some((cert, key)) => {
            b.with_client_auth_cert(load_certs(cert)?, load_key(key)?).map_err(|e| in_file(cert, e))?
        }
        None => b.with_no_client_auth(),
    };
    if !o.resume {
        c.resumption = Resumption::disabled();
    }
    Ok(TlsConnector::from(Arc::new(c)))
}
