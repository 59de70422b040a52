//! The cluster's network.

mod gossip;
pub mod pki;
mod tls;

pub use gossip::gate::GossipRefusal;
pub use gossip::key::{KeyId, SECRETS_MAX, Secret, SecretError};
pub use tls::TlsFiles;
pub use tls::error::TlsFileError;
pub use tls::identity::IdentityError;
