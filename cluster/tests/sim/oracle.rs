//! What must hold, whatever happens.

use std::collections::{BTreeMap, BTreeSet};

use super::host::{Message, Node, Packet, Session, newer};
use super::world::World;
use crate::core::{Epoch, Forward, Mark, NodeName, PART_BYTES, Previous, SessionKey, Set};

/// One life of a session.
pub(super) struct Life {
    pub(super) key: SessionKey,
    /// Its client ended it.
    pub(super) ended: bool,
    /// Since when its latest copy has it, also if that one is over.
    latest: Option<Epoch>,
    /// A crash or a cut in a hand-over left two of it that serve: one is lost with what only it got.
    pub(super) forked: bool,
}

/// See the module.
pub(super) struct Oracle {
    pub(super) seed: u64,
    pub(super) lives: Vec<Life>,
    newest: BTreeMap<SessionKey, u64>,
    /// Which lives must get a message.
    pub(super) expected: Vec<(Message, u64)>,
    pub(super) acknowledged: BTreeSet<Message>,
    delivered: BTreeMap<(u64, Message), u32>,
    pub(super) packets: BTreeMap<(usize, Forward), (Packet, bool, u64)>,
    written: BTreeMap<(Set, Box<[u8]>), Mark>,
    pub(super) broken: Option<String>,
    pub(super) grants: u32,
    pub(super) takeovers: u32,
    pub(super) refusals: u32,
    pub(super) hints: u32,
}

impl Oracle {
    pub(super) fn new(seed: u64) -> Self {
        Oracle {
            seed,
            lives: Vec::new(),
            newest: BTreeMap::new(),
            expected: Vec::new(),
            acknowledged: BTreeSet::new(),
            delivered: BTreeMap::new(),
            packets: BTreeMap::new(),
            written: BTreeMap::new(),
            broken: None,
            grants: 0,
            takeovers: 0,
            refusals: 0,
            hints: 0,
        }
    }

    pub(super) fn fail(&mut self, what: String) {
        self.broken.get_or_insert(what);
    }

    pub(super) fn message(&mut self, bytes: usize) {
        if bytes > PART_BYTES + 4_096 {
            self.fail(format!("a message of {bytes} bytes"));
        }
    }

    /// Promise 4: nobody of another environment is a member, ever.
    pub(super) fn check_members(&mut self, node: usize, nodes: &[Node]) {
        let Some(process) = &nodes[node].process else { return };
        let foreign = process.core.members().find(|(member, _)| member.environment != nodes[node].environment);
        if let Some((member, _)) = foreign {
            self.fail(format!("{} is a member of {}", member.node, nodes[node].name));
        }
    }

    pub(super) fn new_life(&mut self, key: &SessionKey) -> u64 {
        let life = self.lives.len() as u64;
        self.lives.push(Life { key: key.clone(), ended: false, latest: None, forked: false });
        self.newest.insert(key.clone(), life);
        life
    }

    /// A session goes on.
    pub(super) fn is_newest(&mut self, key: &SessionKey, life: u64) {
        self.newest.insert(key.clone(), life);
    }

    pub(super) fn newest(&self, key: &SessionKey) -> Option<u64> {
        self.newest.get(key).copied()
    }

    /// A message reached the client. Never twice, unless a crash made two of its session.
    pub(super) fn delivered(&mut self, life: u64, message: Message) {
        let count = self.delivered.entry((life, message)).or_default();
        *count += 1;
        let Life { key, ended, forked, .. } = &self.lives[life as usize];
        if *count > 1 && !forked && !ended {
            self.broken.get_or_insert(format!("message {message} came twice to {key:?}, life {life}"));
        }
    }

    /// Notes whether a life has a copy that serves though there is a later one, or was: that one may be about to be given away
    /// itself, or have lost against another life while its node could not say that it had taken it. Who gave the state away then
    /// has to serve, and cannot know what the other one delivered.
    pub(super) fn check_forks(&mut self, key: &SessionKey, nodes: &[Node]) {
        let copies = nodes.iter().filter_map(|node| Some((node.disk.sessions.get(key)?, node.process.is_none())));
        let copies: Vec<_> = copies.filter(|(copy, _)| copy.moved_to.is_none()).collect();
        for (copy, _) in &copies {
            let latest = &mut self.lives[copy.life as usize].latest;
            *latest = latest.take().max(Some(copy.epoch.clone()));
        }
        for (copy, is_down) in copies {
            // What a crashed node was about to give away is its own again when it comes back.
            let serves = copy.tail.is_none() || is_down;
            let life = &mut self.lives[copy.life as usize];
            life.forked |= serves && life.latest.as_ref().is_some_and(|latest| *latest > copy.epoch);
        }
    }

    /// A copy gives way to a later life of its session. If there was a later copy of its own life, whose node could not be asked
    /// whether it has it, that one may come back: without what only this one got.
    pub(super) fn lost_against(&mut self, copy: &Session) {
        let life = &mut self.lives[copy.life as usize];
        let is_in_doubt = copy.tail.is_some() && copy.moved_to.is_none();
        life.forked |= is_in_doubt && life.latest.as_ref().is_some_and(|latest| *latest > copy.epoch);
    }

    pub(super) fn written(&mut self, set: Set, key: &[u8], mark: &Mark) {
        let last = self.written.entry((set, key.into())).or_insert_with(|| mark.clone());
        if newer(mark, last) {
            *last = mark.clone();
        }
    }
}

impl World {
    /// A session was granted as one that nobody else has: then nobody does whom both know to live.
    pub(super) fn check_grant(&mut self, node: usize, key: &SessionKey, previous: &Previous) {
        self.oracle.grants += 1;
        if let Previous::Taken { .. } = previous {
            self.oracle.takeovers += 1;
            return;
        }
        let Some(newest) = self.oracle.newest(key).filter(|life| !self.oracle.lives[*life as usize].ended) else {
            return;
        };
        let is_newest = |session: &Session| session.life == newest && session.moved_to.is_none();
        let ours = self.nodes[node].disk.sessions.get(key).filter(|session| session.moved_to.is_none());
        let ours = ours.map(|session| (is_newest(session), session.epoch.clone()));
        if ours.as_ref().is_some_and(|(newest, _)| *newest) {
            return;
        }
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            // One that went on here is not new.
            let is_later = |session: &Session| ours.as_ref().is_none_or(|(_, epoch)| *epoch < session.epoch);
            let has = self.nodes[other].disk.sessions.get(key).is_some_and(|s| is_newest(s) && is_later(s));
            let owns = self.nodes[other].process.as_ref().is_some_and(|process| process.core.epoch(key).is_some());
            if has && owns && self.knows(node, other) && self.knows(other, node) {
                let (a, b) = (&self.nodes[node].name, &self.nodes[other].name);
                self.oracle.fail(format!("{a} has a new session {key:?} though {b}, which lives, owns it"));
            }
        }
    }

    fn knows(&self, node: usize, other: usize) -> bool {
        let name = &self.nodes[other].name;
        let boot = self.nodes[other].process.as_ref().map(|process| process.boot);
        let Some(process) = &self.nodes[node].process else { return false };
        process.core.members().any(|(member, _)| member.node == *name && Some(member.boot) == boot)
    }

    /// Promise 5: what is not waited for any more is stored there, or as a hint here.
    pub(super) fn check_accepted(&mut self, node: usize, to: usize, forward: Option<Forward>, durable: bool) {
        if !durable {
            return;
        }
        let is_kept = forward.is_some_and(|forward| {
            let records = &self.nodes[to].disk.records;
            let record = records.get(&(node, forward.boot));
            let there = record.is_some_and(|(low, set)| forward.seq < *low || set.contains(&forward.seq));
            there || self.nodes[node].disk.hints.contains_key(&(to, forward))
        });
        if !is_kept {
            let (a, b) = (&self.nodes[node].name, &self.nodes[to].name);
            self.oracle.fail(format!("{a} accepted {forward:?} for {b}, which is neither there nor a hint"));
        }
    }

    /// What must hold when all is well again.
    pub(super) fn check_end(&mut self) {
        if self.oracle.broken.is_none()
            && let Err(what) = self.end()
        {
            self.oracle.fail(what);
        }
    }

    fn end(&self) -> Result<(), String> {
        for node in self.ours() {
            self.end_of_members(node)?;
            self.end_of_routes(node)?;
            self.end_of_sets(node)?;
            let Node { name, disk, .. } = &self.nodes[node];
            if !disk.hints.is_empty() || !disk.outbox.is_empty() {
                return Err(format!("{name} still has {:?} {:?}", disk.hints, disk.outbox));
            }
        }
        for key in self.oracle.newest.keys() {
            self.end_of_session(key)?;
        }
        self.end_of_messages()
    }

    fn end_of_members(&self, node: usize) -> Result<(), String> {
        let Node { name, process, .. } = &self.nodes[node];
        let Some(process) = process else { return Err(format!("{name} is down")) };
        let live = process.core.members().filter(|(_, live)| *live).count();
        match (live == self.ours().len() - 1, process.ready) {
            (true, true) => Ok(()),
            state => Err(format!("{name} knows {live} members, ready: {state:?}")),
        }
    }

    /// Every route is everywhere.
    fn end_of_routes(&self, node: usize) -> Result<(), String> {
        let Some(process) = &self.nodes[node].process else { return Ok(()) };
        for other in self.ours().into_iter().filter(|other| *other != node) {
            let Some(theirs) = &self.nodes[other].process else { continue };
            let wanted = theirs.wanted();
            let routes: BTreeMap<_, _> = process
                .routes
                .iter()
                .filter(|((of, _), _)| *of == other)
                .map(|((_, key), interest)| (key.clone(), *interest))
                .collect();
            if wanted != routes {
                let (a, b) = (&self.nodes[node].name, &self.nodes[other].name);
                return Err(format!("{a} routes to {b} by {routes:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    /// Every set has what was written last, and nothing that was removed last.
    fn end_of_sets(&self, node: usize) -> Result<(), String> {
        let Node { name, disk, .. } = &self.nodes[node];
        for ((set, key), mark) in &self.oracle.written {
            let here = disk.sets.get(&(*set, key.clone())).map(|entry| &entry.mark).filter(|mark| !mark.removed);
            let wanted = (!mark.removed).then_some(mark);
            if here != wanted {
                return Err(format!("{name} has {here:?} of {set:?} {key:?}, not {wanted:?}"));
            }
        }
        Ok(())
    }

    /// One node has the session, as the last one to whom it was granted.
    fn end_of_session(&self, key: &SessionKey) -> Result<(), String> {
        let owns = |node: &usize| {
            let Node { disk, process, .. } = &self.nodes[*node];
            let owned = process.as_ref().and_then(|process| process.core.epoch(key)).is_some();
            let stored = disk.sessions.get(key).is_some_and(|session| session.moved_to.is_none());
            (owned || stored).then_some((owned, stored))
        };
        let owners: Vec<_> = self.ours().into_iter().filter(|node| owns(node).is_some()).collect();
        let names: Vec<&NodeName> = owners.iter().map(|node| &self.nodes[*node].name).collect();
        let life = self.oracle.newest(key).unwrap_or_default();
        let ended = self.oracle.lives[life as usize].ended;
        match owners.as_slice() {
            [] if ended => Ok(()),
            [one] if owns(one) == Some((true, true)) => Ok(()),
            [one] => Err(format!("{names:?} has {key:?} by half: {:?}", owns(one))),
            [] => Err(format!("nobody has {key:?}")),
            _ => Err(format!("{names:?} all have {key:?}")),
        }
    }

    /// Nothing that was acknowledged is lost to a session that is still there.
    fn end_of_messages(&self) -> Result<(), String> {
        for (message, life) in &self.oracle.expected {
            let Life { key, ended, forked, .. } = &self.oracle.lives[*life as usize];
            if *ended || *forked || !self.oracle.acknowledged.contains(message) {
                continue;
            }
            let copies = self.nodes.iter().filter_map(|node| node.disk.sessions.get(key));
            let mut copies = copies.filter(|session| session.life == *life && session.moved_to.is_none()).peekable();
            // It lost against another life, in a partition.
            if copies.peek().is_none() {
                continue;
            }
            let has = self.oracle.delivered.contains_key(&(*life, *message));
            if !has && !copies.any(|session| session.queue.contains(message)) {
                return Err(format!("message {message} was acknowledged and is lost to {key:?}, life {life}"));
            }
        }
        Ok(())
    }
}
