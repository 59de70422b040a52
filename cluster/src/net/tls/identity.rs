//! Who a node's certificate says it is: its one URI, a SPIFFE id.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

use crate::core::SpiffeId;

/// Characters that are shown of a URI that is no SPIFFE id.
const SHOWN_MAX: usize = 256;

/// Why a certificate is no node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not X.509, or its subject alternative name cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// Not exactly one URI.
    #[error("the certificate has {0} URIs in its subject alternative name, a node's has exactly one")]
    Uris(usize),
    /// A URI of another form: which, escaped and cut, and what is wrong with it.
    #[error("`{0}` in the certificate names no node: {1}")]
    Form(String, String),
}

/// The names in `leaf`, which must be a verified certificate.
///
/// # Errors
/// It is no node's.
pub(crate) fn identity_of(leaf: &CertificateDer<'_>) -> Result<SpiffeId, IdentityError> {
    let (_, certificate) = X509Certificate::from_der(leaf).map_err(|e| IdentityError::Unreadable(e.to_string()))?;
    let names = certificate.subject_alternative_name().map_err(|e| IdentityError::Unreadable(e.to_string()))?;
    let names = names.iter().flat_map(|extension| &extension.value.general_names);
    let uris: Vec<&str> = names
        .filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        })
        .collect();
    let [uri] = uris[..] else { return Err(IdentityError::Uris(uris.len())) };
    SpiffeId::parse(uri).map_err(|problem| {
        let shown = uri.chars().take(SHOWN_MAX).flat_map(char::escape_default).collect();
        IdentityError::Form(shown, problem.to_string())
    })
}
