//! The cluster's network.

pub mod pki;
mod tls;

pub use tls::TlsFiles;
pub use tls::error::TlsFileError;
pub use tls::identity::{Identity, IdentityError, NAME_BYTES_MAX, is_name};
