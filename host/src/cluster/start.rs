//! The node joins its cluster before it serves anybody, and leaves it when it stops.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatemq_cluster::core::{Action, Boot, Core, Input, Name, NodeName, NotReady, Settings};
use gatemq_cluster::net::{self, Clock, Joined, Net, Secret, TlsFiles};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;

use super::claim::key_of;
use super::driver::Driver;
use super::hints::{self, Hints, RestoredHints};
use super::link::NetLink;
use super::network::Network;
use super::told::Told;
use super::{Cluster, sessions, sets};
use crate::admin::Desk;
use crate::clock;
use crate::config::{self, ClusterTls, OnRefused};
use crate::node::{Node, Recovered};
use crate::ready::Addresses;

/// Threads of the cluster's runtime.
const THREADS: usize = 2;
/// How long a start waits until seeds have been asked.
const JOIN_WAIT: Duration = Duration::from_secs(30);
/// How long it waits then until what the others have is here.
const SYNC_WAIT: Duration = Duration::from_secs(60);
/// How often it is looked whether sessions were handed over.
const LEAVE_LOOK: Duration = Duration::from_millis(20);
/// How long stopping may take to say goodbye.
const LEAVE_WAIT: Duration = Duration::from_secs(2);

/// Why a node does not start.
#[derive(Debug)]
pub(crate) enum NotStarted {
    /// Its configuration, a file, or the system.
    Cannot(String),
    /// The members refused it.
    Refused(String),
    /// It was told to stop meanwhile.
    Stopped,
}

impl From<String> for NotStarted {
    fn from(why: String) -> Self {
        NotStarted::Cannot(why)
    }
}

/// The cluster's threads. A runtime may not be dropped by a task of another, as it is when a start fails or is given up: its drop
/// waits for its threads.
struct Threads(Option<Runtime>);

impl Drop for Threads {
    fn drop(&mut self) {
        if let Some(runtime) = self.0.take() {
            runtime.shutdown_background();
        }
    }
}

/// A node in its cluster.
pub(crate) struct Running {
    net: Arc<OnceLock<Net>>,
    cluster: Arc<Cluster>,
    leave_max: Duration,
    runtime: Handle,
    _threads: Threads,
}

/// Joins: returns when the node has what it needs to serve, or goes on alone, as configured.
///
/// # Errors
/// See [`NotStarted`]; nothing runs then.
pub(crate) async fn start(
    config: &config::Config,
    cluster: &config::Cluster,
    node: &Arc<Node>,
    desk: &Arc<Desk>,
    recovered: Recovered,
) -> Result<Running, NotStarted> {
    let settings = settings(config, cluster, node.boot_ms).map_err(NotStarted::Cannot)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(THREADS)
        .thread_name("cluster")
        .enable_all()
        .build()
        .map_err(|e| NotStarted::Cannot(format!("the cluster's threads cannot be started: {e}")))?;
    let (runtime, threads) = (runtime.handle().clone(), Threads(Some(runtime)));
    let net = Arc::new(OnceLock::new());
    let handle =
        Cluster::new(settings.node.clone(), (&cluster.environment, &cluster.name), Box::new(NetLink::new(net.clone())));
    let driver = driver(cluster, &settings, node, desk, &handle, recovered).map_err(NotStarted::Cannot)?;
    node.set_cluster(handle.clone());
    let known = Arc::new(OnceLock::from(handle.clone()));
    let (joined, mut joining) = watch::channel(None);
    let network = Arc::new(Network::new(node, known, joined));
    let (started, name) = (net::Net::start(settings, network), format!("{}/{}", cluster.environment, cluster.name));
    let started = runtime.spawn(started).await;
    let started = started.map_err(|e| e.to_string()).and_then(|net| net.map_err(|e| e.to_string()));
    let started = started.map_err(|e| NotStarted::Cannot(format!("cluster: {e}")))?;
    tracing::info!(cluster = name, gossip = %started.gossip_address(), rpc = %started.rpc_address(), "joining");
    // The only one that sets it.
    drop(net.set(started));
    runtime.spawn(driver.run());
    let leave_max = Duration::from_secs(cluster.leave_s_max);
    let running = Running { net, cluster: handle.clone(), leave_max, runtime, _threads: threads };
    let asked = timeout(JOIN_WAIT, joining.wait_for(Option::is_some)).await;
    let joined = match asked {
        Ok(Ok(joined)) => joined.clone(),
        _ => None,
    };
    if let Some(Joined::Refused { reasons }) = &joined
        && cluster.on_refused == OnRefused::Exit
    {
        let reasons: Vec<_> = reasons.iter().map(|(seed, why)| format!("{seed}: {why}")).collect();
        let why = format!("the cluster refused this node: {}", reasons.join("; "));
        running.stop().await;
        return Err(NotStarted::Refused(why));
    }
    tell(joined.as_ref());
    running.synchronised(&handle).await;
    Ok(running)
}

/// Says how the first attempt ended.
fn tell(joined: Option<&Joined>) {
    match joined {
        Some(Joined::Admitted { by }) => tracing::info!(by = by.as_str(), "admitted to the cluster"),
        Some(Joined::Alone { unreachable }) if unreachable.is_empty() => {
            tracing::info!("the first node of its cluster")
        }
        Some(Joined::Alone { unreachable }) => {
            for (seed, why) in unreachable {
                tracing::warn!(%seed, %why, "a seed does not answer; the node serves alone and keeps asking");
            }
        }
        Some(Joined::Refused { reasons }) => {
            for (seed, why) in reasons {
                let why = why.to_string();
                tracing::error!(%seed, why = %why.escape_debug(), "refused; the node serves alone, degraded, and keeps asking");
            }
        }
        None => tracing::warn!("the seeds have not been asked yet; the node serves alone and keeps asking"),
    }
}

fn settings(config: &config::Config, cluster: &config::Cluster, boot_ms: u64) -> Result<net::Settings, String> {
    let name = |key: &str, text: &str| Name::new(text).map_err(|e| format!("{key}: {e}"));
    let file = cluster.secret_file.display();
    let secrets =
        std::fs::read_to_string(&cluster.secret_file).map_err(|e| format!("cluster.secret_file: {file}: {e}"))?;
    let secrets = Secret::parse_file(&secrets).map_err(|e| format!("cluster.secret_file: {file}: {e}"))?;
    Ok(net::Settings {
        environment: name("cluster.environment", &cluster.environment)?,
        cluster: name("cluster.name", &cluster.name)?,
        node: NodeName::new(&config.node.name).map_err(|e| format!("node.name: {e}"))?,
        boot: Boot(boot_ms),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        protocol: cluster.protocol,
        rpc_bind: cluster.rpc_bind,
        rpc_advertise: cluster.rpc_advertise,
        gossip_bind: cluster.bind,
        gossip_advertise: cluster.advertise,
        seeds: cluster.seeds.clone(),
        tls: tls_files(&cluster.tls),
        secrets,
        allowed_networks: cluster.allowed_networks.clone(),
        // One for messages at QoS 0, one for the others.
        data_connections: 2,
        rejoin_interval: net::REJOIN_INTERVAL,
        clock: Clock(Arc::new(clock::now_ms)),
    })
}

fn tls_files(tls: &ClusterTls) -> TlsFiles {
    let ClusterTls { certificate_file, private_key_file, ca_file, crl_file } = tls.clone();
    TlsFiles { certificate_file, private_key_file, ca_file, crl_file }
}

/// The driver, with a core that knows what the store had.
fn driver(
    cluster: &config::Cluster,
    net: &net::Settings,
    node: &Arc<Node>,
    desk: &Arc<Desk>,
    handle: &Arc<Cluster>,
    recovered: Recovered,
) -> Result<Driver, String> {
    let mut settings = Settings::new(net.environment.clone(), net.cluster.clone(), net.node.clone());
    settings.ack_wait_ms = cluster.ack_wait_ms;
    settings.hint_bytes_max = cluster.hint_bytes_max;
    settings.hint_keep_ms = cluster.hint_s_max.saturating_mul(1000);
    let restored: Vec<_> = recovered.hints.iter().filter_map(RestoredHints::new).collect();
    let kept = Hints::new(node.sessions.numbers(), &restored);
    let mut driver = Driver::new(node, desk, handle, Core::new(settings, net.boot), kept);
    let mut told = Vec::new();
    if let Some(store) = &node.store {
        let unreadable = |e: gatemq_store::StoreError| format!("the store: {e}");
        told.extend(sets::restored(handle, &**store).map_err(unreadable)?);
        let sessions = sessions::restored(node, handle, &**store).map_err(unreadable)?;
        told.extend(sessions.inputs);
        driver.handing = sessions.handing;
        driver.moved_in.restored(sessions.several, crate::clock::now_ms());
        told.extend(driver.kept_routes.restored(&**store).map_err(unreadable)?);
        told.extend(driver.records.restored(&**store).map_err(unreadable)?);
        for of in &restored {
            let mut hint = |to: &NodeName, forward, bytes, since_ms| {
                told.push(Input::HintRestored { to: to.clone(), forward, bytes, since_ms });
            };
            hints::restored(&**store, of, &mut hint).map_err(unreadable)?;
        }
    }
    handle.interests(recovered.interests);
    driver.round(&mut told.into_iter().map(Told::Core).collect(), &mut Vec::<Action>::new());
    Ok(driver)
}

/// Has the node's files among the others read again.
pub(crate) struct ClusterTlsReload(Arc<OnceLock<Net>>);

impl ClusterTlsReload {
    /// Has certificates, authorities and revocations read again.
    ///
    /// # Errors
    /// What is wrong; nothing changes then.
    pub(crate) fn reload(&self, tls: &ClusterTls) -> Result<(), String> {
        match self.0.get() {
            Some(net) => net.reload(&tls_files(tls)).map_err(|e| format!("cluster.tls: {e}")),
            None => Ok(()),
        }
    }
}

impl Running {
    /// Waits until what the others have is here: routes, denials, retained messages.
    async fn synchronised(&self, cluster: &Arc<Cluster>) {
        let mut ready = cluster.ready.subscribe();
        let waited = timeout(SYNC_WAIT, ready.wait_for(|ready| ready.is_ok())).await;
        if waited.is_err() {
            let lacks = match &*cluster.ready.borrow() {
                Err(NotReady::Joining) | Ok(()) => "an answer of the seeds".to_owned(),
                Err(NotReady::Routes { of }) => format!("the routes of {of}"),
                Err(NotReady::Sets { set }) => format!("{set:?} of the others"),
            };
            tracing::warn!("the node serves though it lacks {lacks}");
        }
    }

    /// Where other nodes find this one.
    pub(crate) fn addresses(&self) -> Option<Addresses> {
        self.net.get().map(|net| Addresses { gossip: net.gossip_address(), rpc: net.rpc_address() })
    }

    /// For a reload of the files of `[cluster.tls]`.
    pub(crate) fn tls(&self) -> ClusterTlsReload {
        ClusterTlsReload(self.net.clone())
    }

    /// Has others take the sessions that can go, and waits until they have, and have answered what was sent to them, as long as is
    /// configured.
    pub(crate) async fn hand_over(&self, node: &Node) {
        if self.leave_max.is_zero() {
            return;
        }
        let keys: Vec<_> = node.sessions.movable().iter().map(|key| key_of(key)).collect();
        let count = keys.len();
        self.cluster.inbox.tell(Told::Core(Input::Leave { keys }));
        let begun = Instant::now();
        loop {
            let (left, takers) = self.ask(|driver| (driver.core.leaving(), driver.core.has_takers())).await;
            let (ms, is_over) = (begun.elapsed().as_millis(), begun.elapsed() >= self.leave_max);
            // What was taken is forgotten here a moment later. To count them is to look at every session.
            let stay = if left == 0 || is_over { node.sessions.movable().len() } else { count };
            if left == 0 && (stay == 0 || !takers) || is_over {
                match stay {
                    0 if left > 0 => tracing::warn!(left, ms, "other nodes have not answered; it is kept for them"),
                    0 if count == 0 => {}
                    0 => tracing::info!(sessions = count, ms, "handed over to other nodes"),
                    _ => tracing::warn!(
                        of = count,
                        stay,
                        ms,
                        "sessions that no other node took wait until this one is back"
                    ),
                }
                return;
            }
            tokio::time::sleep(LEAVE_LOOK).await;
        }
    }

    /// What the driver says; nothing when it is not there any more.
    async fn ask<T: Default + Send + 'static>(&self, what: impl FnOnce(&Driver) -> T + Send + 'static) -> T {
        let (tell, told) = oneshot::channel();
        let ask = move |driver: &mut Driver| drop(tell.send(what(driver)));
        self.cluster.inbox.tell(Told::Ask(Box::new(ask)));
        told.await.unwrap_or_default()
    }

    /// Says goodbye to the others and stops.
    pub(crate) async fn stop(self) {
        let net = self.net.clone();
        let left = self.runtime.spawn(async move {
            if let Some(net) = net.get() {
                net.leave().await;
            }
        });
        // Whoever does not hear it finds out.
        drop(timeout(LEAVE_WAIT, left).await);
    }
}
