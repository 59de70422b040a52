//! The network between nodes: sockets, TLS, RPC, gossip. What a node decides is in [`crate::core`].
//!
//! | module | what it does |
//! |---|---|
//! | [`settings`] | what it is started with |
//! | [`handler`] | what it tells the host |
//! | [`tls`] | mutual TLS; a peer is the name in its certificate |
//! | [`pki`] | a CA and certificates for those who have none |
//! | [`rpc`] | the calls, their frames, batches of publications |
//! | [`serve`] | connections that peers make: Hello first, then what they ask |
//! | [`link`] | connections that we make, again and again |
//! | [`gossip`] | who is there, by memberlist, behind a gate |
//! | [`join`] | admission: asked for over RPC before any gossip, and again after a partition |
//! | [`peers`] | what was told of each peer |
//! | [`report`] | refusals, at a bounded rate |
//!
//! A peer is *up* when gossip says that it is alive **and** the control link to it stands. Each node makes its own
//! connections to each peer: one for control messages and 1 to 4 for publications.

mod gossip;
mod handler;
mod join;
mod link;
mod peers;
pub mod pki;
mod platform;
mod report;
mod rpc;
mod run;
mod serve;
mod settings;
mod shared;
mod tls;

#[cfg(test)]
mod tests;

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

pub use gossip::gate::GossipRefusal;
pub use gossip::key::{KeyId, SECRETS_MAX, Secret, SecretError};
pub use gossip::{GossipError, KeyError};
pub use handler::{Handler, Joined, Refused, RefusedSide, RefusedWhy};
pub use rpc::FRAME_BYTES_MAX;
pub use rpc::batch::{
    BATCH_BYTES_FULL, BATCH_BYTES_MAX, BATCH_MESSAGES_MAX, Batch, BatchBuilder, MessageHead, Messages, Outcomes,
    PushError,
};
pub use settings::{Clock, REJOIN_INTERVAL, Settings};
pub use tls::TlsFiles;
pub use tls::error::TlsFileError;
pub use tls::identity::IdentityError;

use crate::core::{Member, NodeName};
use gossip::key::Key;
use gossip::transport::Sockets;
use gossip::{Gossip, GossipOptions, Membership};
use link::Job;
use report::Reporter;
use shared::{Addresses, Shared};
use tls::Tls;

/// Peers have as long to hear our goodbye.
const GOODBYE_DEADLINE: Duration = Duration::from_secs(1);

/// Why the network does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A TLS file.
    #[error(transparent)]
    Tls(#[from] TlsFileError),
    /// Our certificate is another node's.
    #[error("{}: is the certificate of {found}, this node is {wanted}", file.display())]
    Identity {
        /// The certificate's file.
        file: std::path::PathBuf,
        /// Who it is for.
        found: String,
        /// Who we are.
        wanted: String,
    },
    /// An address cannot be bound.
    #[error("{what} cannot listen at {address}: {error}")]
    Bind {
        /// RPC or gossip.
        what: &'static str,
        /// Where.
        address: SocketAddr,
        /// The system's word.
        error: std::io::Error,
    },
    /// Others cannot be told to reach us at "any address".
    #[error("{what} listens at {address}, which others cannot reach: set the advertised address too")]
    Advertise {
        /// RPC or gossip.
        what: &'static str,
        /// Where.
        address: SocketAddr,
    },
    /// No secret, or too many.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// Gossip.
    #[error(transparent)]
    Gossip(#[from] GossipError),
}

/// Why publications were not delivered. Whoever needs them to be keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliverError {
    /// There is no link to the peer: nothing was sent.
    #[error("there is no link to the node")]
    Unavailable,
    /// As many wait as may: nothing was sent.
    #[error("the link to the node is full")]
    Full,
    /// The link broke, or the answer did not come in time: they may have arrived.
    #[error("the link to the node broke before it answered")]
    Broken,
}

/// The network of a node. It runs until [`leave`](Net::leave) or until it is dropped.
pub struct Net {
    shared: Arc<Shared>,
}

impl Net {
    /// Starts to listen, and to ask the seeds for admission. Must be called within a tokio runtime with time and IO, which
    /// then runs it.
    ///
    /// # Errors
    /// Something in `settings` cannot be used.
    pub async fn start(settings: Settings, handler: Arc<dyn Handler>) -> Result<Net, StartError> {
        let tls = Tls::load(&settings.tls)?;
        check_identity(&settings, &tls)?;
        if settings.secrets.is_empty() || settings.secrets.len() > SECRETS_MAX {
            return Err(SecretError::Count(settings.secrets.len()).into());
        }
        let derive = |secret| Key::derive(secret, &settings.environment, &settings.cluster);
        let keys: Option<Vec<Key>> = settings.secrets.iter().map(derive).collect();
        let keys = keys.ok_or(GossipError::NotEncrypted)?;
        let bind_error = |what, address| move |error| StartError::Bind { what, address, error };
        let listener = TcpListener::bind(settings.rpc_bind).await;
        let listener = listener.map_err(bind_error("RPC", settings.rpc_bind))?;
        let local = listener.local_addr().map_err(bind_error("RPC", settings.rpc_bind))?;
        let rpc = advertised("RPC", settings.rpc_advertise, local)?;
        let sockets = Sockets::bind(settings.gossip_bind).await;
        let sockets = sockets.map_err(bind_error("gossip", settings.gossip_bind))?;
        #[cfg(test)]
        let bound = (local, sockets.local());
        let gossip = advertised("gossip", settings.gossip_advertise, sockets.local())?;
        let reporter = Arc::new(Reporter::new(handler.clone()));
        let on_refused = {
            let reporter = reporter.clone();
            Arc::new(move |from, why| {
                reporter.refused(RefusedSide::ByUs, from, None, RefusedWhy::Gossip(why));
            })
        };
        let options = GossipOptions {
            hello: settings.hello(),
            rpc,
            sockets,
            advertise: gossip,
            allowed: settings.allowed_networks.clone(),
            keys,
            on_refused,
        };
        let addresses = Addresses {
            rpc,
            gossip,
            #[cfg(test)]
            bound,
        };
        let membership: Arc<dyn Membership> = Arc::new(Gossip::start(options).await?);
        let shared = Arc::new(Shared::new(settings, addresses, tls, handler, reporter, membership));
        tokio::spawn(serve::accept(shared.clone(), listener));
        tokio::spawn(run::run(shared.clone()));
        Ok(Net { shared })
    }

    /// Where our RPC is reached.
    pub fn rpc_address(&self) -> SocketAddr {
        self.shared.rpc
    }

    /// Where our gossip is reached.
    pub fn gossip_address(&self) -> SocketAddr {
        self.shared.gossip
    }

    /// The peers that are up.
    pub fn members(&self) -> Vec<Member> {
        self.shared.peers.members()
    }

    /// Sends a control message. `false`: there is no link to the peer, or more waited than may and this broke it. What was
    /// lost with a link both ends hear as a reset when the next one stands.
    pub fn send_control(&self, node: &NodeName, message: Bytes) -> bool {
        self.shared.peers.get(node).is_some_and(|peer| peer.control.push(message))
    }

    /// Sends publications; those of one `lane` arrive in the order of these calls. The future needs no polling for the batch
    /// to be sent. At most 64 batches wait for a lane: a further one is refused at once.
    pub fn deliver(
        &self,
        node: &NodeName,
        lane: u8,
        batch: Batch,
    ) -> impl Future<Output = Result<Outcomes, DeliverError>> + Send + 'static + use<> {
        let sent = self.send(node, lane, batch);
        async move { sent?.await.map_err(|_| DeliverError::Broken) }
    }

    fn send(&self, node: &NodeName, lane: u8, batch: Batch) -> Result<oneshot::Receiver<Outcomes>, DeliverError> {
        let peer = self.shared.peers.get(node).ok_or(DeliverError::Unavailable)?;
        let place = peer.lanes.get(usize::from(lane) % peer.lanes.len().max(1)).ok_or(DeliverError::Unavailable)?;
        let jobs = place.load_full().ok_or(DeliverError::Unavailable)?;
        let (answer, outcomes) = oneshot::channel();
        jobs.try_send(Job { batch, answer }).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => DeliverError::Full,
            mpsc::error::TrySendError::Closed(_) => DeliverError::Unavailable,
        })?;
        Ok(outcomes)
    }

    /// Reads certificate, key, authorities and revocations again. Connections with peers whose certificates are valid no
    /// longer are closed.
    ///
    /// # Errors
    /// The file that cannot be used; nothing changes then.
    pub fn reload(&self, files: &TlsFiles) -> Result<(), TlsFileError> {
        self.shared.tls.reload(files)?;
        self.shared.verify_connections();
        Ok(())
    }

    /// Closes all connections with a node, so that it is asked again who it is: it was forbidden.
    pub fn disconnect(&self, node: &NodeName) {
        self.shared.connections.close(node);
    }

    /// The gossip keys, the one in use first.
    pub fn keys(&self) -> Vec<KeyId> {
        self.shared.membership.keys()
    }

    /// Accepts the key of another secret.
    ///
    /// # Errors
    /// There are as many as are held.
    pub fn add_key(&self, secret: &Secret) -> Result<KeyId, KeyError> {
        let settings = &self.shared.settings;
        let key = Key::derive(secret, &settings.environment, &settings.cluster).ok_or(KeyError::Unknown)?;
        let id = key.id();
        self.shared.membership.add_key(key)?;
        Ok(id)
    }

    /// Encrypts gossip with this key from now on: every node must accept it already.
    ///
    /// # Errors
    /// There is no such key here.
    pub fn use_key(&self, key: KeyId) -> Result<(), KeyError> {
        self.shared.membership.use_key(key)
    }

    /// No longer accepts this key: no node must use it any more.
    ///
    /// # Errors
    /// There is no such key here, or it is in use.
    pub fn remove_key(&self, key: KeyId) -> Result<(), KeyError> {
        self.shared.membership.remove_key(key)
    }

    /// Says goodbye to all peers and stops. Nobody is admitted meanwhile.
    pub async fn leave(&self) {
        self.shared.leaving.store(true, Ordering::Relaxed);
        let goodbyes = self.shared.peers.all().into_iter().map(|peer| link::goodbye(self.shared.clone(), peer));
        let goodbyes = futures_util::future::join_all(goodbyes);
        drop(tokio::time::timeout(GOODBYE_DEADLINE, goodbyes).await);
        self.shared.membership.leave().await;
        self.shared.cancel.cancel();
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        self.shared.cancel.cancel();
        let shared = self.shared.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shared.membership.stop().await });
        }
    }
}

fn check_identity(settings: &Settings, tls: &Tls) -> Result<(), StartError> {
    let found = tls.identity();
    let is_ours =
        found.environment == settings.environment && found.cluster == settings.cluster && found.node == settings.node;
    if is_ours {
        return Ok(());
    }
    let wanted = crate::core::SpiffeId {
        environment: settings.environment.clone(),
        cluster: settings.cluster.clone(),
        node: settings.node.clone(),
    };
    let file = settings.tls.certificate_file.clone();
    Err(StartError::Identity { file, found: found.to_string(), wanted: wanted.to_string() })
}

fn advertised(what: &'static str, advertise: Option<SocketAddr>, local: SocketAddr) -> Result<SocketAddr, StartError> {
    let address = advertise.unwrap_or(local);
    // Port 0 of an advertised address: the one that was chosen.
    let port = if address.port() == 0 { local.port() } else { address.port() };
    let address = SocketAddr::new(address.ip(), port);
    if address.ip().is_unspecified() { Err(StartError::Advertise { what, address }) } else { Ok(address) }
}
