//! Membership: who is there, by gossip.
//!
//! | module | what it does |
//! |---|---|
//! | [`key`] | the keys, from secret, environment and cluster |
//! | [`gate`] | what passes to memberlist: allowed network, our label, one of our keys |
//! | [`transport`] | the sockets, behind the gate |
//! | [`rules`] | which members memberlist may keep |
//!
//! Nobody gossips before a member has admitted it over RPC ([`super::join`]). What gossip says is never enough to be a
//! member: a peer counts when it has also said Hello with its certificate.

pub(crate) mod gate;
pub(crate) mod key;
mod rules;
pub(crate) mod transport;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use ipnet::IpNet;
use memberlist::Memberlist;
use memberlist::Options;
use memberlist::proto::{EncryptionAlgorithm, Label, MaybeResolvedAddress, SecretKey};
use memberlist::transport::NodeId;
use parking_lot::Mutex;
use tokio::sync::Notify;

use self::gate::{Gate, OnRefused};
use self::key::{Key, KeyId};
use self::rules::Rules;
use self::transport::{GatedTransport, Sockets, TransportOptions};
use crate::core::{Boot, Hello, NodeName};

/// A silent node is asked this often, and has as long to answer.
const PROBE_INTERVAL: Duration = Duration::from_millis(500);
/// For a connection of gossip, each step. A probe that is answered over neither UDP nor TCP takes as long.
const STREAM_TIMEOUT: Duration = Duration::from_secs(1);
/// News go out this often.
const GOSSIP_INTERVAL: Duration = Duration::from_millis(200);
/// A dead node's name may come back at another address at once: admission has asked about it.
const RECLAIM: Duration = Duration::from_millis(1);
/// A node that is dead or has left is remembered for a week, as what is removed from a set is: its name, its address and what it
/// told of itself. When memberlist 0.8.5 forgets one, the index by which it finds another may be wrong until it shuffles again,
/// which a node that is alone never does, and it panics in whatever task asks for that one: after its own 30 s a node that had
/// been cut off did not come back.
const REMEMBERED: Duration = Duration::from_secs(7 * 24 * 60 * 60);
/// A suspicion that nobody confirms lasts as many times as long as one that is confirmed. Those that are remembered count among
/// those who could confirm one, and cannot.
const UNCONFIRMED: usize = 2;
/// A name that is left is told for as long.
const LEAVE_TIMEOUT: Duration = Duration::from_secs(2);

/// A node that gossip says is alive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GossipMember {
    /// Its name.
    pub(crate) node: NodeName,
    /// Which process of it.
    pub(crate) boot: Boot,
    /// Where its RPC is reached.
    pub(crate) rpc: SocketAddr,
    /// Where its gossip is reached.
    pub(crate) gossip: SocketAddr,
}

/// Why a key cannot be added, used or removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// As many as are held.
    #[error("there are {SECRETS_MAX} keys already; remove one first", SECRETS_MAX = key::SECRETS_MAX)]
    Full,
    /// It is not among them.
    #[error("there is no such key here; add it on every node first")]
    Unknown,
    /// It is the one in use.
    #[error("this key is in use; use another one on every node first")]
    InUse,
}

/// Who is there. What implements it may be exchanged; memberlist is what there is.
pub(crate) trait Membership: Send + Sync + 'static {
    /// Exchanges state with the nodes at `addresses`; tells how many answered.
    fn join(&self, addresses: Vec<SocketAddr>) -> BoxFuture<'_, usize>;
    /// The nodes that are alive, ourselves left out.
    fn alive(&self) -> BoxFuture<'_, Vec<GossipMember>>;
    /// Waits until [`alive`](Self::alive) may answer otherwise than before.
    fn changed(&self) -> BoxFuture<'_, ()>;
    /// Says goodbye and stops.
    fn leave(&self) -> BoxFuture<'_, ()>;
    /// Stops without a word.
    fn stop(&self) -> BoxFuture<'_, ()>;
    /// Accepts another key.
    fn add_key(&self, key: Key) -> Result<(), KeyError>;
    /// Encrypts with this key from now on.
    fn use_key(&self, key: KeyId) -> Result<(), KeyError>;
    /// No longer accepts this key.
    fn remove_key(&self, key: KeyId) -> Result<(), KeyError>;
    /// The keys, the one in use first.
    fn keys(&self) -> Vec<KeyId>;
}

/// What gossip is started with.
pub(crate) struct GossipOptions {
    /// Who we are.
    pub(crate) hello: Hello,
    /// Where our RPC is reached.
    pub(crate) rpc: SocketAddr,
    /// Bound.
    pub(crate) sockets: Sockets,
    /// Where our gossip is reached.
    pub(crate) advertise: SocketAddr,
    /// Who may send gossip at all.
    pub(crate) allowed: Vec<IpNet>,
    /// The first one is used, all are accepted.
    pub(crate) keys: Vec<Key>,
    /// Told of what does not pass the gate.
    pub(crate) on_refused: OnRefused,
}

/// Why gossip does not start.
#[derive(Debug, Clone, thiserror::Error)]
pub enum GossipError {
    /// It would not be encrypted both ways. Never happens with what we set; checked all the same, because memberlist
    /// speaks in the clear without a word when one of four settings is missing.
    #[error("gossip would not be encrypted; it is not started")]
    NotEncrypted,
    /// Anything else.
    #[error("gossip cannot be started: {0}")]
    Other(String),
}

/// memberlist, with its encryption checked.
pub(crate) struct Gossip {
    list: Memberlist<GatedTransport, Rules>,
    gate: Arc<Gate>,
    own: NodeName,
    changed: Arc<Notify>,
    keys: Mutex<Vec<Key>>,
}

impl Gossip {
    /// Starts to listen. Speaks to nobody yet.
    ///
    /// # Errors
    /// Gossip would not be encrypted, or a name is none.
    pub(crate) async fn start(options: GossipOptions) -> Result<Gossip, GossipError> {
        let GossipOptions { hello, rpc, sockets, advertise, allowed, keys, on_refused } = options;
        let other = |e: String| GossipError::Other(e);
        let own = NodeName::new(&hello.node).map_err(|e| other(e.to_string()))?;
        let id = NodeId::new(&hello.node).map_err(|e| other(e.to_string()))?;
        let settings = settings(&hello.environment, &keys)?;
        let gate = Gate::new(&hello.environment, allowed, &keys, on_refused).ok_or(GossipError::NotEncrypted)?;
        let gate = Arc::new(gate);
        let changed = Arc::new(Notify::new());
        let rules = Rules::new(&hello, rpc, changed.clone()).map_err(other)?;
        let transport = TransportOptions { node: id, sockets, advertise, gate: gate.clone() };
        let list = Memberlist::with_delegate(rules, transport, settings).await.map_err(|e| other(e.to_string()))?;
        if !list.encryption_enabled() {
            drop(list.shutdown().await);
            return Err(GossipError::NotEncrypted);
        }
        Ok(Gossip { list, gate, own, changed, keys: Mutex::new(keys) })
    }
}

/// memberlist's settings. Without any one of key, algorithm and both flags it would speak in the clear.
fn settings(environment: &str, keys: &[Key]) -> Result<Options, GossipError> {
    let label = Label::try_from(environment).map_err(|e| GossipError::Other(e.to_string()))?;
    let (first, others) = keys.split_first().ok_or(GossipError::NotEncrypted)?;
    let options = Options::lan()
        .with_label(label)
        .with_primary_key(secret(first))
        .with_secret_keys(others.iter().map(secret).collect())
        .with_encryption_algo(EncryptionAlgorithm::NoPadding)
        .with_gossip_verify_incoming(true)
        .with_gossip_verify_outgoing(true)
        .with_timeout(STREAM_TIMEOUT)
        .with_probe_interval(PROBE_INTERVAL)
        .with_probe_timeout(PROBE_INTERVAL)
        .with_gossip_interval(GOSSIP_INTERVAL)
        .with_dead_node_reclaim_time(RECLAIM)
        .with_gossip_to_the_dead_time(REMEMBERED)
        .with_suspicion_max_timeout_mult(UNCONFIRMED);
    let is_safe = options.primary_key().is_some()
        && options.encryption_algo().is_some()
        && options.gossip_verify_incoming()
        && options.gossip_verify_outgoing()
        && !options.label().is_empty()
        && !options.skip_inbound_label_check();
    if is_safe { Ok(options) } else { Err(GossipError::NotEncrypted) }
}

fn secret(key: &Key) -> SecretKey {
    SecretKey::Aes256(*key.bytes())
}

impl Membership for Gossip {
    fn join(&self, addresses: Vec<SocketAddr>) -> BoxFuture<'_, usize> {
        Box::pin(async move {
            let mut answered = 0;
            for address in addresses {
                let list = self.list.clone();
                // Within three times STREAM_TIMEOUT. In a task of its own: see REMEMBERED.
                let join = async move { list.join(MaybeResolvedAddress::Resolved(address)).await.is_ok() };
                answered += usize::from(tokio::spawn(join).await.unwrap_or(false));
            }
            answered
        })
    }

    fn alive(&self) -> BoxFuture<'_, Vec<GossipMember>> {
        Box::pin(async move {
            let online = self.list.online_members().await;
            let members = online.iter().filter_map(|state| rules::member(state));
            members.filter(|member| member.node != self.own).collect()
        })
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.changed.notified())
    }

    fn leave(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let list = self.list.clone();
            // In a task of its own: see REMEMBERED.
            drop(tokio::spawn(async move { list.leave(LEAVE_TIMEOUT).await.is_ok() }).await);
            self.stop().await;
        })
    }

    fn stop(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move { drop(self.list.shutdown().await) })
    }

    fn add_key(&self, key: Key) -> Result<(), KeyError> {
        let mut keys = self.keys.lock();
        let ring = self.list.keyring().ok_or(KeyError::Unknown)?;
        if keys.iter().any(|other| other.id() == key.id()) {
            return Ok(());
        }
        if !self.gate.add(&key) {
            return Err(KeyError::Full);
        }
        ring.insert(secret(&key));
        keys.push(key);
        Ok(())
    }

    fn use_key(&self, key: KeyId) -> Result<(), KeyError> {
        let mut keys = self.keys.lock();
        let ring = self.list.keyring().ok_or(KeyError::Unknown)?;
        let at = keys.iter().position(|other| other.id() == key).ok_or(KeyError::Unknown)?;
        ring.use_key(keys[at].bytes()).map_err(|_| KeyError::Unknown)?;
        keys[..=at].rotate_right(1);
        Ok(())
    }

    fn remove_key(&self, key: KeyId) -> Result<(), KeyError> {
        let mut keys = self.keys.lock();
        let ring = self.list.keyring().ok_or(KeyError::Unknown)?;
        let at = keys.iter().position(|other| other.id() == key).ok_or(KeyError::Unknown)?;
        if at == 0 {
            return Err(KeyError::InUse);
        }
        ring.remove(keys[at].bytes()).map_err(|_| KeyError::InUse)?;
        self.gate.remove(key);
        keys.remove(at);
        Ok(())
    }

    fn keys(&self) -> Vec<KeyId> {
        self.keys.lock().iter().map(Key::id).collect()
    }
}
