//! The cluster's network.

mod gossip;
mod handler;
pub mod pki;
mod rpc;
mod tls;

pub use gossip::gate::GossipRefusal;
pub use gossip::key::{KeyId, SECRETS_MAX, Secret, SecretError};
pub use handler::{Handler, Joined, Refused, RefusedSide, RefusedWhy};
pub use rpc::batch::{
    BATCH_BYTES_FULL, BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, BatchBuilder, MessageHead, Messages, Outcomes,
    PushError,
};
pub use tls::TlsFiles;
pub use tls::error::TlsFileError;
pub use tls::identity::IdentityError;
