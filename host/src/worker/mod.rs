//! A worker: one thread, one current-thread runtime, its connections for life.

mod commits;
mod forwards;
pub(crate) mod hot;
pub(crate) mod inbox;
pub(crate) mod scan;
pub(crate) mod share;
mod tick;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use gatemq_broker::Home;
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::task::spawn_local;

use crate::clock;
use crate::connection::{self, Connection};
use crate::listen::Seat;
use crate::node::Node;
use commits::Commits;
use hot::Hot;
use inbox::{Accepted, Inbox, Mail};
use share::Shares;

/// How often some more clients are told to go when the node stops.
const STOP_STEP: Duration = Duration::from_millis(50);
/// So many at least: as many as that may come to another node at once.
const STOPPED_AT_ONCE: usize = 64;

/// How many handshakes of a listener there may be, and permits for them.
type Handshakes = (usize, Arc<Semaphore>);

/// A connection whose client is admitted.
struct Slot {
    waker: Waker,
    connection: Rc<RefCell<Connection>>,
}

/// See the module.
pub(crate) struct Worker {
    id: u32,
    /// What all workers share.
    pub(crate) node: Arc<Node>,
    /// Borrowed for the length of a turn, never across an await.
    pub(crate) hot: RefCell<Hot>,
    /// Milliseconds since 1970, set by the tick: the hot path reads no clock. At most some 100 ms old.
    pub(crate) now_ms: Cell<u64>,
    /// What it counts for tenants.
    pub(crate) shares: Shares,
    commits: RefCell<Commits>,
    /// Turns whose messages other nodes are to have; the last number.
    forwarded: Cell<u64>,
    slots: RefCell<Vec<Option<Slot>>>,
    free: RefCell<Vec<u32>>,
    /// Handshakes in flight, by listener.
    handshakes: RefCell<HashMap<Arc<str>, Handshakes>>,
    /// Connections that were not admitted yet, or are; all tasks.
    tasks: Cell<usize>,
    stopping: Cell<bool>,
    /// It ends with its last connection.
    ending: Cell<bool>,
    /// Tells those that wait in [`Worker::stops`].
    stop: Notify,
    /// Wakes the loop that takes its mail; also when its last connection has ended.
    wake: Arc<Notify>,
}

/// Runs a worker until it may end and its last connection has ended. `ready` is called when its inbox is open.
///
/// # Errors
/// No runtime can be had.
pub(crate) fn run(id: u32, node: Arc<Node>, ready: impl FnOnce()) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
    runtime.block_on(serve(id, node, ready));
    Ok(())
}

async fn serve(id: u32, node: Arc<Node>, ready: impl FnOnce()) {
    let notify = Arc::new(Notify::new());
    let wake = notify.clone();
    node.open_inbox(id, Inbox::new(move || wake.notify_one()));
    let worker = Rc::new(Worker {
        id,
        hot: RefCell::new(Hot::new(node.workers(), node.changes(), node.publications(id))),
        shares: Shares::default(),
        commits: RefCell::default(),
        forwarded: Cell::new(0),
        node,
        now_ms: Cell::new(clock::now_ms()),
        slots: RefCell::default(),
        free: RefCell::default(),
        handshakes: RefCell::default(),
        tasks: Cell::new(0),
        stopping: Cell::new(false),
        ending: Cell::new(false),
        stop: Notify::new(),
        wake: notify.clone(),
    });
    spawn_local(tick::run(worker.clone()));
    ready();
    let mut mail = Mail::default();
    loop {
        notify.notified().await;
        if worker.ending.get() && worker.tasks.get() == 0 {
            return;
        }
        worker.node.receive(id, &mut mail);
        for connection in mail.armed.drain(..) {
            worker.wake(connection);
        }
        worker.committed(mail.commits.drain(..));
        worker.barriers(mail.barriers.drain(..));
        worker.forwarded(mail.forwarded.drain(..));
        worker.from_nodes(mail.from_nodes.drain(..));
        for connection in mail.ended.drain(..) {
            worker.with(connection, Connection::look_at_session);
        }
        for accepted in mail.sockets.drain(..) {
            worker.adopt(accepted);
        }
        for ask in mail.asks.drain(..) {
            ask(&worker);
        }
        for scan in mail.scans.drain(..) {
            spawn_local(worker.clone().scan(scan));
        }
        for publication in mail.publications.drain(..) {
            let worker = worker.clone();
            // In their order. A task of its own: a panic ends it and not the worker.
            spawn_local(async move { publication.route(&worker) });
        }
        for accept in mail.listeners.drain(..) {
            accept.begin(&worker);
        }
        if std::mem::take(&mut mail.stop) {
            worker.stopping.set(true);
            worker.stop.notify_waiters();
            spawn_local(worker.clone().tell_to_go());
        }
        if std::mem::take(&mut mail.end) {
            if worker.tasks.get() == 0 {
                return;
            }
            worker.ending.set(true);
        }
    }
}

/// Counts a connection out.
struct Ended<'a> {
    worker: &'a Worker,
}

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.worker.ended();
    }
}

impl Worker {
    /// Where a connection is.
    pub(crate) fn home(&self, connection: u32) -> Home {
        Home { worker: self.id, connection }
    }

    /// Gives a socket that was accepted here to the worker with the fewest connections, which may be this one.
    pub(crate) fn place(self: &Rc<Self>, socket: TcpStream, remote: SocketAddr, seat: Seat) {
        let worker = self.node.least_loaded(self.id);
        if worker == self.id {
            return self.serve(socket, remote, seat);
        }
        match socket.into_std() {
            Ok(socket) => self.node.send(worker as usize, |mail| mail.sockets.push(Accepted { socket, remote, seat })),
            Err(_) => self.node.unload(worker),
        }
    }

    /// Serves a socket that another worker has placed here.
    fn adopt(self: &Rc<Self>, accepted: Accepted) {
        let Accepted { socket, remote, seat } = accepted;
        match TcpStream::from_std(socket) {
            Ok(socket) => self.serve(socket, remote, seat),
            Err(_) => self.node.unload(self.id),
        }
    }

    /// Serves a socket; it stays on this worker.
    fn serve(self: &Rc<Self>, socket: TcpStream, remote: SocketAddr, seat: Seat) {
        self.tasks.set(self.tasks.get() + 1);
        let worker = self.clone();
        spawn_local(async move {
            // Counted out also by a panic, which ends this connection and no other.
            let ended = Ended { worker: &worker };
            connection::run(&worker, &seat, socket, remote).await;
            drop((seat, ended));
        });
    }

    fn ended(&self) {
        self.node.unload(self.id);
        self.tasks.set(self.tasks.get() - 1);
        if self.tasks.get() == 0 {
            self.wake.notify_one();
        }
    }

    /// Permits for handshakes of a listener.
    pub(crate) fn handshakes(&self, listener: &crate::listen::Listener) -> Arc<Semaphore> {
        let max = listener.handshakes_max();
        match self.handshakes.borrow_mut().entry(listener.name.clone()) {
            Entry::Occupied(known) if known.get().0 == max => known.get().1.clone(),
            // A reload has changed it; those in flight have permits of the old one.
            entry => entry.insert_entry((max, Arc::new(Semaphore::new(max)))).get().1.clone(),
        }
    }

    /// A number for a connection of this worker.
    pub(crate) fn reserve(&self) -> u32 {
        self.free.borrow_mut().pop().unwrap_or_else(|| {
            let mut slots = self.slots.borrow_mut();
            slots.push(None);
            slots.len() as u32 - 1
        })
    }

    /// Makes a connection known by its number, with the waker of its task.
    pub(crate) fn register(&self, id: u32, connection: &Rc<RefCell<Connection>>, cx: &Context) {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(id as usize) else { return };
        match slot {
            Some(known) if known.waker.will_wake(cx.waker()) => {}
            slot => *slot = Some(Slot { waker: cx.waker().clone(), connection: connection.clone() }),
        }
    }

    /// Gives a number back.
    pub(crate) fn release(&self, id: u32) {
        if let Some(slot) = self.slots.borrow_mut().get_mut(id as usize) {
            *slot = None;
            self.free.borrow_mut().push(id);
        }
    }

    /// Whether the node stops.
    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.get()
    }

    /// Waits until the node stops.
    pub(crate) async fn stops(&self) {
        // Nothing comes between look and wait: all of a worker is one thread.
        if !self.is_stopping() {
            self.stop.notified().await;
        }
    }

    fn wake(&self, connection: u32) {
        if let Some(Some(slot)) = self.slots.borrow().get(connection as usize) {
            slot.waker.wake_by_ref();
        }
    }

    /// Does something with a connection and wakes its task. Never called from within a connection's own turn.
    fn with(&self, connection: u32, f: impl FnOnce(&mut Connection)) {
        if let Some(Some(slot)) = self.slots.borrow().get(connection as usize) {
            f(&mut slot.connection.borrow_mut());
            slot.waker.wake_by_ref();
        }
    }

    /// Reads from a connection, between two turns; `None`: there is none of that number.
    pub(crate) fn look_at<T>(&self, connection: u32, f: impl FnOnce(&Connection) -> T) -> Option<T> {
        let slots = self.slots.borrow();
        let slot = slots.get(connection as usize)?.as_ref()?;
        Some(f(&slot.connection.borrow()))
    }

    /// After a turn: what changed is submitted, and everyone who has something to write is told.
    pub(crate) fn deliver_armed(&self, hot: &mut Hot) {
        self.submit(hot);
        self.tell_cluster(hot);
        if !hot.out.armed.is_empty() {
            hot.share_armed(self.id, &self.node, |connection| self.wake(connection));
        }
    }

    /// The node stops: nobody is admitted any more, and those who are there are told to go, so many every [`STOP_STEP`] that all are
    /// when the spread is over. Until then they are served.
    async fn tell_to_go(self: Rc<Self>) {
        let steps = usize::try_from(self.node.stop_spread.as_millis() / STOP_STEP.as_millis()).unwrap_or(usize::MAX);
        let mut from = 0;
        loop {
            // One that begins from here on looks whether the node stops.
            let all = self.slots.borrow().len();
            let step = (all / steps.max(1)).max(STOPPED_AT_ONCE);
            let step = if steps == 0 { all } else { step };
            for slot in self.slots.borrow().iter().skip(from).take(step).flatten() {
                slot.connection.borrow_mut().stop(connection::Ending::of(gatemq_types::CloseReason::ServerStopping));
                slot.waker.wake_by_ref();
            }
            from = from.saturating_add(step);
            if from >= all {
                return;
            }
            tokio::time::sleep(STOP_STEP).await;
        }
    }
}
