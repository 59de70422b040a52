//! A look at every connection of a worker, in slices, so that a large worker is held for none of them.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};

use gatemq_types::event::Fact;

use super::Worker;
use crate::connection::{Client, Ending};
use crate::listen::Listener;
use crate::node::Node;

/// Connections that are looked at before the others get their turn.
const SLICE: usize = 512;

/// What comes of a look.
pub(crate) enum Look {
    /// The next one.
    Next,
    /// It ends; the next one.
    End(Kick),
    /// Its identity is revoked, by whom it says; the next one.
    Revoke(Arc<str>),
    /// No more after this one.
    Enough,
}

/// The end of a connection that somebody wanted.
pub(crate) struct Kick {
    /// Why.
    pub(crate) ending: Ending,
    /// An event before that of its end.
    pub(crate) fact: Option<Fact>,
    /// Reason String for a 5.0 client; empty is none.
    pub(crate) reason_string: String,
}

/// What is done with each connection.
pub(crate) type Looks = Arc<dyn Fn(&Client) -> Look + Send + Sync>;

/// See the module. Dropped unfinished it tells nobody: then the node stops.
pub(crate) struct Scan {
    /// Number of the first connection.
    pub(crate) from: u32,
    /// What is done.
    pub(crate) look: Looks,
    /// Told the number to go on from, or `None`: there are no more. Has room for it.
    pub(crate) done: SyncSender<Option<u32>>,
}

impl Node {
    /// Has all connections looked at, and waits for none. One that has not begun looks for itself when it does.
    pub(crate) fn scan_all(&self, look: &Looks) {
        for worker in 0..self.workers() {
            // Nobody is told.
            let (done, _) = sync_channel(1);
            let scan = Scan { from: 0, look: look.clone(), done };
            self.send(worker, |mail| mail.scans.push(scan));
        }
    }

    /// Ends the connections of a listener that it would refuse now. Does not wait for that.
    pub(crate) fn end_refused(&self, listener: &Arc<Listener>) {
        let listener = listener.clone();
        // By the name as it is held, for another listener may come to have the same.
        let look: Looks = Arc::new(move |client: &Client| match Arc::ptr_eq(&client.peer.listener, &listener.name) {
            true => listener.refuses(client).map_or(Look::Next, Look::End),
            false => Look::Next,
        });
        self.scan_all(&look);
    }
}

impl Worker {
    /// Looks. A connection that begins meanwhile may be missed.
    pub(super) async fn scan(self: Rc<Self>, scan: Scan) {
        let Scan { mut from, look, done } = scan;
        loop {
            let step = self.scan_slice(from, &look);
            match step {
                Slice::More(next) => from = next,
                Slice::Done(next) => {
                    // Nobody waits any more when the node stops.
                    let _ = done.try_send(next);
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
    }

    fn scan_slice(&self, from: u32, look: &Looks) -> Slice {
        let slots = self.slots.borrow();
        let mut number = from;
        for slot in slots.iter().skip(from as usize).take(SLICE) {
            number += 1;
            let Some(slot) = slot else { continue };
            let step = match slot.connection.borrow() {
                connection if connection.is_ending() => continue,
                connection => look(connection.client()),
            };
            match step {
                Look::Next => {}
                Look::End(kick) => {
                    slot.connection.borrow_mut().kick(&self.node, kick);
                    slot.waker.wake_by_ref();
                }
                Look::Revoke(by) => {
                    slot.connection.borrow_mut().revoked(&self.node, &by, self.now_ms.get());
                    slot.waker.wake_by_ref();
                }
                Look::Enough => return Slice::Done(Some(number)),
            }
        }
        if (number as usize) < slots.len() { Slice::More(number) } else { Slice::Done(None) }
    }
}

enum Slice {
    /// Go on from here.
    More(u32),
    Done(Option<u32>),
}
