//! Denials: who is kept out.

use std::fmt;
use std::net::IpAddr;

/// Whom a denial is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Addresses: `bits` leading bits of `address`. Plugins deny an IPv4 address (32) or the /64 of an IPv6 address, operators
    /// any network.
    Address {
        /// The network's address.
        address: IpAddr,
        /// Prefix length.
        bits: u8,
    },
    /// A certificate, by the SHA-256 of the leaf (DER).
    Certificate([u8; 32]),
    /// A key, by the SHA-256 of its SubjectPublicKeyInfo.
    Key([u8; 32]),
    /// Every certificate whose verified path leads through an authority with this key, by the SHA-256 of the authority's
    /// SubjectPublicKeyInfo. Operators only.
    Issuer([u8; 32]),
    /// A user of a tenant.
    User {
        /// Tenant.
        tenant: String,
        /// User.
        user: String,
    },
    /// One client of a user.
    Client {
        /// Tenant.
        tenant: String,
        /// User.
        user: String,
        /// Client identifier.
        client_id: String,
    },
}

/// For people: `address 192.0.2.1/32`, `user "acme"/"alice"`. Names are escaped.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, hash) = match self {
            Subject::Address { address, bits } => return write!(f, "address {address}/{bits}"),
            Subject::User { tenant, user } => return write!(f, "user {tenant:?}/{user:?}"),
            Subject::Client { tenant, user, client_id } => {
                return write!(f, "client {tenant:?}/{user:?}/{client_id:?}");
            }
            Subject::Certificate(hash) => ("certificate", hash),
            Subject::Key(hash) => ("key", hash),
            Subject::Issuer(hash) => ("issuer", hash),
        };
        write!(f, "{kind} ")?;
        hash.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A denial as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Whom it is about.
    pub subject: Subject,
    /// Until when, in milliseconds since 1970; 0 is until it is lifted.
    pub until_ms: u64,
    /// Why.
    pub reason: String,
    /// Who raised it: `operator`, or `plugin NAME`.
    pub raised_by: String,
}
