//! What the host does for its core, and what its disk does.

use std::collections::BTreeSet;

use super::host::{For, Packet, Sent, Session, Waiting, topic_key};
use super::world::{Carry, Event, Work, World};
use crate::core::{Action, ClaimRefusal, Entry, Epoch, Event as Told, ForwardWanted, Input, Previous, SessionKey, Set};

impl World {
    pub(super) fn act(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, control } => {
                let to = self.index(&to);
                self.send(node, to, Carry::Control(control));
            }
            Action::Route { node: of, key, interest } => {
                let of = self.index(&of);
                if !self.is_ours(of) && self.is_ours(node) {
                    self.oracle.fail("a route of another environment".to_owned());
                }
                let Some(process) = &mut self.nodes[node].process else { return };
                match interest {
                    Some(interest) => drop(process.routes.insert((of, key), interest)),
                    None => drop(process.routes.remove(&(of, key))),
                }
            }
            Action::Ready(ready) => {
                if let Some(process) = &mut self.nodes[node].process {
                    process.ready = ready.is_ok();
                }
            }
            Action::Event(Told::PeerMisbehaved { node, what }) => self.oracle.fail(format!("{node}: {what}")),
            // What is under way may come all the same.
            Action::Abandon { .. } | Action::NotTaken { .. } => {}
            Action::Event(_) | Action::Host { .. } | Action::Share { .. } => {}
            Action::PublishWill { .. } | Action::WillTaken { .. } | Action::WillsOurs => {}
            Action::Forward { .. }
            | Action::CommitHint { .. }
            | Action::SendHint { .. }
            | Action::DropHint { .. }
            | Action::Accepted { .. }
            | Action::NotAccepted { .. }
            | Action::Deliver { .. }
            | Action::Answer { .. }
            | Action::ForgetRecord { .. } => self.act_forward(node, action),
            Action::Store { .. } | Action::Forget { .. } | Action::Load { .. } | Action::Contact { .. } => {
                self.act_set(node, action);
            }
            Action::Barrier { node: who, request } => {
                self.inbox.push_back((node, Input::BarrierPassed { node: who, request }));
            }
            Action::Granted { .. }
            | Action::ClaimRefused { .. }
            | Action::HandOver { .. }
            | Action::HandOverCancelled { .. }
            | Action::Moved { .. }
            | Action::MoveOver { .. }
            | Action::Install { .. }
            | Action::Superseded { .. } => self.act_session(node, action),
        }
    }

    /// The disk has it to do.
    fn disk(&mut self, node: usize, work: Work) {
        let Some(boot) = self.nodes[node].process.as_ref().map(|process| process.boot) else { return };
        let wait = self.rng.within(1, 15);
        self.after(wait, Event::Disk { node, boot, work });
    }

    // ---- forwards

    fn act_forward(&mut self, node: usize, action: Action) {
        match action {
            Action::Forward { to, id, forward, low, behind } => {
                let to = self.index(&to);
                let Some(process) = &mut self.nodes[node].process else { return };
                let Some(sent) = process.sent.get_mut(&id) else { return };
                sent.forward = Some(forward);
                let packet = sent.packet.clone();
                self.send(node, to, Carry::Forward { forward, low, packet, hinted: behind });
            }
            Action::CommitHint { to, id, forward } => {
                let to = self.index(&to);
                let Some(process) = &mut self.nodes[node].process else { return };
                let Some(sent) = process.sent.get_mut(&id) else { return };
                sent.forward = Some(forward);
                let packet = sent.packet.clone();
                self.oracle.hints += 1;
                self.disk(node, Work::Hint { to, forward, packet });
            }
            Action::SendHint { to, forward, low } => {
                let to = self.index(&to);
                let Some((packet, _)) = self.nodes[node].disk.hints.get(&(to, forward)).cloned() else {
                    return self.oracle.fail(format!("no hint {forward:?} to send"));
                };
                self.send(node, to, Carry::Forward { forward, low, packet, hinted: true });
            }
            Action::DropHint { to, forward } => {
                let to = self.index(&to);
                self.nodes[node].disk.hints.remove(&(to, forward));
            }
            Action::Accepted { id } => self.accepted(node, id),
            Action::NotAccepted { id, .. } => {
                let Some(process) = &mut self.nodes[node].process else { return };
                let Some(sent) = process.sent.remove(&id) else { return };
                match sent.what {
                    For::Publication(message) => drop(process.waiting.remove(&message)),
                    For::Outbox(_) if !process.retries => {
                        process.retries = true;
                        let boot = process.boot;
                        self.after(100, Event::Disk { node, boot, work: Work::Outbox });
                    }
                    For::Outbox(_) => {}
                }
            }
            Action::Deliver { from, forward } => {
                let from = self.index(&from);
                let (packet, hinted, low) = self.oracle.packets[&(from, forward)].clone();
                self.disk(node, Work::Deliver { from, forward, low, packet, hinted });
            }
            Action::Answer { from, forward } => {
                let from = self.index(&from);
                self.send(node, from, Carry::Answer(forward));
            }
            Action::ForgetRecord { from, boot } => {
                let from = self.index(&from);
                self.nodes[node].disk.records.remove(&(from, boot));
            }
            _ => {}
        }
    }

    fn accepted(&mut self, node: usize, id: u64) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(sent) = process.sent.remove(&id) else { return };
        self.check_accepted(node, sent.to, sent.forward, sent.durable);
        match sent.what {
            For::Publication(message) => self.one_less(node, message),
            For::Outbox(n) => drop(self.nodes[node].disk.outbox.remove(&n)),
        }
    }

    /// One of those that a publication waits for has it.
    fn one_less(&mut self, node: usize, message: u64) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(waiting) = process.waiting.get_mut(&message) else { return };
        waiting.left -= 1;
        if waiting.left == 0 {
            process.waiting.remove(&message);
            self.oracle.acknowledged.insert(message);
        }
    }

    /// A client publishes.
    pub(super) fn publish(&mut self, node: usize, topic: u8) {
        // A node that is not ready has no clients.
        if !self.nodes[node].process.as_ref().is_some_and(|process| process.ready) {
            return;
        }
        self.next_id += 1;
        let message = self.next_id;
        self.expect(node, topic, message);
        let Some(process) = &mut self.nodes[node].process else { return };
        let key = topic_key(topic);
        let routes = process.routes.iter().filter(|((_, filter), _)| *filter == key);
        let to: Vec<_> = routes.map(|((to, _), interest)| (*to, interest.durable)).collect();
        process.waiting.insert(message, Waiting { left: 1 + to.len() as u32 });
        for (to, durable) in to {
            self.forward(node, to, Packet::Publication { topic, message }, durable, For::Publication(message));
        }
        self.disk(node, Work::Local { topic, message });
    }

    /// Which sessions must get a message: those of which this node has a copy or a route to one.
    fn expect(&mut self, node: usize, topic: u8, message: u64) {
        let Some(process) = &self.nodes[node].process else { return };
        let mut lives = BTreeSet::new();
        for other in 0..self.nodes.len() {
            let route = process.routes.get(&(other, topic_key(topic)));
            if other != node && !route.is_some_and(|interest| interest.durable) {
                continue;
            }
            let sessions = self.nodes[other].disk.sessions.values();
            lives.extend(sessions.filter(|session| session.topics.contains(&topic)).map(|session| session.life));
        }
        self.oracle.expected.extend(lives.into_iter().map(|life| (message, life)));
    }

    fn forward(&mut self, node: usize, to: usize, packet: Packet, durable: bool, what: For) {
        self.next_id += 1;
        let id = self.next_id;
        let name = self.nodes[to].name.clone();
        let Some(process) = &mut self.nodes[node].process else { return };
        process.sent.insert(id, Sent { to, packet, durable, what, forward: None });
        let wanted = vec![ForwardWanted { id, bytes: 1, durable }];
        self.inbox.push_back((node, Input::Forward { to: name, wanted }));
    }

    // ---- disk

    pub(super) fn work(&mut self, node: usize, work: Work) {
        match work {
            Work::Local { topic, message } => {
                self.take_publication(node, topic, message, false);
                self.one_less(node, message);
            }
            Work::Hint { to, forward, packet } => {
                let since_ms = self.nodes[node].clock(self.now);
                self.nodes[node].disk.hints.insert((to, forward), (packet, since_ms));
                let to = self.nodes[to].name.clone();
                self.inbox.push_back((node, Input::HintsCommitted { to, forwards: vec![forward], stored: true }));
            }
            Work::Deliver { from, forward, low, packet, hinted } => {
                match packet {
                    Packet::Publication { topic, message } => self.take_publication(node, topic, message, hinted),
                    Packet::Addressed { key, life, epoch, message } => {
                        self.take_addressed(node, key, life, epoch, message)
                    }
                }
                let record = self.nodes[node].disk.records.entry((from, forward.boot)).or_insert((1, BTreeSet::new()));
                record.0 = record.0.max(low);
                record.1.insert(forward.seq);
                while record.1.remove(&record.0) {
                    record.0 += 1;
                }
                let from = self.nodes[from].name.clone();
                self.inbox.push_back((node, Input::Settled { from, forward, stored: true }));
            }
            Work::Gather { key } => self.gather(node, key),
            Work::Install { key, epoch, session } => self.install(node, key, epoch, *session),
            Work::Outbox => self.flush_outbox(node),
        }
    }

    /// Every session that has the topic takes it; a hint also reaches those that moved.
    fn take_publication(&mut self, node: usize, topic: u8, message: u64, hinted: bool) {
        let disk = &mut self.nodes[node].disk;
        let mut news = Vec::new();
        let mut elsewhere = Vec::new();
        for (key, session) in disk.sessions.iter_mut().filter(|(_, session)| session.topics.contains(&topic)) {
            if session.take(message) {
                match session.moved_to.clone() {
                    Some(to) => elsewhere.push((to, key.clone(), session.life)),
                    None => news.push(key.clone()),
                }
            }
        }
        let stubs = disk.stubs.iter().filter(|(_, stub)| hinted && stub.topics.contains(&topic));
        elsewhere.extend(stubs.map(|((key, life), stub)| ((stub.to, stub.epoch.clone()), key.clone(), *life)));
        news.iter().for_each(|key| self.drain(node, key));
        for (to, key, life) in elsewhere {
            self.out(node, to, key, life, message);
        }
    }

    fn take_addressed(&mut self, node: usize, key: SessionKey, life: u64, epoch: Epoch, message: u64) {
        let disk = &mut self.nodes[node].disk;
        if let Some(session) = disk.sessions.get_mut(&key).filter(|session| session.life == life) {
            if session.take(message)
                && let Some(to) = session.moved_to.clone()
            {
                self.out(node, to, key, life, message);
                return;
            }
            return self.drain(node, &key);
        }
        // It went on from here.
        if let Some(stub) = disk.stubs.get(&(key.clone(), life)).filter(|stub| stub.epoch > epoch) {
            let to = (stub.to, stub.epoch.clone());
            self.out(node, to, key, life, message);
        }
    }

    /// Something is to reach a session that moved: kept until it is accepted.
    fn out(&mut self, node: usize, (to, epoch): (usize, Epoch), key: SessionKey, life: u64, message: u64) {
        self.next_id += 1;
        let n = self.next_id;
        let packet = Packet::Addressed { key, life, epoch, message };
        self.nodes[node].disk.outbox.insert(n, (to, packet.clone()));
        self.forward(node, to, packet, true, For::Outbox(n));
    }

    /// Sends what waits and is not under way.
    fn flush_outbox(&mut self, node: usize) {
        let Some(process) = &mut self.nodes[node].process else { return };
        process.retries = false;
        let Some(process) = &self.nodes[node].process else { return };
        let under_way = |n: u64| process.sent.values().any(|sent| matches!(sent.what, For::Outbox(m) if m == n));
        let outbox = self.nodes[node].disk.outbox.iter().filter(|(n, _)| !under_way(**n));
        let waits: Vec<_> = outbox.map(|(n, (to, packet))| (*n, *to, packet.clone())).collect();
        for (n, to, packet) in waits {
            self.forward(node, to, packet, true, For::Outbox(n));
        }
    }

    /// Gives a connected client what waits for it.
    fn drain(&mut self, node: usize, key: &SessionKey) {
        let Some(process) = &self.nodes[node].process else { return };
        if !process.connected.contains(key) {
            return;
        }
        let Some(session) = self.nodes[node].disk.sessions.get_mut(key) else { return };
        let life = session.life;
        for message in std::mem::take(&mut session.queue) {
            if self.trace {
                println!("{} n{node} gives {key:?} life {life} message: {message} ", self.now);
            }
            self.oracle.delivered(life, message);
        }
    }

    // ---- sessions

    fn act_session(&mut self, node: usize, action: Action) {
        match action {
            Action::Granted { request, epoch, previous } => self.granted(node, request, epoch, previous),
            Action::ClaimRefused { request, why } => {
                self.oracle.refusals += u32::from(why != ClaimRefusal::Contested);
                if let Some(process) = &mut self.nodes[node].process {
                    process.claims.remove(&request);
                }
            }
            Action::HandOver { key, .. } => {
                let Some(process) = &mut self.nodes[node].process else { return };
                process.connected.remove(&key);
                process.gathering.insert(key.clone());
                self.disk(node, Work::Gather { key });
            }
            Action::HandOverCancelled { key } => {
                let Some(process) = &mut self.nodes[node].process else { return };
                process.gathering.remove(&key);
                if let Some(session) = self.nodes[node].disk.sessions.get_mut(&key) {
                    session.tail = None;
                }
                self.oracle.check_forks(&key, &self.nodes);
            }
            Action::Moved { key, to, epoch } => {
                let to = self.index(&to);
                let Some(session) = self.nodes[node].disk.sessions.get_mut(&key) else { return };
                session.moved_to = Some((to, epoch.clone()));
                let (life, topics) = (session.life, session.topics.clone());
                for message in session.tail.take().unwrap_or_default() {
                    self.out(node, (to, epoch.clone()), key.clone(), life, message);
                }
                let Some(process) = &mut self.nodes[node].process else { return };
                process.withdrawn.insert(key.clone());
                let interest = process.interest(&topics, true, false);
                self.inbox.extend([(node, interest), (node, Input::Withdrawn { key })]);
            }
            Action::MoveOver { key, to, epoch } => {
                self.remove(node, &key, true);
                self.inbox.push_back((node, Input::Followed { key, to, epoch }));
            }
            Action::Install { key, epoch, state, .. } => {
                let at = u64::from_le_bytes(state[..8].try_into().unwrap()) as usize;
                let session = Box::new(self.states[at].clone());
                self.disk(node, Work::Install { key, epoch, session });
            }
            Action::Superseded { key, epoch, .. } => {
                let ours = self.nodes[node].disk.sessions.get(&key).map(|session| session.epoch.clone());
                if ours.is_some_and(|ours| ours > epoch) {
                    self.oracle.fail(format!("a session {key:?} lost against an earlier one"));
                }
                self.remove(node, &key, false);
            }
            _ => {}
        }
    }

    /// Removes a session; `moved`: only one that lives elsewhere. Of that its filters stay.
    fn remove(&mut self, node: usize, key: &SessionKey, moved: bool) -> Option<Session> {
        let session = self.nodes[node].disk.sessions.get(key).filter(|session| !moved || session.moved_to.is_some())?;
        let session = session.clone();
        self.nodes[node].disk.sessions.remove(key);
        if let Some((to, epoch)) = session.moved_to.clone() {
            let of = (key.clone(), session.life);
            self.nodes[node].disk.stubs.insert(of, session.clone().stub(to, epoch));
        }
        let process = self.nodes[node].process.as_mut()?;
        process.connected.remove(key);
        process.gathering.remove(key);
        if process.withdrawn.remove(key) {
            return Some(session);
        }
        let input = process.interest(&session.topics, true, false);
        self.inbox.push_back((node, input));
        Some(session)
    }

    fn gather(&mut self, node: usize, key: SessionKey) {
        let Some(process) = &mut self.nodes[node].process else { return };
        // Cancelled meanwhile.
        if !process.gathering.remove(&key) {
            return;
        }
        let session = self.nodes[node].disk.sessions.get_mut(&key).filter(|session| session.moved_to.is_none());
        let Some(session) = session else {
            self.inbox.push_back((node, Input::HandedOver { key, state: None }));
            return;
        };
        session.tail = Some(Vec::new());
        let mut state = (self.states.len() as u64).to_le_bytes().to_vec();
        self.states.push(session.clone());
        let len = if self.rng.one_in(60) { 600_000 } else { 32 };
        state.resize(len, 0);
        self.inbox.push_back((node, Input::HandedOver { key, state: Some(state) }));
    }

    fn install(&mut self, node: usize, key: SessionKey, epoch: Epoch, mut session: Session) {
        let before = self.remove(node, &key, false);
        if let Some(before) = before.as_ref().filter(|before| before.life != session.life) {
            self.oracle.lost_against(before);
        }
        session.epoch = epoch.clone();
        session.tail = None;
        session.has_moved = true;
        // It comes back before what came meanwhile could follow it.
        let before = before.filter(|before| before.life == session.life);
        for message in before.and_then(|before| before.tail).into_iter().flatten() {
            session.take(message);
        }
        let topics = session.topics.clone();
        let disk = &mut self.nodes[node].disk;
        disk.stubs.remove(&(key.clone(), session.life));
        disk.sessions.insert(key.clone(), session);
        self.oracle.check_forks(&key, &self.nodes);
        let Some(process) = &mut self.nodes[node].process else { return };
        let interest = process.interest(&topics, true, true);
        self.inbox.push_back((node, interest));
        self.inbox.push_back((node, Input::Installed { key, epoch, taken: true }));
    }

    fn granted(&mut self, node: usize, request: u64, epoch: Epoch, previous: Previous) {
        let Some(process) = &mut self.nodes[node].process else { return };
        let Some(key) = process.claims.remove(&request) else { return };
        self.check_grant(node, &key, &previous);
        let here = self.nodes[node].disk.sessions.get_mut(&key).filter(|session| session.moved_to.is_none());
        if let Some(session) = here {
            session.epoch = epoch;
            session.tail = None;
            let life = session.life;
            self.oracle.is_newest(&key, life);
            self.oracle.check_forks(&key, &self.nodes);
        } else {
            // What is still here of one that moved goes with it.
            self.remove(node, &key, false);
            let life = self.oracle.new_life(&key);
            let n = key.client_id.bytes().last().unwrap_or(0);
            let topics = vec![n % 6, (n + 1) % 6];
            let queue = Vec::new();
            let session = Session {
                life,
                epoch,
                topics: topics.clone(),
                queue,
                seen: BTreeSet::new(),
                has_moved: false,
                tail: None,
                moved_to: None,
            };
            self.nodes[node].disk.sessions.insert(key.clone(), session);
            if let Some(process) = &mut self.nodes[node].process {
                let input = process.interest(&topics, true, true);
                self.inbox.push_back((node, input));
            }
        }
        if let Some(process) = &mut self.nodes[node].process {
            process.connected.insert(key.clone());
        }
        self.drain(node, &key);
    }

    /// A client ends its session.
    pub(super) fn end_session(&mut self, node: usize, key: &SessionKey) {
        let is_here = self.nodes[node].process.as_ref().is_some_and(|process| process.connected.contains(key));
        if !is_here {
            return;
        }
        if let Some(session) = self.remove(node, key, false) {
            self.oracle.lives[session.life as usize].ended = true;
            self.inbox.push_back((node, Input::SessionGone { key: key.clone() }));
        }
    }

    /// A process has died: what it was in the midst of is over.
    pub(super) fn recover(&mut self, node: usize) {
        let disk = &mut self.nodes[node].disk;
        let moved: Vec<_> =
            disk.sessions.iter().filter_map(|(key, s)| Some((key.clone(), s.moved_to.clone()?))).collect();
        for (key, (to, epoch)) in moved {
            if let Some(session) = disk.sessions.remove(&key) {
                disk.stubs.insert((key, session.life), session.stub(to, epoch));
            }
        }
        disk.sessions.values_mut().for_each(|session| session.tail = None);
        let keys: Vec<_> = disk.sessions.keys().cloned().collect();
        keys.iter().for_each(|key| self.oracle.check_forks(key, &self.nodes));
    }

    // ---- sets

    fn act_set(&mut self, node: usize, action: Action) {
        let disk = &mut self.nodes[node].disk;
        match action {
            Action::Store { set, entry, foreign } => {
                if !foreign {
                    self.oracle.written(set, &entry.key, &entry.mark);
                }
                disk.sets.insert((set, entry.key.clone()), entry);
            }
            Action::Forget { set, key } => drop(disk.sets.remove(&(set, key))),
            Action::Load { to, set, keys } => {
                let there = keys.into_iter().filter_map(|key| disk.sets.get(&(set, key)).cloned());
                let entries: Vec<Entry> = there.collect();
                self.inbox.push_back((node, Input::Loaded { to, set, entries }));
            }
            Action::Contact { contact_ms, ran_ms } => disk.contact = Some((contact_ms, ran_ms)),
            _ => {}
        }
    }

    pub(super) fn put(&mut self, node: usize, set: Set, key: u8, value: bool) {
        let value = value.then(|| vec![key; 3]);
        self.inbox.push_back((node, Input::Put { set, key: [key].into(), value, until_ms: 0 }));
    }

    /// A client connects.
    pub(super) fn connect(&mut self, node: usize, key: SessionKey) {
        self.next_id += 1;
        let request = self.next_id;
        let Some(process) = &mut self.nodes[node].process else { return };
        process.claims.insert(request, key.clone());
        self.inbox.push_back((node, Input::Claim { request, key }));
    }
}
