//! What one node is to be sent, in order: one queue for messages at QoS 0, one for the others.

use std::collections::VecDeque;

use bytes::Bytes;
use gatemq_cluster::core::Forward;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::content::{Content, Header};

/// Bytes of messages at QoS 0 that wait for a node; further ones are dropped and counted. Of the others as many may be under way
/// as the core lets out.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// A message for one node.
pub(super) struct Item {
    /// Its number, and the lowest that may still come; `None`: at QoS 0.
    pub(super) number: Option<(Forward, u64)>,
    /// What.
    pub(super) what: What,
}

/// Where its bytes are.
pub(super) enum What {
    /// With those who published it.
    New(Content),
    /// Read from the store.
    Kept(Header, Bytes),
}

impl Item {
    fn bytes(&self) -> usize {
        match &self.what {
            What::New(content) => content.bytes(),
            What::Kept(_, packet) => packet.len() + 128,
        }
    }
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    dropped: u64,
    /// How often it was emptied.
    generation: u64,
}

/// See the module.
#[derive(Default)]
pub(super) struct Queue {
    inner: Mutex<Inner>,
    filled: Notify,
}

impl Queue {
    /// Puts something in. Never waits; any thread.
    pub(super) fn put(&self, item: Item) {
        let bytes = item.bytes();
        let mut inner = self.inner.lock();
        if item.number.is_none() && inner.bytes + bytes > QUEUE_BYTES_MAX {
            inner.dropped += 1;
            return;
        }
        inner.bytes += bytes;
        inner.items.push_back(item);
        let was_empty = inner.items.len() == 1;
        drop(inner);
        if was_empty {
            self.filled.notify_one();
        }
    }

    /// Puts something in that was wanted in that generation, unless another one began since.
    pub(super) fn put_in(&self, generation: u64, item: Item) {
        let mut inner = self.inner.lock();
        if inner.generation == generation {
            inner.bytes += item.bytes();
            inner.items.push_back(item);
            drop(inner);
            self.filled.notify_one();
        }
    }

    /// What is in it is let go, and another generation begins.
    pub(super) fn empty(&self) {
        let inner = &mut *self.inner.lock();
        inner.items.clear();
        (inner.bytes, inner.generation) = (0, inner.generation + 1);
    }

    /// How often it was emptied.
    pub(super) fn generation(&self) -> u64 {
        self.inner.lock().generation
    }

    /// The next ones, and their generation: at least one, as many as there are up to the bounds.
    pub(super) async fn take(&self, items_max: usize, bytes_max: usize) -> (u64, Vec<Item>) {
        loop {
            let (generation, taken) = self.take_now(items_max, bytes_max);
            if !taken.is_empty() {
                return (generation, taken);
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self, items_max: usize, bytes_max: usize) -> (u64, Vec<Item>) {
        let inner = &mut *self.inner.lock();
        let (mut count, mut bytes) = (0, 0);
        for item in inner.items.iter().take(items_max) {
            if count > 0 && bytes + item.bytes() > bytes_max {
                break;
            }
            (count, bytes) = (count + 1, bytes + item.bytes());
        }
        inner.bytes -= bytes;
        (inner.generation, inner.items.drain(..count).collect())
    }

    /// Messages at QoS 0 that were dropped.
    pub(super) fn dropped(&self) -> u64 {
        self.inner.lock().dropped
    }
}
