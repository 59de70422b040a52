//! A session moves from one node of a cluster to another.
//!
//! What comes for it meanwhile may come twice to where it lives from then on: from those who publish, and from the node where it
//! was. A publication has a number, so the second one is known, however often each of its subscriptions wants it. What a node knows
//! of that goes along when the session moves on, for it may come back to one that still has what came there meanwhile; and so does what
//! the node has [heard](crate::heard), for that may come to the next one later.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use gatemq_types::QoS;

use super::queue::{Queued, Waiting};
use super::stored::Stored;
use super::{Closed, Delivered, Message, Output, Session, Spare, qos_of};
use crate::remote::Interest;
use crate::{Past, Publication};

/// Publications that are remembered of a session that moves in; beyond that the second one is not known.
const REMEMBERED_MAX: usize = 100_000;

/// Ways of one publication that are told apart.
const WAYS_MAX: usize = 64;

/// By which way a message comes: 0 is by a subscription, another number one of the times that the session was at a node: what is there
/// follows it once.
pub type Way = u32;

/// By a subscription.
pub(super) const DIRECT: Way = 0;

/// How often each publication was taken, and came by each way.
#[derive(Default)]
pub(super) struct Arriving {
    came: HashMap<u64, Copies>,
    /// Something has followed it since it was last asked.
    is_followed: bool,
}

#[derive(Default)]
struct Copies {
    taken: u32,
    by_way: Vec<(Way, u32)>,
}

impl Arriving {
    /// So often they were taken.
    fn knows(&mut self, came: impl IntoIterator<Item = Came>) {
        let copies = |(publication, taken)| (publication, Copies { taken, by_way: Vec::new() });
        self.came.extend(came.into_iter().map(copies));
    }

    /// Whether a copy is to be taken: only when more came by this way than were taken at all.
    fn is_new(&mut self, publication: u64, way: Way) -> bool {
        if !self.came.contains_key(&publication) && self.came.len() >= REMEMBERED_MAX {
            return true;
        }
        let Copies { taken, by_way } = self.came.entry(publication).or_default();
        // Another node says which way it is. So often it has come before.
        if by_way.len() >= WAYS_MAX && !by_way.iter().any(|(known, _)| *known == way) {
            return false;
        }
        let at = by_way.iter().position(|(known, _)| *known == way).unwrap_or_else(|| {
            by_way.push((way, 0));
            by_way.len() - 1
        });
        by_way[at].1 += 1;
        let is_new = by_way[at].1 > *taken;
        *taken += u32::from(is_new);
        is_new
    }
}

impl Output {
    /// See [`Session::late`].
    fn late(&self, seq: u64) -> Vec<Late> {
        let newest = self.queue.iter().flat_map(|queue| queue.newest());
        let messages = newest.filter_map(|waiting| match waiting {
            Waiting::Message(queued) if queued.seq != 0 => Some(queued),
            _ => None,
        });
        let late = messages.take_while(|queued| queued.seq > seq).map(|queued| {
            let Queued { seq, first, identifier, ref message, .. } = *queued;
            Late { seq, first, identifier, message: message.clone() }
        });
        let mut late: Vec<_> = late.collect();
        late.reverse();
        late
    }

    /// Whether a message that comes by a subscription was routed when the session was where that brought it to it.
    pub(super) fn was_heard(&mut self, publication: Publication, first: u8) -> bool {
        qos_of(first) != QoS::AtMostOnce && self.stored.as_mut().is_some_and(|stored| stored.past.knows(publication))
    }

    pub(super) fn is_new(&mut self, queued: &Queued, way: Way) -> bool {
        let publication = queued.message.publication();
        let arriving = self.stored.as_mut().and_then(|stored| stored.arriving.as_mut());
        match arriving.filter(|_| publication != 0 && qos_of(queued.first) != QoS::AtMostOnce) {
            Some(arriving) => arriving.is_new(publication, way),
            None => true,
        }
    }
}

/// How often a publication was taken by a session.
pub type Came = (u64, u32);

/// Where the state of a session that moves ends, and what the next node is to know of what it has.
#[derive(Clone, Debug, Default)]
pub struct Cut {
    /// Number of the last message that it got at QoS 1 or 2.
    pub last_seq: u64,
    /// What came lately, and may come once more.
    pub came: Vec<Came>,
    /// Where it was before.
    pub past: Past,
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
    /// It moves in: from now on what comes by both ways is taken once, until [`Self::has_moved_in`]. `came`: what the nodes knew of
    /// that from which it comes.
    pub(crate) fn moves_in(&self, came: &[Came]) {
        if let Some(stored) = Stored::there(&mut self.output.lock().stored) {
            stored.arriving.get_or_insert_default().knows(came.iter().copied());
        }
    }

    /// Whether it has come from another node, at some time.
    pub fn has_moved(&self) -> bool {
        self.output.lock().stored.as_ref().is_some_and(|stored| !stored.past.nodes().is_empty())
    }

    /// The node was started again: of what came for it by several ways it knows what waits, until [`Self::has_moved_in`]; so many
    /// publications at most. How many these are.
    pub fn knows_what_waits(&self, known_max: usize) -> usize {
        let mut output = self.output.lock();
        let mut came: HashMap<u64, u32> = HashMap::new();
        for late in output.late(0).into_iter().filter(|late| late.message.publication() != 0).take(known_max) {
            *came.entry(late.message.publication()).or_default() += 1;
        }
        let known = came.len();
        if let Some(stored) = Stored::there(&mut output.stored) {
            stored.arriving.get_or_insert_default().knows(came);
        }
        known
    }

    /// It moves out: what it got up to now, and its subscriptions, are its state. What [this node has heard](Past::leaves) comes to that later.
    pub fn moves_out(&self) -> Cut {
        let output = self.output.lock();
        let Some(stored) = &output.stored else { return Cut::default() };
        let came = stored.arriving.iter().flat_map(|arriving| &arriving.came);
        let came = came.map(|(publication, copies)| (*publication, copies.taken)).collect();
        Cut { last_seq: stored.last_seq, came, past: stored.past.clone() }
    }

    /// How many publications it knows that came lately and may come once more.
    pub fn came(&self) -> usize {
        let output = self.output.lock();
        output.stored.as_ref().and_then(|stored| stored.arriving.as_ref()).map_or(0, |arriving| arriving.came.len())
    }

    /// Whether nothing comes for it any more: it is another node's, or nobody's.
    pub fn has_ended(&self) -> bool {
        !self.output.lock().open
    }

    /// A while after it moved in: nothing comes any more from where it was, unless something has come since this was last asked. Whether
    /// that is so, or it has ended.
    pub fn has_moved_in(&self) -> bool {
        let mut output = self.output.lock();
        let Some(stored) = Stored::there(&mut output.stored) else { return true };
        if stored.arriving.as_mut().is_some_and(|arriving| std::mem::take(&mut arriving.is_followed)) {
            return false;
        }
        stored.arriving = None;
        true
    }

    /// Takes a message from where it was: as a subscription of its would, if none did.
    pub(crate) fn take_late(self: &Arc<Self>, way: Way, late: Late, spare: &mut Spare) -> Delivered {
        let Late { first, identifier, message, .. } = late;
        let queued = Queued::new(first, identifier, message, None);
        let mut output = self.output.lock();
        if !output.open {
            return Delivered::Closed;
        }
        if let Some(arriving) = output.stored.as_mut().and_then(|stored| stored.arriving.as_mut()) {
            arriving.is_followed = true;
        }
        match output.is_new(&queued, way) {
            true => output.enqueue_new(self, queued, spare),
            false => Delivered::Quiet,
        }
    }

    /// A message from where it was that its client may not have.
    pub(crate) fn deny_late(&self) -> Delivered {
        let mut output = self.output.lock();
        if !output.open {
            // Its subscriptions are gone for that.
            return Delivered::Closed;
        }
        output.count_denied(1);
        Delivered::Dropped
    }

    /// What came for it at QoS 1 and 2 after the message with the number `seq`, and waits. Costs what came since.
    pub fn late(&self, seq: u64) -> Vec<Late> {
        self.output.lock().late(seq)
    }

    /// Ends it, as [`Self::close`], and what [`Self::late`] would return with that: nothing comes between.
    pub(crate) fn close_moved(&self, seq: u64) -> (Closed, Vec<Late>) {
        let old = self.end();
        let late = old.late(seq);
        (old.close(), late)
    }

    /// It lives on another node, to which others are to send from now on what it has subscribed: it is no interest of this node any more.
    /// What comes all the same it gets, until it is [forgotten](crate::Sessions::forget). What others are to be told, once. Shared
    /// subscriptions stay as they are.
    pub fn withdraws(self: &Arc<Self>) -> Vec<Interest> {
        if self.withdrawn.swap(true, Ordering::AcqRel) {
            return Vec::new();
        }
        let (tenant, durable, places) = (self.key().tenant(), self.number() != 0, self.places());
        let tree = tenant.tree.read();
        let filters = places.into_iter().map(|place| tree.filter(place));
        let plain = filters.filter(|filter| !filter.starts_with('$'));
        plain.map(|filter| Interest { tenant: tenant.clone(), filter, added: false, durable }).collect()
    }

    /// Whether it lives on another node.
    pub(crate) fn lives_elsewhere(&self) -> bool {
        self.withdrawn.load(Ordering::Acquire)
    }

    /// Whether the others know already that a subscription of it is no interest of this node.
    pub(crate) fn has_withdrawn(&self, filter: &str) -> bool {
        self.lives_elsewhere() && !filter.starts_with('$')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards a move against losing and doubling: whichever way is first, and whichever nodes the session passed, each copy is taken
    /// once.
    #[test]
    fn what_comes_by_several_ways_is_taken_once() {
        for (ways, taken) in [
            (&[DIRECT, 1][..], 1),
            (&[1, DIRECT], 1),
            (&[1, 2], 1),
            (&[1, 2, DIRECT, 1], 2),
            (&[DIRECT, DIRECT, 1, 1], 2),
            (&[1, DIRECT, 1, DIRECT], 2),
            (&[DIRECT, DIRECT, 1], 2),
            (&[1, 1, DIRECT], 2),
        ] {
            let mut arriving = Arriving::default();
            assert_eq!(ways.iter().filter(|way| arriving.is_new(7, **way)).count(), taken, "{ways:?}");
            assert!(arriving.is_new(8, DIRECT));
        }
        // A node that invents ways has it taken once for each that is told apart, at most as often as one way says.
        let mut arriving = Arriving::default();
        assert_eq!((1..10_000).filter(|way| arriving.is_new(7, *way)).count(), 1);
        assert_eq!(arriving.came[&7].by_way.len(), WAYS_MAX);
        // At the next node, where one copy came before it did.
        let mut arriving = Arriving::default();
        arriving.came.insert(7, Copies { taken: 1, by_way: Vec::new() });
        assert!(!arriving.is_new(7, DIRECT) && !arriving.is_new(7, 1) && arriving.is_new(7, DIRECT));
    }
}
