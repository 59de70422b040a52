//! Certificates for measuring: a CA, a server's and a client's, all P-256.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};

/// Writes `ca`, `server` and `client`, each as `.crt` and `.key` (PEM; keys readable by their owner only), into `dir`,
/// which is made if it is not there. Server and client carry the names localhost and 127.0.0.1.
pub fn write(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let mut ca = params("load-ca", vec![])?;
    ca.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
    let cert = ca.self_signed(&key).map_err(io::Error::other)?;
    save(dir, "ca", &cert.pem(), &key)?;
    let issuer = Issuer::new(ca, key);
    leaf(dir, "server", ExtendedKeyUsagePurpose::ServerAuth, &issuer)?;
    leaf(dir, "client", ExtendedKeyUsagePurpose::ClientAuth, &issuer)
}

fn params(common_name: &str, names: Vec<String>) -> io::Result<CertificateParams> {
    let mut p = CertificateParams::new(names).map_err(io::Error::other)?;
    p.distinguished_name = rcgen::DistinguishedName::new();
    p.distinguished_name.push(DnType::OrganizationName, "load");
    p.distinguished_name.push(DnType::CommonName, common_name);
    Ok(p)
}

fn leaf(dir: &Path, name: &str, usage: ExtendedKeyUsagePurpose, issuer: &Issuer<'_, KeyPair>) -> io::Result<()> {
    let mut p = params(name, vec!["localhost".into(), "127.0.0.1".into()])?;
    p.is_ca = IsCa::ExplicitNoCa;
    p.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    p.extended_key_usages = vec![usage];
    p.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(io::Error::other)?;
    let cert = p.signed_by(&key, issuer).map_err(io::Error::other)?;
    save(dir, name, &cert.pem(), &key)
}

fn save(dir: &Path, name: &str, cert: &str, key: &KeyPair) -> io::Result<()> {
    fs::write(dir.join(name).with_extension("crt"), cert)?;
    let mut open = OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600);
    open.open(dir.join(name).with_extension("key"))?.write_all(key.serialize_pem().as_bytes())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;
    use rustls_pki_types::UnixTime;

    use super::*;
    use crate::net::{load_certs, load_key, provider};

    /// A mutual TLS broker accepts the client's certificate, and refuses the server's (the wrong extended key usage).
    #[test]
    fn usages_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path()).unwrap();
        let file = |name: &str| dir.path().join(name);
        let mut roots = RootCertStore::empty();
        assert_eq!(roots.add_parsable_certificates(load_certs(&file("ca.crt")).unwrap()), (1, 0));
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider()).build().unwrap();
        let verify = |name: &str| {
            let chain = load_certs(&file(name)).unwrap();
            verifier.verify_client_cert(&chain[0], &[], UnixTime::now())
        };
        verify("client.crt").unwrap();
        assert!(verify("server.crt").is_err());
        load_key(&file("client.key")).unwrap();
    }
}
