//! What the core wants done.

use gatemq_cluster::core::{Action, Forward, Input, NodeName, NotAccepted};

use super::awaited::Answer;
use super::driver::{Driver, Waiting};
use super::hints::{Found, READ_MAX};
use super::queue::{Item, What};
use super::receive::{Sent, way_of};
use super::told::Told;
use crate::clock;

/// Questions that wait for the next barrier.
const BARRIERS_MAX: usize = 10_000;

/// Barriers of the workers: see [`Action::Barrier`].
#[derive(Default)]
pub(super) struct Barriers {
    is_under_way: bool,
    /// Who asks, and under which number.
    waiting: Vec<(NodeName, u64)>,
}

impl Driver {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, control } => self.cluster.send_control(&to, &control),
            Action::Route { node, key, interest } => self.route(&node, &key, interest),
            Action::Barrier { node, request } => self.barrier(node, request),
            Action::Forward { to, id, forward, low, .. } => self.forward(&to, id, (forward, low)),
            Action::CommitHint { to, id, forward } => self.commit_hint(to, id, forward),
            Action::SendHint { to, forward, low } => {
                self.reading.entry(to.clone()).or_default().wanted.push_back((forward, low));
                self.send_hints(&to);
            }
            Action::Abandon { to } => {
                self.cluster.peer(to.as_str()).kept.empty();
                self.reading.entry(to).or_default().wanted.clear();
            }
            Action::DropHint { to, forward } => self.ops.extend(self.hints.drop(&to, forward)),
            Action::Accepted { id } => self.accepted(id, None),
            Action::NotAccepted { id, why } => self.accepted(id, Some(why)),
            Action::Deliver { from, forward } => self.deliver(from, forward),
            Action::Answer { from, forward } => self.answer(from, forward),
            // Whoever waits for it is told so by that.
            Action::NotTaken { from, forward } => drop(self.arrived.remove(&(from, forward))),
            Action::ForgetRecord { from, boot } => self.records.forget(from, boot, &mut self.ops),
            Action::Store { set, entry, foreign } => self.store(set, entry, foreign),
            Action::Forget { set, key } => self.forget(set, &key),
            Action::Load { to, set, keys } => self.load(to, set, keys),
            Action::Contact { contact_ms, ran_ms } => self.contact(contact_ms, ran_ms),
            Action::Share { tenant, share } => self.share(&tenant, share),
            Action::Ready(ready) => _ = self.cluster.ready.send_replace(ready),
            Action::Event(event) => self.tell(event),
            Action::Host { from, bytes } => self.heard(from, &bytes),
            other => self.act_on_sessions(other),
        }
    }

    /// Each worker tells what a turn of it has routed before its next one. One barrier is under way, whoever asks how often; another one
    /// begins when it has passed. Of others so many wait; they ask again.
    fn barrier(&mut self, of: NodeName, request: u64) {
        let Barriers { is_under_way, waiting } = &mut self.barriers;
        if of == self.cluster.own || waiting.len() < BARRIERS_MAX {
            waiting.push((of, request));
        }
        if !std::mem::replace(is_under_way, true) {
            self.begin_barrier();
        }
    }

    fn begin_barrier(&mut self) {
        let (node, cluster) = (self.node.clone(), self.cluster.clone());
        let asked = std::mem::take(&mut self.barriers.waiting);
        tokio::spawn(async move {
            for worker in 0..node.workers() as u32 {
                if node.on_worker(worker, |_| ()).await.is_none() {
                    return; // The broker stops.
                }
            }
            let passed = |(node, request)| Told::Core(Input::BarrierPassed { node, request });
            let next = Told::Ask(Box::new(|driver: &mut Driver| match driver.barriers.waiting.is_empty() {
                true => driver.barriers.is_under_way = false,
                false => driver.begin_barrier(),
            }));
            cluster.inbox.tell_all(asked.into_iter().map(passed).chain([next]));
        });
    }

    fn forward(&mut self, to: &NodeName, id: u64, number: (Forward, u64)) {
        let Some(Waiting { content, .. }) = self.waiting.get(&id) else { return };
        let item = Item { number: Some(number), what: What::New(content.clone()) };
        self.cluster.put(to.as_str(), item);
    }

    /// A node has a message, or it is kept for it; or why it is not.
    fn accepted(&mut self, id: u64, refused: Option<NotAccepted>) {
        let Some(Waiting { to, answer, .. }) = self.waiting.remove(&id) else { return };
        if let Some(of) = self.following.remove(&id) {
            self.has_followed(&of, refused.is_none());
        }
        let awaited = answer.as_ref().and_then(Answer::incoming);
        match (refused, answer) {
            (Some(why), answer) => {
                self.cluster.not_accepted(&to, why);
                drop(answer);
            }
            (None, Some(answer)) => answer.taken(),
            (None, None) => {}
        }
        if let Some(awaited) = awaited {
            self.answered_together(&awaited, id);
        }
    }

    fn commit_hint(&mut self, to: NodeName, id: u64, forward: Forward) {
        let now_ms = clock::now_ms();
        let Some(Waiting { content, answer, .. }) = self.waiting.get(&id) else { return };
        let awaited = answer.as_ref().and_then(Answer::incoming);
        let expires_ms = content.expires_ms();
        let kept = match content.parts(now_ms) {
            Some((header, packet)) => {
                let (what, when) = ((header, &*packet), (now_ms, expires_ms));
                self.hints.keep(&to, forward, what, when, &mut self.ops).map(Some)
            }
            // Its time is over: there is nothing to keep, and nothing to lose.
            None => Some(None),
        };
        match (kept, awaited) {
            (Some(Some(op)), Some(awaited)) => self.keep_together(&awaited, id, (to, forward), op),
            (Some(Some(op)), None) => {
                self.ops.push(op);
                self.stored.push((to, forward));
            }
            (kept, _) => {
                let stored = kept.is_some();
                self.cluster.inbox.tell(Told::Core(Input::HintsCommitted { to, forwards: vec![forward], stored }));
            }
        }
    }

    /// Reads what a node is to have of what was kept for it, some at a time: the store answers in any order, and they are to be sent
    /// in theirs.
    fn send_hints(&mut self, to: &NodeName) {
        let Some(reading) = self.reading.get_mut(to).filter(|reading| !reading.is_under_way) else { return };
        let Some((Forward { boot, .. }, _)) = reading.wanted.front().copied() else { return };
        let (mut next, mut last) = (Vec::new(), 0);
        while let Some((forward, low)) = reading.wanted.front().copied()
            && forward.boot == boot
            && forward.seq > last
            && next.len() < READ_MAX
        {
            last = forward.seq;
            next.push((forward.seq, low));
            reading.wanted.pop_front();
        }
        reading.is_under_way = true;
        let (cluster, name, peer) = (self.cluster.clone(), to.clone(), self.cluster.peer(to.as_str()));
        let generation = peer.kept.generation();
        let then = move |Found { found, left }: Found| {
            let mut over = Vec::new();
            for (forward, low, kept) in found {
                match kept {
                    Some((header, packet)) => {
                        let item = Item { number: Some((forward, low)), what: What::Kept(header, packet) };
                        peer.kept.put_in(generation, item);
                    }
                    // Its time is over, so it counts as delivered.
                    None => over.push(forward),
                }
            }
            let from = name.clone();
            let go_on = Told::Ask(Box::new(move |driver| {
                let reading = driver.reading.entry(name.clone()).or_default();
                reading.is_under_way = false;
                // Of an earlier generation all are wanted again.
                let left = left
                    .into_iter()
                    .rev()
                    .filter(|_| driver.cluster.peer(name.as_str()).kept.generation() == generation);
                for (seq, low) in left {
                    reading.wanted.push_front((Forward { boot, seq }, low));
                }
                driver.send_hints(&name);
            }));
            cluster.inbox.tell_all([Told::Core(Input::Answered { from, forwards: over }), go_on]);
        };
        match &self.node.store {
            Some(store) => self.hints.read(&**store, to, (boot, next), clock::now_ms(), then),
            None => then(Found::default()),
        }
    }

    /// Gives a message to the worker that has those of its node.
    fn deliver(&mut self, from: NodeName, forward: Forward) {
        let of = (from, forward);
        let Some((header, packet)) = self.arrived.get_mut(&of).and_then(|arrived| arrived.sent.take()) else { return };
        let worker = self.cluster.worker_of(of.0.as_str(), self.node.workers());
        let cluster = &self.cluster;
        let delivery = self.deliveries.entry(worker).or_insert_with(|| super::receive::FromNode::for_driver(cluster));
        delivery.push(Sent { from: way_of(of.0.as_str()), header, packet }, Some(of));
    }

    /// It is committed here: its node may know.
    fn answer(&mut self, from: NodeName, forward: Forward) {
        if let Some(arrived) = self.arrived.remove(&(from, forward)) {
            for answer in arrived.answers {
                // Who asked may have gone.
                let _ = answer.send(());
            }
        }
    }
}
