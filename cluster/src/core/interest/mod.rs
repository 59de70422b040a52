//! Interest: which filters each node wants. Every node is the only writer of its own set, so sets never conflict.

mod own;
mod theirs;

use std::collections::{BTreeMap, BTreeSet};

use xxhash_rust::xxh3::xxh3_64;

use super::action::{Action, Event};
use super::control::Control;
use super::member::Boot;
use super::members::Members;
use super::name::NodeName;
use super::words::{FilterKey, Interest, InterestChange};
use own::Own;
use theirs::Theirs;

/// Questions of one node that wait for sets; more are not heard, and asked again.
const WANTED_MAX: usize = 10_000;
/// How often it is looked whether they can be answered, and how many of them at most in each millisecond.
const LOOK_MS: u64 = 10;
const LOOKED_AT_PER_MS: u64 = 100;

/// The interest of all nodes.
pub(crate) struct Interests {
    own: Own,
    theirs: BTreeMap<NodeName, Theirs>,
    /// Routes that are gone, as far as we know; taken away once we know of all live members. Until then what they were for may
    /// have moved to a member of which we do not know it yet.
    parting: BTreeSet<(NodeName, FilterKey)>,
    /// Who wants to know what was routed to it before, with its number for the answer; and by which of its sets, and to which node, is to
    /// be routed first.
    wanted: BTreeMap<NodeName, BTreeMap<u64, (u64, NodeName)>>,
    /// When it is looked next whether they can be answered.
    looks_ms: u64,
    /// Those that said goodbye: what they wanted others have, or nobody until they are back.
    left: BTreeSet<NodeName>,
    next_digest_ms: u64,
}

/// What an entry adds to the digest of its set, whatever the order.
fn digest_of(key: &FilterKey, interest: Interest) -> u64 {
    let mut bytes = Vec::with_capacity(key.bytes());
    bytes.extend_from_slice(key.tenant.as_bytes());
    // No byte of UTF-8.
    bytes.push(0xff);
    bytes.extend_from_slice(key.filter.as_bytes());
    bytes.push(0xff);
    bytes.push(u8::from(interest.durable));
    bytes.extend_from_slice(&interest.members.to_le_bytes());
    xxh3_64(&bytes)
}

impl Interests {
    pub(crate) fn new() -> Self {
        Interests {
            own: Own::default(),
            theirs: BTreeMap::new(),
            parting: BTreeSet::new(),
            wanted: BTreeMap::new(),
            looks_ms: 0,
            left: BTreeSet::new(),
            next_digest_ms: 0,
        }
    }

    /// Subscriptions of ours came or went.
    pub(crate) fn change(&mut self, changes: Vec<InterestChange>, members: &Members) {
        self.own.change(changes, members.now_ms.saturating_add(members.settings.delta_ms));
    }

    /// What persistent sessions of a node that is away had subscribed when we last ran.
    pub(crate) fn restored(&mut self, node: NodeName, keys: Vec<FilterKey>, out: &mut Vec<Action>) {
        // No process has this one: whichever comes, its set is another.
        let theirs = self.theirs.entry(node.clone()).or_insert_with(|| Theirs::new(Boot(0)));
        theirs.restored(&node, keys, out);
    }

    /// A member is there, perhaps again, perhaps as another process.
    pub(crate) fn up(&mut self, node: &NodeName, boot: Boot, out: &mut Vec<Action>) {
        let theirs = self.theirs.entry(node.clone()).or_insert_with(|| Theirs::new(boot));
        theirs.up(node, boot, out);
        self.left.remove(node);
    }

    /// What was under way to or from it may be lost.
    pub(crate) fn reset(&mut self, node: &NodeName) {
        self.own.forget_applied(node);
        if let Some(theirs) = self.theirs.get_mut(node) {
            theirs.doubt();
        }
    }

    /// Of a node that is away only the durable part is kept. One that left and has none is forgotten.
    pub(crate) fn lost(&mut self, node: &NodeName, left: bool, out: &mut Vec<Action>) {
        self.own.forget_applied(node);
        self.wanted.remove(node);
        if left {
            self.left.insert(node.clone());
        }
        if let Some(theirs) = self.theirs.get_mut(node) {
            theirs.away(node, out);
        }
        if left && self.theirs.get(node).is_some_and(|theirs| theirs.len() == 0) {
            self.theirs.remove(node);
        }
        self.part(|parting| parting == node, out);
    }

    /// Tells a member what our set is now.
    pub(crate) fn tell(&mut self, to: &NodeName, members: &Members, out: &mut Vec<Action>) {
        self.own.flush(members, out);
        out.push(Action::Send { to: to.clone(), control: self.own.digest() });
    }

    /// A message about somebody's set.
    pub(crate) fn received(&mut self, from: &NodeName, control: Control, members: &Members, out: &mut Vec<Action>) {
        let send = |control| Action::Send { to: from.clone(), control };
        match control {
            Control::InterestWanted { after } => {
                self.own.flush(members, out);
                out.push(send(self.own.part(after)));
            }
            Control::InterestApplied { seq } => self.own.applied(from, seq),
            Control::RoutedWanted { request, seq, to } => {
                let wanted = self.wanted.entry(from.clone()).or_default();
                if wanted.len() < WANTED_MAX {
                    wanted.insert(request, (seq, to));
                }
            }
            other => {
                let Some(theirs) = self.theirs.get_mut(from) else { return };
                let was_synced = theirs.is_synced();
                let mut changes = Vec::new();
                let answer = theirs.received(from, other, members.now_ms, &mut changes);
                let synced = (theirs.is_synced() && !was_synced).then(|| theirs.len());
                self.change_routes(changes, members, out);
                out.extend(answer.map(send));
                let event = |filters| Action::Event(Event::RoutesSynced { node: from.clone(), filters });
                out.extend(synced.map(event));
            }
        }
    }

    /// Changes routes; those that go wait while somebody's are not known.
    fn change_routes(&mut self, changes: Vec<Action>, members: &Members, out: &mut Vec<Action>) {
        let lacks = members.lacks_routes || self.lacking(members).is_some();
        for change in changes {
            match change {
                Action::Route { node, key, interest: None } if lacks => drop(self.parting.insert((node, key))),
                other => out.push(other),
            }
        }
        if !lacks {
            self.part(|_| true, out);
        }
    }

    /// Takes parting routes away that did not come back.
    fn part(&mut self, which: impl Fn(&NodeName) -> bool, out: &mut Vec<Action>) {
        for (node, key) in std::mem::take(&mut self.parting) {
            if !which(&node) {
                self.parting.insert((node, key));
            } else if !self.theirs.get(&node).is_some_and(|theirs| theirs.has(&key)) {
                out.push(Action::Route { node, key, interest: None });
            }
        }
    }

    /// Those that wait for it are told what was routed to them, once all that they do not want any more is out of the routes, and all that
    /// the other node wants is in them.
    fn say_routed(&mut self, members: &Members, out: &mut Vec<Action>) {
        if self.wanted.is_empty() || members.now_ms < self.looks_ms {
            return;
        }
        let lacks = self.lacking(members).is_some();
        let (theirs, parting, left) = (&self.theirs, &self.parting, &self.left);
        let is_new = |to: &NodeName| {
            let is_synced = |theirs: &Theirs| theirs.is_synced() && members.is_live(to);
            to == members.own() || left.contains(to) && !lacks || theirs.get(to).is_some_and(is_synced)
        };
        self.wanted.retain(|node, wanted| {
            let of_node = theirs.get(node).filter(|_| !parting.iter().any(|(parting, _)| parting == node));
            wanted.retain(|request, (seq, to)| {
                let says = of_node.is_some_and(|theirs| theirs.is_applied(*seq)) && is_new(to);
                if says {
                    out.push(Action::Barrier { node: node.clone(), request: *request });
                }
                !says
            });
            !wanted.is_empty()
        });
        let waiting: usize = self.wanted.values().map(BTreeMap::len).sum();
        self.looks_ms = members.now_ms + LOOK_MS + waiting as u64 / LOOKED_AT_PER_MS;
    }

    /// The number of our set with everything that was told so far, once it travels.
    pub(crate) fn flush(&mut self, members: &Members, out: &mut Vec<Action>) -> u64 {
        self.own.flush(members, out)
    }

    /// Whether every member routes by our set of this number.
    pub(crate) fn is_applied(&self, seq: u64, members: &Members) -> bool {
        members.peers().all(|(node, _)| self.own.applied_by(node) >= seq)
    }

    /// A live member whose routes are not here whole.
    pub(crate) fn lacking(&self, members: &Members) -> Option<NodeName> {
        let is_synced = |node: &NodeName| self.theirs.get(node).is_some_and(Theirs::is_synced);
        members.peers().find(|(node, peer)| peer.live && !is_synced(node)).map(|(node, _)| node.clone())
    }

    pub(crate) fn tick(&mut self, members: &Members, out: &mut Vec<Action>) {
        if members.now_ms >= self.own.due_ms() {
            self.own.flush(members, out);
        }
        if members.now_ms >= self.next_digest_ms {
            self.next_digest_ms = members.now_ms + members.settings.digest_ms;
            self.own.flush(members, out);
            members.tell_all(&self.own.digest(), out);
        }
        if !self.parting.is_empty() {
            self.change_routes(Vec::new(), members, out);
        }
        self.say_routed(members, out);
        for (node, _) in members.peers().filter(|(_, peer)| peer.live) {
            let Some(theirs) = self.theirs.get_mut(node) else { continue };
            let again = theirs.ask_again(members.now_ms, members.settings.ask_again_ms);
            out.extend(again.map(|control| Action::Send { to: node.clone(), control }));
        }
    }

    pub(crate) fn due_ms(&self, members: &Members) -> u64 {
        let asked = members.peers().filter_map(|(node, _)| self.theirs.get(node)?.asked_ms());
        let again = asked.map(|asked| asked + members.settings.ask_again_ms).min().unwrap_or(u64::MAX);
        let looks_ms = if self.wanted.is_empty() { u64::MAX } else { self.looks_ms };
        self.own.due_ms().min(self.next_digest_ms).min(again).min(looks_ms)
    }
}
