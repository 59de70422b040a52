//! The certificates that a listener shows: its own, and others for the hosts that clients ask for (SNI).

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{PrivateKeyDer, ServerName};
use webpki::EndEntityCert;

use super::error::TlsConfigError;
use super::trust;
use crate::config::ListenerTls;

/// See the module.
#[derive(Debug)]
pub(crate) struct ServerCertificates {
    own: Arc<CertifiedKey>,
    by_host: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl ServerCertificates {
    /// Reads all of them, each checked to belong to its key, and those of a host to its name.
    ///
    /// # Errors
    /// The file that cannot be used, and its key below `tls`.
    pub(crate) fn load(tls: &ListenerTls, provider: &CryptoProvider) -> Result<Self, TlsConfigError> {
        let own = read(&tls.certificate_file, &tls.private_key_file, provider)?;
        let mut by_host = HashMap::new();
        for (host, files) in &tls.sni {
            let table = format!("sni.{host:?}");
            let certified = read(&files.certificate_file, &files.private_key_file, provider)
                .and_then(|key| check_name(key, host, &files.certificate_file))
                .map_err(|e| e.below(&table))?;
            by_host.insert(host.as_str().into(), Arc::new(certified));
        }
        Ok(ServerCertificates { own: Arc::new(own), by_host })
    }
}

impl ResolvesServerCert for ServerCertificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // rustls has put the name into lower case.
        let asked = hello.server_name().and_then(|host| self.by_host.get(host));
        Some(asked.unwrap_or(&self.own).clone())
    }
}

/// A certificate and its key, checked to belong together.
fn read(certificate: &Path, key: &Path, provider: &CryptoProvider) -> Result<CertifiedKey, TlsConfigError> {
    let certificates = trust::read_certificates(certificate).map_err(|e| e.below("certificate_file"))?;
    let wrong = |problem: String| TlsConfigError::new(key, problem).below("private_key_file");
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| match e {
        rustls_pki_types::pem::Error::NoItemsFound => {
            wrong("holds no unencrypted private key in PEM form; convert it with `openssl pkey`".into())
        }
        other => wrong(format!("cannot be read: {other}")),
    })?;
    CertifiedKey::from_der(certificates, key, provider).map_err(|e| match e {
        rustls::Error::InconsistentKeys(_) => {
            wrong(format!("is not the key of the first certificate in {}", certificate.display()))
        }
        other => wrong(format!("cannot be used with its certificate: {other}")),
    })
}

/// Clients that ask for `host` accept no certificate of another: files that were mixed up are found here.
fn check_name(certified: CertifiedKey, host: &str, file: &Path) -> Result<CertifiedKey, TlsConfigError> {
    let is_valid = || {
        let leaf = EndEntityCert::try_from(certified.cert.first()?).ok()?;
        leaf.verify_is_valid_for_subject_name(&ServerName::try_from(host).ok()?).ok()
    };
    match is_valid() {
        Some(()) => Ok(certified),
        None => {
            let problem =
                format!("its first certificate is not valid for {host}; name it in the subject alternative name");
            Err(TlsConfigError::new(file, problem).below("certificate_file"))
        }
    }
}
