//! What the core wants done.

use gatemq_cluster::core::{Action, Forward, Input, NodeName};

use super::driver::{Driver, Waiting};
use super::queue::{Item, What};
use super::receive::Sent;
use super::told::Told;
use crate::clock;

impl Driver {
    pub(super) fn act(&mut self, action: Action) {
        match action {
            Action::Send { to, control } => self.cluster.send_control(&to, &control),
            Action::Route { node, key, interest } => self.route(&node, &key, interest),
            Action::Forward { to, id, forward, low } => self.forward(&to, id, (forward, low)),
            Action::CommitHint { to, id, forward } => self.commit_hint(to, id, forward),
            Action::SendHint { to, forward, low } => self.send_hint(&to, (forward, low)),
            Action::DropHint { to, forward } => self.ops.extend(self.hints.drop(&to, forward)),
            Action::Accepted { id } => {
                if let Some(Waiting { answer: Some(answer), .. }) = self.waiting.remove(&id) {
                    answer.taken();
                }
            }
            Action::NotAccepted { id, why } => {
                if let Some(Waiting { to, .. }) = self.waiting.remove(&id) {
                    self.cluster.not_accepted(&to, why);
                }
            }
            Action::Deliver { from, forward } => self.deliver(from, forward),
            Action::Answer { from, forward } => self.answer(from, forward),
            Action::ForgetRecord { from, boot } => self.records.forget(from, boot, &mut self.ops),
            Action::Store { set, entry, foreign } => self.store(set, entry, foreign),
            Action::Forget { set, key } => self.forget(set, &key),
            Action::Load { to, set, keys } => self.load(to, set, keys),
            Action::Contact { contact_ms, ran_ms } => self.contact(contact_ms, ran_ms),
            Action::Ready(ready) => _ = self.cluster.ready.send_replace(ready),
            Action::Event(event) => self.tell(event),
            other => tracing::debug!(?other, "not done yet"),
        }
    }

    fn forward(&mut self, to: &NodeName, id: u64, number: (Forward, u64)) {
        let Some(Waiting { content, .. }) = self.waiting.get(&id) else { return };
        let item = Item { number: Some(number), what: What::New(content.clone()) };
        self.cluster.put(to.as_str(), item);
    }

    fn commit_hint(&mut self, to: NodeName, id: u64, forward: Forward) {
        let now_ms = clock::now_ms();
        let Some(Waiting { content, .. }) = self.waiting.get(&id) else { return };
        let expires_ms = content.expires_ms();
        let ops = match content.parts(now_ms) {
            Some((header, packet)) => self.hints.keep(&to, forward, (header, &packet), (now_ms, expires_ms)),
            // Its time is over: there is nothing to keep, and nothing to lose.
            None => Some(Vec::new()),
        };
        match ops {
            Some(ops) if !ops.is_empty() => {
                self.ops.extend(ops);
                self.stored.push((to, forward));
            }
            ops => {
                let stored = ops.is_some();
                self.cluster.inbox.tell(Told::Core(Input::HintsCommitted { to, forwards: vec![forward], stored }));
            }
        }
    }

    fn send_hint(&mut self, to: &NodeName, number: (Forward, u64)) {
        let (cluster, node, name) = (self.cluster.clone(), self.node.clone(), to.clone());
        let then = move |kept| match kept {
            Some((header, packet)) => {
                cluster.put(name.as_str(), Item { number: Some(number), what: What::Kept(header, packet) });
            }
            // Its time is over, so it counts as delivered.
            None => cluster.inbox.tell(Told::Core(Input::Answered { from: name, forwards: vec![number.0] })),
        };
        match &node.store {
            Some(store) => self.hints.read(&**store, to, number.0, clock::now_ms(), then),
            None => then(None),
        }
    }

    /// Gives a message to the worker that has those of its node.
    fn deliver(&mut self, from: NodeName, forward: Forward) {
        let of = (from, forward);
        let Some((header, packet)) = self.arrived.get_mut(&of).and_then(|arrived| arrived.sent.take()) else { return };
        let worker = self.cluster.worker_of(of.0.as_str(), self.node.workers());
        let cluster = &self.cluster;
        let delivery = self.deliveries.entry(worker).or_insert_with(|| super::receive::FromNode::for_driver(cluster));
        delivery.push(Sent { header, packet }, Some(of));
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
