//! The world of a run: processes, the network between them, and time.

use std::collections::{BTreeMap, VecDeque};

use super::host::{Disk, Node, Packet, Session};
use super::oracle::Oracle;
use super::rng::Rng;
use crate::core::{Action, Boot, Control, Epoch, Fault, Forward, Input, Lost, Name, NodeName, SessionKey, Settings};
use crate::core::{Member, SpiffeId, admission};

/// A member that is not heard of for as long is suspected, then dead, in milliseconds.
const SUSPECT_MS: u64 = 300;
const DEAD_MS: u64 = 900;

/// What is on a link.
#[derive(Clone, Debug)]
pub(super) enum Carry {
    Control(Control),
    Forward { forward: Forward, low: u64, packet: Packet, hinted: bool },
    Answer(Forward),
}

/// What the disk of a node has to do.
#[derive(Clone, Debug)]
pub(super) enum Work {
    Local { topic: u8, message: u64 },
    Hint { to: usize, forward: Forward, packet: Packet },
    Deliver { from: usize, forward: Forward, low: u64, packet: Packet, hinted: bool },
    Gather { key: SessionKey },
    Install { key: SessionKey, epoch: Epoch, session: Box<Session> },
    Outbox,
}

/// What happens at a time.
#[derive(Clone, Debug)]
pub(super) enum Event {
    Arrive { from: usize, to: usize, generation: u64, boot: Boot, carry: Carry },
    LinkUp { side: usize, other: usize, generation: u64 },
    Gossip { node: usize },
    Tick { node: usize, boot: Boot },
    Disk { node: usize, boot: Boot, work: Work },
    Plan(u32),
    Start { node: usize },
    Heal,
}

/// Between two nodes. What is sent while a side has not noticed that the link is new is lost or waits.
#[derive(Default)]
struct Link {
    generation: u64,
    open: [bool; 2],
    /// When the last of each kind and direction arrives.
    last: [[u64; 2]; 2],
    waits: [VecDeque<(Boot, Carry)>; 2],
}

/// See the module.
pub(super) struct World {
    pub(super) now: u64,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<Node>,
    /// Which part of a cut network each node is in.
    pub(super) part: Vec<u8>,
    links: BTreeMap<(usize, usize), Link>,
    events: BTreeMap<(u64, u64), Event>,
    serial: u64,
    pub(super) inbox: VecDeque<(usize, Input)>,
    pub(super) oracle: Oracle,
    fault: Option<Fault>,
    pub(super) next_id: u64,
    pub(super) states: Vec<Session>,
    /// No faults any more.
    pub(super) calm: bool,
    pub(super) trace: bool,
}

fn pair(a: usize, b: usize) -> ((usize, usize), usize) {
    if a < b { ((a, b), 0) } else { ((b, a), 1) }
}

impl World {
    pub(super) fn new(seed: u64, fault: Option<Fault>) -> Self {
        let mut rng = Rng::new(seed);
        let ours = rng.within(2, 4) as usize;
        let foreign = usize::from(rng.one_in(3)) * 2;
        let mut nodes = Vec::new();
        for n in 0..ours + foreign {
            let (name, environment) = if n < ours { (format!("n{n}"), "prod") } else { (format!("x{n}"), "test") };
            nodes.push(Node {
                name: Name::new(&name).unwrap(),
                environment: Name::new(environment).unwrap(),
                disk: Disk::default(),
                process: None,
                skew_ms: rng.within(0, 800) as i64 - 400,
                slow_until: 0,
            });
        }
        let part = vec![0; nodes.len()];
        let mut world = World {
            now: 1_000_000,
            rng,
            nodes,
            part,
            links: BTreeMap::new(),
            events: BTreeMap::new(),
            serial: 0,
            inbox: VecDeque::new(),
            oracle: Oracle::new(seed),
            fault,
            next_id: 1,
            states: Vec::new(),
            calm: false,
            trace: std::env::var_os("GATEMQ_SIM_TRACE").is_some(),
        };
        for node in 0..world.nodes.len() {
            let wait = world.rng.within(0, 300);
            world.after(wait, Event::Start { node });
        }
        world
    }

    pub(super) fn is_ours(&self, node: usize) -> bool {
        self.nodes[node].environment.as_str() == "prod"
    }

    pub(super) fn ours(&self) -> Vec<usize> {
        (0..self.nodes.len()).filter(|node| self.is_ours(*node)).collect()
    }

    pub(super) fn index(&self, name: &NodeName) -> usize {
        self.nodes.iter().position(|node| node.name == *name).unwrap()
    }

    pub(super) fn settings(&self, node: usize) -> Settings {
        let Node { name, environment, .. } = &self.nodes[node];
        let mut settings = Settings::new(environment.clone(), Name::new("c").unwrap(), name.clone());
        settings.digest_ms = 2_000;
        settings.ask_again_ms = 400;
        settings.ack_wait_ms = 150;
        settings.claim_ms_max = 1_500;
        settings.window = 8;
        settings.fault = self.fault;
        settings
    }

    pub(super) fn after(&mut self, wait: u64, event: Event) {
        self.serial += 1;
        self.events.insert((self.now + wait, self.serial), event);
    }

    /// Runs until a time.
    pub(super) fn run(&mut self, until: u64) {
        while let Some(entry) = self.events.first_entry().filter(|entry| entry.key().0 <= until) {
            let ((at, _), event) = entry.remove_entry();
            self.now = at;
            if self.trace && !matches!(event, Event::Tick { .. } | Event::Gossip { .. }) {
                println!("{} {event:?}", self.now);
            }
            self.event(event);
            self.take_in();
            if self.oracle.broken.is_some() {
                return;
            }
        }
        self.now = until;
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Arrive { from, to, generation, boot, carry } => self.arrive(from, to, generation, boot, carry),
            Event::LinkUp { side, other, generation } => self.link_up(side, other, generation),
            Event::Gossip { node } => self.gossip(node),
            Event::Tick { node, boot } => {
                if let Some(process) = self.nodes[node].process.as_mut().filter(|process| process.boot == boot) {
                    process.tick_at = u64::MAX;
                    self.inbox.push_back((node, Input::Tick));
                }
            }
            Event::Disk { node, boot, work } => {
                if self.nodes[node].process.as_ref().is_some_and(|process| process.boot == boot) {
                    self.work(node, work);
                }
            }
            Event::Plan(left) => self.plan(left),
            Event::Start { node } => self.start(node),
            Event::Heal => self.heal(),
        }
    }

    /// Gives cores what waits for them, and does what they want.
    pub(super) fn take_in(&mut self) {
        while let Some((node, input)) = self.inbox.pop_front() {
            let now = self.nodes[node].clock(self.now);
            let Some(process) = &mut self.nodes[node].process else { continue };
            if self.trace && !matches!(input, Input::Tick) {
                println!("{} n{node} <- {input:?}", self.now);
            }
            let mut out: Vec<Action> = Vec::new();
            process.core.handle(now, input, &mut out);
            let due = process.core.due_ms().saturating_sub(now).max(1);
            let at = self.now.saturating_add(due);
            if at < process.tick_at {
                process.tick_at = at;
                let boot = process.boot;
                self.after(due, Event::Tick { node, boot });
            }
            for action in out {
                if self.trace && !matches!(action, Action::Send { .. }) {
                    println!("{} n{node} -> {action:?}", self.now);
                }
                self.act(node, action);
            }
            self.oracle.check_members(node, &self.nodes);
        }
    }

    // ---- network

    fn connected(&self, a: usize, b: usize) -> bool {
        self.nodes[a].process.is_some() && self.nodes[b].process.is_some() && self.part[a] == self.part[b]
    }

    /// The link breaks, and is made anew as soon as it can be.
    pub(super) fn break_link(&mut self, a: usize, b: usize) {
        let (key, _) = pair(a, b);
        let link = self.links.entry(key).or_default();
        link.generation += 1;
        link.open = [false, false];
        link.waits.iter_mut().for_each(VecDeque::clear);
        link.last = [[self.now; 2]; 2];
        let generation = link.generation;
        if self.connected(a, b) {
            for (side, other) in [(a, b), (b, a)] {
                let wait = self.rng.within(1, 30);
                self.after(wait, Event::LinkUp { side, other, generation });
            }
        }
    }

    /// A side has noticed that its link is a new one.
    fn link_up(&mut self, side: usize, other: usize, generation: u64) {
        let (key, at) = pair(side, other);
        if !self.connected(side, other) {
            return;
        }
        let Some(link) = self.links.get_mut(&key).filter(|link| link.generation == generation) else { return };
        link.open[at] = true;
        let waits: Vec<_> = link.waits[1 - at].drain(..).collect();
        let node = self.nodes[other].name.clone();
        self.inbox.push_back((side, Input::LinkReset { node }));
        self.take_in();
        for (boot, carry) in waits {
            self.hand(other, side, boot, carry);
            self.take_in();
        }
    }

    pub(super) fn send(&mut self, from: usize, to: usize, carry: Carry) {
        let (key, at) = pair(from, to);
        let Some(boot) = self.nodes[from].process.as_ref().map(|process| process.boot) else { return };
        let is_slow = self.nodes[from].slow_until.max(self.nodes[to].slow_until) > self.now;
        let mut wait = if is_slow { self.rng.within(100, 400) } else { self.rng.within(1, 12) };
        if self.rng.one_in(20) {
            wait += 40;
        }
        let kind = usize::from(!matches!(carry, Carry::Control(_)));
        let Some(link) = self.links.get_mut(&key).filter(|link| link.open[at]) else { return };
        let arrives = (self.now + wait).max(link.last[kind][at]);
        link.last[kind][at] = arrives;
        let generation = link.generation;
        let event = Event::Arrive { from, to, generation, boot, carry };
        self.after(arrives - self.now, event);
    }

    fn arrive(&mut self, from: usize, to: usize, generation: u64, boot: Boot, carry: Carry) {
        let (key, at) = pair(from, to);
        let Some(link) = self.links.get_mut(&key).filter(|link| link.generation == generation) else { return };
        if !link.open[1 - at] {
            link.waits[at].push_back((boot, carry));
            return;
        }
        self.hand(from, to, boot, carry);
    }

    fn hand(&mut self, from: usize, to: usize, boot: Boot, carry: Carry) {
        let name = self.nodes[from].name.clone();
        let input = match carry {
            Carry::Control(control) => {
                // As bytes, as they travel.
                let bytes = control.encode(1).unwrap();
                self.oracle.message(bytes.len());
                Input::Received { from: name, boot, control: Control::decode(&bytes, 1).unwrap() }
            }
            Carry::Forward { forward, low, packet, hinted } => {
                self.oracle.packets.insert((from, forward), (packet, hinted, low));
                Input::Arrived { from: name, forward, low }
            }
            Carry::Answer(forward) => Input::Answered { from: name, forwards: vec![forward] },
        };
        self.inbox.push_back((to, input));
    }

    // ---- membership

    fn gossip(&mut self, node: usize) {
        let wait = self.rng.within(60, 140);
        self.after(wait, Event::Gossip { node });
        if self.nodes[node].process.is_none() {
            return;
        }
        for other in 0..self.nodes.len() {
            if other != node {
                self.look(node, other);
            }
        }
        let Some(process) = &mut self.nodes[node].process else { return };
        if !process.joined {
            process.joined = true;
            self.inbox.push_back((node, Input::MembersKnown));
        }
    }

    /// What one node learns of another by gossip and a first call.
    fn look(&mut self, node: usize, other: usize) {
        let (key, at) = pair(node, other);
        let is_open = self.links.get(&key).is_some_and(|link| link.open[at]);
        let heard = (self.connected(node, other) && is_open)
            .then(|| self.nodes[other].process.as_ref().map(|process| process.boot))
            .flatten();
        let (now, name) = (self.now, self.nodes[other].name.clone());
        let Some(process) = &mut self.nodes[node].process else { return };
        if let Some(boot) = heard {
            process.heard.insert(other, (boot, now));
        }
        let member = process.core.members().find(|(member, _)| member.node == name);
        let member = member.map(|(member, live)| (member.clone(), live));
        match (member, heard) {
            (Some((member, live)), heard) if heard != Some(member.boot) => {
                let last = process.heard.get(&other).filter(|(boot, _)| *boot == member.boot).map_or(0, |(_, at)| *at);
                let boot = member.boot;
                // What is heard of another process of that name says nothing of this one.
                let silent = if heard.is_some() { DEAD_MS } else { now - last };
                if silent >= DEAD_MS {
                    self.inbox.push_back((node, Input::PeerLost { node: name, boot, how: Lost::Dead }));
                } else if live && silent >= SUSPECT_MS {
                    self.inbox.push_back((node, Input::PeerSuspected { node: name, boot }));
                }
            }
            (Some((member, false)), Some(_)) => self.inbox.push_back((node, Input::PeerUp(member))),
            (None, Some(boot)) => self.admit(node, other, boot),
            _ => {}
        }
    }

    fn admit(&mut self, node: usize, other: usize, boot: Boot) {
        let clock = self.nodes[node].clock(self.now);
        let (ours, theirs) = (self.nodes[node].hello(self.now), self.nodes[other].hello(self.now));
        let certificate = SpiffeId {
            environment: self.nodes[other].environment.clone(),
            cluster: Name::new("c").unwrap(),
            node: self.nodes[other].name.clone(),
        };
        let Some(process) = &self.nodes[node].process else { return };
        let alive: Vec<Member> = process.core.members().map(|(member, _)| member.clone()).collect();
        let admitted = admission::decide(&ours, &theirs, &certificate, &alive, &|_| false, clock);
        let same = self.nodes[node].environment == self.nodes[other].environment;
        assert_eq!(admitted.is_ok(), same, "seed {}: {admitted:?}", self.oracle.seed);
        let address = "127.0.0.1:1".parse().unwrap();
        if let Ok(admitted) = admitted {
            self.inbox.push_back((node, Input::PeerUp(Member::new(admitted, address, address))));
        } else if self.rng.one_in(4) {
            // An adapter that does not ask: the core refuses on its own.
            let Node { name, environment, .. } = &self.nodes[other];
            let member = Member {
                environment: environment.clone(),
                cluster: Name::new("c").unwrap(),
                node: name.clone(),
                boot,
                protocol: 1,
                version: String::new(),
                rpc: address,
                gossip: address,
            };
            self.inbox.push_back((node, Input::PeerUp(member)));
            let control = Control::InterestDigest { seq: 1, digest: 1 };
            self.inbox.push_back((node, Input::Received { from: self.nodes[other].name.clone(), boot, control }));
        }
    }

    // ---- processes

    fn start(&mut self, node: usize) {
        if self.nodes[node].process.is_some() {
            return;
        }
        let boot = Boot(self.now);
        let names: Vec<NodeName> = self.nodes.iter().map(|node| node.name.clone()).collect();
        let settings = self.settings(node);
        self.recover(node);
        let (mut process, mut inputs) = self.nodes[node].start(boot, settings);
        inputs.extend(self.nodes[node].stored(|n| names[n].clone()));
        let topics: Vec<_> = self.nodes[node].disk.sessions.values().map(|session| session.topics.clone()).collect();
        inputs.extend(topics.iter().map(|topics| process.interest(topics, true, true)));
        self.nodes[node].process = Some(process);
        self.inbox.extend(inputs.into_iter().map(|input| (node, input)));
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.break_link(node, other);
        }
        let wait = self.rng.within(1, 100);
        self.after(wait, Event::Gossip { node });
        self.after(1, Event::Disk { node, boot, work: Work::Outbox });
    }

    pub(super) fn crash(&mut self, node: usize) {
        if self.nodes[node].process.take().is_none() {
            return;
        }
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.break_link(node, other);
        }
        let keys: Vec<_> = self.nodes[node].disk.sessions.keys().cloned().collect();
        keys.iter().for_each(|key| self.oracle.check_forks(key, &self.nodes));
        self.events.retain(|_, event| !matches!(event, Event::Gossip { node: n } if *n == node));
    }

    pub(super) fn split(&mut self) {
        for node in 0..self.nodes.len() {
            let part = self.rng.below(2) as u8;
            self.cut(node, part);
        }
    }

    fn cut(&mut self, node: usize, part: u8) {
        if self.part[node] == part {
            return;
        }
        self.part[node] = part;
        for other in (0..self.nodes.len()).filter(|other| *other != node) {
            self.break_link(node, other);
        }
    }

    pub(super) fn heal(&mut self) {
        for node in 0..self.nodes.len() {
            self.cut(node, 0);
        }
    }
}
