//! One connection: from an accepted socket to its end.
//!
//! | module | what it does |
//! |---|---|
//! | [`stream`] | bytes in and out, plain or TLS |
//! | [`admit`] | handshake and CONNECT, under their deadline |
//! | [`authenticate`] | asks the providers, writes the CONNACK |
//! | [`exchange`], [`reauthenticate`] | enhanced authentication, before it and later |
//! | [`refresh`], [`renew`] | a provider is asked again, and what a client may do is replaced |
//! | [`bind`] | what they said becomes identity and limits |
//! | [`open`], [`leave`] | the client gets its session, and lets go of it |
//! | [`client`] | the packets of an admitted client |
//! | [`publish`], [`subscribe`], [`ask`], [`parked`], [`rate`] | what they lead to |
//! | [`will`], [`retained`] | messages for later |
//! | [`delivered`] | what is told of messages that go out, and of those that do not |
//! | [`held`] | acknowledgements that wait for the store |
//! | [`ending`], [`close`] | why and how it ends |

mod admit;
mod ask;
mod authenticate;
mod bind;
mod client;
mod close;
mod delivered;
mod ending;
mod exchange;
mod held;
mod leave;
mod open;
mod parked;
mod publish;
mod rate;
mod reauthenticate;
mod refresh;
mod renew;
mod retained;
pub(crate) mod stream;
mod subscribe;
mod will;

pub(crate) use bind::bound_alone;
pub(crate) use client::Client;
pub(crate) use ending::Ending;
pub(crate) use leave::{away, publish_left, sweep, take_away};
pub(crate) use retained::tell_removed;

use std::cell::RefCell;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use gatemq_broker::Attached;
use gatemq_broker::sessions::Leave;
use gatemq_types::CloseReason;
use gatemq_types::event::{Fact, Peer};
use rustls_pki_types::CertificateDer;
use tokio::net::TcpStream;

use crate::events::Events;
use crate::exclusive::Held;
use crate::listen::Seat;
use crate::node::Node;
use crate::worker::Worker;
use crate::worker::hot::Hot;
use crate::worker::scan::Kick;
use ask::Asking;
use client::{Fed, Lane, LastWords, Step};
use parked::Parked;
use stream::Stream;

/// Full reads a connection may do before the others get their turn.
const READS_PER_TURN: usize = 4;
/// A packet whose beginning is longer is collected apart, so that one which comes byte by byte is not copied each time.
const TAIL_BYTES_MAX: usize = 4096;
/// Writes that a connection may do before the others get their turn.
const FLUSHES_PER_TURN: usize = 16;

/// Who was heard in this time has done something since it was last looked at.
const RECENT_MS: u64 = 1200;

/// The connection of an admitted client.
pub(crate) struct Connection {
    /// Its number on its worker.
    id: u32,
    stream: Stream,
    client: Client,
    /// The beginning of a packet whose end has not arrived, or packets behind one that waits for an answer.
    tail: Vec<u8>,
    /// What the socket did not take.
    unsent: Vec<u8>,
    /// Since when, in milliseconds since 1970, nothing of it was taken; 0: nothing waits.
    unsent_since_ms: u64,
    /// When a whole packet was read last.
    heard_ms: u64,
    /// The connection is not read until this is over.
    pause: Pause,
    ending: Option<Ending>,
}

/// Why a connection is not read.
enum Pause {
    No,
    /// A question to the provider; what needs no order is handled all the same.
    Asking(Asking, Parked),
    /// It publishes faster than it may; what needs no order is handled all the same.
    Rate(Pin<Box<tokio::time::Sleep>>, Parked),
    /// The others get their turn.
    Yield,
    /// The packets in `tail` are to be handled before anything is read.
    Over,
}

/// Wakes this task when the runtime has looked at its sockets. A task that merely wakes itself is polled 61 times in between,
/// all of them turns of a client that floods.
fn after_the_others(cx: &mut Context) {
    // Its first poll leaves the waker with the runtime; it has nothing else to do.
    let _ = std::pin::pin!(tokio::task::yield_now()).poll(cx);
}

/// Serves a socket until its end.
pub(crate) async fn run(worker: &Rc<Worker>, seat: &Seat, socket: TcpStream, remote: SocketAddr) {
    let id = worker.reserve();
    let mut left_behind = LeftBehind { worker, id, client: None };
    if let Some(connection) = begin(worker, seat, socket, remote, &mut left_behind).await {
        std::future::poll_fn(|cx| {
            worker.register(id, &connection, cx);
            connection.borrow_mut().turn(cx, worker)
        })
        .await;
        left_behind.client = None;
        // Gone from the worker before it is taken apart: nobody finds it half ended.
        drop(left_behind);
        if let Ok(connection) = Rc::try_unwrap(connection) {
            connection.into_inner().finish(worker);
        }
    }
}

/// Until a client is admitted. Boxed and dropped, and apart from [`run`], so that nothing of it stays with an idle connection.
async fn begin(
    worker: &Rc<Worker>,
    seat: &Seat,
    socket: TcpStream,
    remote: SocketAddr,
    left_behind: &mut LeftBehind<'_>,
) -> Option<Rc<RefCell<Connection>>> {
    let id = left_behind.id;
    let admitted = Box::pin(admit::admit(worker, seat, socket, remote, worker.home(id))).await;
    let (stream, client, rest) = admitted?;
    left_behind.client = Some((client.session.clone(), client.peer.clone()));
    let now_ms = worker.now_ms.get();
    let pause = if rest.is_empty() { Pause::No } else { Pause::Over };
    let mut connection = Connection {
        id,
        stream,
        client,
        tail: rest,
        unsent: Vec::new(),
        unsent_since_ms: 0,
        heard_ms: now_ms,
        pause,
        ending: None,
    };
    // Whoever took over the session meanwhile has told nobody: this number was not known yet.
    connection.look_at_session();
    connection.look_at_denials(&worker.node, now_ms);
    connection.look_at_revocations(&worker.node, now_ms);
    // The same of a reload of revocation lists.
    if let Some(kick) = seat.listener().refuses(&connection.client) {
        connection.kick(&worker.node, kick);
    }
    connection.client.readmit_retained(&worker.node, &mut worker.hot.borrow_mut(), now_ms);
    // So has a worker that stops: it tells those that are registered.
    if worker.is_stopping() {
        connection.stop(Ending::of(CloseReason::ServerStopping));
    }
    Some(Rc::new(RefCell::new(connection)))
}

/// Gives the number back, and ends the session of a client that a panic has left behind: the worker goes on without it.
struct LeftBehind<'a> {
    worker: &'a Worker,
    id: u32,
    client: Option<(Attached, Arc<Peer>)>,
}

impl Drop for LeftBehind<'_> {
    fn drop(&mut self) {
        self.worker.release(self.id);
        let Some((session, peer)) = self.client.take() else { return };
        // Its will is published; a turn that panicked has given the worker's buffers back.
        let how = Leave { publish_will: true, ..Leave::default() };
        leave::leave(self.worker, &mut self.worker.hot.borrow_mut(), &peer, &session, how, "no connection");
        let reason = CloseReason::InternalError;
        let fact = Fact::ClientDisconnected {
            reason: reason.name().into(),
            code: reason.code().0.into(),
            blame: reason.blame().name().into(),
            connected_ms: 0,
            packets_received: 0,
            messages_published: 0,
        };
        self.worker.node.events.emit(Some(&peer), fact);
    }
}

/// The worker's scratch buffer, lent: it comes back also from a panic.
struct Lent<'a> {
    hot: &'a mut Hot,
    scratch: Box<[u8]>,
}

impl Drop for Lent<'_> {
    fn drop(&mut self) {
        std::mem::swap(&mut self.hot.scratch, &mut self.scratch);
    }
}

impl Connection {
    /// Reads and handles what there is, then writes once. Ready when the connection is over.
    fn turn(&mut self, cx: &mut Context, worker: &Worker) -> Poll<()> {
        let hot = &mut *worker.hot.borrow_mut();
        self.take_stored(hot);
        let received = self.receive(cx, worker, hot).and_then(|()| self.client.go_on_again(cx, worker, hot));
        let received = received.and_then(|()| self.client.go_on_refreshing(cx, worker, hot));
        self.seal(worker, hot);
        // What is stored already was sealed and freed in one.
        self.take_stored(hot);
        let result = received.and_then(|()| self.flush(cx, hot, &worker.node.events, worker.now_ms.get()).map(drop));
        if let Err(ending) = result {
            self.ending.get_or_insert(ending);
        }
        hot.acks.clear();
        worker.deliver_armed(hot);
        match self.ending {
            None => Poll::Pending,
            Some(_) => {
                self.take_last_reply(hot);
                Poll::Ready(())
            }
        }
    }

    /// Until there is nothing to read, or the others shall have their turn.
    fn receive(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<(), Ending> {
        for _ in 0..READS_PER_TURN {
            if self.ending.is_some() || self.client.waits_for_store() {
                return Ok(());
            }
            // A client that does not take its output is not read.
            if !self.unsent.is_empty() && !self.flush(cx, hot, &worker.node.events, worker.now_ms.get())? {
                return Ok(());
            }
            if !self.resume(cx, worker, hot)? {
                return self.read_parked(cx, worker, hot);
            }
            if self.read(cx, worker, hot)?.is_pending() {
                return Ok(());
            }
        }
        after_the_others(cx);
        Ok(())
    }

    /// Goes on after a pause with what had come before it. False: the pause goes on.
    #[inline]
    fn resume(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<bool, Ending> {
        loop {
            match &mut self.pause {
                Pause::No => return Ok(true),
                Pause::Over => {}
                Pause::Yield => {
                    self.pause = Pause::Over;
                    after_the_others(cx);
                    return Ok(false);
                }
                Pause::Rate(sleep, _) => match sleep.as_mut().poll(cx) {
                    Poll::Pending => return Ok(false),
                    Poll::Ready(()) => {}
                },
                Pause::Asking(asking, _) => {
                    let Poll::Ready(answer) = asking.answer.as_mut().poll(cx) else { return Ok(false) };
                    if let Pause::Asking(asking, _) = std::mem::replace(&mut self.pause, Pause::Over) {
                        self.client.answered(&worker.node, asking, answer)?;
                    }
                }
            }
            self.pause = Pause::No;
            // Keep alive does not run while we do not read.
            self.heard_ms = worker.now_ms.get();
            let data = std::mem::take(&mut self.tail);
            let used = self.feed(worker, hot, &data)?;
            self.keep(data, used);
        }
    }

    /// One read and all whole packets in it.
    fn read(&mut self, cx: &mut Context, worker: &Worker, hot: &mut Hot) -> Result<Poll<()>, Ending> {
        // Lent for the length of the read, so that packets may use the rest of `hot`.
        let scratch = std::mem::take(&mut hot.scratch);
        let mut lent = Lent { hot, scratch };
        let Lent { hot, scratch } = &mut lent;
        self.read_into(cx, worker, hot, scratch)
    }

    #[inline]
    fn read_into(
        &mut self,
        cx: &mut Context,
        worker: &Worker,
        hot: &mut Hot,
        scratch: &mut [u8],
    ) -> Result<Poll<()>, Ending> {
        let large = self.tail.len() > TAIL_BYTES_MAX;
        let from = if large { 0 } else { self.tail.len() };
        let n = match self.stream.poll_read(cx, &mut scratch[from..], &mut hot.cipher) {
            Poll::Pending => return Ok(Poll::Pending),
            Poll::Ready(Ok(0)) => return Err(Ending::of(CloseReason::TransportClosed)),
            Poll::Ready(Ok(n)) => n,
            Poll::Ready(Err(_)) => return Err(self.read_failed(worker)),
        };
        self.client.share.count(|traffic| traffic.bytes_received += n as u64);
        if large {
            let mut data = std::mem::take(&mut self.tail);
            data.extend_from_slice(&scratch[..n]);
            let used = self.feed(worker, hot, &data)?;
            self.keep(data, used);
            return Ok(Poll::Ready(()));
        }
        scratch[..from].copy_from_slice(&self.tail);
        let data = &scratch[..from + n];
        let used = self.feed(worker, hot, data)?;
        if used < data.len() || self.tail.capacity() > 0 {
            self.tail = data[used..].to_vec();
        }
        Ok(Poll::Ready(()))
    }

    #[cold]
    fn read_failed(&self, worker: &Worker) -> Ending {
        match self.stream.breach() {
            Some(breach) => {
                worker.node.events.emit(Some(&self.client.peer), close::web_socket_event(breach));
                Ending::of(CloseReason::ProtocolViolated)
            }
            None => Ending::of(CloseReason::TransportFailed),
        }
    }

    fn feed(&mut self, worker: &Worker, hot: &mut Hot, data: &[u8]) -> Result<usize, Ending> {
        let mut lane = Lane { node: &worker.node, hot, now_ms: worker.now_ms.get() };
        let Fed { used, then } = self.client.feed(&mut lane, data)?;
        match then {
            Step::Next => {}
            Step::Yield => self.pause = Pause::Yield,
            Step::Ask(asking) => self.pause = Pause::Asking(asking, Parked::behind_a_packet()),
            Step::Wait(ms) => {
                let sleep = Box::pin(tokio::time::sleep(Duration::from_millis(ms)));
                self.pause = Pause::Rate(sleep, Parked::default());
            }
        }
        if used > 0 {
            // A whole packet: bytes of one that never ends are no sign of life (MQTT-3.1.2-22).
            self.heard_ms = worker.now_ms.get();
        }
        // A pause is polled at once, so that it wakes this task.
        Ok(used)
    }

    /// Keeps what was not used.
    fn keep(&mut self, mut data: Vec<u8>, used: usize) {
        data.drain(..used);
        self.tail = if data.is_empty() { Vec::new() } else { data };
    }

    /// Writes replies and everything the session has. False: the socket is full.
    fn flush(&mut self, cx: &mut Context, hot: &mut Hot, events: &Events, now_ms: u64) -> Result<bool, Ending> {
        let failed = |_| Ending::of(CloseReason::TransportFailed);
        if !self.unsent.is_empty() {
            let before = self.unsent.len();
            let done = self.stream.resend(cx, &mut self.unsent).map_err(failed)?;
            self.note_unsent(before, now_ms);
            if !done {
                // Nothing is read while bytes are unsent, so there are no new replies: those of this turn wait with them.
                self.unsent_replies(hot)?;
                return Ok(false);
            }
        }
        // Again while the session turns messages that waited into bytes: it stays armed meanwhile, so nobody else would
        // tell us.
        for _ in 0..FLUSHES_PER_TURN {
            let waiting = self.client.session.take(now_ms, &mut hot.out.spare);
            let (sent, len) = match waiting {
                None if hot.reply.is_empty() && !self.stream.has_outgoing() => return Ok(true),
                None => (self.stream.send(cx, &hot.reply, &mut self.unsent, &mut hot.cipher), hot.reply.len()),
                Some(mut bytes) => {
                    if events.traffic_wanted() {
                        self.client.tell_written(events, &bytes);
                    }
                    bytes.extend_from_slice(&hot.reply);
                    let sent = self.stream.send(cx, &bytes, &mut self.unsent, &mut hot.cipher);
                    let len = bytes.len();
                    hot.out.spare.put(bytes);
                    (sent, len)
                }
            };
            self.client.share.count(|traffic| traffic.bytes_sent += len as u64);
            hot.reply.clear();
            sent.map_err(failed)?;
            if !self.unsent.is_empty() {
                self.note_unsent(0, now_ms);
                return Ok(false);
            }
        }
        // Other workers deliver as fast as this one writes: the others get their turn all the same.
        after_the_others(cx);
        Ok(true)
    }

    /// Replies made while the socket is full (after a pause) go behind what is unsent.
    fn unsent_replies(&mut self, hot: &mut Hot) -> Result<(), Ending> {
        if hot.reply.is_empty() {
            return Ok(());
        }
        let queued = self.stream.send_later(&hot.reply, &mut self.unsent, &mut hot.cipher);
        hot.reply.clear();
        queued.map_err(|_| Ending::of(CloseReason::TransportFailed))
    }

    fn note_unsent(&mut self, before: usize, now_ms: u64) {
        if self.unsent.is_empty() {
            self.unsent_since_ms = 0;
        } else if self.unsent.len() != before {
            self.unsent_since_ms = now_ms;
        }
    }

    /// What was answered in the turn in which it ended.
    fn take_last_reply(&mut self, hot: &mut Hot) {
        self.unsent_replies(hot).unwrap_or_default();
        hot.reply.clear();
    }

    /// Looked at once a second. True: its task has something to do.
    pub(crate) fn look(&mut self, node: &Node, now_ms: u64) -> bool {
        let c = &mut self.client;
        let silent_ms = now_ms.saturating_sub(self.heard_ms);
        let reading = self.unsent.is_empty() && matches!(self.pause, Pause::No) && !c.waits_for_store();
        // Nobody else is asked: to ask an idle one costs more than all else here.
        if !self.unsent.is_empty() || silent_ms < RECENT_MS {
            c.tell_dropped(&node.events);
        }
        if let Some(ending) = c.overdue_again(node, now_ms) {
            self.stop(ending);
            return true;
        }
        let reason = if c.valid_until_ms != 0 && now_ms >= c.valid_until_ms {
            if self.ending.is_none() {
                node.events.emit(Some(&c.peer), Fact::GrantExpired { valid_until_ms: c.valid_until_ms });
            }
            CloseReason::IdentityExpired
        } else if self.unsent_since_ms != 0 && now_ms.saturating_sub(self.unsent_since_ms) > u64::from(c.stalled_ms_max)
        {
            CloseReason::ClientStalled
        } else if reading && c.silence_ms_max.is_some_and(|max| silent_ms > max.into()) {
            CloseReason::KeepAliveTimedOut
        } else if c.refresh_is_due(now_ms) {
            c.begin_refresh(node, now_ms);
            return true;
        } else {
            return false;
        };
        self.stop(Ending::of(reason));
        true
    }

    /// Somebody may have taken over the session, or the place of an exclusive identity.
    pub(crate) fn look_at_session(&mut self) {
        if self.client.session.is_closed() || self.client.place().is_some_and(Held::is_lost) {
            self.stop(Ending::of(CloseReason::TakenOver));
        }
    }

    /// A denial may have been raised since it was looked for: from this turn on those who raise one find this connection.
    fn look_at_denials(&mut self, node: &Node, now_ms: u64) {
        if crate::denials::refuses_connected(node, &self.client.peer, self.client.proven(), now_ms) {
            self.stop(Ending::of_denial());
        }
    }

    /// Its identity may have been revoked since its provider was asked for it.
    fn look_at_revocations(&mut self, node: &Node, now_ms: u64) {
        let client = &self.client;
        if let Some(by) = node.revocations.find(client.revoked_before, |whose| client.is_revoked(whose)) {
            self.revoked(node, &by, now_ms);
        }
    }

    /// Somebody has its identity revoked. Its task has something to do.
    pub(crate) fn revoked(&mut self, node: &Node, by: &str, now_ms: u64) {
        node.events.emit(Some(&self.client.peer), Fact::IdentityRevoked { by: by.to_owned().into() });
        if let Err(ending) = self.client.revoked(node, now_ms) {
            self.stop(ending);
        }
    }

    /// Certificates that its peer sent, leaf first.
    pub(crate) fn certificates(&self) -> &[CertificateDer<'static>] {
        self.stream.certificates()
    }

    /// Its client.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether its end is decided.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.is_some()
    }

    /// Ends it because somebody wants that.
    pub(crate) fn kick(&mut self, node: &Node, kick: Kick) {
        if let Some(fact) = kick.fact {
            node.events.emit(Some(&self.client.peer), fact);
        }
        let reason_string = Some(kick.reason_string).filter(|reason| !reason.is_empty());
        self.client.last_words = Some(Box::new(LastWords { reason_string, server: None }));
        self.stop(kick.ending);
    }

    /// Ends it at its next turn; the first reason stays.
    pub(crate) fn stop(&mut self, ending: Ending) {
        self.ending.get_or_insert(ending);
    }

    /// Takes it apart.
    fn finish(mut self, worker: &Worker) {
        let ending = self.ending.unwrap_or(Ending::of(CloseReason::InternalError));
        let hot = &mut *worker.hot.borrow_mut();
        let last = self.client.close(worker, hot, ending, self.unsent.len());
        if !last.is_empty() {
            // A broken stream tells nobody anything.
            let _ = self.stream.send_later(&last, &mut self.unsent, &mut hot.cipher);
        }
        self.stream.finish(self.unsent, !ending.is_told(), &mut hot.cipher);
    }
}
