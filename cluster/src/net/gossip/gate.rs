//! What gossip must pass before memberlist sees it: an allowed network, our label, one of our keys.
//!
//! memberlist allocates the lengths that a packet announces before it authenticates it, and tells nobody whom it turned
//! away. So every frame is opened here first, and only what is authentic goes on, unchanged, to be opened again.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ipnet::IpNet;
use parking_lot::RwLock;

use super::key::{Key, KeyId, SECRETS_MAX};

/// Bytes of the largest stream frame: the state of some thousand members.
pub(super) const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// Tags of memberlist's frames.
const LABELED: u8 = 12;
const ENCRYPTED: u8 = 15;
/// AES-GCM without padding, the only algorithm that is spoken.
pub(super) const ALGORITHM: u8 = 1;
const TAG_BYTES: usize = 16;
/// Tag, algorithm and four bytes of length.
const ENCRYPTED_HEAD_BYTES: usize = 6;

/// Why gossip was turned away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum GossipRefusal {
    /// The sender's address is outside of `allowed_networks`.
    #[error("gossip from outside of allowed_networks")]
    Network,
    /// It carries no label or another one: another environment, or no gossip.
    #[error("gossip of another environment, or none")]
    Label,
    /// It is not encrypted as it must be.
    #[error("gossip that is not encrypted")]
    Plaintext,
    /// None of our keys opens it: another secret, or forged.
    #[error("gossip encrypted with another key")]
    Key,
    /// Its length is not what it announces, or more than is taken.
    #[error("gossip of a wrong length")]
    Length,
    /// A member admitted us over RPC, and its gossip does not answer ours.
    #[error(
        "admitted over RPC, but gossip does not answer: is the secret the same, are UDP and TCP of its gossip open?"
    )]
    Unanswered,
    /// More connections are being read than are at a time.
    #[error("too many gossip connections at a time")]
    Busy,
}

/// Told of every refusal. Must not wait.
pub(crate) type OnRefused = Arc<dyn Fn(SocketAddr, GossipRefusal) + Send + Sync>;

/// The gate of one node.
pub(super) struct Gate {
    label: String,
    allowed: Vec<IpNet>,
    /// The one in use first; changed at run time. At most [`SECRETS_MAX`].
    keys: RwLock<Vec<(KeyId, LessSafeKey)>>,
    on_refused: OnRefused,
}

impl Gate {
    pub(super) fn new(label: &str, allowed: Vec<IpNet>, keys: &[Key], on_refused: OnRefused) -> Option<Gate> {
        let keys = keys.iter().map(opener).collect::<Option<Vec<_>>>()?;
        Some(Gate { label: label.to_owned(), allowed, keys: RwLock::new(keys), on_refused })
    }

    /// Whether `from` may send gossip at all.
    pub(super) fn is_allowed(&self, from: IpAddr) -> bool {
        // A socket for both families shows IPv4 senders as IPv6.
        let from = from.to_canonical();
        self.allowed.iter().any(|network| network.contains(&from))
    }

    pub(super) fn refuse(&self, from: SocketAddr, why: GossipRefusal) {
        (self.on_refused)(from, why);
    }

    /// Bytes before the encrypted part's own head.
    pub(super) fn label_bytes(&self) -> usize {
        2 + self.label.len()
    }

    /// How long a stream's frame is, from its first bytes: [`Self::head_bytes`] of them.
    pub(super) fn frame_bytes(&self, head: &[u8]) -> Result<usize, GossipRefusal> {
        let encrypted = self.skip_label(head)?;
        match *encrypted {
            [ENCRYPTED, ALGORITHM, a, b, c, d, ..] => {
                let payload = u32::from_be_bytes([a, b, c, d]) as usize;
                let length = payload.saturating_add(self.head_bytes() + NONCE_LEN + TAG_BYTES);
                if length > FRAME_BYTES_MAX { Err(GossipRefusal::Length) } else { Ok(length) }
            }
            _ => Err(GossipRefusal::Plaintext),
        }
    }

    /// Bytes of a frame that tell its length.
    pub(super) fn head_bytes(&self) -> usize {
        self.label_bytes() + ENCRYPTED_HEAD_BYTES
    }

    /// Whether `frame` is authentic.
    pub(super) fn open(&self, frame: &[u8]) -> Result<(), GossipRefusal> {
        if self.frame_bytes(frame)? != frame.len() {
            return Err(GossipRefusal::Length);
        }
        let sealed = &frame[self.head_bytes()..];
        let (nonce, sealed) = sealed.split_at(NONCE_LEN);
        let mut scratch = Vec::with_capacity(sealed.len());
        for (_, key) in self.keys.read().iter() {
            let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| GossipRefusal::Length)?;
            scratch.clear();
            scratch.extend_from_slice(sealed);
            if key.open_in_place(nonce, Aad::from(self.label.as_bytes()), &mut scratch).is_ok() {
                return Ok(());
            }
        }
        Err(GossipRefusal::Key)
    }

    fn skip_label<'a>(&self, frame: &'a [u8]) -> Result<&'a [u8], GossipRefusal> {
        let labeled = frame.strip_prefix(&[LABELED, self.label.len() as u8]);
        labeled.and_then(|rest| rest.strip_prefix(self.label.as_bytes())).ok_or(GossipRefusal::Label)
    }

    /// Accepts `key` too. `false` if it has as many as it holds.
    pub(super) fn add(&self, key: &Key) -> bool {
        let mut keys = self.keys.write();
        if keys.iter().any(|(id, _)| *id == key.id()) {
            return true;
        }
        match opener(key) {
            Some(opener) if keys.len() < SECRETS_MAX => {
                keys.push(opener);
                true
            }
            _ => false,
        }
    }

    /// No longer accepts `key`.
    pub(super) fn remove(&self, key: KeyId) {
        self.keys.write().retain(|(id, _)| *id != key);
    }
}

fn opener(key: &Key) -> Option<(KeyId, LessSafeKey)> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.bytes()).ok()?;
    Some((key.id(), LessSafeKey::new(unbound)))
}
