//! Who a node's certificate says it is: one SPIFFE id, `spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE`.

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Bytes of the longest name of an environment, a cluster or a node.
pub const NAME_BYTES_MAX: usize = 64;

/// The names in a node's certificate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The environment: the trust domain of the SPIFFE id.
    pub environment: String,
    /// The cluster.
    pub cluster: String,
    /// The node.
    pub node: String,
}

/// Why a certificate is no node's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// It is not X.509, or its subject alternative name cannot be read.
    #[error("the certificate cannot be read: {0}")]
    Unreadable(String),
    /// Not exactly one URI.
    #[error("the certificate has {0} URIs in its subject alternative name, a node's has exactly one")]
    Uris(usize),
    /// A URI of another form.
    #[error("`{0}` is not of the form spiffe://ENVIRONMENT/gatemq/CLUSTER/NODE")]
    Form(String),
}

impl Identity {
    /// The names in `leaf`, which must be a verified certificate.
    ///
    /// # Errors
    /// It is no node's.
    pub fn of(leaf: &CertificateDer<'_>) -> Result<Identity, IdentityError> {
        let (_, certificate) =
            X509Certificate::from_der(leaf).map_err(|e| IdentityError::Unreadable(e.to_string()))?;
        let names = certificate.subject_alternative_name().map_err(|e| IdentityError::Unreadable(e.to_string()))?;
        let names = names.iter().flat_map(|extension| &extension.value.general_names);
        let uris: Vec<&str> = names
            .filter_map(|name| match name {
                GeneralName::URI(uri) => Some(*uri),
                _ => None,
            })
            .collect();
        match uris[..] {
            [uri] => Identity::parse(uri),
            _ => Err(IdentityError::Uris(uris.len())),
        }
    }

    /// The names in a SPIFFE id.
    ///
    /// # Errors
    /// It is of another form.
    pub fn parse(uri: &str) -> Result<Identity, IdentityError> {
        let parts = || {
            let mut parts = uri.strip_prefix("spiffe://")?.split('/');
            let environment = parts.next()?;
            parts.next().filter(|part| *part == "gatemq")?;
            let (cluster, node) = (parts.next()?, parts.next()?);
            let is_all = parts.next().is_none() && [environment, cluster, node].iter().all(|name| is_name(name));
            is_all.then(|| Identity { environment: environment.into(), cluster: cluster.into(), node: node.into() })
        };
        // A peer's text: escaped, and no longer than a name of this form can be.
        parts().ok_or_else(|| {
            IdentityError::Form(uri.chars().take(4 * NAME_BYTES_MAX).flat_map(char::escape_default).collect())
        })
    }

    /// The SPIFFE id.
    pub fn uri(&self) -> String {
        format!("spiffe://{}/gatemq/{}/{}", self.environment, self.cluster, self.node)
    }
}

/// Whether `name` can be that of an environment, a cluster or a node: 1 to [`NAME_BYTES_MAX`] of a-z, 0-9, dot, dash
/// and underscore, as SPIFFE allows in a trust domain.
pub fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'_');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Only the one form is a node's name; each of these is one step away from the good one.
    #[test]
    fn only_the_one_form_is_taken() {
        let good = Identity::parse("spiffe://prod.eu/gatemq/east/n1").unwrap();
        assert_eq!((&*good.environment, &*good.cluster, &*good.node), ("prod.eu", "east", "n1"));
        assert_eq!(good.uri(), "spiffe://prod.eu/gatemq/east/n1");
        let long = format!("spiffe://{}/gatemq/east/n1", "e".repeat(NAME_BYTES_MAX + 1));
        let wrong = [
            "spiffe:///gatemq/east/n1",
            "spiffe://prod/gatemq/east/",
            "spiffe://prod/gatemq/east",
            "spiffe://prod/gatemq/east/n1/",
            "spiffe://prod/gatemq/east/n1/x",
            "spiffe://prod/other/east/n1",
            "https://prod/gatemq/east/n1",
            "spiffe://Prod/gatemq/east/n1",
            "spiffe://prod:1/gatemq/east/n1",
            "spiffe://prod/gatemq/east/n%31",
            "spiffe://prod/gatemq/east/n1?x",
            " spiffe://prod/gatemq/east/n1",
            &long,
        ];
        for uri in wrong {
            assert!(Identity::parse(uri).is_err(), "{uri}");
        }
    }
}
