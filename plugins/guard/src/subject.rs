//! Whom scores are kept of.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

/// Kinds of subjects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Address,
    Certificate,
    User,
    Client,
}

/// A subject in the form in which it is compared.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Subject {
    /// An IPv4 address, or the first of an IPv6 /64.
    Address(IpAddr),
    /// SHA-256 of a leaf.
    Certificate([u8; 32]),
    /// Tenant, user.
    User(String, String),
    /// Tenant, user, client identifier.
    Client(String, String, String),
}

impl Subject {
    /// An address: of IPv6 the /64, which is one subscriber's.
    pub(crate) fn address(ip: IpAddr) -> Self {
        Subject::Address(match ip.to_canonical() {
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
            v4 => v4,
        })
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Subject::Address(_) => Kind::Address,
            Subject::Certificate(_) => Kind::Certificate,
            Subject::User(..) => Kind::User,
            Subject::Client(..) => Kind::Client,
        }
    }

    /// As the broker's denials name it.
    pub(crate) fn denied(&self) -> gatemq_plugin_api::Subject {
        match self.clone() {
            Subject::Address(address) => {
                let bits = if address.is_ipv4() { 32 } else { 64 };
                gatemq_plugin_api::Subject::Address { address, bits }
            }
            Subject::Certificate(hash) => gatemq_plugin_api::Subject::Certificate(hash),
            Subject::User(tenant, user) => gatemq_plugin_api::Subject::User { tenant, user },
            Subject::Client(tenant, user, client_id) => gatemq_plugin_api::Subject::Client { tenant, user, client_id },
        }
    }
}

/// For people; names are escaped.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.denied().fmt(f)
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
