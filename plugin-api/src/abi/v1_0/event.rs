//! Events as collectors get them: borrowed for the length of the call.

use abi_stable::StableAbi;
use abi_stable::std_types::{RSlice, RStr, RString, RVec};

use super::Attribute;

/// What a field's value is. A number that is not named here: the value is not for this collector.
#[repr(transparent)]
#[derive(StableAbi, Clone, Copy, PartialEq, Eq, Debug)]
pub struct FieldTag(pub u32);

impl FieldTag {
    pub const NUMBER: FieldTag = FieldTag(1);
    pub const FLAG: FieldTag = FieldTag(2);
    pub const TEXT: FieldTag = FieldTag(3);
    pub const CHAIN: FieldTag = FieldTag(4);
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct FieldView<'a> {
    pub name: RStr<'a>,
    pub tag: FieldTag,
    pub number: u64,
    pub text: RStr<'a>,
    pub chain: RSlice<'a, RSlice<'a, u8>>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct EventView<'a> {
    pub kind: u32,
    pub class: u32,
    pub blame: u32,
    pub name: RStr<'a>,
    pub sequence: u64,
    pub time_ms: u64,
    pub node: RStr<'a>,
    /// 0: the event is not about a connection, and the fields down to `leaf_sha256` are empty.
    pub connection: u64,
    pub listener: RStr<'a>,
    pub transport: RStr<'a>,
    /// Address and port.
    pub remote: RStr<'a>,
    pub tenant: RStr<'a>,
    pub user: RStr<'a>,
    pub client_id: RStr<'a>,
    /// Protocol level; 0 is not known yet.
    pub protocol: u8,
    /// Empty, or 32 bytes.
    pub leaf_sha256: RSlice<'a, u8>,
    pub fields: RSlice<'a, FieldView<'a>>,
    pub attributes: RSlice<'a, Attribute>,
}

/// What a collector wants.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct InterestRecord {
    /// Bits of classes.
    pub classes: u32,
    /// Numbers of kinds wanted besides.
    pub kinds: RVec<u32>,
    /// Only these tenants; empty is all.
    pub tenants: RVec<RString>,
}
