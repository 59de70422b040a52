//! Refusals, told to the host at a bounded rate: whoever knocks all night writes three lines in ten seconds.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::handler::{Handler, Refused, RefusedSide, RefusedWhy};
use crate::core::SpiffeId;

/// How many of an address and a reason are told in a [`WINDOW`].
const TOLD_MAX: u32 = 3;
const WINDOW: Duration = Duration::from_secs(10);
/// Addresses and reasons that are remembered. When full, the refusals of further ones count as those of one address.
const REMEMBERED_MAX: usize = 1024;

type Key = (Option<IpAddr>, &'static str, RefusedSide);

struct Count {
    since: Instant,
    told: u32,
    untold: u64,
}

/// Tells refusals.
pub(super) struct Reporter {
    handler: Arc<dyn Handler>,
    counts: Mutex<HashMap<Key, Count>>,
}

impl Reporter {
    pub(super) fn new(handler: Arc<dyn Handler>) -> Self {
        Reporter { handler, counts: Mutex::default() }
    }

    /// Tells of a refusal, or counts it.
    pub(super) fn refused(&self, side: RefusedSide, address: SocketAddr, who: Option<SpiffeId>, why: RefusedWhy) {
        let now = Instant::now();
        let untold = {
            let mut counts = self.counts.lock();
            if counts.len() >= REMEMBERED_MAX {
                counts.retain(|_, count| now - count.since < WINDOW);
            }
            let mut key = (Some(address.ip()), why.code(), side);
            if counts.len() >= REMEMBERED_MAX && !counts.contains_key(&key) {
                key.0 = None;
            }
            let count = counts.entry(key).or_insert(Count { since: now, told: 0, untold: 0 });
            if now - count.since >= WINDOW {
                (count.since, count.told) = (now, 0);
            }
            if count.told >= TOLD_MAX {
                count.untold += 1;
                return;
            }
            count.told += 1;
            std::mem::take(&mut count.untold)
        };
        self.handler.refused(Refused { side, address, who, why, untold });
    }
}
