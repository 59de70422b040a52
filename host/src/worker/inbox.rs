//! What other threads want a worker to do: one lock, and at most one wake while it has mail.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use gatemq_store::StoreError;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::Worker;
use super::scan::Scan;
use crate::admin::Publication;
use crate::cluster::{Awaited, FromNode};
use crate::listen::{Accept, Seat};

/// A socket that another worker has accepted.
pub(crate) struct Accepted {
    /// The socket, non-blocking.
    pub(crate) socket: TcpStream,
    /// The client's address.
    pub(crate) remote: SocketAddr,
    /// Its place among the connections of its listener.
    pub(crate) seat: Seat,
}

/// What somebody wants to know of a worker or its connections.
pub(crate) type Ask = Box<dyn FnOnce(&Worker) + Send>;

/// What a worker has to do. Bounded by what it is about: connections of the worker, sockets within `connections_max`, and
/// listeners.
#[derive(Default)]
pub(crate) struct Mail {
    /// Connections with something to write.
    pub(crate) armed: Vec<u32>,
    /// Connections whose session may have ended.
    pub(crate) ended: Vec<u32>,
    /// New sockets.
    pub(crate) sockets: Vec<Accepted>,
    /// Listeners to accept for.
    pub(crate) listeners: Vec<Accept>,
    /// What the store has answered, in the order of what it was asked. Bounded by what is under way.
    pub(crate) commits: Vec<Result<(), StoreError>>,
    /// What operators and plugins ask of it. Bounded by those who ask: each waits for its answer.
    pub(crate) asks: Vec<Ask>,
    /// Looks at all connections: one at a time, the desk waits for it.
    pub(crate) scans: Vec<Scan>,
    /// Messages of plugins: within what the desk allows.
    pub(crate) publications: Vec<Publication>,
    /// What other nodes have answered. Bounded by what waits for them.
    pub(crate) forwarded: Vec<Arc<Awaited>>,
    /// What other nodes have sent. Bounded by what they may have unanswered.
    pub(crate) from_nodes: Vec<FromNode>,
    /// To be told when what this worker has changed up to now is stored. At most one a connection that begins.
    pub(crate) barriers: Vec<oneshot::Sender<()>>,
    /// Whether the node stops.
    pub(crate) stop: bool,
    /// Whether it may end when its last connection has: nobody needs it any more.
    pub(crate) end: bool,
}

impl Mail {
    fn is_empty(&self) -> bool {
        self.armed.is_empty()
            && self.ended.is_empty()
            && self.sockets.is_empty()
            && self.listeners.is_empty()
            && self.commits.is_empty()
            && self.asks.is_empty()
            && self.scans.is_empty()
            && self.publications.is_empty()
            && self.forwarded.is_empty()
            && self.from_nodes.is_empty()
            && self.barriers.is_empty()
            && !self.stop
            && !self.end
    }
}

/// A worker's inbox.
pub(crate) struct Inbox {
    mail: Mutex<Mail>,
    wake: Box<dyn Fn() + Send + Sync>,
}

impl Inbox {
    /// `wake` wakes the worker.
    pub(crate) fn new(wake: impl Fn() + Send + Sync + 'static) -> Self {
        Inbox { mail: Mutex::default(), wake: Box::new(wake) }
    }

    /// `put` adds to the mail; the worker is woken only if it had none.
    pub(crate) fn send(&self, put: impl FnOnce(&mut Mail)) {
        let was_empty = {
            let mut mail = self.mail.lock();
            let was_empty = mail.is_empty();
            put(&mut mail);
            was_empty
        };
        if was_empty {
            (self.wake)();
        }
    }

    /// Swaps the mail with an empty one, so that its buffers are reused.
    pub(crate) fn receive(&self, into: &mut Mail) {
        std::mem::swap(&mut *self.mail.lock(), into);
    }
}
