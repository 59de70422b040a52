//! TLS of one connection: the handshake, and everything it says of the peer.
//!
//! | module | what it does |
//! |---|---|
//! | [`trust`] | the certificate authorities of a listener; verifies a chain and tells path and anchor |
//! | [`revocation`] | its revocation lists |
//! | [`acceptor`] | what of a listener is in force, exchanged whole by a reload |
//! | [`verifier`] | what rustls asks, one instance per connection; keeps the chain as it was sent |
//! | [`handshake`] | the listener's settings and the handshake itself, full or resumed |
//! | [`server_certificate`] | what the listener shows, by the host that is asked for |
//! | [`certificate`] | names out of a verified leaf, for grants |
//! | [`error`] | what is wrong with the files, what was wrong with a handshake |

pub(crate) mod acceptor;
pub(crate) mod certificate;
pub(crate) mod error;
pub(crate) mod handshake;
pub(crate) mod revocation;
mod server_certificate;
pub(crate) mod trust;
pub(crate) mod verifier;

#[cfg(test)]
mod testkit;
#[cfg(test)]
mod tests;

pub(crate) use acceptor::{Acceptor, Changed, Prepared};
#[cfg(test)]
pub(crate) use error::HandshakeError;
pub(crate) use error::TlsConfigError;
pub(crate) use revocation::{RevocationLists, link_of};
pub(crate) use trust::sha256;
