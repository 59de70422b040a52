//! What a turn of a connection needs, owned by the worker and borrowed once per turn.

use crate::connection::stream::Cipher;
use crate::node::Node;
use gatemq_broker::changes::Changes;
use gatemq_broker::session::Ack;
use gatemq_broker::{Out, Publication, TopicCache};

/// Bytes read at once.
const SCRATCH_BYTES: usize = 64 << 10;
/// Topics that a worker remembers the receivers of, and receivers in all of them.
const TOPICS_MAX: usize = 16 << 10;
const TARGETS_MAX: usize = 1 << 20;

/// See the module.
pub(crate) struct Hot {
    /// Bytes just read.
    pub(crate) scratch: Box<[u8]>,
    /// Ciphertext.
    pub(crate) cipher: Cipher,
    /// Routing.
    pub(crate) out: Out,
    /// Answers to the client of this turn.
    pub(crate) reply: Vec<u8>,
    /// How long the next message takes to be routed is measured.
    pub(crate) sampled: bool,
    /// Acknowledgements of this read batch.
    pub(crate) acks: Vec<Ack>,
    /// Connections of other workers, by worker, collected over a turn.
    remote: Vec<Vec<u32>>,
}

impl Hot {
    /// For one of `workers`; `changes`: where the node has a store, kept; `publications`: from where on they are numbered.
    pub(crate) fn new(workers: usize, changes: Changes, publications: Option<Publication>) -> Self {
        let mut out = Out::new(TopicCache::new(TOPICS_MAX, TARGETS_MAX));
        if let Some(base) = publications {
            out.number_publications(base);
        }
        out.spare.changes = changes;
        Hot {
            scratch: vec![0; SCRATCH_BYTES].into(),
            cipher: Cipher::new(SCRATCH_BYTES),
            out,
            reply: Vec::new(),
            sampled: false,
            acks: Vec::new(),
            remote: vec![Vec::new(); workers],
        }
    }

    /// Sorts what was armed: `local` gets this worker's connections, other workers are told once each.
    pub(crate) fn share_armed(&mut self, worker: u32, node: &Node, mut local: impl FnMut(u32)) {
        let mut elsewhere = false;
        for home in self.out.armed.drain(..) {
            if home.worker == worker {
                local(home.connection);
            } else if let Some(list) = self.remote.get_mut(home.worker as usize) {
                list.push(home.connection);
                elsewhere = true;
            }
        }
        if elsewhere {
            for (worker, list) in self.remote.iter_mut().enumerate().filter(|(_, l)| !l.is_empty()) {
                node.send(worker, |mail| mail.armed.append(list));
            }
        }
    }
}
