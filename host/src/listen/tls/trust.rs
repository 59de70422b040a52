//! The certificate authorities of a listener.

use std::path::{Path, PathBuf};

use gatemq_broker::denials::Proven;
use gatemq_types::Anchor;
use rustls::DistinguishedName;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Version;

use super::error::{TlsConfigError, VerifyError};
use super::revocation::RevocationLists;

/// Certificates of a peer that are looked at. webpki's paths have at most seven.
pub(crate) const CHAIN_CERTIFICATES_MAX: usize = 16;
/// Bytes of all certificates of a peer that are looked at.
pub(crate) const CHAIN_BYTES_MAX: usize = 64 * 1024;

/// Certificate authorities, ready to verify client certificates.
#[derive(Debug)]
pub(crate) struct Trust {
    anchors: Vec<TrustAnchor<'static>>,
    /// By the index of the anchor.
    details: Vec<Detail>,
    hints: Vec<DistinguishedName>,
    algorithms: WebPkiSupportedAlgorithms,
    /// Revocation lists; `None`: nothing is looked up.
    lists: Option<RevocationLists>,
}

/// What webpki does not keep of an anchor.
#[derive(Debug)]
struct Detail {
    anchor: Anchor,
    /// From and until, in seconds since 1970; several where an authority was renewed with the same name and key.
    valid_s: Vec<(i64, i64)>,
}

/// What a chain was verified with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verified {
    /// Indices into the chain of the path, leaf (0) first.
    pub(crate) path: Vec<u32>,
    /// The anchor that the path ends at.
    pub(crate) anchor: Anchor,
}

impl Trust {
    /// Reads PEM files of CA certificates. An authority that is in them twice counts once, valid when one of them is.
    ///
    /// # Errors
    /// A file that cannot be read, holds no certificate, or holds one that is no authority's: webpki asks nothing more
    /// of an anchor, so the key of a server certificate put here by mistake could admit clients.
    pub(crate) fn load(files: &[PathBuf], provider: &CryptoProvider) -> Result<Trust, TlsConfigError> {
        let algorithms = provider.signature_verification_algorithms;
        let mut trust = Trust { anchors: Vec::new(), details: Vec::new(), hints: Vec::new(), algorithms, lists: None };
        for file in files {
            for certificate in read_certificates(file)? {
                trust.add(&certificate).map_err(|problem| TlsConfigError::new(file, problem))?;
            }
        }
        Ok(trust)
    }

    /// And refuses what these lists name.
    pub(crate) fn with_lists(self, lists: RevocationLists) -> Trust {
        Trust { lists: Some(lists), ..self }
    }

    /// The revocation lists.
    pub(crate) fn lists(&self) -> Option<&RevocationLists> {
        self.lists.as_ref()
    }

    /// Why a peer that was verified before would not be now: its authority is none any more, or a list names a certificate of its
    /// path. Out-of-date and missing lists end no connection.
    pub(crate) fn refuses(&self, peer: &Proven) -> Option<&'static str> {
        let is_anchor = |key: &[u8; 32]| self.details.iter().any(|detail| detail.anchor.spki_sha256 == *key);
        if !peer.issuers.iter().any(is_anchor) {
            return Some("no certificate authority of this listener has signed its chain any more");
        }
        let lists = self.lists.as_ref()?;
        let revoked = peer.links.iter().any(|link| lists.names(link));
        revoked.then_some("a revocation list names a certificate of its chain")
    }

    fn add(&mut self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|e| format!("holds a certificate that cannot be read ({e}); export it again"))?;
        let subject = parsed.subject().to_string();
        if parsed.version() == X509Version::V3 && !parsed.is_ca() {
            return Err(format!("`{subject}` is not a CA certificate; put only certificate authorities here"));
        }
        let anchor = webpki::anchor_from_trusted_cert(certificate)
            .map_err(|e| format!("`{subject}` cannot be a trust anchor ({e}); export it again"))?
            .to_owned();
        let valid_s = (parsed.validity().not_before.timestamp(), parsed.validity().not_after.timestamp());
        if let Some(at) = self.anchors.iter().position(|other| *other == anchor) {
            self.details[at].valid_s.push(valid_s);
            return Ok(());
        }
        let hint = DistinguishedName::in_sequence(&anchor.subject);
        if !self.hints.iter().any(|other| other.as_ref() == hint.as_ref()) {
            self.hints.push(hint);
        }
        self.anchors.push(anchor);
        self.details.push(Detail {
            anchor: Anchor { subject, spki_sha256: sha256(parsed.public_key().raw) },
            valid_s: vec![valid_s],
        });
        Ok(())
    }

    /// Subjects of the authorities, which the server sends so that a client can choose its certificate.
    pub(crate) fn hints(&self) -> &[DistinguishedName] {
        &self.hints
    }

    /// Algorithms of signatures, in certificates and in CertificateVerify.
    pub(crate) fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.algorithms
    }

    /// Verifies a client's `chain`, leaf first, as of `now`.
    ///
    /// # Errors
    /// No certificate, more than [`CHAIN_CERTIFICATES_MAX`] or [`CHAIN_BYTES_MAX`], or no valid path to an anchor.
    pub(crate) fn verify(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Verified, VerifyError> {
        let (leaf, others) = chain.split_first().ok_or(VerifyError::Missing)?;
        check_size(leaf, others)?;
        self.verify_checked(leaf, others, now)
    }

    /// As [`verify`](Self::verify), of a chain whose size was checked.
    pub(crate) fn verify_checked(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Verified, VerifyError> {
        let end_entity = EndEntityCert::try_from(leaf).map_err(VerifyError::Refused)?;
        let lists = self.lists.as_ref().map(RevocationLists::all).unwrap_or_default();
        let revocation = self.lists.as_ref().and_then(|of| of.options(&lists));
        let path = end_entity
            .verify_for_usage(
                self.algorithms.all,
                &self.anchors,
                others,
                now,
                KeyUsage::client_auth(),
                revocation,
                Some(&|path| self.check_validity(path, now)),
            )
            .map_err(VerifyError::Refused)?;
        let mut indices = vec![0];
        for certificate in path.intermediate_certificates() {
            let der = certificate.der();
            indices.extend(others.iter().position(|other| *other == der).map(|at| at as u32 + 1));
        }
        let detail = self.detail(&path).ok_or(VerifyError::Refused(webpki::Error::UnknownIssuer))?;
        Ok(Verified { path: indices, anchor: detail.anchor.clone() })
    }

    /// webpki does not look at the validity of anchors. An authority that expired admits nobody.
    fn check_validity(&self, path: &VerifiedPath<'_>, now: UnixTime) -> Result<(), webpki::Error> {
        let detail = self.detail(path).ok_or(webpki::Error::UnknownIssuer)?;
        let time = |s: i64| UnixTime::since_unix_epoch(std::time::Duration::from_secs(s.max(0) as u64));
        let mut invalid = webpki::Error::UnknownIssuer;
        for &(not_before_s, not_after_s) in &detail.valid_s {
            let (not_before, not_after) = (time(not_before_s), time(not_after_s));
            if now < not_before {
                invalid = webpki::Error::CertNotValidYet { time: now, not_before };
            } else if now > not_after {
                invalid = webpki::Error::CertExpired { time: now, not_after };
            } else {
                return Ok(());
            }
        }
        Err(invalid)
    }

    fn detail(&self, path: &VerifiedPath<'_>) -> Option<&Detail> {
        let at = self.anchors.iter().position(|anchor| anchor == path.anchor())?;
        self.details.get(at)
    }
}

/// Bounds what a peer can make us keep and verify.
pub(crate) fn check_size(leaf: &CertificateDer<'_>, others: &[CertificateDer<'_>]) -> Result<(), VerifyError> {
    let certificates = others.len() + 1;
    let bytes = leaf.len() + others.iter().map(|c| c.len()).sum::<usize>();
    if certificates > CHAIN_CERTIFICATES_MAX || bytes > CHAIN_BYTES_MAX {
        return Err(VerifyError::TooLong { certificates, bytes });
    }
    Ok(())
}

/// All certificates of a PEM file, in its order; at least one.
pub(crate) fn read_certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsConfigError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(file)
        .and_then(|sections| sections.collect())
        .map_err(|e| TlsConfigError::new(file, format!("cannot be read: {e}")))?;
    if certificates.is_empty() {
        let problem = "holds no certificate in PEM form (BEGIN CERTIFICATE); convert it with `openssl x509`";
        return Err(TlsConfigError::new(file, problem));
    }
    Ok(certificates)
}

/// SHA-256 of `bytes`.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
