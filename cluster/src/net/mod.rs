//! The cluster's network.

pub mod pki;
mod tls;

pub use tls::TlsFiles;
pub use tls::error::TlsFileError;
pub use tls::identity::IdentityError;
