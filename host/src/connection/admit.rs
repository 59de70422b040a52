//! The beginning of a connection: handshake, CONNECT, decision. Boxed by the caller and dropped when it is over.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use gatemq_broker::Home;
use gatemq_mqtt::PacketLimits;
use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::connection::{ExpectConnect, ExpectDecision};
use gatemq_mqtt::packet::{connack, connect};
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{CloseReason, Tls};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::client::Client;
use super::close::breach_event;
use super::stream::Stream;
use super::{Ending, authenticate};
use crate::config::Limits;
use crate::listen::{Listener, peer};
use crate::worker::Worker;

/// Bytes behind the CONNECT that are taken before the client is admitted; a client that sends more is left waiting.
const EARLY_BYTES_MAX: usize = 16 << 10;

/// A connection that is not admitted yet.
pub(super) struct Stranger {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) tls: Option<Tls>,
    pub(super) local: SocketAddr,
    pub(super) home: Home,
    /// What was read and not used yet.
    pub(super) bytes: Vec<u8>,
}

/// Limits of a packet for somebody who is admitted with `limits`.
pub(super) fn packet_limits(limits: &Limits) -> PacketLimits {
    PacketLimits {
        packet_bytes_max: limits.packet_bytes_max,
        connect_bytes_max: limits.connect_bytes_max,
        topic_levels_max: limits.topic_levels_max,
        topic_alias_max: 0,
        ..PacketLimits::default()
    }
}

/// From a socket to an admitted client, with what it sent behind its CONNECT; `None`: it was refused, told, and closed.
pub(super) async fn admit(
    worker: &Rc<Worker>,
    listener: &Arc<Listener>,
    socket: TcpStream,
    remote: SocketAddr,
    home: Home,
) -> Option<(Stream, Client, Vec<u8>)> {
    let events = &worker.node.events;
    let mut peer = peer(listener, worker.node.next_connection(), remote);
    let deadline = Instant::now() + listener.connect_timeout;
    let ms_max = u64::try_from(listener.connect_timeout.as_millis()).unwrap_or(u64::MAX);
    events.emit(Some(&Arc::new(peer.clone())), Fact::ConnectionAccepted {});
    let local = socket.local_addr().ok()?;
    let (stream, tls) = match handshake(worker, listener, socket, deadline).await {
        Ok(done) => done,
        Err(failed) => {
            let fact = failed.unwrap_or(Fact::ConnectTimedOut { stage: "tls".into(), connect_ms_max: ms_max });
            events.emit(Some(&Arc::new(peer)), fact);
            return None;
        }
    };
    peer.leaf_sha256 = tls.as_ref().and_then(|t| t.leaf_sha256);
    let mut stranger = Stranger { stream, peer, tls, local, home, bytes: Vec::new() };
    match timeout_at(deadline, stranger.read_connect(worker)).await {
        Ok(Ok((connect, next))) => authenticate::authenticate(worker, listener, stranger, connect, next).await,
        Ok(Err(ending)) => {
            stranger.refuse_connect(worker, ending);
            None
        }
        Err(_) => {
            let fact = Fact::ConnectTimedOut { stage: "connect".into(), connect_ms_max: ms_max };
            events.emit(Some(&Arc::new(stranger.peer)), fact);
            None
        }
    }
}

/// TLS where the listener speaks it. The error is an event; `None`: it took too long.
async fn handshake(
    worker: &Worker,
    listener: &Listener,
    socket: TcpStream,
    deadline: Instant,
) -> Result<(Stream, Option<Tls>), Option<Fact>> {
    let Some(acceptor) = &listener.tls else { return Ok((Stream::Plain(socket), None)) };
    let handshakes = worker.handshakes(listener);
    let handshake = async {
        // Bounded: asymmetric cryptography is what a flood of strangers would starve clients with.
        let _permit = handshakes.acquire().await;
        acceptor.accept(socket).await
    };
    match timeout_at(deadline, handshake).await {
        Ok(Ok((socket, connection, tls))) => Ok((Stream::tls(socket, connection), Some(tls))),
        Ok(Err(e)) => Err(Some(Fact::TlsHandshakeFailed { error: e.error.into(), chain: e.chain, proven: e.proven })),
        Err(_) => Err(None),
    }
}

impl Stranger {
    /// The first packet.
    async fn read_connect(&mut self, worker: &Worker) -> Result<(connect::Connect, ExpectDecision), Ending> {
        let state = ExpectConnect::new(packet_limits(&worker.node.limits));
        loop {
            match state.frame(&self.bytes)? {
                Framed::Incomplete { .. } => self.read(worker).await?,
                Framed::Frame { head, len, .. } => {
                    let (connect, next) = state.first(&self.bytes[..len], head)?;
                    self.peer.protocol = Some(connect.protocol);
                    // Password and authentication data were in here.
                    let rest = self.bytes.split_off(len);
                    drop(gatemq_types::Secret::new(std::mem::replace(&mut self.bytes, rest)));
                    return Ok((connect, next));
                }
            }
        }
    }

    /// Reads once, behind what is there.
    ///
    /// # Errors
    /// The peer has gone.
    pub(super) async fn read(&mut self, worker: &Worker) -> Result<(), Ending> {
        let n = std::future::poll_fn(|cx| {
            let hot = &mut *worker.hot.borrow_mut();
            let scratch = &mut hot.scratch[..EARLY_BYTES_MAX];
            self.stream.poll_read(cx, scratch, &mut hot.cipher).map_ok(|n| {
                self.bytes.extend_from_slice(&scratch[..n]);
                n
            })
        })
        .await;
        match n {
            Ok(0) => Err(Ending::of(CloseReason::TransportClosed)),
            Ok(_) => Ok(()),
            Err(_) => Err(Ending::of(CloseReason::TransportFailed)),
        }
    }

    /// Whether more may be read before the client is admitted.
    pub(super) fn may_read(&self) -> bool {
        self.bytes.len() < EARLY_BYTES_MAX
    }

    /// Answers bytes that are no acceptable CONNECT, where they can be answered.
    fn refuse_connect(self, worker: &Worker, ending: Ending) {
        let events = &worker.node.events;
        let peer = Arc::new(self.peer.clone());
        let mut answer = Vec::new();
        match ending.breach {
            Some(breach) => {
                events.emit(Some(&peer), breach_event(&peer, breach));
                let limits = packet_limits(&worker.node.limits);
                if let Ok(Framed::Frame { head, len, .. }) = ExpectConnect::new(limits).frame(&self.bytes) {
                    connack::refuse(&mut answer, &self.bytes[..len], head, breach);
                }
            }
            None => events.emit(Some(&peer), Fact::ConnectionClosed { reason: ending.reason.name().into() }),
        }
        self.end(worker, &answer);
    }

    /// Sends the last bytes and closes.
    pub(super) fn end(mut self, worker: &Worker, last: &[u8]) {
        let mut unsent = Vec::new();
        if !last.is_empty() {
            let hot = &mut *worker.hot.borrow_mut();
            match self.stream.encrypt(last, &mut hot.cipher) {
                Ok(encrypted) => unsent.extend_from_slice(encrypted.unwrap_or(last)),
                Err(_) => return,
            }
        }
        self.stream.finish(&unsent, false);
    }
}

/// Waits, at most as long as a connection may take to begin.
pub(super) async fn delay(wanted: Duration, listener: &Listener) {
    if !wanted.is_zero() {
        tokio::time::sleep(wanted.min(listener.connect_timeout)).await;
    }
}
