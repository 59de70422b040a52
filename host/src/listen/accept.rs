//! The thread that accepts for a listener.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use gatemq_types::event::{Fact, Peer};
use rustix::net::{SocketAddrAny, SocketFlags, acceptfrom_with};

use super::Listener;
use crate::denials;
use crate::node::Node;
use crate::worker::inbox::Accepted;

/// How long to wait when there is no descriptor or memory for another socket.
const EXHAUSTED_WAIT: Duration = Duration::from_millis(100);

/// A listener's thread.
pub(crate) struct Accepting {
    socket: Arc<socket2::Socket>,
    stopping: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Accepting {
    /// Begins to accept.
    ///
    /// # Errors
    /// No thread can be had.
    pub(crate) fn start(node: Arc<Node>, listener: Arc<Listener>, socket: socket2::Socket) -> std::io::Result<Self> {
        let (socket, stopping) = (Arc::new(socket), Arc::new(AtomicBool::new(false)));
        let (accepting, flag) = (socket.clone(), stopping.clone());
        let thread = std::thread::Builder::new().name(format!("accept-{}", listener.name)).spawn(move || {
            while !flag.load(Ordering::SeqCst) {
                // Non-blocking from the first: no system call of its own for it.
                match acceptfrom_with(&*accepting, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC) {
                    Ok((socket, remote)) => hand_over(&node, &listener, socket.into(), remote),
                    Err(_) if flag.load(Ordering::SeqCst) => return,
                    Err(e) => accept_failed(&listener, &e.into()),
                }
            }
        })?;
        Ok(Accepting { socket, stopping, thread })
    }

    /// Accepts no more.
    pub(crate) fn stop(self) {
        self.stopping.store(true, Ordering::SeqCst);
        // Wakes the thread out of accept.
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.thread.join();
    }
}

fn accept_failed(listener: &Listener, e: &std::io::Error) {
    // The client has gone already: its own business.
    if e.kind() == std::io::ErrorKind::ConnectionAborted {
        return;
    }
    tracing::warn!("listener {}: accept: {e}; trying again in {} ms", listener.name, EXHAUSTED_WAIT.as_millis());
    std::thread::sleep(EXHAUSTED_WAIT);
}

fn hand_over(node: &Node, listener: &Arc<Listener>, socket: TcpStream, remote: Option<SocketAddrAny>) {
    let Some(remote) = remote.and_then(|r| SocketAddr::try_from(r).ok()) else { return };
    let refused = denials::refuses_address(node, listener, remote.ip(), "accept", || peer(listener, 0, remote));
    if let Some(fact) = refused {
        node.events.emit(Some(&Arc::new(peer(listener, 0, remote))), fact);
        return;
    }
    let seat = match listener.enter(remote) {
        Ok(seat) => seat,
        Err(limit) => {
            let peer = peer(listener, 0, remote);
            node.events.emit(Some(&Arc::new(peer)), Fact::ConnectionRefused { reason: limit.into() });
            return;
        }
    };
    let worker = node.least_loaded();
    let accepted = Accepted { socket, remote, seat };
    node.send(worker, |mail| mail.sockets.push(accepted));
}

/// What is known of whoever connects.
pub(crate) fn peer(listener: &Listener, connection: u64, remote: SocketAddr) -> Peer {
    let nobody = || -> Arc<str> { Arc::from("") };
    Peer {
        connection,
        listener: listener.name.clone(),
        transport: listener.transport,
        remote,
        leaf_sha256: None,
        protocol: None,
        tenant: nobody(),
        user: nobody(),
        client_id: nobody(),
    }
}
