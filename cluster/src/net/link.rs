//! Our connections to peers: one for control messages and some for publications, each made again when it breaks.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tarpc::{ChannelError, client, context};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_util::codec::Framed;

use super::handler::{RefusedSide, RefusedWhy};
use super::peers::Peer;
use super::rpc::batch::{Batch, Outcomes};
use super::rpc::codec::{ClientCodec, FrameLimit};
use super::rpc::service::{HelloReply, NodeClient, Purpose};
use super::rpc::{READ_BYTES, WINDOW, WRITE_BYTES_FULL};
use super::shared::{Open, Shared};
use super::tls::TlsPeer;
use crate::core::{Admitted, Refusal, SpiffeId};

/// A connection is made in this time, its handshake and its Hello each in as long again.
const STEP_DEADLINE: Duration = Duration::from_secs(2);
/// A link that has nothing to say says so this often.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// What is unanswered for as long breaks the link.
const ANSWER_DEADLINE: Duration = Duration::from_secs(3);
/// Publications have as long: a receiver that stores them may wait for its disk.
const DELIVER_DEADLINE: Duration = Duration::from_secs(10);
/// Batches that wait for a place among the [`WINDOW`]. When full, a further one is not taken.
pub(super) const LANE_BATCHES_MAX: usize = 64;
/// First and longest pause before a link is made again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// A batch on its way.
pub(super) struct Job {
    pub(super) batch: Batch,
    pub(super) answer: oneshot::Sender<Outcomes>,
}

/// A connection whose Hello was accepted, by both sides.
pub(super) struct Link {
    pub(super) admitted: Admitted,
    client: NodeClient,
    ended: Dispatch,
    peer: TlsPeer,
    address: SocketAddr,
}

/// tarpc's own task for a connection; ends with its owner.
pub(super) struct Dispatch(JoinHandle<Result<(), ChannelError<io::Error>>>);

impl Drop for Dispatch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Dispatch {
    /// Why it ended. Waits until it has.
    async fn why(&mut self) -> Option<String> {
        match (&mut self.0).await {
            Ok(Err(
                ChannelError::Read(e) | ChannelError::Write(e) | ChannelError::Flush(e) | ChannelError::Ready(e),
            )) => Some(e.to_string()),
            _ => None,
        }
    }
}

/// Why there is no link.
#[derive(Debug, Clone)]
pub(super) enum DialError {
    /// Nobody is there, or nobody of ours: nothing was refused.
    Unreachable(String),
    /// One side refused the other.
    Refused(RefusedSide, Option<SpiffeId>, RefusedWhy),
}

/// A connection before its Hello.
pub(super) struct Raw {
    pub(super) client: NodeClient,
    pub(super) ended: Dispatch,
    pub(super) peer: TlsPeer,
    pub(super) limit: FrameLimit,
}

/// Connects, with TLS.
pub(super) async fn connect(shared: &Shared, address: SocketAddr) -> Result<Raw, DialError> {
    let unreachable = |e: String| DialError::Unreachable(e);
    let tcp = tokio::time::timeout(STEP_DEADLINE, TcpStream::connect(address)).await;
    let tcp = tcp.map_err(|_| unreachable("no connection in time".into()))?.map_err(|e| unreachable(e.to_string()))?;
    tcp.set_nodelay(true).map_err(|e| unreachable(e.to_string()))?;
    let handshake = tokio::time::timeout(STEP_DEADLINE, shared.tls.connect(tcp)).await;
    let refused = |e: String| DialError::Refused(RefusedSide::ByUs, None, RefusedWhy::Tls(e));
    let handshake = handshake.map_err(|_| refused("no TLS handshake in time".into()))?;
    let (stream, peer) = handshake.map_err(|e| refused(e.to_string()))?;
    let (codec, limit) = ClientCodec::new();
    let mut framed = Framed::with_capacity(stream, codec, READ_BYTES);
    framed.set_backpressure_boundary(WRITE_BYTES_FULL);
    let mut config = client::Config::default();
    // The order of calls is that of their first polls, so each must find a place at once.
    config.max_in_flight_requests = 2 * WINDOW;
    config.pending_request_buffer = 2 * WINDOW;
    let client::NewClient { client, dispatch } = NodeClient::new(config, framed);
    Ok(Raw { client, ended: Dispatch(tokio::spawn(dispatch)), peer, limit })
}

/// Connects and says Hello; each side has decided about the other when this is `Ok`.
pub(super) async fn dial(shared: &Shared, address: SocketAddr, purpose: Purpose) -> Result<Link, DialError> {
    let Raw { client, mut ended, peer, limit } = connect(shared, address).await?;
    let who = Some(peer.identity.clone());
    let asked = client.hello(deadline(STEP_DEADLINE), shared.hello(), purpose).await;
    let theirs = match asked {
        Ok(HelloReply::Welcome(theirs)) => theirs,
        Ok(HelloReply::Refused(refusal)) => {
            return Err(DialError::Refused(RefusedSide::ByThem, who, RefusedWhy::Hello(refusal)));
        }
        Err(_) => return Err(unanswered(&mut ended, who).await),
    };
    let decided = shared.decide(&theirs, &peer.identity, &[]);
    let admitted = decided.map_err(|e| DialError::Refused(RefusedSide::ByUs, who, RefusedWhy::Hello(e)))?;
    limit.raise();
    Ok(Link { admitted, client, ended, peer, address })
}

/// A Hello that was not answered: the peer's TLS may have refused us meanwhile, or it does not speak.
pub(super) async fn unanswered(ended: &mut Dispatch, who: Option<SpiffeId>) -> DialError {
    match tokio::time::timeout(Duration::from_millis(100), ended.why()).await {
        Ok(Some(e)) => DialError::Refused(RefusedSide::ByThem, who, RefusedWhy::Tls(e)),
        Ok(None) => DialError::Unreachable("the connection was closed instead of an answer".into()),
        Err(_) => {
            let why = RefusedWhy::Rpc("it accepted the connection and did not answer a Hello in time".into());
            DialError::Refused(RefusedSide::ByUs, who, why)
        }
    }
}

/// A call's deadline.
pub(super) fn deadline(long: Duration) -> context::Context {
    let mut context = context::current();
    context.deadline = Instant::now() + long;
    context
}

/// Makes the link of `purpose` to `peer` again and again until the peer is gone.
pub(super) async fn supervise(shared: Arc<Shared>, peer: Arc<Peer>, purpose: Purpose) {
    let mut pause = BACKOFF.0;
    loop {
        let dialed = tokio::select! {
            () = peer.cancel.cancelled() => return,
            dialed = dial(&shared, peer.rpc, purpose) => dialed,
        };
        match dialed {
            Ok(link) if link.admitted.node == peer.node && link.admitted.boot == peer.boot => {
                pause = BACKOFF.0;
                // Ends by itself when the peer is gone, and takes back what it set up.
                run(&shared, &peer, purpose, link).await;
            }
            // Another process than gossip knows: it will hear of it.
            Ok(_) => {}
            Err(DialError::Unreachable(_)) => {}
            Err(DialError::Refused(side, who, why)) => shared.refused(side, peer.rpc, who, why),
        }
        tokio::select! {
            () = peer.cancel.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

/// Uses a link until it breaks.
async fn run(shared: &Shared, peer: &Peer, purpose: Purpose, link: Link) {
    let Link { admitted, client, mut ended, peer: tls, address } = link;
    let cancel = peer.cancel.child_token();
    let id = shared.connections.add(Open { peer: tls, address, cancel: cancel.clone() });
    match purpose {
        Purpose::Data(lane) => {
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = ended.why() => {}
                () = drive_lane(peer, lane, &client) => {}
            }
            if let Some(lane) = peer.lanes.get(usize::from(lane)) {
                lane.store(None);
            }
        }
        Purpose::Control | Purpose::Probe => {
            peer.link_up(admitted);
            shared.peers.changed();
            tokio::select! {
                () = cancel.cancelled() => {}
                _ = ended.why() => {}
                () = drive_control(peer, &client) => {}
            }
            peer.link_down();
            shared.peers.changed();
        }
    }
    shared.connections.remove(id);
}

type Answer<'a, T> = BoxFuture<'a, Option<T>>;

/// Begins a call now, so that calls are sent in the order in which they are begun.
fn begin<'a, T>(calls: &FuturesUnordered<Answer<'a, T>>, mut call: Answer<'a, T>) -> Option<Option<T>> {
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match call.as_mut().poll(&mut context) {
        std::task::Poll::Ready(answer) => Some(answer),
        std::task::Poll::Pending => {
            calls.push(call);
            None
        }
    }
}

/// Sends control messages and heartbeats until one is not answered.
async fn drive_control(peer: &Peer, client: &NodeClient) {
    let mut calls: FuturesUnordered<Answer<'_, ()>> = FuturesUnordered::new();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let begun = tokio::select! {
            // Calls that are begun go on in their order before another is begun.
            biased;
            Some(answer) = calls.next() => Some(answer),
            messages = peer.control.next(), if calls.len() < WINDOW => {
                let Some(messages) = messages else { return };
                let call = client.control(deadline(ANSWER_DEADLINE), messages);
                begin(&calls, Box::pin(async move { call.await.ok() }))
            }
            _ = heartbeat.tick() => {
                let call = client.ping(deadline(ANSWER_DEADLINE));
                begin(&calls, Box::pin(async move { call.await.ok() }))
            }
        };
        if begun == Some(None) {
            return;
        }
    }
}

/// Sends the batches of a lane until one is not answered.
async fn drive_lane(peer: &Peer, lane: u8, client: &NodeClient) {
    let Some(place) = peer.lanes.get(usize::from(lane)) else { return };
    let (jobs, mut waiting) = mpsc::channel::<Job>(LANE_BATCHES_MAX);
    place.store(Some(Arc::new(jobs)));
    let mut calls: FuturesUnordered<Answer<'_, ()>> = FuturesUnordered::new();
    let mut heartbeat = tokio::time::interval(HEARTBEAT);
    heartbeat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let begun = tokio::select! {
            // Calls that are begun go on in their order before another is begun.
            biased;
            Some(answer) = calls.next() => Some(answer),
            job = waiting.recv(), if calls.len() < WINDOW => {
                let Some(Job { batch, answer }) = job else { return };
                let messages = batch.len();
                let call = client.deliver(deadline(DELIVER_DEADLINE), batch);
                begin(&calls, Box::pin(async move {
                    let outcomes = call.await.ok().filter(|outcomes| outcomes.codes().len() == messages)?;
                    // Nobody may wait for it any more.
                    drop(answer.send(outcomes));
                    Some(())
                }))
            }
            _ = heartbeat.tick(), if calls.is_empty() => {
                let call = client.ping(deadline(ANSWER_DEADLINE));
                begin(&calls, Box::pin(async move { call.await.ok() }))
            }
        };
        if begun == Some(None) {
            return;
        }
    }
}

/// Says goodbye to a peer over a connection of its own.
pub(super) async fn goodbye(shared: Arc<Shared>, peer: Arc<Peer>) {
    if let Ok(link) = dial(&shared, peer.rpc, Purpose::Probe).await {
        drop(link.client.goodbye(deadline(STEP_DEADLINE)).await);
    }
}

/// Whether `refusal` says that we have asked ourselves.
pub(super) fn is_ourselves(shared: &Shared, refusal: &Refusal) -> bool {
    let own = shared.settings.boot;
    matches!(refusal, Refusal::NodeNameTaken { alive, asking, .. } if *alive == own && *asking == own)
}
