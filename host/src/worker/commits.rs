//! Changes on their way to the store, and who waits for them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use gatemq_broker::Session;
use gatemq_broker::changes::Change;
use gatemq_store::{Op, StoreError};
use tokio::sync::oneshot;

use super::Worker;
use super::hot::Hot;
use crate::durable;

/// Batches that a worker has under way at a time. What changes meanwhile goes into the next one, which the more it is grows, the
/// slower the store is.
const UNDER_WAY_MAX: usize = 4;

/// What a worker has submitted and not heard of yet. Bounded by the connections, each of which is not read while much of it
/// waits.
#[derive(Default)]
pub(super) struct Commits {
    /// Batches that were submitted, numbered from 1 on, and those of them that are stored.
    submitted: u64,
    stored: u64,
    /// In the order in which they were submitted, and are answered.
    under_way: VecDeque<Waiting>,
    /// Who waits for the next one.
    next: Waiting,
    /// What is in the next one besides what has changed.
    beside: Vec<Op>,
}

/// Who waits for a batch.
#[derive(Default)]
struct Waiting {
    /// Sessions, with numbers of their messages.
    messages: Vec<(Arc<Session>, u64)>,
    /// Connections with acknowledgements.
    connections: Vec<u32>,
    tasks: Vec<oneshot::Sender<()>>,
}

impl Commits {
    /// These are to be stored with what has changed and is not submitted yet: with all of it, or not.
    pub(super) fn beside(&mut self, ops: Vec<Op>) {
        self.beside.extend(ops);
    }

    /// Who waits for a batch, if it is not stored yet.
    fn waiting(&mut self, ticket: u64) -> Option<&mut Waiting> {
        let at = usize::try_from(ticket.checked_sub(self.stored + 1)?).ok()?;
        if at == self.under_way.len() { Some(&mut self.next) } else { self.under_way.get_mut(at) }
    }
}

impl Worker {
    /// Submits what has changed, if not too much is under way. Returns the number of the batch that it is in, or of the last
    /// one where nothing has.
    pub(crate) fn submit(&self, hot: &mut Hot) -> u64 {
        let mut commits = self.commits.borrow_mut();
        if hot.out.spare.changes.is_empty() {
            return commits.submitted;
        }
        let Some(store) = &self.node.store else { return commits.submitted };
        let ticket = commits.submitted + 1;
        if commits.under_way.len() >= UNDER_WAY_MAX {
            hot.out.spare.changes.wait();
            return ticket;
        }
        let (mut waiting, mut beside) = (std::mem::take(&mut commits.next), std::mem::take(&mut commits.beside));
        let (node, id) = (self.node.clone(), self.id as usize);
        // What is refused of it belongs to a session that has ended.
        let began = Instant::now();
        let answer = move |answer: Result<_, StoreError>| {
            node.timings.commits.note(began.elapsed());
            node.send(id, |mail| mail.commits.push(answer.map(drop)));
        };
        hot.out.spare.changes.submit(|changes| {
            let mut batch = durable::batch(&changes);
            batch.ops.append(&mut beside);
            if let Some(cluster) = self.node.cluster() {
                cluster.retained(&batch.ops);
            }
            store.commit(batch, Box::new(answer));
            waiting.messages.extend(changes.into_iter().filter_map(|change| match change {
                Change::Appended(appended) => Some((appended.session, appended.seq)),
                Change::Done { seq, tell: Some(session), .. } => Some((session, seq)),
                Change::Awaited(session, seq) => Some((session, seq)),
                _ => None,
            }));
        });
        commits.under_way.push_back(waiting);
        commits.submitted = ticket;
        ticket
    }

    /// Has a connection told when the batch is stored; false: it is already.
    pub(crate) fn tell_stored(&self, ticket: u64, connection: u32) -> bool {
        let mut commits = self.commits.borrow_mut();
        let Some(waiting) = commits.waiting(ticket) else { return false };
        if waiting.connections.last() != Some(&connection) {
            waiting.connections.push(connection);
        }
        true
    }

    /// Waits until the batch is stored. Where the store has failed it never is, and the node stops.
    pub(crate) async fn stored(&self, ticket: u64) {
        let (tell, told) = oneshot::channel();
        self.tell_task(ticket, tell);
        stored(told).await;
    }

    /// Waits until everything is stored that another worker has changed up to now.
    pub(crate) async fn stored_by(&self, worker: u32) {
        let (tell, told) = oneshot::channel();
        self.node.send(worker as usize, |mail| mail.barriers.push(tell));
        stored(told).await;
    }

    /// Answers [`Self::stored_by`] of other workers.
    pub(super) fn barriers(&self, barriers: impl Iterator<Item = oneshot::Sender<()>>) {
        for tell in barriers {
            let ticket = self.submit(&mut self.hot.borrow_mut());
            self.tell_task(ticket, tell);
        }
    }

    fn tell_task(&self, ticket: u64, tell: oneshot::Sender<()>) {
        match self.commits.borrow_mut().waiting(ticket) {
            Some(waiting) => waiting.tasks.push(tell),
            // Who waited may have gone.
            None => drop(tell.send(())),
        }
    }

    /// Takes what the store has answered.
    pub(super) fn committed(&self, answers: impl Iterator<Item = Result<(), StoreError>>) {
        for answer in answers {
            if let Err(e) = answer {
                self.node.store_failed(&e);
                return;
            }
            let (waiting, ticket) = {
                let mut commits = self.commits.borrow_mut();
                let Some(waiting) = commits.under_way.pop_front() else { return };
                commits.stored += 1;
                (waiting, commits.stored)
            };
            let Waiting { messages, connections, tasks } = waiting;
            let hot = &mut *self.hot.borrow_mut();
            for of_one in messages.chunk_by(|a, b| Arc::ptr_eq(&a.0, &b.0)) {
                let Some((session, _)) = of_one.first() else { continue };
                let seqs = of_one.iter().map(|(_, seq)| *seq);
                hot.out.armed.extend(session.stored(seqs, self.now_ms.get(), &mut hot.out.spare));
            }
            // Also submits what has changed meanwhile.
            self.deliver_armed(hot);
            for connection in connections {
                self.with(connection, |connection| connection.stored(ticket));
            }
            for task in tasks {
                // Who waited may have gone.
                let _ = task.send(());
            }
        }
    }
}

async fn stored(told: oneshot::Receiver<()>) {
    if told.await.is_err() {
        std::future::pending::<()>().await;
    }
}
