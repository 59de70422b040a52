//! The certificate authorities of the cluster: a chain is verified by them without a DNS name.

use std::path::Path;
use std::time::Duration;

use rustls::DistinguishedName;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, TrustAnchor, UnixTime};
use webpki::{
    CertRevocationList, EndEntityCert, ExpirationPolicy, KeyUsage, OwnedCertRevocationList, RevocationCheckDepth,
    RevocationOptionsBuilder, UnknownStatusPolicy, VerifiedPath,
};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

use super::TlsFiles;
use super::error::{CertificateError, TlsFileError};
use super::identity::identity_of;
use crate::core::SpiffeId;

/// Certificates of a peer that are looked at.
pub(super) const CHAIN_CERTIFICATES_MAX: usize = 8;
/// Bytes of all certificates of a peer that are looked at.
pub(super) const CHAIN_BYTES_MAX: usize = 32 * 1024;

/// Certificate authorities and what they revoked.
#[derive(Debug)]
pub(super) struct Trust {
    anchors: Vec<Anchor>,
    /// As webpki takes them: the same, in the same order.
    webpki: Vec<TrustAnchor<'static>>,
    hints: Vec<DistinguishedName>,
    revoked: Vec<CertRevocationList<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// webpki keeps no validity of anchors.
#[derive(Debug)]
struct Anchor {
    not_before_s: i64,
    not_after_s: i64,
}

impl Trust {
    pub(super) fn load(files: &TlsFiles, provider: &CryptoProvider) -> Result<Trust, TlsFileError> {
        let mut trust = Trust {
            anchors: Vec::new(),
            webpki: Vec::new(),
            hints: Vec::new(),
            revoked: Vec::new(),
            algorithms: provider.signature_verification_algorithms,
        };
        for certificate in read_certificates(&files.ca_file)? {
            trust.add(&certificate).map_err(|problem| TlsFileError::new(&files.ca_file, problem))?;
        }
        if let Some(file) = &files.crl_file {
            trust.revoked = read_revoked(file)?;
        }
        Ok(trust)
    }

    /// webpki asks nothing more of an anchor, so a node's own certificate put here by mistake would admit whoever holds
    /// its key.
    fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|e| format!("holds a certificate that cannot be read ({e}); export it again"))?;
        if !parsed.is_ca() {
            let subject = parsed.subject();
            return Err(format!("`{subject}` is not a CA certificate; put only certificate authorities here"));
        }
        let anchor = webpki::anchor_from_trusted_cert(certificate)
            .map_err(|e| format!("`{}` cannot be a trust anchor ({e}); export it again", parsed.subject()))?
            .to_owned();
        self.hints.push(DistinguishedName::in_sequence(&anchor.subject));
        self.webpki.push(anchor);
        let validity = parsed.validity();
        self.anchors.push(Anchor {
            not_before_s: validity.not_before.timestamp(),
            not_after_s: validity.not_after.timestamp(),
        });
        Ok(())
    }

    pub(super) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    pub(super) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Verifies a peer's certificates, leaf first, as of `now`. A node is both a client and a server, so its certificate
    /// must be for both.
    pub(super) fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<SpiffeId, CertificateError> {
        let (leaf, others) = chain.split_first().ok_or(CertificateError::Missing)?;
        if chain.len() > CHAIN_CERTIFICATES_MAX || chain.iter().map(|c| c.len()).sum::<usize>() > CHAIN_BYTES_MAX {
            return Err(CertificateError::TooLong);
        }
        for usage in [KeyUsage::server_auth(), KeyUsage::client_auth()] {
            self.verify_for(leaf, others, now, usage).map_err(CertificateError::Chain)?;
        }
        Ok(identity_of(leaf)?)
    }

    fn verify_for(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
        usage: KeyUsage,
    ) -> Result<(), webpki::Error> {
        let revoked: Vec<&CertRevocationList<'_>> = self.revoked.iter().collect();
        // A list that is past its next update still revokes what is in it: refusing everybody for want of a newer one
        // would take the cluster down.
        let revocation = RevocationOptionsBuilder::new(&revoked).ok().map(|options| {
            options
                .with_depth(RevocationCheckDepth::Chain)
                .with_status_policy(UnknownStatusPolicy::Allow)
                .with_expiration_policy(ExpirationPolicy::Ignore)
                .build()
        });
        EndEntityCert::try_from(leaf)?
            .verify_for_usage(
                self.algorithms.all,
                &self.webpki,
                others,
                now,
                usage,
                revocation,
                Some(&|path| self.check_validity(path, now)),
            )
            .map(|_| ())
    }

    /// An authority that expired admits nobody. One that was renewed with the same key is there twice.
    fn check_validity(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        let time = |s: i64| UnixTime::since_unix_epoch(Duration::from_secs(s.max(0).unsigned_abs()));
        let mut problem = webpki::Error::UnknownIssuer;
        for (anchor, _) in self.anchors.iter().zip(&self.webpki).filter(|(_, webpki)| *webpki == path.anchor()) {
            let (not_before, not_after) = (time(anchor.not_before_s), time(anchor.not_after_s));
            if now < not_before {
                problem = webpki::Error::CertNotValidYet { time: now, not_before };
            } else if now > not_after {
                problem = webpki::Error::CertExpired { time: now, not_after };
            } else {
                return Ok(());
            }
        }
        Err(problem)
    }
}

/// All certificates of a PEM file, in its order; at least one.
pub(super) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsFileError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(|sections| sections.collect())
        .map_err(|e| TlsFileError::new(file, format!("cannot be read: {e}")))?;
    if certificates.is_empty() {
        let problem = "holds no certificate in PEM form (BEGIN CERTIFICATE); convert it with `openssl x509`";
        return Err(TlsFileError::new(file, problem));
    }
    Ok(certificates)
}

fn read_revoked(file: &Path) -> Result<Vec<CertRevocationList<'static>>, TlsFileError> {
    let lists: Vec<CertificateRevocationListDer<'static>> = CertificateRevocationListDer::pem_file_iter(file)
        .and_then(|sections| sections.collect())
        .map_err(|e| TlsFileError::new(file, format!("cannot be read: {e}")))?;
    if lists.is_empty() {
        let problem = "holds no revocation list in PEM form (BEGIN X509 CRL); convert it with `openssl crl`";
        return Err(TlsFileError::new(file, problem));
    }
    let parse = |list: &CertificateRevocationListDer<'_>| OwnedCertRevocationList::from_der(list).map(Into::into);
    let parsed: Result<Vec<_>, webpki::Error> = lists.iter().map(parse).collect();
    parsed.map_err(|e| TlsFileError::new(file, format!("holds a revocation list that cannot be used: {e}")))
}
