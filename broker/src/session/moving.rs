//! A session moves from one node of a cluster to another.
//!
//! What comes for it meanwhile may come twice to where it lives from then on: from those who publish, and from the node where it
//! was. A publication has a number, so the second one is known, however often each of its subscriptions wants it.

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_types::QoS;

use super::queue::{Queued, Waiting};
use super::stored::Stored;
use super::{Delivered, Message, Output, Session, Spare, qos_of};

/// Publications that are remembered of a session that moves in; beyond that the second one is not known.
const REMEMBERED_MAX: usize = 100_000;

/// By which way a message came.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// By a subscription.
    Direct,
    /// From the node where its session was.
    Behind,
}

/// How often each publication came by each way.
#[derive(Default)]
pub(super) struct Arriving {
    came: HashMap<u64, [u32; 2]>,
}

impl Arriving {
    /// Whether it did not come by the other way before: of copies that both bring, the first ones count.
    fn is_new(&mut self, publication: u64, way: Way) -> bool {
        if !self.came.contains_key(&publication) && self.came.len() >= REMEMBERED_MAX {
            return true;
        }
        let came = self.came.entry(publication).or_default();
        let (own, other) = match way {
            Way::Direct => (0, 1),
            Way::Behind => (1, 0),
        };
        came[own] += 1;
        came[own] > came[other]
    }
}

impl Output {
    pub(super) fn is_new(&mut self, queued: &Queued, way: Way) -> bool {
        let publication = queued.message.publication();
        let arriving = self.stored.as_mut().and_then(|stored| stored.arriving.as_mut());
        match arriving.filter(|_| publication != 0 && qos_of(queued.first) != QoS::AtMostOnce) {
            Some(arriving) => arriving.is_new(publication, way),
            None => true,
        }
    }
}

/// A message that came for a session after its state had left.
#[derive(Debug)]
pub struct Late {
    /// Its number in the session.
    pub seq: u64,
    /// First byte of its PUBLISH.
    pub first: u8,
    /// Subscription Identifier; 0 is none.
    pub identifier: u32,
    /// The message.
    pub message: Arc<Message>,
}

impl Session {
    /// It moves in: from now on what comes by both ways is taken once, until [`Self::has_moved_in`].
    pub fn moves_in(&self) {
        if let Some(stored) = Stored::there(&mut self.output.lock().stored) {
            stored.arriving.get_or_insert_default();
        }
    }

    /// Nothing of it comes any more from where it was.
    pub fn has_moved_in(&self) {
        if let Some(stored) = Stored::there(&mut self.output.lock().stored) {
            stored.arriving = None;
        }
    }

    /// Takes a message from where it was: as a subscription of its would, if none did.
    pub fn take_late(
        self: &Arc<Self>,
        first: u8,
        identifier: u32,
        message: Arc<Message>,
        spare: &mut Spare,
    ) -> Delivered {
        let mut output = self.output.lock();
        let queued = Queued::new(first, identifier, message, None);
        if !output.open {
            return Delivered::Closed;
        }
        match output.is_new(&queued, Way::Behind) {
            true => output.enqueue_new(self, queued, spare),
            false => Delivered::Quiet,
        }
    }

    /// What waits for it at QoS 1 and 2 with a higher number than `seq`.
    pub fn late(&self, seq: u64) -> Vec<Late> {
        let output = self.output.lock();
        let queue = output.queue.iter().flat_map(|queue| queue.all());
        let late = queue.filter_map(|waiting| match waiting {
            Waiting::Message(queued) if queued.seq > seq => {
                let Queued { seq, first, identifier, ref message, .. } = *queued;
                Some(Late { seq, first, identifier, message: message.clone() })
            }
            _ => None,
        });
        late.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards a move against losing and doubling: whichever way is first, each copy that some way brings is taken once.
    #[test]
    fn what_comes_by_two_ways_is_taken_once() {
        let (direct, behind) = (Way::Direct, Way::Behind);
        for (ways, taken) in [
            (&[direct, behind][..], 1),
            (&[behind, direct], 1),
            (&[direct, direct, behind, behind], 2),
            (&[behind, direct, behind, direct], 2),
            (&[direct, direct, behind], 2),
            (&[behind, behind, direct], 2),
        ] {
            let mut arriving = Arriving::default();
            assert_eq!(ways.iter().filter(|way| arriving.is_new(7, **way)).count(), taken);
            assert!(arriving.is_new(8, direct));
        }
    }
}
