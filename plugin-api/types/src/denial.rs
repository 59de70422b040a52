//! Denials: who is kept out.

use std::net::IpAddr;

/// Whom a denial is about.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Subject {
    /// Addresses: `bits` leading bits of `address`.
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

/// A denial as it is listed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Denial {
    /// Whom it is about.
    pub subject: Subject,
    /// Until when, in milliseconds since 1970; 0 is until it is lifted.
    pub until_ms: u64,
    /// Why.
    pub reason: String,
    /// Which plugin or operator raised it.
    pub raised_by: String,
}
