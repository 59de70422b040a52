//! What can be wrong with TLS files, with a chain, and with a handshake.

use std::path::{Path, PathBuf};

use gatemq_types::Der;

use super::trust::{CHAIN_BYTES_MAX, CHAIN_CERTIFICATES_MAX};

/// A certificate, key or CA file that cannot be used. Names the file and says what to do.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", file.display())]
pub(crate) struct TlsConfigError {
    /// The file.
    pub(crate) file: PathBuf,
    /// What is wrong with it, and what to do.
    pub(crate) problem: String,
    /// Its key below `tls`; empty if it is about all of it.
    pub(crate) key: String,
}

impl TlsConfigError {
    /// `problem` of `file`.
    pub(crate) fn new(file: &Path, problem: impl Into<String>) -> Self {
        TlsConfigError { file: file.to_owned(), problem: problem.into(), key: String::new() }
    }

    /// With its key, or the table around its key.
    pub(crate) fn below(self, name: &str) -> Self {
        let key = if self.key.is_empty() { name.to_owned() } else { format!("{name}.{}", self.key) };
        TlsConfigError { key, ..self }
    }
}

/// Why a chain was not verified.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum VerifyError {
    /// Nothing was verified, and nothing kept: the peer sent more than is taken.
    #[error(
        "the peer sent {certificates} certificates of {bytes} bytes, at most {CHAIN_CERTIFICATES_MAX} of \
         {CHAIN_BYTES_MAX} bytes are taken"
    )]
    TooLong {
        /// Certificates sent.
        certificates: usize,
        /// Bytes of all of them.
        bytes: usize,
    },
    /// There is no chain where one is needed.
    #[error("the peer has no certificate, and this listener requires one")]
    Missing,
    /// webpki says no.
    #[error("{}", describe(.0))]
    Refused(webpki::Error),
}

/// webpki's words where they are clear, better ones where they are not.
fn describe(error: &webpki::Error) -> String {
    match error {
        webpki::Error::UnknownIssuer => "no certificate authority of this listener signed the chain".into(),
        webpki::Error::CertExpired { time, not_after } => format!(
            "a certificate of the path expired {} s ago (CertExpired)",
            time.as_secs().saturating_sub(not_after.as_secs())
        ),
        webpki::Error::CertNotValidYet { time, not_before } => format!(
            "a certificate of the path becomes valid in {} s only (CertNotValidYet): is this clock right?",
            not_before.as_secs().saturating_sub(time.as_secs())
        ),
        webpki::Error::CertRevoked => "a revocation list names a certificate of the chain (CertRevoked)".into(),
        webpki::Error::UnknownRevocationStatus => "no revocation list is about a certificate of the chain \
             (UnknownRevocationStatus): client_crl_file needs the list of every authority of it"
            .into(),
        webpki::Error::CrlExpired { time, next_update } => format!(
            "the revocation list of a certificate of the chain is out of date since {} s (CrlExpired)",
            time.as_secs().saturating_sub(next_update.as_secs())
        ),
        other => format!("the chain was refused: {other}"),
    }
}

impl VerifyError {
    /// The error in rustls's terms, which decide the alert that the peer gets.
    pub(crate) fn to_rustls(&self) -> rustls::Error {
        use rustls::CertificateError as E;
        let error = match self {
            VerifyError::TooLong { .. } => E::ApplicationVerificationFailure,
            VerifyError::Missing => return rustls::Error::NoCertificatesPresented,
            VerifyError::Refused(error) => match error {
                webpki::Error::BadDer | webpki::Error::BadDerTime | webpki::Error::TrailingData(_) => E::BadEncoding,
                webpki::Error::CertExpired { .. } | webpki::Error::InvalidCertValidity => E::Expired,
                webpki::Error::CertNotValidYet { .. } => E::NotValidYet,
                webpki::Error::CertRevoked => E::Revoked,
                webpki::Error::UnknownRevocationStatus => E::UnknownRevocationStatus,
                webpki::Error::UnknownIssuer => E::UnknownIssuer,
                webpki::Error::InvalidSignatureForPublicKey => E::BadSignature,
                webpki::Error::RequiredEkuNotFoundContext(_) => E::InvalidPurpose,
                other => E::Other(rustls::OtherError(std::sync::Arc::new(other.clone()))),
            },
        };
        error.into()
    }
}

/// A handshake that did not succeed. The peer was sent the alert that goes with it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub(crate) struct HandshakeError {
    /// What was wrong.
    pub(crate) error: String,
    /// Every certificate that the peer sent, leaf first, as far as it came; empty if more came than is taken.
    pub(crate) chain: Vec<Der>,
    /// Whether the peer proved to hold the leaf's key. If not, anybody could have sent the chain: blame nobody for it.
    pub(crate) proven: bool,
}

impl HandshakeError {
    /// An error before the peer said who it is.
    pub(crate) fn anonymous(error: impl ToString) -> Self {
        HandshakeError { error: error.to_string(), chain: Vec::new(), proven: false }
    }
}
