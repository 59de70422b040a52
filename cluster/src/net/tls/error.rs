//! What can be wrong with the cluster's TLS files, and with a peer's certificates.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::identity::IdentityError;
use super::trust::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

/// A file that cannot be used. Names it and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub struct TlsFileError {
    /// The file.
    pub file: PathBuf,
    /// What is wrong with it, and what to do.
    pub problem: String,
}

impl TlsFileError {
    pub(super) fn new(file: &Path, problem: impl Into<String>) -> Self {
        TlsFileError { file: file.to_owned(), problem: problem.into() }
    }
}

/// Why a peer's certificates are refused.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum CertificateError {
    /// None was sent.
    #[error("the peer sent no certificate")]
    Missing,
    /// More than is looked at.
    #[error("the peer sent more than {CHAIN_CERTIFICATES_MAX} certificates or {CHAIN_BYTES_MAX} bytes of them")]
    TooLong,
    /// webpki refuses the chain.
    #[error("{}", describe(.0))]
    Chain(webpki::Error),
    /// The chain is good, but it is no node's.
    #[error("{0}")]
    Identity(#[from] IdentityError),
}

/// webpki's words where they are clear, better ones where they are not.
fn describe(error: &webpki::Error) -> String {
    let ago = |later: u64, earlier: u64| later.saturating_sub(earlier);
    match error {
        // The second: an authority of the same name with another key.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            "no certificate authority of this cluster signed the certificate".into()
        }
        webpki::Error::CertExpired { time, not_after } => {
            format!("the certificate expired {} s ago", ago(time.as_secs(), not_after.as_secs()))
        }
        webpki::Error::CertNotValidYet { time, not_before } => {
            let in_s = ago(not_before.as_secs(), time.as_secs());
            format!("the certificate becomes valid in {in_s} s only: are both clocks right?")
        }
        webpki::Error::CertRevoked => "the certificate is revoked".into(),
        webpki::Error::RequiredEkuNotFoundContext(_) => {
            "the certificate is not for both ends of TLS: its extended key usage needs serverAuth and clientAuth".into()
        }
        other => format!("the certificate was refused: {other}"),
    }
}

impl CertificateError {
    /// The error in rustls's terms, which decide the alert that the peer gets.
    pub(super) fn to_rustls(&self) -> rustls::Error {
        use rustls::CertificateError as E;
        let other = || E::Other(rustls::OtherError(Arc::new(self.clone())));
        match self {
            CertificateError::Missing => return rustls::Error::NoCertificatesPresented,
            CertificateError::TooLong | CertificateError::Identity(_) => other(),
            CertificateError::Chain(error) => match error {
                webpki::Error::CertExpired { .. } => E::Expired,
                webpki::Error::CertNotValidYet { .. } => E::NotValidYet,
                webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => E::UnknownIssuer,
                webpki::Error::CertRevoked => E::Revoked,
                webpki::Error::RequiredEkuNotFoundContext(_) => E::InvalidPurpose,
                _ => other(),
            },
        }
        .into()
    }
}
