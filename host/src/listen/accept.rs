//! Accepting for a listener: a task of one worker, which keeps a connection or gives it to a worker that has fewer.
//!
//! Not a thread of its own: waking it, and it waking the worker, costs more than accepting.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use gatemq_types::event::{Fact, Peer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{spawn_local, yield_now};

use super::Listener;
use crate::denials;
use crate::node::Node;
use crate::worker::Worker;

/// How long to wait when there is no descriptor or memory for another socket.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);
/// Sockets that are accepted before the worker's connections get their turn.
const ACCEPTS_PER_TURN: usize = 32;

/// A listener for which a worker accepts. Dropping it ends that too, at some time.
pub(crate) struct Accepting {
    stop: oneshot::Sender<()>,
    stopped: oneshot::Receiver<()>,
}

/// What a worker is told: accept for this listener.
pub(crate) struct Accept {
    listener: Arc<Listener>,
    socket: socket2::Socket,
    begun: SyncSender<io::Result<()>>,
    stop: oneshot::Receiver<()>,
    stopped: oneshot::Sender<()>,
}

impl Accepting {
    /// Has `worker`, which must have begun, accept, and waits until it does.
    ///
    /// # Errors
    /// The socket cannot be waited for.
    pub(crate) fn start(
        node: &Node,
        worker: usize,
        listener: Arc<Listener>,
        socket: socket2::Socket,
    ) -> io::Result<Self> {
        let (begun, has_begun) = sync_channel(1);
        let ((stop, told_to_stop), (ended, stopped)) = (oneshot::channel(), oneshot::channel());
        let accept = Accept { listener, socket, begun, stop: told_to_stop, stopped: ended };
        node.send(worker, |mail| mail.listeners.push(accept));
        has_begun.recv().map_err(|_| io::Error::other("its worker has ended"))??;
        Ok(Accepting { stop, stopped })
    }

    /// Accepts no more: afterwards no worker gets a socket of this listener. Does not wait beyond `deadline`.
    pub(crate) async fn stop(self, deadline: Instant) {
        drop(self.stop);
        // An error is a worker that has ended, and its tasks with it.
        let _ = tokio::time::timeout_at(deadline.into(), self.stopped).await;
    }
}

impl Accept {
    /// Begins; on the worker's thread.
    pub(crate) fn begin(self, worker: &Rc<Worker>) {
        let Accept { listener, socket, begun, stop, stopped } = self;
        let socket = socket.set_nonblocking(true).and_then(|()| TcpListener::from_std(socket.into()));
        let answer = match socket {
            Ok(socket) => {
                listener.note_local(socket.local_addr());
                let worker = worker.clone();
                spawn_local(async move {
                    tokio::select! {
                        biased;
                        _ = stop => {}
                        () = accept(&worker, &listener, &socket) => {}
                    }
                    drop((socket, stopped));
                });
                Ok(())
            }
            Err(e) => Err(e),
        };
        // Whoever started it waits for this.
        let _ = begun.send(answer);
    }
}

/// Does not end. A turn is short, however many come at once; the others come back after the worker's connections.
async fn accept(worker: &Rc<Worker>, listener: &Arc<Listener>, socket: &TcpListener) {
    loop {
        for _ in 0..ACCEPTS_PER_TURN {
            match socket.accept().await {
                Ok((socket, remote)) => hand_over(worker, listener, socket, remote),
                Err(e) => accept_failed(listener, &e).await,
            }
        }
        yield_now().await;
    }
}

async fn accept_failed(listener: &Listener, e: &io::Error) {
    // The client has gone already: its own business.
    if e.kind() == io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!("listener {}: accept: {e}; trying again in {} ms", listener.name, EXHAUSTED_WAIT.as_millis());
    tokio::time::sleep(EXHAUSTED_WAIT).await;
}

fn hand_over(worker: &Rc<Worker>, listener: &Arc<Listener>, socket: TcpStream, remote: SocketAddr) {
    let node = &worker.node;
    if node.overload.refuses() {
        let peer = peer(listener, 0, remote);
        return node.events.emit(Some(&Arc::new(peer)), Fact::ConnectionRefused { reason: "overload".into() });
    }
    let refused = denials::refuses_address(node, listener, remote.ip(), "accept", || peer(listener, 0, remote));
    if let Some(fact) = refused {
        return node.events.emit(Some(&Arc::new(peer(listener, 0, remote))), fact);
    }
    match listener.enter(remote) {
        Ok(seat) => worker.place(socket, remote, seat),
        Err(limit) => {
            let peer = peer(listener, 0, remote);
            node.events.emit(Some(&Arc::new(peer)), Fact::ConnectionRefused { reason: limit.into() });
        }
    }
}

/// What is known of whoever connects.
pub(crate) fn peer(listener: &Listener, connection: u64, remote: SocketAddr) -> Peer {
    Peer {
        connection,
        listener: listener.name.clone(),
        transport: listener.transport,
        remote,
        leaf_sha256: None,
        protocol: None,
        // Those share an allocation.
        tenant: Arc::default(),
        user: Arc::default(),
        client_id: Arc::default(),
    }
}
