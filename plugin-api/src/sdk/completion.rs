//! Answers to requests that plugins make of the host: a completer on the plugin's side.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use gatemq_types::service::{Reply, ServiceError};
use tokio::sync::oneshot;

use crate::abi::convert;
use crate::abi::v1_0::{ReplyRecord, ServiceCompleter, Status};

type Waiting = oneshot::Sender<Result<Reply, ServiceError>>;

/// Requests under way, by token. An answer for a token that is not in here is too late and changes nothing.
#[derive(Default)]
struct Requests {
    next: u64,
    waiting: HashMap<u64, Waiting>,
}

static REQUESTS: LazyLock<Mutex<Requests>> = LazyLock::new(Mutex::default);

fn take(token: u64) -> Option<Waiting> {
    REQUESTS.lock().unwrap_or_else(PoisonError::into_inner).waiting.remove(&token)
}

extern "C" fn complete(_: *const (), token: u64, reply: ReplyRecord) {
    if let Some(waiting) = take(token) {
        // Whoever asked has gone: nobody to tell.
        let _ = waiting.send(convert::reply_from(reply));
    }
}

extern "C" fn abandon(_: *const (), token: u64, _: Status) {
    drop(take(token));
}

extern "C" fn cancelled(_: *const (), token: u64) -> bool {
    let requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    requests.waiting.get(&token).is_none_or(|w| w.is_closed())
}

/// A completer that answers `waiting`.
pub(crate) fn completer(waiting: Waiting) -> ServiceCompleter {
    let mut requests = REQUESTS.lock().unwrap_or_else(PoisonError::into_inner);
    requests.next += 1;
    let token = requests.next;
    requests.waiting.insert(token, waiting);
    crate::abi::entry::service_completer(token, complete, abandon, cancelled)
}
