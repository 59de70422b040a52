//! The cluster, as the rest of the node sees it.
//!
//! | module | what it does |
//! |---|---|
//! | [`queue`] | what one node is to be sent |
//! | [`awaited`] | acknowledgements that wait for it |
//! | [`receive`] | what other nodes send |

mod awaited;
mod queue;
mod receive;

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_broker::remote::{Forward, Interest, Remote};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

pub(crate) use awaited::{Awaited, Forwarded};
use queue::{Item, Queue};
pub(crate) use receive::FromNode;

/// Another node.
struct Peer {
    /// As it stands in tenants' trees.
    remote: Arc<Remote>,
    /// What it is to be sent.
    queue: Queue,
}

/// See the module.
#[derive(Default)]
pub(crate) struct Cluster {
    /// By name; those too that are away and have sessions in their stores.
    peers: RwLock<HashMap<Box<str>, Arc<Peer>>>,
    /// Who subscribed, for the others: taken every few milliseconds.
    interests: Mutex<Vec<Interest>>,
    told: Notify,
}

impl Cluster {
    /// Sends messages to the nodes that are to have them. Never waits; any worker.
    pub(crate) fn forward(&self, forwards: Vec<Forward>, awaited: Option<&Arc<Awaited>>) {
        let peers = self.peers.read();
        for mut forward in forwards {
            let destinations = std::mem::take(&mut forward.to);
            let awaited = awaited.filter(|_| forward.is_awaited());
            let forward = Arc::new(forward);
            let put = |peer: &Peer, plain: bool, shares: Vec<Box<str>>| {
                let answer = awaited.map(|awaited| awaited.one_more());
                peer.queue.put(Item { forward: forward.clone(), plain, shares, answer });
            };
            if forward.everywhere {
                let left_out = |peer: &&Arc<Peer>| !destinations.iter().any(|to| Arc::ptr_eq(&to.node, &peer.remote));
                peers.values().filter(left_out).for_each(|peer| put(peer, false, Vec::new()));
            }
            for to in destinations {
                // One that is not known any more has left with its clients.
                if let Some(peer) = peers.get(to.node.name()) {
                    put(peer, to.plain, to.shares);
                }
            }
        }
    }

    /// Tells the others who subscribed. Never waits; any worker.
    pub(crate) fn interests(&self, interests: Vec<Interest>) {
        self.interests.lock().extend(interests);
        self.told.notify_one();
    }
}
