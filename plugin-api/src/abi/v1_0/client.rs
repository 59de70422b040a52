//! What the host tells of a client.

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};

use super::IdentityRecord;

/// Two strings: a user property, an attribute of an identity.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Pair {
    pub name: RString,
    pub value: RString,
}

/// The way in which a record of a slice may say more in a later interface: an open number and a value.
#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct Attribute {
    pub key: u32,
    pub number: u64,
    pub text: RString,
}

#[repr(C)]
#[derive(StableAbi, Clone, Copy, Debug)]
pub struct AddressRecord {
    pub v6: bool,
    /// IPv4: the first four bytes.
    pub ip: [u8; 16],
    pub port: u16,
}

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct AnchorRecord {
    pub subject: RString,
    pub spki_sha256: [u8; 32],
}

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct TlsRecord {
    pub version: u16,
    pub cipher: RString,
    pub server_name: ROption<RString>,
    pub alpn: ROption<RString>,
    pub resumed: bool,
    pub chain: RVec<RVec<u8>>,
    pub verified: bool,
    pub path: RVec<u32>,
    pub anchor: ROption<AnchorRecord>,
    pub leaf_sha256: ROption<[u8; 32]>,
    pub attributes: RVec<Attribute>,
}

#[repr(C)]
#[derive(StableAbi, Clone, Debug)]
pub struct WillRecord {
    pub topic: RString,
    pub qos: u8,
    pub retain: bool,
    pub payload_bytes: u32,
    pub delay_s: u32,
    pub user_properties: RVec<Pair>,
}

#[repr(C)]
#[derive(StableAbi, Clone)]
pub struct ConnectRecord {
    pub connection: u64,
    pub listener: RString,
    pub transport: u32,
    pub local: AddressRecord,
    pub remote: AddressRecord,
    pub proxied_by: ROption<AddressRecord>,
    pub tls: ROption<TlsRecord>,
    pub protocol: u8,
    pub client_id: RString,
    pub client_id_assigned: bool,
    pub user_name: ROption<RString>,
    /// Wiped by the host when the call has returned.
    pub password: ROption<RVec<u8>>,
    pub clean_start: bool,
    pub keep_alive_s: u16,
    pub session_expiry_s: u32,
    pub receive_max: u16,
    pub packet_bytes_max: u32,
    pub user_properties: RVec<Pair>,
    pub auth_method: ROption<RString>,
    /// Wiped by the host when the call has returned.
    pub auth_data: ROption<RVec<u8>>,
    pub will: ROption<WillRecord>,
    pub failures: u32,
    pub deadline_ms: u32,
    pub attributes: RVec<Attribute>,
}

/// An admitted client. Made once by the host, then passed by reference with each question.
#[repr(C)]
#[derive(StableAbi, Clone)]
pub struct SessionRecord {
    /// As at CONNECT, without password and authentication data.
    pub connect: ConnectRecord,
    pub identity: IdentityRecord,
}

/// What a session wants to do.
#[repr(C)]
#[derive(StableAbi, Clone, Copy)]
pub struct ActionView<'a> {
    pub kind: u32,
    pub topic: RStr<'a>,
    pub share_group: RStr<'a>,
    pub qos: u8,
    pub retain: bool,
    pub options: u8,
    pub payload_bytes: u32,
    pub user_properties: RSlice<'a, Pair>,
    pub attributes: RSlice<'a, Attribute>,
}
