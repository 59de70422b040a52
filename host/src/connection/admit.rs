//! The beginning of a connection: handshake, CONNECT, decision. Boxed by the caller and dropped when it is over.

use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use gatemq_broker::Home;
use gatemq_broker::denials::Proven;
use gatemq_mqtt::Breach;
use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::connection::{ExpectConnect, ExpectDecision};
use gatemq_mqtt::packet::{connack, connect};
use gatemq_types::event::{Fact, Peer};
use gatemq_types::{CloseReason, Secret, Tls};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until};
use zeroize::Zeroize;

use super::client::Client;
use super::close::{tell_breach, web_socket_event};
use super::stream::Stream;
use super::{Ending, authenticate};
use crate::denials;
use crate::listen::tls::Acceptor;
use crate::listen::ws::{Upgrade, Upgraded, WebSocketSettings};
use crate::listen::{Listener, NoHeader, Proxied, Seat, peer, read_header};
use crate::worker::Worker;

/// Bytes behind the CONNECT that are taken before the client is admitted; a client that sends more is left waiting.
const EARLY_BYTES_MAX: usize = 16 << 10;

/// A connection that is not admitted yet.
pub(super) struct Stranger {
    pub(super) stream: Stream,
    pub(super) peer: Peer,
    pub(super) tls: Option<Tls>,
    pub(super) local: SocketAddr,
    /// The proxy's address, where one has said whom it carries.
    pub(super) proxied_by: Option<SocketAddr>,
    pub(super) home: Home,
    /// Topic Alias Maximum of its CONNECT.
    pub(super) topic_alias_max: u16,
    /// What was read and not used yet.
    pub(super) bytes: Wiped,
    /// Its certificate, if it has proven one.
    pub(super) proven: Option<Proven>,
}

/// From a socket to an admitted client, with what it sent behind its CONNECT; `None`: it was refused, told, and closed.
pub(super) async fn admit(
    worker: &Rc<Worker>,
    seat: &Seat,
    mut socket: TcpStream,
    remote: SocketAddr,
    home: Home,
) -> Option<(Stream, Client, Vec<u8>)> {
    let (listener, events) = (seat.listener(), &worker.node.events);
    let mut peer = peer(listener, worker.node.next_connection(), remote);
    let deadline = Instant::now() + listener.connect_timeout();
    let proxied_by = match listener.is_proxy(remote.ip()) {
        true => match Box::pin(behind_proxy(worker, seat, &mut socket, &mut peer, deadline)).await {
            Ok(proxied_by) => proxied_by,
            Err(fact) => {
                events.emit(Some(&Arc::new(peer)), fact);
                return None;
            }
        },
        false => None,
    };
    events.emit(Some(&Arc::new(peer.clone())), Fact::ConnectionAccepted {});
    let local = listener.local_of(&socket);
    // Boxed, as other steps that most connections do not have: the future of all would be as large as the largest.
    let established = match &listener.tls {
        None => Ok((Stream::plain(socket), None, None)),
        Some(acceptor) => Box::pin(handshake(worker, listener, acceptor, socket, &mut peer, deadline)).await,
    };
    let (stream, tls, proven) = match established {
        Ok(done) => done,
        Err(fact) => {
            events.emit(Some(&Arc::new(peer)), fact);
            return None;
        }
    };
    let bytes = Wiped::default();
    let mut stranger = Stranger { stream, peer, tls, local, proxied_by, home, topic_alias_max: 0, bytes, proven };
    if let Some(settings) = &listener.web_socket {
        let upgraded = within(worker, deadline, Box::pin(stranger.upgrade(worker, settings)).as_mut()).await;
        match upgraded {
            Ok(Ok(())) => {}
            Ok(Err(refused)) => {
                let Refused { fact, response } = refused;
                events.emit(Some(&Arc::new(stranger.peer.clone())), fact);
                stranger.end(worker, &response);
                return None;
            }
            Err(cut) => {
                events.emit(Some(&Arc::new(stranger.peer)), cut.fact("upgrade", listener));
                return None;
            }
        }
    }
    let read = within(worker, deadline, pin!(stranger.read_connect(worker))).await;
    match read {
        Ok(Ok((connect, next))) => {
            authenticate::authenticate(worker, listener, stranger, connect, next, deadline).await
        }
        Ok(Err(ending)) => {
            stranger.refuse_connect(worker, ending);
            None
        }
        Err(cut) => {
            events.emit(Some(&Arc::new(stranger.peer)), cut.fact("connect", listener));
            None
        }
    }
}

/// Why a beginning was cut off.
pub(super) enum Cut {
    TimedOut,
    Stopping,
}

impl Cut {
    fn fact(self, stage: &'static str, listener: &Listener) -> Fact {
        match self {
            Cut::TimedOut => {
                let ms_max = u64::try_from(listener.connect_timeout().as_millis()).unwrap_or(u64::MAX);
                Fact::ConnectTimedOut { stage: stage.into(), connect_ms_max: ms_max }
            }
            Cut::Stopping => Fact::ConnectionClosed { reason: CloseReason::ServerStopping.name().into() },
        }
    }
}

/// Awaits a peer that nobody knows: until `deadline`, and not beyond the stop of the node, which it must not hold up.
///
/// Pinned by the caller, as elsewhere here: a future that takes another by value is twice as large.
pub(super) async fn within<T>(
    worker: &Worker,
    deadline: Instant,
    peer: Pin<&mut impl Future<Output = T>>,
) -> Result<T, Cut> {
    tokio::select! {
        biased;
        done = peer => Ok(done),
        () = worker.stops() => Err(Cut::Stopping),
        () = sleep_until(deadline) => Err(Cut::TimedOut),
    }
}

/// Reads whom the proxy carries: from here on `peer` is the client, and counted as such. Gives the proxy's address if it
/// carries one. The error is what happened instead.
async fn behind_proxy(
    worker: &Worker,
    seat: &Seat,
    socket: &mut TcpStream,
    peer: &mut Peer,
    deadline: Instant,
) -> Result<Option<SocketAddr>, Fact> {
    match within(worker, deadline, pin!(read_header(socket))).await {
        Ok(Ok(Proxied::Client(client))) => {
            let proxy = std::mem::replace(&mut peer.remote, client);
            if let Some(fact) =
                denials::refuses_address(&worker.node, seat.listener(), client.ip(), "proxy", || peer.clone())
            {
                return Err(fact);
            }
            match seat.enter_address(client.ip()) {
                Ok(()) => Ok(Some(proxy)),
                Err(limit) => Err(Fact::ConnectionRefused { reason: limit.into() }),
            }
        }
        Ok(Ok(Proxied::Own)) => Ok(None),
        Ok(Ok(Proxied::Silent)) => Err(Fact::ConnectionClosed { reason: CloseReason::TransportClosed.name().into() }),
        Ok(Err(NoHeader)) => Err(Fact::ConnectionRefused { reason: "proxy header".into() }),
        Err(cut) => Err(cut.fact("proxy", seat.listener())),
    }
}

/// TLS, and whether the certificate that the peer proves to have is denied. The error is what happened instead.
async fn handshake(
    worker: &Worker,
    listener: &Listener,
    acceptor: &Acceptor,
    socket: TcpStream,
    peer: &mut Peer,
    deadline: Instant,
) -> Result<(Stream, Option<Tls>, Option<Proven>), Fact> {
    let handshakes = worker.handshakes(listener);
    let handshake = pin!(acceptor.accept(socket));
    match within(worker, deadline, pin!(in_steps(&handshakes, handshake))).await {
        Ok(Ok((socket, connection, tls))) => {
            peer.leaf_sha256 = tls.leaf_sha256;
            let proven = denials::proven(&tls);
            match denials::refuses_certificate(&worker.node, peer, proven.as_ref(), worker.now_ms.get()) {
                Some(fact) => Err(fact),
                None => Ok((Stream::tls(socket, connection), Some(tls), proven)),
            }
        }
        Ok(Err(e)) => Err(Fact::TlsHandshakeFailed { error: e.error.into(), chain: e.chain, proven: e.proven }),
        Err(cut) => Err(cut.fact("tls", listener)),
    }
}

/// Drives a handshake, each step of it with a permit and after a turn of everybody else: asymmetric cryptography is what
/// a flood of strangers would starve clients with. While it waits for its peer it has no permit: one that is silent in
/// the middle of a handshake holds up nobody.
async fn in_steps<T>(permits: &Semaphore, mut handshake: Pin<&mut impl Future<Output = T>>) -> T {
    loop {
        let permit = permits.acquire().await;
        tokio::task::yield_now().await;
        // Pending has left this task's waker with the socket.
        if let Poll::Ready(done) = poll_fn(|cx| Poll::Ready(handshake.as_mut().poll(cx))).await {
            return done;
        }
        drop(permit);
        let mut woken = false;
        poll_fn(|_| if std::mem::replace(&mut woken, true) { Poll::Ready(()) } else { Poll::Pending }).await;
    }
}

impl Stranger {
    /// The first packet.
    async fn read_connect(&mut self, worker: &Worker) -> Result<(connect::Connect, ExpectDecision), Ending> {
        let state = ExpectConnect::new(worker.node.limits.of_packets());
        loop {
            match state.frame(&self.bytes)? {
                Framed::Incomplete { .. } => self.read(worker).await?,
                Framed::Frame { head, len, .. } => {
                    let (connect, next) = state.first(&self.bytes[..len], head)?;
                    self.peer.protocol = Some(connect.protocol);
                    self.topic_alias_max = connect.topic_alias_max;
                    self.bytes.remove_front(len);
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
        let n = poll_fn(|cx| {
            let hot = &mut *worker.hot.borrow_mut();
            let scratch = &mut hot.scratch[..EARLY_BYTES_MAX];
            self.stream.poll_read(cx, scratch, &mut hot.cipher).map_ok(|n| {
                self.bytes.append_and_wipe(&mut scratch[..n]);
                n
            })
        })
        .await;
        match n {
            Ok(0) => Err(Ending::of(CloseReason::TransportClosed)),
            Ok(_) => Ok(()),
            Err(_) => match self.stream.breach() {
                Some(breach) => {
                    let peer = Arc::new(self.peer.clone());
                    worker.node.events.emit(Some(&peer), web_socket_event(breach));
                    Err(Ending::of(CloseReason::ProtocolViolated))
                }
                None => Err(Ending::of(CloseReason::TransportFailed)),
            },
        }
    }

    /// The HTTP request before the first frame.
    async fn upgrade(&mut self, worker: &Worker, settings: &WebSocketSettings) -> Result<(), Refused> {
        let closed = |ending: Ending| Refused {
            fact: Fact::ConnectionClosed { reason: ending.reason.name().into() },
            response: Vec::new(),
        };
        loop {
            match Upgrade::read(&self.bytes, settings) {
                Upgrade::Incomplete => self.read(worker).await.map_err(closed)?,
                Upgrade::Refused { response, reason } => {
                    return Err(Refused { fact: Fact::UpgradeFailed { reason: reason.into() }, response });
                }
                Upgrade::Done(Upgraded { response, request_bytes }) => {
                    self.write(worker, &response).await.map_err(closed)?;
                    self.bytes.remove_front(request_bytes);
                    self.stream.upgrade(&std::mem::take(&mut self.bytes));
                    return Ok(());
                }
            }
        }
    }

    /// Writes a little. A fresh socket takes it whole; one that does not is not worth keeping.
    ///
    /// # Errors
    /// The peer has gone.
    pub(super) async fn write(&mut self, worker: &Worker, bytes: &[u8]) -> Result<(), Ending> {
        let mut unsent = Vec::new();
        let sent = poll_fn(|cx| {
            let hot = &mut *worker.hot.borrow_mut();
            Poll::Ready(self.stream.send(cx, bytes, &mut unsent, &mut hot.cipher))
        });
        match sent.await {
            Ok(()) if unsent.is_empty() => Ok(()),
            _ => Err(Ending::of(CloseReason::TransportFailed)),
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
                let limits = worker.node.limits.of_packets();
                // A CONNECT has a bound of its own.
                let limit = match breach {
                    Breach::PacketTooLarge => Some(("connect_bytes_max", limits.connect_bytes_max.into())),
                    _ => limits.exceeded_by(breach),
                };
                tell_breach(events, &peer, breach, limit);
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
        let hot = &mut *worker.hot.borrow_mut();
        if !last.is_empty() && self.stream.send_later(last, &mut unsent, &mut hot.cipher).is_err() {
            return;
        }
        self.stream.finish(unsent, false, &mut hot.cipher);
    }
}

/// An upgrade that was not made.
struct Refused {
    fact: Fact,
    response: Vec<u8>,
}

/// Bytes that may hold a password: wiped where they were when they move, and when they are dropped.
#[derive(Default)]
pub(super) struct Wiped(Vec<u8>);

impl Wiped {
    /// Takes bytes out of a buffer that others use as well.
    fn append_and_wipe(&mut self, bytes: &mut [u8]) {
        if self.0.capacity() - self.0.len() < bytes.len() {
            let mut larger = Vec::with_capacity((self.0.len() + bytes.len()) * 2);
            larger.extend_from_slice(&self.0);
            drop(Secret::new(std::mem::replace(&mut self.0, larger)));
        }
        self.0.extend_from_slice(bytes);
        bytes.zeroize();
    }

    pub(super) fn remove_front(&mut self, n: usize) {
        let rest = self.0[n..].to_vec();
        drop(Secret::new(std::mem::replace(&mut self.0, rest)));
    }

    /// The bytes, for somebody who is admitted.
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }
}

impl std::ops::Deref for Wiped {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        drop(Secret::new(std::mem::take(&mut self.0)));
    }
}

/// Waits, at most as long as a connection may take to begin, and not while the node stops.
pub(super) async fn delay(worker: &Worker, wanted: Duration, listener: &Listener) {
    if !wanted.is_zero() {
        let until = Instant::now() + wanted.min(listener.connect_timeout());
        // Either way the refusal is told now.
        let _ = within(worker, until, pin!(std::future::pending::<()>())).await;
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::{LocalSet, spawn_local, yield_now};

    use super::*;

    async fn turns(n: usize) {
        for _ in 0..n {
            yield_now().await;
        }
    }

    /// Guards TLS listeners against peers that begin a handshake and fall silent: as many of them as there are permits
    /// leave one for the next, whose every step goes on when it is woken.
    #[test]
    fn a_silent_peer_holds_no_permit() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let finished = LocalSet::new().block_on(&runtime, async {
            let permits = Rc::new(Semaphore::new(1));
            let (of_silent, of_next) = (permits.clone(), permits.clone());
            let silent = spawn_local(async move { in_steps(&of_silent, pin!(std::future::pending::<()>())).await });
            turns(10).await;
            let next = spawn_local(async move { in_steps(&of_next, pin!(turns(3))).await });
            turns(100).await;
            (silent.is_finished(), next.is_finished())
        });
        assert_eq!(finished, (false, true));
    }
}
