//! What auth providers answer.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RString, RVec};

use super::{Attribute, Pair};

/// Open code of an outcome. Any number that is not named here admits nobody.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct OutcomeCode(pub u32);

impl OutcomeCode {
    pub const ACCEPT: OutcomeCode = OutcomeCode(1);
    pub const CONTINUE: OutcomeCode = OutcomeCode(2);
    pub const REJECT: OutcomeCode = OutcomeCode(3);
    pub const NEXT: OutcomeCode = OutcomeCode(4);
    pub const UNAVAILABLE: OutcomeCode = OutcomeCode(5);
    pub const REDIRECT: OutcomeCode = OutcomeCode(6);
}

/// Open code of a verdict. Any number that is not named here denies.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct VerdictCode(pub u32);

impl VerdictCode {
    pub const ALLOW: VerdictCode = VerdictCode(1);
    pub const DENY: VerdictCode = VerdictCode(2);
    pub const NEXT: VerdictCode = VerdictCode(3);
    pub const PENDING: VerdictCode = VerdictCode(4);
}

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct GrantRecord {
    pub effect: u32,
    pub actions: u32,
    pub filter: RString,
    pub qos_max: u8,
    /// 0: either, 1: only without retain, 2: only with it.
    pub retain: u8,
    pub payload_bytes_max: u32,
    pub share_groups: RVec<RString>,
    pub attributes: RVec<Attribute>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct LimitRecord {
    pub number: u32,
    pub value: u64,
}

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct IdentityRecord {
    pub tenant: RString,
    pub user: RString,
    pub attributes: RVec<Pair>,
    pub client_id: ROption<RString>,
    pub grants: RVec<GrantRecord>,
    pub no_match: u32,
    pub valid_until_ms: u64,
    pub on_expiry: u32,
    pub limits: RVec<LimitRecord>,
    pub exclusive: bool,
    pub tags: RVec<RString>,
    pub connack_properties: RVec<Pair>,
    pub response_info: ROption<RString>,
    pub extensions: RVec<Attribute>,
}

#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct OutcomeRecord {
    pub code: OutcomeCode,
    /// ACCEPT.
    pub identity: ROption<IdentityRecord>,
    /// CONTINUE, ACCEPT.
    pub data: RVec<u8>,
    /// CONTINUE.
    pub state: u64,
    /// REJECT, REDIRECT.
    pub reason_code: u8,
    /// REJECT.
    pub reason: RString,
    pub reason_string: ROption<RString>,
    /// REDIRECT.
    pub server: RString,
    /// REJECT: delay; UNAVAILABLE: retry after.
    pub wait_ms: u64,
    pub attributes: RVec<Attribute>,
}

impl OutcomeRecord {
    /// An outcome of `code` and nothing else.
    pub fn bare(code: OutcomeCode) -> Self {
        OutcomeRecord {
            code,
            identity: ROption::RNone,
            data: RVec::new(),
            state: 0,
            reason_code: 0,
            reason: RString::new(),
            reason_string: ROption::RNone,
            server: RString::new(),
            wait_ms: 0,
            attributes: RVec::new(),
        }
    }
}

#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct VerdictRecord {
    pub code: VerdictCode,
    pub reason_code: u8,
    pub qos_max: u8,
    pub disconnect: bool,
    pub ttl_ms: u64,
    pub reason: RString,
    pub attributes: RVec<Attribute>,
}

impl VerdictRecord {
    /// A verdict of `code` and nothing else.
    pub fn bare(code: VerdictCode) -> Self {
        VerdictRecord {
            code,
            reason_code: 0,
            qos_max: 2,
            disconnect: false,
            ttl_ms: 0,
            reason: RString::new(),
            attributes: RVec::new(),
        }
    }
}
