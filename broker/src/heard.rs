//! Up to which publication of each worker of the cluster a node has been told: a version vector (Parker et al., 1983).
//!
//! A worker numbers what it publishes and sends it to other nodes in that order, so whoever has heard one of its publications knows that
//! all before it were routed by then. A session that moves takes that along: what was routed before it went came for it where it was, or
//! follows it from there. If such a publication comes to its new place by a subscription too, because it was kept for that node or the way
//! there is slower, it is no new one: it was for others there.
//!
//! But not where the session has been before: there it may be for the session, and kept since then.

/// Lower bits of the number of a publication, which its worker counts; the others say which worker and process of its node that is.
pub const COUNTED_BITS: u32 = 40;

/// Workers that are told apart: those of all nodes, and of their runs. Beyond that a node begins anew to listen.
const WORKERS_MAX: usize = 1024;
/// How long it is remembered what was heard of a worker, in milliseconds; at most twice as long. Its node may have ended since.
const HEARD_FOR_MS: u64 = 3_600_000;

/// Which publication of a cluster a message is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Publication {
    /// Where it was published: a hash of the node's name. What tells workers of a node apart in its numbers are 24 bits of another hash.
    pub node: u32,
    /// Its number; 0: it has none.
    pub number: u64,
}

impl Publication {
    /// One that has no number.
    pub const NONE: Publication = Publication { node: 0, number: 0 };

    fn worker(self) -> (u32, u64) {
        (self.node, self.number >> COUNTED_BITS)
    }
}

/// The last publication of each worker, sorted; see the module.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Heard(Vec<Publication>);

impl Extend<Publication> for Heard {
    /// In any order.
    fn extend<I: IntoIterator<Item = Publication>>(&mut self, publications: I) {
        publications.into_iter().for_each(|publication| self.hear(publication));
    }
}

impl Heard {
    /// That publication, and all before it, have been routed.
    pub fn hear(&mut self, publication: Publication) {
        if publication.number == 0 {
            return;
        }
        match self.place(publication) {
            Ok(at) => self.0[at].number = self.0[at].number.max(publication.number),
            Err(_) if self.0.len() >= WORKERS_MAX => self.0 = vec![publication],
            Err(at) => self.0.insert(at, publication),
        }
    }

    /// The last of each worker.
    pub fn last(&self) -> impl Iterator<Item = Publication> {
        self.0.iter().copied()
    }

    /// Whether that publication was routed by then. If it was not, it is the first of its worker: from there on all are new.
    pub(crate) fn knows(&mut self, publication: Publication) -> bool {
        let Ok(at) = self.place(publication) else { return false };
        let known = publication.number <= self.0[at].number;
        if !known {
            self.0.remove(at);
        }
        known
    }

    /// Where the last publication of its worker is, or would be.
    fn place(&self, publication: Publication) -> Result<usize, usize> {
        self.0.binary_search_by_key(&publication.worker(), |last| last.worker())
    }
}

/// What a worker hears.
#[derive(Debug, Default)]
pub struct Hearing {
    lately: Heard,
    before: Heard,
    since_ms: u64,
}

impl Hearing {
    /// A publication came. `now_ms`: milliseconds since 1970.
    pub fn hear(&mut self, publication: Publication, now_ms: u64) {
        if now_ms.saturating_sub(self.since_ms) >= HEARD_FOR_MS {
            (self.before, self.since_ms) = (std::mem::take(&mut self.lately), now_ms);
        }
        self.lately.hear(publication);
    }

    /// What came in the last hour or two.
    pub fn heard(&self) -> Heard {
        let mut heard = self.before.clone();
        heard.extend(self.lately.last());
        heard
    }
}

/// Nodes that a session remembers. One that was at more is taken to have been everywhere.
const NODES_MAX: usize = 16;

/// What a session that moves takes along of where it was.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Past {
    nodes: Vec<u32>,
    came_ms: u64,
    heard: Heard,
}

impl Past {
    /// As the other methods said it.
    pub fn new(nodes: Vec<u32>, came_ms: u64, heard: Heard) -> Self {
        Past { nodes, came_ms, heard }
    }

    /// Where it was.
    pub fn nodes(&self) -> &[u32] {
        &self.nodes
    }

    /// When it came to where it is, in milliseconds since 1970.
    pub fn came_ms(&self) -> u64 {
        self.came_ms
    }

    /// What was routed by the time when it went.
    pub fn heard(&self) -> &Heard {
        &self.heard
    }

    /// It leaves that node. What that has heard is said when its state is cut or later, but before it is anywhere else.
    pub fn leaves(&mut self, node: u32, now_ms: u64, heard: impl IntoIterator<Item = Publication>) {
        if now_ms.saturating_sub(self.came_ms) >= HEARD_FOR_MS {
            // Of whoever publishes still this node has heard later ones.
            self.heard = Heard::default();
        }
        if !self.nodes.contains(&node) && self.nodes.len() <= NODES_MAX {
            self.nodes.push(node);
        }
        self.heard.extend(heard);
    }

    /// It comes to that node: from now on everything is new to it, if it has been there before.
    pub fn comes(&mut self, node: u32, now_ms: u64) {
        self.came_ms = now_ms;
        if self.nodes.len() > NODES_MAX || self.nodes.contains(&node) {
            self.heard = Heard::default();
        }
    }

    /// See [`Heard::knows`].
    pub(crate) fn knows(&mut self, publication: Publication) -> bool {
        self.heard.knows(publication)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(node: u32, worker: u64, count: u64) -> Publication {
        Publication { node, number: worker << COUNTED_BITS | count }
    }

    fn heard(publications: impl IntoIterator<Item = Publication>) -> Heard {
        let mut heard = Heard::default();
        heard.extend(publications);
        heard
    }

    /// Guards a move against doubling what was routed before it, and against losing what was routed after it.
    #[test]
    fn what_was_routed_before_is_known() {
        let mut heard = heard([number(1, 2, 7), number(1, 1, 5), number(1, 1, 3), Publication::NONE, number(2, 1, 1)]);
        assert_eq!(heard.0, [number(1, 1, 5), number(1, 2, 7), number(2, 1, 1)]);
        assert!(heard.knows(number(1, 1, 4)) && heard.knows(number(1, 1, 5)) && heard.knows(number(1, 2, 1)));
        assert!(!heard.knows(number(1, 3, 1)), "of another worker");
        assert!(!heard.knows(number(3, 1, 1)), "of another node");
        assert!(!heard.knows(number(1, 1, 6)) && heard.knows(number(1, 2, 7)));
        assert_eq!(heard.0, [number(1, 2, 7), number(2, 1, 1)], "it is not kept longer than it is of use");
    }

    /// Guards a move against losing what is kept for a node where the session was before.
    #[test]
    fn where_it_was_before_everything_is_new() {
        let past = |nodes: std::ops::Range<u32>| {
            let mut past = Past::default();
            nodes.for_each(|node| past.leaves(node, 0, [number(1, 1, 5)]));
            past
        };
        let knows = |mut past: Past, at: u32| {
            past.comes(at, 0);
            past.knows(number(1, 1, 5))
        };
        assert!(knows(past(1..3), 3) && !knows(past(1..3), 1) && !knows(past(1..3), 2));
        assert_eq!((past(1..3).nodes(), past(0..99).nodes().len()), (&[1, 2][..], NODES_MAX + 1));
        assert!(knows(past(0..16), 99) && !knows(past(0..17), 99), "it may have been anywhere");
        for (stays_ms, known) in [(HEARD_FOR_MS - 1, true), (HEARD_FOR_MS, false)] {
            let mut past = past(1..2);
            past.comes(2, 1);
            past.leaves(2, 1 + stays_ms, [number(1, 2, 1)]);
            assert_eq!([past.knows(number(1, 1, 5)), past.knows(number(1, 2, 1))], [known, true]);
        }
    }

    /// Guards memory: nodes that start again and again, or say that they did.
    #[test]
    fn workers_are_bounded() {
        let workers = |count| (1..=count as u64).map(|worker| number(1, worker, 1));
        let mut heard = heard(workers(WORKERS_MAX));
        assert_eq!(heard.0.len(), WORKERS_MAX);
        heard.extend(workers(2 * WORKERS_MAX + 1));
        assert!(heard.0.len() <= WORKERS_MAX);
        let mut hearing = Hearing::default();
        for (now_ms, workers) in [(1, 1), (HEARD_FOR_MS - 1, 2), (HEARD_FOR_MS, 3), (2 * HEARD_FOR_MS, 2)] {
            hearing.hear(number(1, now_ms, 1), now_ms);
            assert_eq!(hearing.heard().0.len(), workers, "{now_ms}");
        }
    }
}
