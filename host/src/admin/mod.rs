//! The desk: what plugins and operators ask of the running node, carried out on a thread of its own.
//!
//! | module | what it does |
//! |---|---|
//! | [`asker`] | who asks, and how much at a time |
//! | `run` | the thread: takes what was asked, has the store keep it, answers |
//! | `deny` | denials: raise, lift, list; the rules that keep anybody from having somebody else denied |
//! | `survey` | who of those that are to be denied is here |
//! | `scan` | looks at the connections of all workers |
//! | `kick` | ends connections |
//! | `revoke` | has identities asked for again |
//! | `everywhere` | both, at every node of a cluster |
//! | `sessions` | lists them |
//! | `publish` | messages of plugins |
//! | `values` | what plugins keep |
//! | `rows` | rows of listings |
//!
//! Nobody who asks waits: [`Desk::request`] puts the request down, and the answer comes on the desk's thread. Whoever has
//! [`asker::WAITING_MAX`] requests under way is answered `Busy`.

mod asker;
mod deny;
mod everywhere;
mod kick;
mod publish;
mod revoke;
mod rows;
mod run;
mod scan;
mod sessions;
mod survey;
mod values;

pub(crate) use asker::{Asker, By};
pub(crate) use publish::Publication;
pub(crate) use revoke::revoke_admitted_by;
pub(crate) use rows::hex;

use std::collections::VecDeque;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;

use gatemq_plugin_loader::Answer;
use gatemq_types::service::{Reply, Request, ServiceError};
use gatemq_types::{Denial, Subject};
use parking_lot::{Condvar, Mutex};

use crate::cluster::Order;
use crate::node::Node;
use asker::Waits;
use scan::Scanner;
use values::Values;

/// What a request comes to.
type Outcome = Result<Reply, ServiceError>;

/// A request that waits for the desk's thread.
struct Job {
    by: By,
    request: Request,
    answer: Answer,
    waits: Waits,
}

impl Job {
    /// Whether it looks at connections, and changes nothing that is kept.
    fn waits_for_workers(&self) -> bool {
        matches!(self.request, Request::Disconnect { .. } | Request::Revoke { .. } | Request::Sessions { .. })
    }
}

/// An answer that is to be told.
type Finished = (Answer, Outcome, Waits);

/// What another node's desk has done.
pub(crate) enum Replicated {
    /// Raised.
    Denied(Denial),
    /// Lifted.
    Lifted {
        /// Whose.
        subject: Subject,
        /// Who had raised it.
        raised_by: String,
    },
}

/// What goes on when other nodes have answered, or is done because another node wants it.
type Later = Box<dyn FnOnce(&Scanner<'_>) + Send>;

/// What waits. Bounded by what those who ask may have under way, and, of what other nodes did, by how many denials there may be and
/// by what their desks may have under way.
#[derive(Default)]
struct Inbox {
    jobs: VecDeque<Job>,
    /// Answered elsewhere, told here: no plugin's code runs on a worker.
    finished: Vec<Finished>,
    replicated: Vec<Replicated>,
    later: Vec<Later>,
    stop: bool,
}

impl Inbox {
    fn is_empty(&self) -> bool {
        self.jobs.is_empty() && self.finished.is_empty() && self.replicated.is_empty() && self.later.is_empty()
    }
}

/// See the module.
#[derive(Default)]
pub(crate) struct Desk {
    inbox: Mutex<Inbox>,
    wake: Condvar,
    /// Present when it has begun.
    node: OnceLock<Arc<Node>>,
    values: Values,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// It stops.
    stops: AtomicBool,
}

impl Desk {
    /// What plugins ask before it has begun waits.
    pub(crate) fn new() -> Arc<Desk> {
        Arc::default()
    }

    /// Has something carried out; `answer` is called once, on the desk's thread or at once on this one. Never blocks. Dropped
    /// unanswered when the node stops.
    pub(crate) fn request(self: &Arc<Self>, asker: &Arc<Asker>, request: Request, answer: Answer) {
        let Some(waits) = asker.enter() else { return answer(Err(ServiceError::Busy)) };
        match (&request, self.node.get()) {
            // Nothing of it waits for workers or the store.
            (Request::Get { key }, Some(_)) => return answer(self.values.get(asker.by(), key, crate::clock::now_ms())),
            (Request::Denials { page }, Some(node)) => return answer(Ok(deny::list(node, *page))),
            (Request::Publish(message), Some(node)) => {
                return publish::send(self, node, asker, message, waits, answer);
            }
            _ => {}
        }
        let mut inbox = self.inbox.lock();
        if inbox.stop {
            drop(inbox);
            return answer(Err(ServiceError::Unavailable));
        }
        inbox.jobs.push_back(Job { by: asker.by().clone(), request, answer, waits });
        self.wake.notify_one();
    }

    /// Has what another node's desk has done take hold here too.
    pub(crate) fn replicate(&self, replicated: Replicated) {
        let mut inbox = self.inbox.lock();
        if !inbox.stop {
            inbox.replicated.push(replicated);
            self.wake.notify_one();
        }
    }

    /// Has done here what another node's desk wants done at every node; `done` is told how many clients it concerned, on the desk's thread.
    pub(crate) fn ordered(&self, order: Order, done: impl FnOnce(u64) + Send + 'static) {
        self.later(Box::new(move |scanner| {
            // It fails only when the node stops, and everybody's connection ends.
            if let Ok(count) = everywhere::ordered(scanner, &order) {
                done(count);
            }
        }));
    }

    fn later(&self, later: Later) {
        let mut inbox = self.inbox.lock();
        if !inbox.stop {
            inbox.later.push(later);
            self.wake.notify_one();
        }
    }

    /// Answers from another thread.
    fn finish(&self, answer: Answer, outcome: Outcome, waits: Waits) {
        let mut inbox = self.inbox.lock();
        if !inbox.stop {
            inbox.finished.push((answer, outcome, waits));
            self.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests;
