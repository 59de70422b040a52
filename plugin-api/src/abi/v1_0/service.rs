//! What plugins ask of the host.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

use super::{AddressRecord, Attribute};

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SelectorRecord {
    pub tenant: ROption<RString>,
    pub user: ROption<RString>,
    pub client_id: ROption<RString>,
    pub connection: ROption<u64>,
    pub tag: ROption<RString>,
    pub leaf_sha256: ROption<[u8; 32]>,
}

/// Kind 0 is none, 1 address, 2 certificate, 3 key, 4 user, 5 client, 6 issuer.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct SubjectRecord {
    pub kind: u32,
    pub address: AddressRecord,
    pub bits: u8,
    pub sha256: [u8; 32],
    pub tenant: RString,
    pub user: RString,
    pub client_id: RString,
}

/// Kind 1 disconnect, 2 deny, 3 allow, 4 denials, 5 revoke, 6 publish, 7 sessions, 8 get, 9 put, 10 remove. A host that
/// does not know the kind answers that it is not supported.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct RequestRecord {
    pub kind: u32,
    pub selector: SelectorRecord,
    pub subject: SubjectRecord,
    /// Reason, or tenant of a message.
    pub text: RString,
    /// Topic of a message, or key.
    pub key: RString,
    pub value: RVec<u8>,
    /// Time to live, page, or what becomes of retained messages.
    pub number: u64,
    pub qos: u8,
    pub retain: bool,
    pub attributes: RVec<Attribute>,
}

/// The host's answer; `error` 0 is success.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct ReplyRecord {
    pub error: u32,
    pub count: u64,
    pub rows: RVec<RString>,
    pub next_page: u64,
    pub value: ROption<RVec<u8>>,
    pub attributes: RVec<Attribute>,
}
