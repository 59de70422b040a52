//! What is kept of a client to deny it by, besides its names. Nothing for one without certificate.

use gatemq_broker::denials::Proven;
use gatemq_types::Tls;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::listen::tls::sha256;

/// What of a peer's certificate can be denied. `None`: it has shown none, or none that was verified and whose key it proved to
/// have; on a resumed handshake it had done so before.
pub(crate) fn proven(tls: &Tls) -> Option<Proven> {
    if !tls.verified {
        return None;
    }
    let key_at = |at: u32| {
        let der = tls.chain.get(usize::try_from(at).ok()?)?;
        let certificate = CertificateDer::from(der.as_bytes());
        // It was read when the path was verified.
        let parsed = EndEntityCert::try_from(&certificate).ok()?;
        Some(sha256(&parsed.subject_public_key_info()))
    };
    let authorities = tls.path.iter().skip(1).filter_map(|at| key_at(*at));
    let issuers = authorities.chain(tls.anchor.as_ref().map(|anchor| anchor.spki_sha256));
    Some(Proven { leaf: tls.leaf_sha256?, key: key_at(0)?, issuers: issuers.collect() })
}
