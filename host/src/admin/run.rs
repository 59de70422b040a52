//! The desk's thread.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::Answer;
use gatemq_store::{Batch, Op, StoreError, wait};
use gatemq_types::event::Fact;
use gatemq_types::service::{Reply, Request, ServiceError};

use super::scan::Scanner;
use super::survey::Survey;
use super::{Desk, Finished, Job, Later, Outcome, Replicated, Waits, deny, everywhere, kick, sessions};
use crate::clock;
use crate::cluster::Order;
use crate::node::Node;

/// Requests that are carried out before the store is asked to keep what they changed.
const JOBS_AT_ONCE: usize = 256;
/// How often it looks what is over.
const SWEEP: Duration = Duration::from_secs(1);
/// What is taken away at a look.
const SWEEP_MAX: usize = 1024;
/// Longest reason that is kept and told, in bytes.
const REASON_BYTES_MAX: usize = 1024;

/// What requests have changed and not been answered yet.
pub(super) struct Changes {
    /// For the store.
    pub(super) ops: Vec<Op>,
    /// A denial was raised that ends connections.
    pub(super) scan: bool,
    /// Who of those that are to be denied is here; an error when the node stops, or has no workers yet.
    pub(super) survey: Result<Survey, ServiceError>,
    /// For other nodes, behind what is in their sets.
    pub(super) orders: Vec<Order>,
}

/// What there is to do.
struct Todo {
    jobs: Vec<Job>,
    finished: Vec<Finished>,
    replicated: Vec<Replicated>,
    later: Vec<Later>,
}

impl Desk {
    /// Takes back what the store has, and begins to carry out.
    ///
    /// # Errors
    /// The store cannot be read, or no thread can be had.
    pub(crate) fn begin(self: &Arc<Self>, node: &Arc<Node>) -> Result<(), String> {
        let mut over = Vec::new();
        if let Some(store) = &node.store {
            let now_ms = clock::now_ms();
            let restored = deny::restore(node, &**store, now_ms, &mut over);
            let restored = restored.and_then(|()| self.values.restore(&**store, now_ms, &mut over));
            let tidied = restored.and_then(|()| keep(node, over));
            tidied.map_err(|e| format!("the store: {e}"))?;
        }
        let (desk, node) = (self.clone(), node.clone());
        // A second beginning would be a mistake of the start sequence: the first stays.
        let _ = self.node.set(node.clone());
        let thread = std::thread::Builder::new().name("desk".into()).spawn(move || desk.run(&node));
        *self.thread.lock() = Some(thread.map_err(|e| format!("the desk's thread cannot be started: {e}"))?);
        Ok(())
    }

    /// Carries out no more; what waits is dropped, which whoever asked is told. The workers have ended before, or are left
    /// behind.
    pub(crate) fn stop(&self) {
        self.stops.store(true, Ordering::SeqCst);
        let dropped = {
            let mut inbox = self.inbox.lock();
            inbox.stop = true;
            self.wake.notify_one();
            (std::mem::take(&mut inbox.jobs), std::mem::take(&mut inbox.finished), std::mem::take(&mut inbox.later))
        };
        drop(dropped);
        if let Some(thread) = self.thread.lock().take() {
            // It catches nothing: a panic of it is in the log.
            let _ = thread.join();
        }
    }

    fn run(self: &Arc<Self>, node: &Arc<Node>) {
        let mut next_sweep = Instant::now() + SWEEP;
        while let Some(Todo { jobs, finished, replicated, later }) = self.next(next_sweep) {
            for (answer, outcome, _waits) in finished {
                answer(outcome);
            }
            let scanner = Scanner { node, stop: &self.stops };
            // What waits for workers comes last: who is denied must not wait for it.
            let (slow, quick) = jobs.into_iter().partition(Job::waits_for_workers);
            let sweep = Instant::now() >= next_sweep;
            if sweep {
                next_sweep = Instant::now() + SWEEP;
            }
            self.change(&scanner, quick, replicated, sweep);
            later.into_iter().for_each(|later| later(&scanner));
            slow.into_iter().for_each(|job| self.carry_out_slowly(&scanner, job));
        }
    }

    /// Carries out what waits for workers.
    fn carry_out_slowly(self: &Arc<Self>, scanner: &Scanner<'_>, job: Job) {
        let Job { by, request, answer, waits } = job;
        let on = (self, scanner);
        match request {
            Request::Disconnect { selector, reason } => {
                everywhere::disconnect(on, &by, (selector, reason), (answer, waits));
            }
            Request::Revoke { selector, retained } => {
                everywhere::revoke(on, &by, (selector, retained), (answer, waits))
            }
            Request::Sessions { selector, page } => answer(sessions::list(scanner, selector, page)),
            _ => answer(Err(ServiceError::NotSupported)),
        }
    }

    /// Carries out what changes something, has it take hold, has it kept, and answers.
    fn change(&self, scanner: &Scanner<'_>, jobs: Vec<Job>, replicated: Vec<Replicated>, sweep: bool) {
        let node = scanner.node;
        let survey = Survey::of(scanner, &jobs, &replicated);
        let mut changes = Changes { ops: Vec::new(), scan: false, survey, orders: Vec::new() };
        let carried_out: Vec<_> = jobs.into_iter().map(|job| self.carry_out(node, job, &mut changes)).collect();
        let own = changes.ops.len();
        replicated.into_iter().for_each(|of| deny::replicate(node, of, &mut changes));
        if sweep {
            deny::expire(node, clock::now_ms(), SWEEP_MAX, &mut changes.ops);
            self.values.expire(clock::now_ms(), SWEEP_MAX, &mut changes.ops);
        }
        if changes.scan {
            kick::denied(scanner);
        }
        if let Some(cluster) = node.cluster() {
            cluster.denied(changes.ops.iter().take(own));
            // What comes of it there concerns nobody here.
            changes.orders.into_iter().for_each(|order| cluster.order(order, |_| ()));
        }
        let kept = keep(node, changes.ops);
        if let Err(e) = &kept {
            node.store_failed(e);
        }
        for (answer, _waits, outcome) in carried_out {
            // What is not kept holds until the node, which stops, has ended.
            answer(if kept.is_ok() { outcome } else { Err(ServiceError::Unavailable) });
        }
    }

    /// What there is to do; `None`: it stops.
    fn next(&self, until: Instant) -> Option<Todo> {
        let mut inbox = self.inbox.lock();
        while !inbox.stop && inbox.is_empty() {
            if self.wake.wait_until(&mut inbox, until).timed_out() {
                break;
            }
        }
        if inbox.stop {
            return None;
        }
        let count = inbox.jobs.len().min(JOBS_AT_ONCE);
        let (finished, replicated) = (std::mem::take(&mut inbox.finished), std::mem::take(&mut inbox.replicated));
        let later = std::mem::take(&mut inbox.later);
        Some(Todo { jobs: inbox.jobs.drain(..count).collect(), finished, replicated, later })
    }

    fn carry_out(&self, node: &Node, job: Job, changes: &mut Changes) -> (Answer, Waits, Outcome) {
        let Job { by, request, answer, waits } = job;
        let now_ms = clock::now_ms();
        let outcome = match request {
            Request::Deny { subject, ttl_ms, reason } => {
                deny::deny(node, &by, subject, ttl_ms, reason, now_ms, changes)
            }
            Request::Allow { subject } => deny::lift(node, &by, &subject, changes),
            Request::Denials { page } => Ok(deny::list(node, page)),
            Request::Get { key } => self.values.get(&by, &key, now_ms),
            Request::Put { key, value, ttl_ms } => self.values.put(&by, key, value, ttl_ms, now_ms, &mut changes.ops),
            Request::Remove { key } => self.values.remove(&by, &key, now_ms, &mut changes.ops),
            // Before the node served anybody.
            Request::Publish(_) => Err(ServiceError::Unavailable),
            // The others are not changes.
            _ => Err(ServiceError::NotSupported),
        };
        (answer, waits, outcome)
    }
}

/// Has the store keep it, where there is one; waits for that.
fn keep(node: &Node, ops: Vec<Op>) -> Result<(), StoreError> {
    match &node.store {
        Some(store) if !ops.is_empty() => wait(|answer| store.commit(Batch { ops }, answer)).map(drop),
        _ => Ok(()),
    }
}

/// A reply that says how many it concerned.
pub(super) fn counted(count: u64) -> Reply {
    Reply { count, ..Reply::default() }
}

/// A reason, cut off where it is too long.
pub(super) fn cut(mut reason: String) -> String {
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

/// A bound is reached: the event says which.
pub(super) fn tell_full(node: &Node, which: &'static str, max: usize) {
    let max = max as u64;
    let (actual, action) = (max.saturating_add(1), "refused".into());
    node.events.emit(None, Fact::LimitExceeded { which: which.into(), max, actual, action });
}
