//! The peers: one for each process of a node that gossip says is alive, and what the host was told of it.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::gossip::GossipMember;
use super::handler::Handler;
use super::link::Job;
use super::rpc::codec::CONTROLS_MAX;
use crate::core::{Admitted, Boot, Lost, Member, NodeName};

/// Control messages that wait for the link to a peer. When full, the link is broken, which both ends are told.
const CONTROL_MESSAGES_MAX: usize = 16 * 1024;
/// Bytes of them.
const CONTROL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes of the control messages of a call, but for one that is larger alone.
const CALL_BYTES_FULL: usize = 256 * 1024;
/// A peer's messages wait as long for the host to be told of it.
const KNOWN_DEADLINE: Duration = Duration::from_secs(10);

/// A process of a node.
pub(super) struct Peer {
    pub(super) node: NodeName,
    pub(super) boot: Boot,
    pub(super) rpc: SocketAddr,
    pub(super) gossip: SocketAddr,
    /// Ends everything that runs for it.
    pub(super) cancel: CancellationToken,
    pub(super) control: ControlQueue,
    /// One for each data connection to it; empty while that is down.
    pub(super) lanes: Vec<ArcSwapOption<mpsc::Sender<Job>>>,
    state: Mutex<State>,
    handler: Arc<dyn Handler>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    /// The host does not know it yet.
    Untold,
    Up,
    Suspected,
    Gone,
}

/// What the host was told. Its lock is held while it is told, so that it hears things in their order.
struct State {
    status: Status,
    up_since: Instant,
    member: Option<Member>,
    /// The connection whose control messages are handed on, and what closes it.
    incoming: Option<(u64, CancellationToken)>,
}

impl Peer {
    fn new(member: &GossipMember, lanes: usize, cancel: CancellationToken, handler: Arc<dyn Handler>) -> Self {
        Peer {
            node: member.node.clone(),
            boot: member.boot,
            rpc: member.rpc,
            gossip: member.gossip,
            cancel,
            control: ControlQueue::default(),
            lanes: (0..lanes).map(|_| ArcSwapOption::empty()).collect(),
            state: Mutex::new(State { status: Status::Untold, up_since: Instant::now(), member: None, incoming: None }),
            handler,
        }
    }

    /// The control link stands: gossip and RPC both say that it lives.
    pub(super) fn link_up(&self, admitted: Admitted) {
        let mut state = self.state.lock();
        let member = Member::new(admitted, self.rpc, self.gossip);
        match state.status {
            Status::Gone => return,
            Status::Untold => {}
            Status::Up | Status::Suspected => self.handler.link_reset(&self.node),
        }
        state.status = Status::Up;
        state.up_since = Instant::now();
        state.member = Some(member.clone());
        self.control.open();
        self.handler.peer_up(member);
    }

    /// The control link broke.
    pub(super) fn link_down(&self) {
        let mut state = self.state.lock();
        self.control.close();
        if state.status == Status::Up {
            state.status = Status::Suspected;
            self.handler.peer_suspected(&self.node, self.boot);
        }
    }

    /// It is no member any more. Nothing is told of it afterwards.
    pub(super) fn gone(&self, how: Lost) {
        let mut state = self.state.lock();
        self.cancel.cancel();
        self.control.close();
        let told = state.status;
        state.status = Status::Gone;
        state.member = None;
        if matches!(told, Status::Up | Status::Suspected) {
            self.handler.peer_lost(&self.node, self.boot, how);
        }
    }

    /// Hands on control messages that came over `connection`. Connections are numbered in the order in which they came;
    /// `false`: a later one has taken its place, or the peer is gone.
    ///
    /// # Errors
    /// One is no message.
    pub(super) fn receive(
        &self,
        connection: u64,
        close: &CancellationToken,
        messages: Vec<Bytes>,
    ) -> Result<bool, String> {
        let mut state = self.state.lock();
        if state.status == Status::Gone {
            return Ok(false);
        }
        match &state.incoming {
            Some((current, _)) if *current == connection => {}
            Some((current, _)) if *current > connection => return Ok(false),
            Some((_, old)) => {
                old.cancel();
                self.handler.link_reset(&self.node);
                state.incoming = Some((connection, close.clone()));
            }
            None => state.incoming = Some((connection, close.clone())),
        }
        messages.into_iter().try_for_each(|message| self.handler.control(&self.node, self.boot, message))?;
        Ok(true)
    }

    /// As the host was told, while it is up.
    pub(super) fn member(&self) -> Option<Member> {
        let state = self.state.lock();
        if state.status == Status::Up { state.member.clone() } else { None }
    }

    /// Whether it has been up for `long`.
    pub(super) fn is_up_for(&self, long: Duration) -> bool {
        let state = self.state.lock();
        state.status == Status::Up && state.up_since.elapsed() >= long
    }

    fn is_known(&self) -> bool {
        matches!(self.state.lock().status, Status::Up | Status::Suspected)
    }
}

/// All peers.
pub(super) struct Peers {
    by_name: RwLock<HashMap<NodeName, Arc<Peer>>>,
    /// Counts changes.
    changes: watch::Sender<u64>,
}

impl Default for Peers {
    fn default() -> Self {
        Peers { by_name: RwLock::default(), changes: watch::Sender::new(0) }
    }
}

impl Peers {
    pub(super) fn get(&self, node: &NodeName) -> Option<Arc<Peer>> {
        self.by_name.read().get(node).cloned()
    }

    pub(super) fn all(&self) -> Vec<Arc<Peer>> {
        self.by_name.read().values().cloned().collect()
    }

    /// Those that are up.
    pub(super) fn members(&self) -> Vec<Member> {
        self.all().iter().filter_map(|peer| peer.member()).collect()
    }

    /// A new peer in the place of any other of its name, which must be gone.
    pub(super) fn insert(
        &self,
        member: &GossipMember,
        lanes: usize,
        cancel: CancellationToken,
        handler: Arc<dyn Handler>,
    ) -> Arc<Peer> {
        let peer = Arc::new(Peer::new(member, lanes, cancel, handler));
        self.by_name.write().insert(member.node.clone(), peer.clone());
        self.changed();
        peer
    }

    /// Forgets this peer.
    pub(super) fn remove(&self, peer: &Peer) {
        let mut by_name = self.by_name.write();
        if by_name.get(&peer.node).is_some_and(|other| other.boot == peer.boot) {
            by_name.remove(&peer.node);
        }
        drop(by_name);
        self.changed();
    }

    /// Something was told to the host, or a peer came or went.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// The peer, once the host was told of it; `None` if that takes too long.
    pub(super) async fn known(&self, node: &NodeName, boot: Boot) -> Option<Arc<Peer>> {
        let find = || self.get(node).filter(|peer| peer.boot == boot && peer.is_known());
        if let Some(peer) = find() {
            return Some(peer);
        }
        let mut changes = self.changes.subscribe();
        let wait = async {
            loop {
                if let Some(peer) = find() {
                    return Some(peer);
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(KNOWN_DEADLINE, wait).await.ok().flatten()
    }

    /// Waits until every peer is up, or for `long`.
    pub(super) async fn settled(&self, long: Duration) {
        let mut changes = self.changes.subscribe();
        let wait = async {
            while self.all().iter().any(|peer| peer.member().is_none()) {
                if changes.changed().await.is_err() {
                    return;
                }
            }
        };
        drop(tokio::time::timeout(long, wait).await);
    }
}

/// Control messages on their way to the link. Closed while there is no link: what is given then is lost, and both ends are
/// told so when the next one stands.
#[derive(Default)]
pub(super) struct ControlQueue {
    waiting: Mutex<Waiting>,
    filled: Notify,
}

#[derive(Default)]
struct Waiting {
    open: bool,
    overflowed: bool,
    messages: VecDeque<Bytes>,
    bytes: usize,
}

impl ControlQueue {
    fn open(&self) {
        *self.waiting.lock() = Waiting { open: true, ..Waiting::default() };
    }

    fn close(&self) {
        *self.waiting.lock() = Waiting::default();
    }

    /// `false`: there is no link, or this broke it.
    pub(super) fn push(&self, message: Bytes) -> bool {
        let mut waiting = self.waiting.lock();
        if !waiting.open {
            return false;
        }
        waiting.bytes += message.len();
        waiting.messages.push_back(message);
        if waiting.messages.len() > CONTROL_MESSAGES_MAX || waiting.bytes > CONTROL_BYTES_MAX {
            *waiting = Waiting { overflowed: true, ..Waiting::default() };
        }
        let is_open = waiting.open;
        drop(waiting);
        self.filled.notify_one();
        is_open
    }

    /// The next call's messages, in order; `None`: the queue overflowed, break the link.
    pub(super) async fn next(&self) -> Option<Vec<Bytes>> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.overflowed {
                    return None;
                }
                let mut bytes = 0;
                let fits = |message: &&Bytes| {
                    bytes += message.len();
                    bytes <= CALL_BYTES_FULL
                };
                let count = waiting.messages.iter().take(CONTROLS_MAX).take_while(fits).count();
                let count = count.max(waiting.messages.len().min(1));
                if count > 0 {
                    let messages: Vec<Bytes> = waiting.messages.drain(..count).collect();
                    waiting.bytes -= messages.iter().map(Bytes::len).sum::<usize>();
                    return Some(messages);
                }
            }
            self.filled.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A full control queue loses nothing quietly: it is a broken link, and closed until the next one stands.
    #[tokio::test]
    async fn a_full_control_queue_breaks_the_link() {
        let queue = ControlQueue::default();
        assert!(!queue.push(Bytes::from_static(b"early")), "there was no link");
        queue.open();
        assert!((0..CONTROL_MESSAGES_MAX).all(|n| queue.push(Bytes::from(vec![n as u8]))));
        assert_eq!(queue.next().await.unwrap().len(), CONTROLS_MAX);
        while queue.push(Bytes::from_static(b"x")) {}
        assert_eq!(queue.next().await, None);
        queue.open();
        assert!(queue.push(Bytes::from_static(b"new")));
        assert_eq!(queue.next().await.unwrap(), [Bytes::from_static(b"new")]);
    }
}
