//! The TLS of the relays: 1.3, optionally with a client certificate.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::ListenTls;
use crate::net::{load_certs, load_key, provider};

/// The configuration that the options ask for; none without a certificate.
pub fn server_config(l: &ListenTls) -> io::Result<Option<Arc<ServerConfig>>> {
    let Some((cert, key)) = l.cert.as_deref().zip(l.key.as_deref()) else { return Ok(None) };
    let b = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(io::Error::other)?
        .with_client_cert_verifier(client_verifier(l.ca.as_deref())?);
    let c = b.with_single_cert(load_certs(cert)?, load_key(key)?).map_err(io::Error::other)?;
    Ok(Some(Arc::new(c)))
}

/// Demands a certificate of `ca`; without one, none is asked for.
pub(super) fn client_verifier(ca: Option<&Path>) -> io::Result<Arc<dyn ClientCertVerifier>> {
    let Some(ca) = ca else { return Ok(WebPkiClientVerifier::no_client_auth()) };
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(load_certs(ca)?);
    let b = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    b.build().map_err(io::Error::other)
}
