//! The connections that peers make to us. Nothing but `hello` and `join` is served before one of them said yes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Future;
use futures_util::stream::{FuturesUnordered, StreamExt};
use parking_lot::Mutex;
use tarpc::server::{BaseChannel, Channel, Config, Requests};
use tarpc::{ChannelError, context};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsStream;
use tokio_util::codec::Framed;
use tokio_util::sync::CancellationToken;

use super::handler::{RefusedSide, RefusedWhy};
use super::link;
use super::peers::Peer;
use super::rpc::batch::{Batch, Outcomes};
use super::rpc::codec::{FrameLimit, ServerCodec};
use super::rpc::service::{HelloReply, JOIN_MEMBERS_MAX, JoinAsk, JoinReply, Node, NodeRequest, NodeResponse, Purpose};
use super::rpc::{READ_BYTES, WINDOW, WRITE_BYTES_FULL};
use super::shared::{Open, Shared};
use crate::core::{Admitted, Boot, Hello, NodeName, Refusal, SpiffeId};

/// Connections whose peer has not said who it is. When full, further ones are closed.
const STRANGERS_MAX: usize = 64;
/// Connections of all peers together. When full, further ones are closed.
const CONNECTIONS_MAX: usize = 1024;
/// A handshake takes no longer, and a Hello after it neither.
const STRANGER_DEADLINE: Duration = Duration::from_secs(5);
/// A peer that asks nothing for as long is gone: it would have sent heartbeats.
const SILENCE_MAX: Duration = Duration::from_secs(10);
/// A refused peer has as long to read why.
const FAREWELL: Duration = Duration::from_secs(1);
/// After an error of `accept`, which a full table of descriptors repeats at once.
const ERROR_PAUSE: Duration = Duration::from_millis(50);

type ServerChannel = BaseChannel<NodeRequest, NodeResponse, Framed<TlsStream<TcpStream>, ServerCodec>>;

/// Accepts until everything ends.
pub(super) async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let strangers = Arc::new(Semaphore::new(STRANGERS_MAX));
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let accepted = tokio::select! {
            () = shared.cancel.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((tcp, address)) = accepted else {
            tokio::time::sleep(ERROR_PAUSE).await;
            continue;
        };
        let both = (strangers.clone().try_acquire_owned(), places.clone().try_acquire_owned());
        let (Ok(stranger), Ok(place)) = both else {
            let why = RefusedWhy::Rpc("too many connections at a time".into());
            shared.refused(RefusedSide::ByUs, address, None, why);
            continue;
        };
        let shared = shared.clone();
        tokio::spawn(async move {
            let cancel = shared.cancel.clone();
            tokio::select! {
                () = cancel.cancelled() => {}
                () = serve(shared, tcp, address, stranger) => {}
            }
            drop(place);
        });
    }
}

/// One connection, from its handshake to its end.
async fn serve(shared: Arc<Shared>, tcp: TcpStream, address: SocketAddr, stranger: OwnedSemaphorePermit) {
    let refused = |why| shared.refused(RefusedSide::ByUs, address, None, why);
    if tcp.set_nodelay(true).is_err() {
        return;
    }
    let (stream, peer) = match tokio::time::timeout(STRANGER_DEADLINE, shared.tls.accept(tcp)).await {
        Ok(Ok(accepted)) => accepted,
        Ok(Err(e)) => return refused(RefusedWhy::Tls(e.to_string())),
        Err(_) => return refused(RefusedWhy::Tls("no TLS handshake in time".into())),
    };
    let cancel = CancellationToken::new();
    let who = peer.identity.clone();
    let id = shared.connections.add(Open { peer, address, cancel: cancel.clone() });
    let (codec, limit) = ServerCodec::new();
    let mut framed = Framed::with_capacity(stream, codec, READ_BYTES);
    framed.set_backpressure_boundary(WRITE_BYTES_FULL);
    // Answers find a place here while requests are not read.
    let config = Config { pending_response_buffer: WINDOW };
    let connection = Arc::new(Connection {
        shared: shared.clone(),
        id,
        address,
        who,
        limit,
        cancel,
        stage: Mutex::new(Stage::Stranger(stranger)),
        farewell: CancellationToken::new(),
        turn: tokio::sync::Mutex::new(()),
    });
    let requests = BaseChannel::new(config, framed).requests();
    answer(&connection, requests).await;
    shared.connections.remove(id);
    shared.incoming.lock().remove(&id);
}

/// Answers what the peer asks until it stops, breaks a rule, or is refused.
async fn answer(connection: &Arc<Connection>, requests: Requests<ServerChannel>) {
    let mut requests = std::pin::pin!(requests);
    let mut running = FuturesUnordered::new();
    let stranger = tokio::time::sleep(STRANGER_DEADLINE);
    let mut stranger = std::pin::pin!(stranger);
    loop {
        let silence = tokio::time::sleep(SILENCE_MAX);
        tokio::select! {
            biased;
            () = connection.cancel.cancelled() => return,
            Some(()) = running.next() => {}
            request = requests.next(), if running.len() < WINDOW => match request {
                Some(Ok(request)) => {
                    // Begun in the order in which they came.
                    let mut call = Box::pin(request.execute(Served(connection.clone()).serve()));
                    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
                    if call.as_mut().poll(&mut context).is_pending() {
                        running.push(call);
                    }
                }
                Some(Err(ChannelError::Read(e))) if e.kind() == std::io::ErrorKind::InvalidData => {
                    return connection.broke(&e.to_string());
                }
                Some(Err(_)) | None => return,
            },
            () = &mut stranger, if connection.is_stranger() => {
                return connection.broke("no Hello in time");
            }
            () = silence => return,
            // The answer has gone out when it was begun before this is awaited; the peer closes when it has read it.
            () = async { connection.farewell.cancelled().await; tokio::time::sleep(FAREWELL).await } => return,
        }
    }
}

/// A connection's state.
struct Connection {
    shared: Arc<Shared>,
    id: u64,
    address: SocketAddr,
    who: SpiffeId,
    limit: FrameLimit,
    cancel: CancellationToken,
    stage: Mutex<Stage>,
    /// The peer was refused, and is told so.
    farewell: CancellationToken,
    /// Whose turn it is to hand something on: calls wait for it in their order.
    turn: tokio::sync::Mutex<()>,
}

enum Stage {
    /// It has not said who it is; its place among those is given back with this.
    Stranger(#[allow(dead_code, reason = "held, not read")] OwnedSemaphorePermit),
    /// It may ask.
    Admitted(NodeName, Boot, Purpose),
    /// It may not.
    Closed,
}

impl Connection {
    fn is_stranger(&self) -> bool {
        matches!(*self.stage.lock(), Stage::Stranger(_))
    }

    /// The peer broke a rule: the connection ends, and the host is told.
    fn broke(&self, rule: &str) {
        *self.stage.lock() = Stage::Closed;
        let (who, why) = (Some(self.who.clone()), RefusedWhy::Rpc(rule.to_owned()));
        self.shared.refused(RefusedSide::ByUs, self.address, who, why);
        self.cancel.cancel();
    }

    /// The peer is refused: it gets its answer, and nothing else.
    fn refuse(&self, refusal: &Refusal) {
        *self.stage.lock() = Stage::Closed;
        if !link::is_ourselves(&self.shared, refusal) {
            let (who, why) = (Some(self.who.clone()), RefusedWhy::Hello(refusal.clone()));
            self.shared.refused(RefusedSide::ByUs, self.address, who, why);
        }
        self.farewell.cancel();
    }

    fn admit(&self, admitted: &Admitted, purpose: Purpose) {
        *self.stage.lock() = Stage::Admitted(admitted.node.clone(), admitted.boot, purpose);
        self.limit.raise();
        if purpose == Purpose::Control {
            self.shared.incoming.lock().insert(self.id, (admitted.node.clone(), admitted.boot));
        }
    }

    /// The peer, if it may make a call of this kind.
    fn admitted(&self, fits: impl Fn(Purpose) -> bool) -> Option<(NodeName, Boot)> {
        let stage = self.stage.lock();
        match &*stage {
            Stage::Admitted(node, boot, purpose) if fits(*purpose) => return Some((node.clone(), *boot)),
            Stage::Closed => return None,
            Stage::Admitted(..) | Stage::Stranger(_) => {}
        }
        drop(stage);
        self.broke("a call before its Hello, or one that this connection is not for");
        None
    }

    /// The peer that may make this call, once the host knows it. Without one the connection ends.
    async fn known(&self, fits: impl Fn(Purpose) -> bool) -> Option<Arc<Peer>> {
        let (node, boot) = self.admitted(fits)?;
        let peer = self.shared.peers.known(&node, boot).await;
        if peer.is_none() {
            self.cancel.cancel();
        }
        peer
    }

    /// For a call that gets no answer: the connection ends instead.
    async fn never<T>(&self) -> T {
        std::future::pending().await
    }
}

/// The service of one connection.
#[derive(Clone)]
struct Served(Arc<Connection>);

impl Node for Served {
    async fn hello(self, _: context::Context, hello: Hello, purpose: Purpose) -> HelloReply {
        let Served(connection) = self;
        let shared = &connection.shared;
        if !connection.is_stranger() {
            connection.broke("a second Hello");
            return connection.never().await;
        }
        match shared.admit(&hello, &connection.who).await {
            Ok(admitted) => {
                connection.admit(&admitted, purpose);
                HelloReply::Welcome(shared.hello())
            }
            Err(refusal) => {
                connection.refuse(&refusal);
                HelloReply::Refused(refusal)
            }
        }
    }

    async fn join(self, _: context::Context, ask: JoinAsk) -> JoinReply {
        let Served(connection) = self;
        let shared = &connection.shared;
        if !connection.is_stranger() {
            connection.broke("a second Hello");
            return connection.never().await;
        }
        match shared.admit(&ask.hello, &connection.who).await {
            Ok(admitted) => {
                connection.admit(&admitted, Purpose::Probe);
                let others = shared.peers.members().into_iter().filter(|member| member.node != admitted.node);
                let own = (shared.settings.node.clone(), shared.gossip);
                let members = std::iter::once(own).chain(others.map(|member| (member.node, member.gossip)));
                JoinReply::Admitted { hello: shared.hello(), members: members.take(JOIN_MEMBERS_MAX).collect() }
            }
            Err(refusal) => {
                connection.refuse(&refusal);
                JoinReply::Refused(refusal)
            }
        }
    }

    async fn control(self, _: context::Context, messages: Vec<Bytes>) {
        let Served(connection) = self;
        let turn = connection.turn.lock().await;
        let known = connection.known(|purpose| purpose == Purpose::Control).await;
        let Some(peer) = known else { return connection.never().await };
        connection.shared.handler.room(&peer.node).await;
        match peer.receive(connection.id, &connection.cancel, messages) {
            Ok(true) => drop(turn),
            Ok(false) => {
                connection.cancel.cancel();
                connection.never().await
            }
            Err(why) => {
                connection.broke(&why);
                connection.never().await
            }
        }
    }

    async fn deliver(self, _: context::Context, batch: Batch) -> Outcomes {
        let Served(connection) = self;
        let turn = connection.turn.lock().await;
        let lane = Mutex::new(0);
        let fits = |purpose| match purpose {
            Purpose::Data(n) => {
                *lane.lock() = n;
                true
            }
            _ => false,
        };
        let Some(peer) = connection.known(fits).await else { return connection.never().await };
        let lane = lane.into_inner();
        let messages = batch.len();
        let outcomes = connection.shared.handler.deliver(&peer.node, peer.boot, lane, batch);
        drop(turn);
        let outcomes = outcomes.await;
        if outcomes.codes().len() != messages {
            connection.cancel.cancel();
            return connection.never().await;
        }
        outcomes
    }

    async fn ping(self, _: context::Context) {
        let Served(connection) = self;
        if connection.admitted(|_| true).is_none() {
            connection.never().await
        }
    }

    async fn goodbye(self, _: context::Context) {
        let Served(connection) = self;
        let Some((node, boot)) = connection.admitted(|_| true) else {
            return connection.never().await;
        };
        connection.shared.left(&node, boot);
    }
}
