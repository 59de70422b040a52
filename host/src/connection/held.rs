//! Acknowledgements that wait for the store, and for other nodes of the cluster. They leave in the order of what they acknowledge, so those behind one that waits
//! wait too (section 7 of the design).

use std::collections::VecDeque;
use std::sync::Arc;

use gatemq_types::CloseReason;

use super::client::Client;
use super::{Connection, Ending};
use crate::cluster::Awaited;
use crate::worker::Worker;
use crate::worker::hot::Hot;

/// Bytes of packets whose acknowledgements wait, after which a client is not read.
const UNSTORED_BYTES_MAX: usize = 1 << 20;

/// What waits for a client. Only a client of something that is to be stored has one.
#[derive(Default)]
pub(super) struct Held {
    /// Acknowledgements, in order.
    bytes: Vec<u8>,
    sealed: VecDeque<Sealed>,
    /// Batches up to this one are stored.
    stored: u64,
    /// How many bytes at the front wait for nothing any more.
    ready: usize,
    /// Those at the end that are not in `sealed` yet.
    open: Sealed,
    /// Bytes of all packets whose acknowledgements wait.
    unstored_bytes: usize,
}

/// Acknowledgements of a turn.
#[derive(Default)]
struct Sealed {
    /// The batch that they wait for.
    ticket: u64,
    /// What other nodes are to have accepted ([`Worker::forward`]); `None`: nothing, or they have.
    forwarded: Option<Arc<Awaited>>,
    bytes: usize,
    packet_bytes: usize,
}

impl Held {
    fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// What waits for nothing any more, from the front on.
    fn free(&mut self) {
        let stored = self.stored;
        while let Some(sealed) =
            self.sealed.pop_front_if(|sealed| sealed.ticket <= stored && sealed.forwarded.is_none())
        {
            self.ready += sealed.bytes;
            self.unstored_bytes -= sealed.packet_bytes;
        }
    }
}

impl Client {
    /// Sends an acknowledgement (`bytes`) of a packet of `packet_bytes`: at once, or behind what it waits for.
    #[inline]
    pub(super) fn acknowledge(&mut self, hot: &mut Hot, packet_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let waits = hot.out.spare.changes.are_relied_on() || !hot.out.forwards.is_empty();
        if !waits && self.held.as_ref().is_none_or(|held| held.is_empty()) {
            write(&mut hot.reply);
            return;
        }
        self.hold(packet_bytes, write);
    }

    #[cold]
    fn hold(&mut self, packet_bytes: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let held = self.held.get_or_insert_default();
        let before = held.bytes.len();
        write(&mut held.bytes);
        held.open.bytes += held.bytes.len() - before;
        held.open.packet_bytes += packet_bytes;
        held.unstored_bytes += packet_bytes;
    }

    /// Whether the acknowledgement of a QoS 2 message waits for other nodes.
    #[cold]
    pub(super) fn awaits(&self, packet_id: u16) -> bool {
        let held = self.held.iter().flat_map(|held| &held.sealed);
        let mut incoming = held.filter_map(|sealed| sealed.forwarded.as_ref()?.incoming.as_ref());
        incoming.any(|incoming| incoming.packet_ids.contains(&packet_id))
    }

    /// Whether so much waits that nothing more is read.
    #[inline]
    pub(super) fn waits_for_store(&self) -> bool {
        self.held.as_ref().is_some_and(|held| held.unstored_bytes >= UNSTORED_BYTES_MAX)
    }
}

impl Connection {
    /// What was held in this turn waits for the batch with its changes, which is submitted now.
    #[inline]
    pub(super) fn seal(&mut self, worker: &Worker, hot: &mut Hot) {
        let mut forwarded = None;
        if !hot.out.forwards.is_empty() {
            forwarded = worker.forward(hot, Some((self.id, self.client.session.session())));
        }
        let ticket = worker.submit(hot);
        let Some(held) = self.client.held.as_deref_mut().filter(|held| held.open.bytes > 0) else { return };
        held.sealed.push_back(Sealed { ticket, forwarded, ..std::mem::take(&mut held.open) });
        if !worker.tell_stored(ticket, self.id) {
            self.stored(ticket);
        }
    }

    /// Everything up to this batch is stored.
    pub(crate) fn stored(&mut self, ticket: u64) {
        if let Some(held) = self.client.held.as_deref_mut() {
            held.stored = held.stored.max(ticket);
            held.free();
        }
    }

    /// Other nodes have answered. Where one of them, and the store for it, could not take something, it is never acknowledged: the
    /// client sends it again when it comes back. `ticket`: a batch that the acknowledgements wait for, too.
    pub(crate) fn forwarded(&mut self, worker: &Worker, awaited: &Arc<Awaited>, ticket: Option<u64>) {
        let Some(held) = self.client.held.as_deref_mut() else { return };
        let is_it = |of: &Option<Arc<Awaited>>| of.as_ref().is_some_and(|of| Arc::ptr_eq(of, awaited));
        let Some(sealed) = held.sealed.iter_mut().find(|sealed| is_it(&sealed.forwarded)) else { return };
        if !awaited.is_taken() {
            return self.stop(Ending::of(CloseReason::ClusterUnavailable));
        }
        sealed.forwarded = None;
        let Some(ticket) = ticket else { return held.free() };
        sealed.ticket = ticket;
        if !worker.tell_stored(ticket, self.id) {
            self.stored(ticket);
        }
    }

    /// Takes what waits for nothing any more, before anything new is answered.
    #[inline]
    pub(super) fn take_stored(&mut self, hot: &mut Hot) {
        if let Some(held) = self.client.held.as_deref_mut().filter(|held| held.ready > 0) {
            hot.reply.extend(held.bytes.drain(..std::mem::take(&mut held.ready)));
            if held.bytes.is_empty() {
                self.client.held = None;
            }
        }
    }
}
