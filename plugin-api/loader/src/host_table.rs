//! What the host offers to plugins, behind the function table that they are given.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{SystemTime, UNIX_EPOCH};

use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::RStr;
use gatemq_plugin_api::abi::convert;
use gatemq_plugin_api::abi::v1_0::{HostTable, HostTable_Ref, RequestRecord, ServiceCompleter, Status};
use gatemq_types::service::{Reply, Request, ServiceError};

/// Level of a plugin's log line.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(u8)]
pub enum Level {
    /// Error.
    Error = 1,
    /// Warning.
    Warn = 2,
    /// Information.
    Info = 3,
    /// Debug.
    Debug = 4,
    /// Trace.
    Trace = 5,
}

/// How a request is answered; may be called from any thread, once. Dropping it answers that the host is unavailable.
pub type Answer = Box<dyn FnOnce(Result<Reply, ServiceError>) + Send>;

/// What the host does for one plugin instance. Called from the plugin's threads; must neither block nor panic.
pub trait Services: Send + Sync {
    /// Most detailed level that is wanted.
    fn log_level(&self) -> Level;
    /// A log line. `target` and `message` are the plugin's words.
    fn log(&self, level: Level, target: &str, message: &str);
    /// Adds to a counter.
    fn count(&self, counter: &str, add: u64);
    /// Sets a gauge.
    fn gauge(&self, gauge: &str, value: i64);
    /// Carries out a request.
    fn request(&self, request: Request, answer: Answer);
}

/// Services by number. A plugin names its own by number, never by address, so a stale one finds nothing.
static REGISTRY: RwLock<Vec<Option<Arc<dyn Services>>>> = RwLock::new(Vec::new());

/// Registers services; the table lives as long as the process (a plugin may call it for ever).
pub(crate) fn register(services: Arc<dyn Services>) -> (u64, HostTable_Ref) {
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    registry.push(Some(services));
    let context = registry.len() as u64 - 1;
    let table = HostTable { context, log, log_level, count, gauge, now_ms, request };
    (context, table.leak_into_prefix())
}

/// Ends the services of an instance: its calls do nothing from now on.
pub(crate) fn unregister(context: u64) {
    let mut registry = REGISTRY.write().unwrap_or_else(PoisonError::into_inner);
    if let Some(services) = registry.get_mut(context as usize) {
        *services = None;
    }
}

fn services(context: u64) -> Option<Arc<dyn Services>> {
    let registry = REGISTRY.read().unwrap_or_else(PoisonError::into_inner);
    registry.get(context as usize)?.clone()
}

fn level(number: u8) -> Level {
    match number {
        1 => Level::Error,
        2 => Level::Warn,
        3 => Level::Info,
        4 => Level::Debug,
        _ => Level::Trace,
    }
}

/// Nothing may unwind into a plugin.
fn shielded<R>(otherwise: R, f: impl FnOnce() -> R) -> R {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(f)).unwrap_or(otherwise)
}

extern "C" fn log(context: u64, number: u8, target: RStr<'_>, message: RStr<'_>) {
    shielded((), || {
        if let Some(s) = services(context) {
            s.log(level(number), target.as_str(), message.as_str());
        }
    });
}

extern "C" fn log_level(context: u64) -> u8 {
    shielded(0, || services(context).map_or(0, |s| s.log_level() as u8))
}

extern "C" fn count(context: u64, counter: RStr<'_>, add: u64) {
    shielded((), || {
        if let Some(s) = services(context) {
            s.count(counter.as_str(), add);
        }
    });
}

extern "C" fn gauge(context: u64, gauge: RStr<'_>, value: i64) {
    shielded((), || {
        if let Some(s) = services(context) {
            s.gauge(gauge.as_str(), value);
        }
    });
}

extern "C" fn now_ms(_: u64) -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// A request's completer, which is told when nobody will answer: whoever asked waits for it.
struct Answering(Option<ServiceCompleter>);

impl Answering {
    fn finish(mut self, reply: Result<Reply, ServiceError>) {
        if let Some(completer) = self.0.take() {
            completer.complete(convert::reply_to(reply));
        }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(completer) = self.0.take() {
            completer.abandon(Status::failed("the host dropped the request"));
        }
    }
}

extern "C" fn request(context: u64, request: &RequestRecord, completer: ServiceCompleter) {
    let answering = Answering(Some(completer));
    shielded((), || match (services(context), convert::request_from(request)) {
        (Some(services), Ok(request)) => services.request(request, Box::new(|reply| answering.finish(reply))),
        (Some(_), Err(e)) => answering.finish(Err(e)),
        (None, _) => answering.finish(Err(ServiceError::NotFound)),
    });
}
