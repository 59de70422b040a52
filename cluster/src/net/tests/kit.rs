//! Nodes for the tests of this module.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio::sync::{Notify, watch};

use crate::core::{Boot, Lost, Member, Name, NodeName, SpiffeId};
use crate::net::{Batch, Clock, Handler, Joined, Net, Outcomes, Refused, RefusedSide, Secret, Settings, TlsFiles, pki};

/// What a node's host was told.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Said {
    Up(Member),
    Suspected(NodeName),
    Lost(NodeName, Lost),
    Reset(NodeName),
    Control(NodeName, Bytes),
    Delivered(NodeName, u8, Vec<(u64, Bytes)>),
    Refused(Refused),
    Joined(Joined),
}

/// A control message that hosts do not understand.
pub(super) const NONSENSE: &[u8] = b"nonsense";

/// A host that writes down what it is told.
#[derive(Default)]
pub(super) struct Recorder {
    said: Mutex<Vec<Said>>,
    more: Notify,
    /// Batches are not answered while this is set.
    pub(super) silent: std::sync::atomic::AtomicBool,
    pub(super) forbidden: Mutex<Option<NodeName>>,
    /// It has no room for control messages.
    pub(super) full: watch::Sender<bool>,
}

impl Recorder {
    fn say(&self, said: Said) {
        self.said.lock().push(said);
        self.more.notify_waiters();
    }

    pub(super) fn all(&self) -> Vec<Said> {
        self.said.lock().clone()
    }

    /// The first thing that was said, or will be within half a minute (a busy machine), for which `wanted` gives something.
    pub(super) async fn wait<T>(&self, what: &str, wanted: impl Fn(&Said) -> Option<T>) -> T {
        self.wait_for(Duration::from_secs(30), what, wanted).await
    }

    pub(super) async fn wait_for<T>(&self, long: Duration, what: &str, wanted: impl Fn(&Said) -> Option<T>) -> T {
        let search = async {
            loop {
                let more = self.more.notified();
                let mut more = std::pin::pin!(more);
                more.as_mut().enable();
                if let Some(found) = self.said.lock().iter().find_map(&wanted) {
                    return found;
                }
                more.await;
            }
        };
        match tokio::time::timeout(long, search).await {
            Ok(found) => found,
            Err(_) => panic!("{what} was not said in {long:?}; said was: {:#?}", self.all()),
        }
    }

    /// Forgets what was said.
    pub(super) fn clear(&self) {
        self.said.lock().clear();
    }

    pub(super) async fn up(&self, node: &str) -> Member {
        let wanted = |said: &Said| match said {
            Said::Up(member) if member.node.as_str() == node => Some(member.clone()),
            _ => None,
        };
        self.wait(&format!("up of {node}"), wanted).await
    }

    /// The first refusal by one side, with what is in its text.
    pub(super) async fn refused(&self, side: RefusedSide, text: &str) -> Refused {
        let wanted = |said: &Said| match said {
            Said::Refused(refused) if refused.side == side && refused.why.to_string().contains(text) => {
                Some(refused.clone())
            }
            _ => None,
        };
        self.wait_for(Duration::from_secs(8), &format!("refusal {side:?} with `{text}`"), wanted).await
    }

    pub(super) async fn joined(&self) -> Joined {
        let wanted = |said: &Said| match said {
            Said::Joined(joined) => Some(joined.clone()),
            _ => None,
        };
        self.wait_for(Duration::from_secs(10), "end of the first attempt", wanted).await
    }
}

impl Handler for Recorder {
    fn peer_up(&self, member: Member) {
        self.say(Said::Up(member));
    }

    fn peer_suspected(&self, node: &NodeName, _: Boot) {
        self.say(Said::Suspected(node.clone()));
    }

    fn peer_lost(&self, node: &NodeName, _: Boot, how: Lost) {
        self.say(Said::Lost(node.clone(), how));
    }

    fn link_reset(&self, node: &NodeName) {
        self.say(Said::Reset(node.clone()));
    }

    fn control(&self, from: &NodeName, _: Boot, message: Bytes) -> Result<(), String> {
        if *message == *NONSENSE {
            return Err("nonsense".to_owned());
        }
        self.say(Said::Control(from.clone(), message));
        Ok(())
    }

    fn room(&self, _: &NodeName) -> BoxFuture<'static, ()> {
        let mut full = self.full.subscribe();
        // It is there for as long as the network is.
        Box::pin(async move { drop(full.wait_for(|full| !full).await) })
    }

    fn deliver(&self, from: &NodeName, _: Boot, lane: u8, batch: Batch) -> BoxFuture<'static, Outcomes> {
        let messages = batch.messages().map(|(head, payload)| (head.seq, payload)).collect();
        self.say(Said::Delivered(from.clone(), lane, messages));
        if self.silent.load(Ordering::Relaxed) {
            return Box::pin(std::future::pending());
        }
        let outcomes = Outcomes::accepted(batch.len());
        Box::pin(async move { outcomes })
    }

    fn refused(&self, refused: Refused) {
        self.say(Said::Refused(refused));
    }

    fn joined(&self, joined: Joined) {
        self.say(Said::Joined(joined));
    }

    fn is_forbidden(&self, node: &NodeName) -> bool {
        self.forbidden.lock().as_ref() == Some(node)
    }
}

/// A network and its host.
pub(super) struct Node {
    pub(super) net: Net,
    pub(super) host: Arc<Recorder>,
}

impl Node {
    pub(super) async fn start(settings: Settings) -> Node {
        let host = Arc::new(Recorder::default());
        let net = Net::start(settings, host.clone()).await.unwrap();
        Node { net, host }
    }

    /// Our RPC address as a seed.
    pub(super) fn seed(&self) -> String {
        self.net.rpc_address().to_string()
    }

    pub(super) fn members(&self) -> Vec<String> {
        let mut names: Vec<String> = self.net.members().iter().map(|member| member.node.to_string()).collect();
        names.sort();
        names
    }
}

pub(super) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// A certificate authority, and nodes of its cluster.
pub(super) struct Kit {
    pub(super) dir: TempDir,
    pub(super) environment: Name,
    pub(super) cluster: Name,
    next: AtomicU64,
}

impl Kit {
    pub(super) fn new(environment: &str, cluster: &str) -> Kit {
        let dir = tempfile::tempdir().unwrap();
        let (environment, cluster) = (name(environment), name(cluster));
        pki::make_ca(dir.path(), &environment, &cluster).unwrap();
        Kit { dir, environment, cluster, next: AtomicU64::new(1) }
    }

    /// Files of a node of any environment and cluster, signed by this authority.
    pub(super) fn files(&self, environment: &str, cluster: &str, node: &str) -> TlsFiles {
        let identity = SpiffeId { environment: name(environment), cluster: name(cluster), node: name(node) };
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        pki::make_node(self.dir.path(), &self.dir.path().join(n.to_string()), &identity, 30).unwrap()
    }

    pub(super) fn write(&self, name: &str, text: &str) -> PathBuf {
        let file = self.dir.path().join(name);
        std::fs::write(&file, text).unwrap();
        file
    }

    /// Settings of a node of this cluster, which asks these seeds.
    pub(super) fn settings(&self, node: &str, seeds: &[String]) -> Settings {
        self.settings_of(&self.environment, &self.cluster, node, seeds)
    }

    /// Settings of a node of any environment and cluster, with a certificate to match from this authority.
    pub(super) fn settings_of(&self, environment: &Name, cluster: &Name, node: &str, seeds: &[String]) -> Settings {
        let boot = Boot(self.next.fetch_add(1, Ordering::Relaxed));
        Settings {
            environment: environment.clone(),
            cluster: cluster.clone(),
            node: name(node),
            boot,
            version: "test".into(),
            protocol: Settings::PROTOCOL,
            rpc_bind: "127.0.0.1:0".parse().unwrap(),
            rpc_advertise: None,
            gossip_bind: "127.0.0.1:0".parse().unwrap(),
            gossip_advertise: None,
            seeds: seeds.to_vec(),
            tls: self.files(environment.as_str(), cluster.as_str(), node),
            secrets: vec![secret(1)],
            allowed_networks: vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
            data_connections: 2,
            rejoin_interval: Duration::from_secs(1),
            clock: clock(0),
        }
    }

    pub(super) async fn node(&self, node: &str, seeds: &[String]) -> Node {
        Node::start(self.settings(node, seeds)).await
    }
}

pub(super) fn secret(n: u8) -> Secret {
    Secret::new(&format!("a secret of some length {n}")).unwrap()
}

/// The time of day, `ahead_ms` later.
pub(super) fn clock(ahead_ms: i64) -> Clock {
    Clock(Arc::new(move || {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        now.saturating_add_signed(ahead_ms)
    }))
}

/// Waits until `holds`, for at most `long`.
pub(super) async fn until(long: Duration, what: &str, holds: impl Fn() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(long, wait).await.is_ok(), "{what}: not in {long:?}");
}
