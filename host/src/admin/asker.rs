//! Who asks, and how much at a time.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::denials::OPERATOR;

/// Requests of one asker that are under way.
pub(crate) const WAITING_MAX: usize = 256;
/// Messages that an asker publishes in a second, and their bytes, topics included.
const MESSAGES_PER_S_MAX: u64 = 1000;
const BYTES_PER_S_MAX: u64 = 8 << 20;

/// Who asks.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum By {
    /// Whoever may open the control socket: may deny everything, and lift what anybody raised.
    Operator,
    /// A plugin instance, by its name: may deny what a peer has done or proven, and lift what it raised itself.
    Plugin(Arc<str>),
}

/// As events and listings name it.
impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            By::Operator => f.write_str(OPERATOR),
            By::Plugin(name) => write!(f, "plugin {name}"),
        }
    }
}

/// See the module. One for each plugin instance, one for each operator's connection.
pub(crate) struct Asker {
    by: By,
    waiting: AtomicUsize,
    published: Mutex<Published>,
}

/// Of the running second.
#[derive(Default)]
struct Published {
    second: u64,
    messages: u64,
    bytes: u64,
}

/// A request that is under way.
pub(super) struct Waits(Arc<Asker>);

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Asker {
    /// One that has asked nothing.
    pub(crate) fn new(by: By) -> Arc<Asker> {
        Arc::new(Asker { by, waiting: AtomicUsize::new(0), published: Mutex::default() })
    }

    /// Who.
    pub(crate) fn by(&self) -> &By {
        &self.by
    }

    /// One request more, if it may.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Waits> {
        let waits = Waits(self.clone());
        (self.waiting.fetch_add(1, Ordering::Relaxed) < WAITING_MAX).then_some(waits)
    }

    /// Whether it may publish one more message of so many bytes now.
    pub(super) fn may_publish(&self, bytes: usize, now_ms: u64) -> bool {
        let mut published = self.published.lock();
        if published.second != now_ms / 1000 {
            *published = Published { second: now_ms / 1000, ..Published::default() };
        }
        // The first one may be larger than the bound.
        let may = published.messages < MESSAGES_PER_S_MAX && published.bytes < BYTES_PER_S_MAX;
        if may {
            published.messages += 1;
            published.bytes += bytes as u64;
        }
        may
    }
}
