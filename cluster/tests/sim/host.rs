//! A model of the host around a core: what it keeps on disk and in memory. It does what the docs of `Action` ask for, and no
//! more.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::{
    Boot, Core, Entry, Epoch, FilterKey, Forward, Hello, Input, Interest, InterestChange, Mark, Name, NodeName, Owned,
    SessionKey, Set, Settings,
};

/// A publication, the same for the whole run.
pub(super) type Message = u64;

/// A session, as it is stored.
#[derive(Clone, Debug)]
pub(super) struct Session {
    /// Which life of the session: a takeover carries it on, a new session begins another one.
    pub(super) life: u64,
    pub(super) epoch: Epoch,
    pub(super) topics: Vec<u8>,
    pub(super) queue: Vec<Message>,
    /// What it got.
    pub(super) seen: BTreeSet<Message>,
    /// It moved: what comes by two ways is taken once.
    pub(super) has_moved: bool,
    /// Its state was given away; what comes since is noted.
    pub(super) tail: Option<Vec<Message>>,
    /// It lives there now.
    pub(super) moved_to: Option<(usize, Epoch)>,
}

/// What is left of a session that moved.
pub(super) struct Stub {
    pub(super) to: usize,
    pub(super) epoch: Epoch,
    pub(super) topics: Vec<u8>,
}

/// What travels to another node.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Packet {
    /// A publication for all that want its topic.
    Publication { topic: u8, message: Message },
    /// What came for a session that moved.
    Addressed { key: SessionKey, life: u64, epoch: Epoch, message: Message },
}

/// What survives a crash.
#[derive(Default)]
pub(super) struct Disk {
    pub(super) sessions: BTreeMap<SessionKey, Session>,
    pub(super) hints: BTreeMap<(usize, Forward), (Packet, u64)>,
    /// Numbers below the first, and those of the second, were committed.
    pub(super) records: BTreeMap<(usize, Boot), (u64, BTreeSet<u64>)>,
    pub(super) sets: BTreeMap<(Set, Box<[u8]>), Entry>,
    /// What is to reach sessions that moved.
    pub(super) outbox: BTreeMap<u64, (usize, Packet)>,
    /// Filters of lives of sessions that moved, for hints.
    pub(super) stubs: BTreeMap<(SessionKey, u64), Stub>,
    pub(super) contact: Option<(u64, u64)>,
}

/// A forward that is under way.
pub(super) struct Sent {
    pub(super) to: usize,
    pub(super) packet: Packet,
    pub(super) durable: bool,
    pub(super) what: For,
    pub(super) forward: Option<Forward>,
}

/// For what a forward was made.
#[derive(Clone, Copy, Debug)]
pub(super) enum For {
    Publication(Message),
    Outbox(u64),
}

/// A publication that waits for its acknowledgement.
pub(super) struct Waiting {
    pub(super) left: u32,
}

/// A process of a node.
pub(super) struct Process {
    pub(super) boot: Boot,
    pub(super) core: Core,
    pub(super) connected: BTreeSet<SessionKey>,
    pub(super) claims: BTreeMap<u64, SessionKey>,
    /// Sessions whose state is being gathered.
    pub(super) gathering: BTreeSet<SessionKey>,
    /// Sessions that moved, whose interest was taken back.
    pub(super) withdrawn: BTreeSet<SessionKey>,
    pub(super) routes: BTreeMap<(usize, FilterKey), Interest>,
    /// Our own interest, counted as the core is told.
    pub(super) interest: BTreeMap<(FilterKey, bool), u32>,
    pub(super) sent: BTreeMap<u64, Sent>,
    pub(super) waiting: BTreeMap<Message, Waiting>,
    /// When each other process was last heard of.
    pub(super) heard: BTreeMap<usize, (Boot, u64)>,
    pub(super) joined: bool,
    /// Whether the outbox is tried again soon.
    pub(super) retries: bool,
    pub(super) ready: bool,
    /// When the next tick is scheduled.
    pub(super) tick_at: u64,
}

/// A node, which may be down.
pub(super) struct Node {
    pub(super) name: NodeName,
    pub(super) environment: Name,
    pub(super) disk: Disk,
    pub(super) process: Option<Process>,
    /// Its clock less the true time, in milliseconds.
    pub(super) skew_ms: i64,
    /// Until when it is slow.
    pub(super) slow_until: u64,
}

pub(super) fn topic_key(topic: u8) -> FilterKey {
    FilterKey::new("acme", &format!("t/{topic}"))
}

impl Session {
    /// What is kept of it under its key and life.
    pub(super) fn stub(self, to: usize, epoch: Epoch) -> Stub {
        Stub { to, epoch, topics: self.topics }
    }

    /// Takes a message in. Whether it is news.
    pub(super) fn take(&mut self, message: Message) -> bool {
        if !self.seen.insert(message) && self.has_moved {
            return false;
        }
        self.queue.push(message);
        if let Some(tail) = &mut self.tail {
            tail.push(message);
        }
        true
    }
}

impl Node {
    pub(super) fn hello(&self, now: u64) -> Hello {
        let boot = self.process.as_ref().map_or(Boot(0), |process| process.boot);
        Hello {
            environment: self.environment.as_str().to_owned(),
            cluster: "c".to_owned(),
            node: self.name.as_str().to_owned(),
            boot,
            clock_ms: now.saturating_add_signed(self.skew_ms),
            protocol_min: 1,
            protocol_max: 2,
            version: "sim".to_owned(),
        }
    }

    pub(super) fn clock(&self, now: u64) -> u64 {
        now.saturating_add_signed(self.skew_ms)
    }

    /// A new process, told what the disk has.
    pub(super) fn start(&self, boot: Boot, settings: Settings) -> (Process, Vec<Input>) {
        let core = Core::new(settings, boot);
        let process = Process {
            boot,
            core,
            connected: BTreeSet::new(),
            claims: BTreeMap::new(),
            gathering: BTreeSet::new(),
            withdrawn: BTreeSet::new(),
            routes: BTreeMap::new(),
            interest: BTreeMap::new(),
            sent: BTreeMap::new(),
            waiting: BTreeMap::new(),
            heard: BTreeMap::new(),
            joined: false,
            retries: false,
            ready: false,
            tick_at: u64::MAX,
        };
        let disk = &self.disk;
        let mut inputs = Vec::new();
        inputs.extend(disk.contact.map(|(contact_ms, ran_ms)| Input::ContactRestored { contact_ms, ran_ms }));
        for ((set, key), entry) in &disk.sets {
            inputs.push(Input::SetRestored { set: *set, marks: vec![(key.clone(), entry.mark.clone())] });
        }
        // What moved is not ours any more, though it is still here.
        for (key, session) in disk.sessions.iter().filter(|(_, session)| session.moved_to.is_none()) {
            let (owned, given) = (Owned { key: key.clone(), epoch: session.epoch.clone() }, session.tail.is_some());
            inputs.push(Input::SessionRestored { owned, given });
        }
        (process, inputs)
    }

    /// Hints and records for a new process.
    pub(super) fn stored(&self, name: impl Fn(usize) -> NodeName) -> Vec<Input> {
        let hints = self.disk.hints.iter().map(|((to, forward), (_, since_ms))| Input::HintRestored {
            to: name(*to),
            forward: *forward,
            bytes: 1,
            since_ms: *since_ms,
        });
        let records = self.disk.records.iter().map(|((from, boot), (low, committed))| Input::RecordRestored {
            from: name(*from),
            boot: *boot,
            low: *low,
            committed: committed.iter().copied().collect(),
        });
        hints.chain(records).collect()
    }
}

impl Process {
    /// Notes subscriptions and says them.
    pub(super) fn interest(&mut self, topics: &[u8], durable: bool, came: bool) -> Input {
        let mut changes = Vec::new();
        for topic in topics {
            let key = topic_key(*topic);
            let count = self.interest.entry((key.clone(), durable)).or_default();
            if came {
                *count += 1;
            } else {
                *count -= 1;
            }
            if *count == 0 {
                self.interest.remove(&(key.clone(), durable));
            }
            changes.push(InterestChange { key, durable, came });
        }
        Input::Interest(changes)
    }

    /// What the others should have of our interest.
    pub(super) fn wanted(&self) -> BTreeMap<FilterKey, Interest> {
        let mut wanted: BTreeMap<FilterKey, Interest> = BTreeMap::new();
        for (key, durable) in self.interest.keys() {
            wanted.entry(key.clone()).or_insert(Interest { durable: false, members: 0 }).durable |= durable;
        }
        wanted
    }
}

/// A mark that a set should have: of the last writer.
pub(super) fn newer(a: &Mark, b: &Mark) -> bool {
    a.stamp > b.stamp
}
