//! What one node is to be sent, in order.

use std::collections::VecDeque;
use std::sync::Arc;

use gatemq_broker::remote::Forward;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::awaited::Answer;

/// Bytes of messages at QoS 0 that wait for a node; further ones are dropped and counted. What is awaited is always taken: its
/// publishers are not read while a mebibyte of theirs waits for acknowledgements.
const QUEUE_BYTES_MAX: usize = 16 << 20;

/// A message for one node.
pub(super) struct Item {
    /// The message.
    pub(super) forward: Arc<Forward>,
    /// Deliver it to all who share their subscription with nobody.
    pub(super) plain: bool,
    /// And to one member of each of these.
    pub(super) shares: Vec<Box<str>>,
    /// Who waits for the answer.
    pub(super) answer: Option<Answer>,
}

impl Item {
    fn bytes(&self) -> usize {
        self.forward.message.payload().len() + self.forward.message.topic().len() + 128
    }
}

#[derive(Default)]
struct Inner {
    items: VecDeque<Item>,
    bytes: usize,
    dropped: u64,
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
        if item.answer.is_none() && inner.bytes + bytes > QUEUE_BYTES_MAX {
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

    /// The next ones: at least one, as many as there are up to the bounds.
    pub(super) async fn take(&self, items_max: usize, bytes_max: usize) -> Vec<Item> {
        loop {
            let taken = self.take_now(items_max, bytes_max);
            if !taken.is_empty() {
                return taken;
            }
            self.filled.notified().await;
        }
    }

    fn take_now(&self, items_max: usize, bytes_max: usize) -> Vec<Item> {
        let inner = &mut *self.inner.lock();
        let (mut count, mut bytes) = (0, 0);
        for item in inner.items.iter().take(items_max) {
            if count > 0 && bytes + item.bytes() > bytes_max {
                break;
            }
            (count, bytes) = (count + 1, bytes + item.bytes());
        }
        inner.bytes -= bytes;
        inner.items.drain(..count).collect()
    }

    /// Everything, when the node is gone.
    pub(super) fn take_all(&self) -> Vec<Item> {
        self.take_now(usize::MAX, usize::MAX)
    }

    /// Bytes that wait, and messages that were dropped.
    pub(super) fn counts(&self) -> (usize, u64) {
        let inner = self.inner.lock();
        (inner.bytes, inner.dropped)
    }
}
