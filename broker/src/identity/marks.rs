//! What clients are found by besides their names.

use std::sync::Arc;

/// See the module. Retained messages keep those of their publisher.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Marks {
    /// Tags of the identity.
    pub tags: Box<[String]>,
    /// SHA-256 of the certificate whose key the client has proven to have.
    pub leaf_sha256: Option<[u8; 32]>,
}

impl Marks {
    /// `None` where there are none.
    pub fn of(tags: Box<[String]>, leaf_sha256: Option<[u8; 32]>) -> Option<Arc<Marks>> {
        (!tags.is_empty() || leaf_sha256.is_some()).then(|| Arc::new(Marks { tags, leaf_sha256 }))
    }
}
