//! Names out of a verified leaf, for the values of grants (`${cert.cn}`, `${cert.san.dns}`).

use gatemq_types::Der;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// Names that a certificate authority certified. They are the peer's text: escape them where they are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct CertificateNames {
    /// The subject's common name; `None` if it has none, or several: it is not ours to choose between them.
    pub(crate) cert_cn: Option<String>,
    /// DNS names of the subject alternative name, in its order.
    pub(crate) cert_san_dns: Vec<String>,
}

/// Names of `leaf`, which must be a verified one ([`gatemq_types::Tls::verified_leaf`]). What cannot be read is absent.
pub(crate) fn names(leaf: &Der) -> CertificateNames {
    let Ok((_, certificate)) = X509Certificate::from_der(leaf.as_bytes()) else {
        return CertificateNames::default();
    };
    let mut common_names = certificate.subject().iter_common_name();
    let cert_cn = match (common_names.next(), common_names.next()) {
        (Some(name), None) => name.as_str().ok().map(str::to_owned),
        _ => None,
    };
    let cert_san_dns = match certificate.subject_alternative_name() {
        Ok(Some(extension)) => extension.value.general_names.iter().filter_map(dns_name).collect(),
        _ => Vec::new(),
    };
    CertificateNames { cert_cn, cert_san_dns }
}

fn dns_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some((*name).to_owned()),
        _ => None,
    }
}
