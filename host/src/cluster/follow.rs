//! What comes for a session after its state was given away: it follows the session to where that lives.
//!
//! Each message goes as a forward of its own, addressed to the session, soon after it has come; the store lets go of it here when the
//! other node has it or it is kept for that. So a node that ends meanwhile has what has not followed yet when it is back, and a value
//! beside the session says which messages these are.

use std::collections::BTreeSet;
use std::sync::Arc;

use gatemq_broker::Session;
use gatemq_broker::changes::SessionNumber;
use gatemq_cluster::core::{Epoch, Input, NodeName, SessionKey as Key};
use gatemq_store::{KeptValue, Op, Seq, SessionId};

use super::MARKS;
use super::content::{Content, way_from};
use super::driver::Driver;
use super::told::Told;
use crate::clock;
use crate::durable::EPOCH;

/// How often it is looked what has come, in milliseconds.
const LOOK_MS: u64 = 50;
/// How long nothing is sent after something could not be kept for another node, in milliseconds.
const REFUSED_MS: u64 = 1_000;
/// Begins the key of the value that says that a session's state was given away. No mark's key begins so.
pub(super) const GIVEN: &str = "g/";

/// A session that is being handed over, or was.
pub(super) struct Handing {
    pub(super) session: Arc<Session>,
    /// What came later is not in its state, and was not sent.
    pub(super) last_seq: u64,
    /// Where it lives; `None`: here, as far as is known.
    to: Option<NodeName>,
    /// Numbers of what was sent, and is not accepted.
    under_way: BTreeSet<u64>,
    /// What has come is the last.
    over: Option<(NodeName, Epoch)>,
}

impl Handing {
    pub(super) fn new(session: Arc<Session>, last_seq: u64) -> Self {
        Handing { session, last_seq, to: None, under_way: BTreeSet::new(), over: None }
    }

    /// It lives elsewhere.
    pub(super) fn has_moved(&self) -> bool {
        self.to.is_some()
    }
}

/// Where is kept that a session's state was given away.
pub(super) fn given_key(key: &Key) -> Box<str> {
    let Key { tenant, user, client_id } = key;
    format!("{GIVEN}{tenant}\0{user}\0{client_id}").into()
}

/// Keeps the number of the last message that is in a state which is given away.
pub(super) fn put_given(key: &Key, last_seq: u64) -> Op {
    // A number has bytes.
    let value = KeptValue { until_ms: 0, bytes: postcard::to_allocvec(&last_seq).unwrap_or_default().into() };
    Op::PutValue { owner: MARKS.into(), key: given_key(key), value }
}

impl Driver {
    /// A session is not handed over (any more): what was, if it had been.
    pub(super) fn no_more_handed(&mut self, key: &Key) -> Option<Handing> {
        let handing = self.handing.remove(key)?;
        self.ops.push(Op::DeleteValue { owner: MARKS.into(), key: given_key(key) });
        Some(handing)
    }

    /// Another one is in the place of what was left here of it.
    pub(super) fn has_come_back(&mut self, key: &Key, before: &Arc<Session>) {
        if self.handing.get(key).is_some_and(|handing| Arc::ptr_eq(&handing.session, before)) {
            self.no_more_handed(key);
        }
    }

    /// It lives elsewhere: what comes for it here goes there, and others are not to send here what is for it.
    pub(super) fn moved(&mut self, key: &Key, to: NodeName) {
        if let Some(handing) = self.handing.get_mut(key) {
            handing.to = Some(to);
            self.cluster.interests(handing.session.withdraws());
            self.follow(key);
        }
        self.cluster.inbox.tell(Told::Core(Input::Withdrawn { key: key.clone() }));
    }

    /// Nothing more comes for it here.
    pub(super) fn move_over(&mut self, key: Key, to: NodeName, epoch: Epoch) {
        match self.handing.get_mut(&key) {
            Some(handing) => handing.over = Some((to, epoch)),
            None => return self.cluster.inbox.tell(Told::Core(Input::Followed { key, to, epoch })),
        }
        self.follow(&key);
    }

    /// Looks at all that have moved, from time to time.
    pub(super) fn follow_all(&mut self) {
        let now_ms = clock::now_ms();
        if now_ms < self.follows_at_ms {
            return;
        }
        self.follows_at_ms = now_ms + LOOK_MS;
        let moved = self.handing.iter().filter(|(_, handing)| handing.has_moved());
        let moved: Vec<_> = moved.map(|(key, _)| key.clone()).collect();
        moved.iter().for_each(|key| self.follow(key));
    }

    /// When that is due, in milliseconds since 1970.
    pub(super) fn follows_at_ms(&self) -> u64 {
        if self.handing.values().any(Handing::has_moved) { self.follows_at_ms } else { u64::MAX }
    }

    /// Sends what has come for a session since the last time; if that was the last and all is accepted, the session is forgotten.
    fn follow(&mut self, key: &Key) {
        let Some(handing) = self.handing.get_mut(key) else { return };
        let Some(to) = handing.to.clone() else { return };
        let late = handing.session.late(handing.last_seq);
        handing.last_seq = late.last().map_or(handing.last_seq, |last| last.seq);
        handing.under_way.extend(late.iter().map(|late| late.seq));
        let way = way_from(&self.cluster.own, self.node.boot_ms, &handing.session);
        let told = late.into_iter().map(|late| Told::Follow {
            of: (key.clone(), handing.session.number(), late.seq),
            to: to.clone(),
            content: Content::late(&handing.session, late, way),
        });
        self.cluster.inbox.tell_all(told.collect::<Vec<_>>());
        self.end_move(key);
    }

    fn end_move(&mut self, key: &Key) {
        let is_over = |handing: &Handing| handing.over.is_some() && handing.under_way.is_empty();
        if !self.handing.get(key).is_some_and(is_over) {
            return;
        }
        if let Some(Handing { session, over: Some((to, epoch)), .. }) = self.no_more_handed(key) {
            self.node.sessions.take_out(&session);
            self.forget_session(session, None);
            self.cluster.inbox.tell(Told::Core(Input::Followed { key: key.clone(), to, epoch }));
        }
    }

    /// The other node has what followed a session, or it is kept for that; or neither can be, and it is sent once more.
    pub(super) fn has_followed(&mut self, (key, number, seq): &(Key, SessionNumber, u64), accepted: bool) {
        // Another one may have come and gone since.
        let Some(handing) = self.handing.get_mut(key).filter(|handing| handing.session.number() == *number) else {
            return;
        };
        handing.under_way.remove(seq);
        if !accepted {
            handing.last_seq = handing.last_seq.min(seq - 1);
            // There may be no room for a while.
            self.follows_at_ms = clock::now_ms() + REFUSED_MS;
            return;
        }
        self.ops.push(Op::AckOne { session: SessionId(*number), epoch: EPOCH, seq: Seq(*seq) });
        self.end_move(key);
    }
}
