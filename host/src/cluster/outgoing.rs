//! Messages go out to a node: two tasks, one for those at QoS 0, one for the others, each with one batch under way.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use gatemq_cluster::core::{Control, Forward, Input, NodeName};
use gatemq_cluster::net::Net;

use super::content::Header;
use super::queue::{Item, Queue, What};
use super::told::Told;
use super::{Cluster, Peer};
use crate::clock;

/// Messages of a batch.
const BATCH_ITEMS_MAX: usize = 512;
/// How often a batch is sent of which nothing came there before the core is told, and how long after the last time.
const TRIES_MAX: u32 = 10;
const TRY_AGAIN: Duration = Duration::from_millis(50);
/// Bytes of a batch, where it is not a single message.
const BATCH_BYTES_MAX: usize = 1 << 20;

/// A message on the wire.
#[derive(Clone)]
pub(crate) struct Message {
    /// Its number, and the lowest that may still come; `None`: at QoS 0.
    pub(crate) number: Option<(Forward, u64)>,
    /// What goes with it.
    pub(crate) header: Header,
    /// Its PUBLISH of MQTT 5.
    pub(crate) packet: Bytes,
}

/// Whether each message of a batch is committed there; `None`: nobody answered.
pub(crate) type Delivered = Pin<Box<dyn Future<Output = Option<Vec<bool>>> + Send>>;

/// The way to the other nodes.
pub(crate) trait Link: Send + Sync {
    /// Sends what the core says, in order; if that cannot be, the channel is broken and its core told.
    fn control(&self, to: &NodeName, control: &Control, protocol: u16);
    /// Sends messages, in order; `lane` 0 is for those at QoS 0.
    fn deliver(&self, to: &NodeName, lane: u8, batch: Vec<Message>) -> Delivered;
    /// The network behind it; `None`: not yet.
    fn net(&self) -> Option<&Net>;
}

/// Serves a node's queues for as long as the runtime lives. In the cluster's runtime.
pub(super) fn start(cluster: &Arc<Cluster>, peer: &Arc<Peer>, node: &NodeName) {
    for lane in [0, 1] {
        tokio::spawn(send(cluster.clone(), peer.clone(), node.clone(), lane));
    }
}

async fn send(cluster: Arc<Cluster>, peer: Arc<Peer>, node: NodeName, lane: u8) {
    let queue: &Queue = if lane == 0 { &peer.fast } else { &peer.kept };
    loop {
        let (generation, items) = queue.take(BATCH_ITEMS_MAX, BATCH_BYTES_MAX).await;
        let now_ms = clock::now_ms();
        let (mut batch, mut over) = (Vec::with_capacity(items.len()), Vec::new());
        for Item { number, what } in items {
            let parts = match what {
                What::New(content) => content.parts(now_ms),
                What::Kept(header, packet) => Some((header, packet)),
            };
            match parts {
                Some((header, packet)) => batch.push(Message { number, header, packet }),
                // Its time is over, so it counts as delivered.
                None => over.extend(number.map(|(forward, _)| forward)),
            }
        }
        let numbers: Vec<Option<Forward>> = batch.iter().map(|message| message.number.map(|(of, _)| of)).collect();
        let committed = match lane {
            0 => once(&cluster, &peer, &node, lane, batch).await,
            _ => deliver(&cluster, &peer, (&node, lane), generation, batch).await,
        };
        // What was not is the core's: it keeps it for the node.
        let committed = numbers.into_iter().zip(committed.unwrap_or_default()).filter(|(_, committed)| *committed);
        over.extend(committed.filter_map(|(number, _)| number));
        if !over.is_empty() {
            cluster.inbox.tell(Told::Core(Input::Answered { from: node.clone(), forwards: over }));
        }
    }
}

async fn once(cluster: &Cluster, peer: &Peer, node: &NodeName, lane: u8, batch: Vec<Message>) -> Option<Vec<bool>> {
    if batch.is_empty() {
        return None;
    }
    let began = Instant::now();
    let committed = cluster.link.deliver(node, lane, batch).await;
    if committed.is_some() {
        peer.calls.note(began.elapsed());
    }
    committed
}

/// Delivers a batch. One of which nothing came there is sent again, for its way may not stand yet, and nothing that is behind it before:
/// until something came, or its generation is over because the core makes all of it again. What came there after all is known by its number.
async fn deliver(
    cluster: &Cluster,
    peer: &Peer,
    (node, lane): (&NodeName, u8),
    generation: u64,
    batch: Vec<Message>,
) -> Option<Vec<bool>> {
    let mut tries = TRIES_MAX;
    while !batch.is_empty() && peer.kept.generation() == generation {
        let committed = once(cluster, peer, node, lane, batch.clone()).await;
        if committed.iter().flatten().any(|committed| *committed) {
            return committed;
        }
        tries -= 1;
        if tries == 0 {
            tries = TRIES_MAX;
            cluster.inbox.tell(Told::Core(Input::NotDelivered { to: node.clone() }));
        }
        tokio::time::sleep(TRY_AGAIN).await;
    }
    None
}
