//! What is kept of a client to find it by, besides its names and tags. Nothing for one without certificate whose identity is not
//! exclusive.

use gatemq_broker::denials::Proven;
use gatemq_types::Tls;
use rustls_pki_types::CertificateDer;
use webpki::EndEntityCert;

use crate::exclusive::Held;
use crate::listen::tls::{link_of, sha256};

/// See the module.
pub(crate) struct Known {
    /// Its certificate, whose key it has proven.
    pub(crate) proven: Option<Proven>,
    /// Its place, where its identity is exclusive.
    pub(crate) place: Option<Box<Held>>,
}

impl Known {
    /// `None` where there is nothing to keep.
    pub(crate) fn of(proven: Option<Proven>, place: Option<Box<Held>>) -> Option<Box<Known>> {
        (proven.is_some() || place.is_some()).then(|| Box::new(Known { proven, place }))
    }
}

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
    let links = tls.path.iter().filter_map(|at| link_of(tls.chain.get(usize::try_from(*at).ok()?)?.as_bytes()));
    Some(Proven { leaf: tls.leaf_sha256?, key: key_at(0)?, issuers: issuers.collect(), links: links.collect() })
}
