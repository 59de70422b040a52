//! The one task that owns the core: tells it what happens, in order, and does what it wants done.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gatemq_broker::changes::SessionNumber;
use gatemq_cluster::core::{
    Action, ClaimRefusal, Core, Forward, ForwardWanted, Input, Lost, NodeName, SessionKey as Key,
};
use gatemq_store::{Batch, Op, OpResult, StoreError};
use tokio::sync::oneshot;

use super::Cluster;
use super::actions::Barriers;
use super::awaited::Answer;
use super::content::{Content, Header};
use super::follow::Handing;
use super::hints::Hints;
use super::kept_routes::KeptRoutes;
use super::moved_in::MovedIn;
use super::orders::Orders;
use super::quotas::{COUNT_MS, Counts};
use super::records::Records;
use super::together::Together;
use super::told::Told;
use super::wrongs::Wrongs;
use crate::admin::Desk;
use crate::clock;
use crate::node::Node;

/// A message for a node that is not accepted yet.
pub(super) struct Waiting {
    pub(super) to: NodeName,
    pub(super) content: Content,
    pub(super) answer: Option<Answer>,
}

/// A message of a node that is not committed yet.
pub(super) struct Arrived {
    /// `None`: a worker has it.
    pub(super) sent: Option<(Header, Bytes)>,
    /// The lowest that could still come.
    low: u64,
    /// Each time that it came somebody waits.
    pub(super) answers: Vec<oneshot::Sender<()>>,
}

/// What is to be read of what was kept for a node. Bounded by what the core lets out to it.
#[derive(Default)]
pub(super) struct Reading {
    /// With the lowest that may still come, in order.
    pub(super) wanted: VecDeque<(Forward, u64)>,
    /// Some is being read.
    pub(super) is_under_way: bool,
}

/// See the module.
pub(crate) struct Driver {
    pub(super) node: Arc<Node>,
    pub(super) cluster: Arc<Cluster>,
    pub(super) core: Core,
    pub(super) hints: Hints,
    pub(super) reading: HashMap<NodeName, Reading>,
    pub(super) kept_routes: KeptRoutes,
    pub(super) records: Records,
    pub(super) desk: Arc<Desk>,
    /// Keys of retained messages that another node's came in for.
    pub(super) overwritten: HashSet<Box<[u8]>>,
    pub(super) waiting: HashMap<u64, Waiting>,
    pub(super) together: Together,
    pub(super) arrived: HashMap<(NodeName, Forward), Arrived>,
    /// Who waits for a session.
    pub(super) claims: HashMap<u64, (Key, oneshot::Sender<Result<(), ClaimRefusal>>)>,
    /// Sessions that are on their way to other nodes.
    pub(super) handing: HashMap<Key, Handing>,
    /// What follows them, by the number of its forward: whose, which of its sessions here, and its number there.
    pub(super) following: HashMap<u64, (Key, SessionNumber, u64)>,
    /// When it is looked next what has come for them.
    pub(super) follows_at_ms: u64,
    /// Sessions that have come from other nodes.
    pub(super) moved_in: MovedIn,
    pub(super) barriers: Barriers,
    /// What the actions of this round want stored, and who is told of each when it is.
    pub(super) ops: Vec<Op>,
    pub(super) stored: Vec<(NodeName, Forward)>,
    /// What this round delivers, by worker.
    pub(super) deliveries: HashMap<usize, super::receive::FromNode>,
    pub(super) orders: Orders,
    pub(super) wrongs: Wrongs,
    pub(super) counts: Counts,
    next_id: u64,
}

impl Driver {
    pub(super) fn new(node: &Arc<Node>, desk: &Arc<Desk>, cluster: &Arc<Cluster>, core: Core, hints: Hints) -> Self {
        Driver {
            node: node.clone(),
            cluster: cluster.clone(),
            core,
            hints,
            reading: HashMap::new(),
            kept_routes: KeptRoutes::default(),
            records: Records::default(),
            desk: desk.clone(),
            overwritten: HashSet::new(),
            waiting: HashMap::new(),
            together: Together::default(),
            arrived: HashMap::new(),
            claims: HashMap::new(),
            handing: HashMap::new(),
            following: HashMap::new(),
            follows_at_ms: 0,
            moved_in: MovedIn::default(),
            barriers: Barriers::default(),
            ops: Vec::new(),
            stored: Vec::new(),
            deliveries: HashMap::new(),
            orders: Orders::since(node.boot_ms),
            wrongs: Wrongs::default(),
            counts: Counts::default(),
            next_id: 0,
        }
    }

    /// Runs until the runtime ends.
    pub(super) async fn run(mut self) {
        let (cluster, mut told, mut actions) = (self.cluster.clone(), Vec::new(), Vec::new());
        loop {
            cluster.inbox.take(&mut told);
            if told.is_empty() {
                let due_ms = self.core.due_ms().min(self.follows_at_ms());
                let due = Duration::from_millis(due_ms.saturating_sub(clock::now_ms()).min(COUNT_MS));
                tokio::select! {
                    () = cluster.inbox.told() => cluster.inbox.take(&mut told),
                    () = tokio::time::sleep(due) => told.push(Told::Core(Input::Tick)),
                }
            }
            self.round(&mut told, &mut actions);
        }
    }

    /// Takes what it was told, and does what follows.
    pub(super) fn round(&mut self, told: &mut Vec<Told>, actions: &mut Vec<Action>) {
        let interests = self.cluster.take_interests();
        if !interests.is_empty() {
            self.core.handle(clock::now_ms(), Input::Interest(interests), actions);
        }
        if let Some(counts) = self.count_sessions(clock::now_ms()) {
            self.core.handle(clock::now_ms(), counts, actions);
        }
        self.follow_all();
        self.look_at_moved_in();
        for told in told.drain(..) {
            self.take(told, actions);
            // In their order, before what follows is heard.
            for action in actions.drain(..) {
                self.act(action);
            }
        }
        self.flush();
    }

    fn take(&mut self, told: Told, actions: &mut Vec<Action>) {
        let input = match told {
            Told::Core(Input::PeerUp(member)) => {
                let node = member.node.clone();
                self.core.handle(clock::now_ms(), Input::PeerUp(member), actions);
                self.count_nodes();
                self.order_again(&node);
                self.places_again(&node);
                return self.arrived_early(&node, actions);
            }
            Told::Core(Input::LinkReset { node }) => {
                self.order_again(&node);
                self.places_again(&node);
                Input::LinkReset { node }
            }
            Told::Core(Input::PeerLost { node, boot, how }) => {
                if how == Lost::Left {
                    self.order_no_more(&node);
                }
                Input::PeerLost { node, boot, how }
            }
            Told::Core(input) => input,
            Told::Received { input, permit } => {
                drop(permit);
                input
            }
            Told::Forward { to, content, durable, answer } => {
                let Ok(to) = NodeName::new(&to) else { return };
                self.wants(to, content, durable, answer)
            }
            Told::Follow { of, to, content } => {
                let forward = self.wants(to, content, true, None);
                self.following.insert(self.next_id, of);
                forward
            }
            Told::Astray { key, content } => {
                // If it is nowhere, it has ended.
                let Some(to) = self.core.went(&key).cloned() else { return };
                self.wants(to, content, true, None)
            }
            Told::Arrived { from, forward, low, sent, answer } => {
                self.records.raised(&from, forward.boot, low, &mut self.ops);
                let of = (from.clone(), forward);
                let new = || Arrived { sent: Some(sent), low, answers: Vec::new() };
                self.arrived.entry(of).or_insert_with(new).answers.push(answer);
                Input::Arrived { from, forward, low }
            }
            Told::Claim { request, key, answer } => {
                self.claims.insert(request, (key.clone(), answer));
                Input::Claim { request, key }
            }
            Told::Will(key) => self.will(&key),
            Told::Settle(key) => match self.settle(&key) {
                Some(gone) => gone,
                None => return,
            },
            Told::Ask(ask) => return ask(self),
        };
        self.core.handle(clock::now_ms(), input, actions);
    }

    /// A message is to be forwarded.
    fn wants(&mut self, to: NodeName, content: Content, durable: bool, answer: Option<Answer>) -> Input {
        self.next_id += 1;
        let bytes = u32::try_from(content.bytes()).unwrap_or(u32::MAX);
        let wanted = vec![ForwardWanted { id: self.next_id, bytes, durable }];
        self.waiting.insert(self.next_id, Waiting { to: to.clone(), content, answer });
        Input::Forward { to, wanted }
    }

    /// What a node sent before it was a member here waits, in its order: sent again it would come after what was sent behind it.
    fn arrived_early(&mut self, node: &NodeName, actions: &mut Vec<Action>) {
        let of_node = self.arrived.iter().filter(|((from, _), arrived)| from == node && arrived.sent.is_some());
        let mut early: Vec<_> = of_node.map(|((_, forward), arrived)| (*forward, arrived.low)).collect();
        early.sort_unstable();
        for (forward, low) in early {
            self.core.handle(clock::now_ms(), Input::Arrived { from: node.clone(), forward, low }, actions);
        }
    }

    /// What the round wants stored and delivered.
    fn flush(&mut self) {
        for (worker, mut sent) in self.deliveries.drain() {
            sent.recorded(|numbers| self.records.of(numbers));
            self.node.send(worker, |mail| mail.from_nodes.push(sent));
        }
        let (ops, stored) = (std::mem::take(&mut self.ops), std::mem::take(&mut self.stored));
        if ops.is_empty() {
            return;
        }
        let told = |forwards: Vec<(NodeName, Forward)>, stored: bool| {
            forwards
                .into_iter()
                .map(move |(to, forward)| Told::Core(Input::HintsCommitted { to, forwards: vec![forward], stored }))
        };
        let Some(store) = &self.node.store else {
            return self.cluster.inbox.tell_all(told(stored, false));
        };
        let (cluster, node) = (self.cluster.clone(), self.node.clone());
        // Of other operations one may be refused, whose session has ended.
        let appends: Vec<_> = ops.iter().map(|op| matches!(op, Op::Append(_))).collect();
        let answer = move |answer: Result<Vec<OpResult>, StoreError>| {
            if let Err(e) = &answer {
                node.store_failed(e);
            }
            let is_good = |(is_append, result): (&bool, &OpResult)| !*is_append || result.is_ok();
            let is_stored = answer.is_ok_and(|results| appends.iter().zip(&results).all(is_good));
            cluster.inbox.tell_all(told(stored, is_stored));
        };
        store.commit(Batch { ops }, Box::new(answer));
    }
}
