//! The host's services.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use abi_stable::std_types::RStr;
use gatemq_types::Subject;
use gatemq_types::service::{Message, Reply, Request, RevokeRetained, Selector, ServiceError};
use tokio::sync::oneshot;

use super::runtime::Runtime;
use crate::abi::convert;
use crate::abi::v1_0::HostTable_Ref;

/// What the broker does for a plugin. Cheap to clone; usable from any thread; nothing in it blocks.
///
/// A service that this broker does not offer answers [`ServiceError::NotSupported`].
#[derive(Clone)]
pub struct Host {
    table: HostTable_Ref,
    runtime: Arc<Mutex<Weak<Runtime>>>,
}

impl Host {
    pub(crate) fn new(table: HostTable_Ref) -> Self {
        Host { table, runtime: Arc::default() }
    }

    pub(crate) fn set_runtime(&self, runtime: &Arc<Runtime>) {
        *self.runtime.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(runtime);
    }

    pub(crate) fn log_level(&self) -> u8 {
        (self.table.log_level())(self.table.context())
    }

    pub(crate) fn log(&self, level: u8, target: &str, message: &str) {
        (self.table.log())(self.table.context(), level, RStr::from_str(target), RStr::from_str(message));
    }

    /// Adds to a counter. At most 256 counters and gauges are kept; they are shown, as `gatemq_plugin_NAME_counter`, once the
    /// broker offers metrics.
    pub fn count(&self, counter: &str, add: u64) {
        (self.table.count())(self.table.context(), RStr::from_str(counter), add);
    }

    /// Sets a gauge; see [`Host::count`].
    pub fn gauge(&self, gauge: &str, value: i64) {
        (self.table.gauge())(self.table.context(), RStr::from_str(gauge), value);
    }

    /// Milliseconds since 1970, by the broker's clock.
    pub fn now_ms(&self) -> u64 {
        (self.table.now_ms())(self.table.context())
    }

    /// Runs a future until it ends or the plugin is dropped, on a thread that all of the plugin's spawned futures share: one
    /// that blocks holds up the others, but no client. Its panic ends it, and is logged. False: the plugin has ended.
    pub fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) -> bool {
        let runtime = self.runtime.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        runtime.is_some_and(|r| r.spawn(future))
    }

    /// Ends the connections that `selector` names.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn disconnect(&self, selector: Selector, reason: impl Into<String>) -> Result<Reply, ServiceError> {
        self.request(Request::Disconnect { selector, reason: reason.into() }).await
    }

    /// Keeps a subject out for `ttl_ms` milliseconds, or until the denial is lifted if that is 0.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn deny(&self, subject: Subject, ttl_ms: u64, reason: impl Into<String>) -> Result<Reply, ServiceError> {
        self.request(Request::Deny { subject, ttl_ms, reason: reason.into() }).await
    }

    /// Lifts a denial.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn allow(&self, subject: Subject) -> Result<Reply, ServiceError> {
        self.request(Request::Allow { subject }).await
    }

    /// Lists denials, a page at a time; page 0 is the first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn denials(&self, page: u64) -> Result<Reply, ServiceError> {
        self.request(Request::Denials { page }).await
    }

    /// Has the grants of sessions asked for again (`refresh`), and subscriptions and queues re-checked.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn revoke(&self, selector: Selector, retained: RevokeRetained) -> Result<Reply, ServiceError> {
        self.request(Request::Revoke { selector, retained }).await
    }

    /// Publishes a message.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn publish(&self, message: Message) -> Result<Reply, ServiceError> {
        self.request(Request::Publish(message)).await
    }

    /// Lists sessions, a page at a time; page 0 is the first.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn sessions(&self, selector: Selector, page: u64) -> Result<Reply, ServiceError> {
        self.request(Request::Sessions { selector, page }).await
    }

    /// Reads a value of the plugin's small replicated map.
    ///
    /// # Errors
    /// `NotFound`; see [`ServiceError`].
    pub async fn get(&self, key: impl Into<String>) -> Result<Vec<u8>, ServiceError> {
        self.request(Request::Get { key: key.into() }).await?.value.ok_or(ServiceError::NotFound)
    }

    /// Writes a value of it, for `ttl_ms` milliseconds, or for ever if that is 0.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn put(&self, key: impl Into<String>, value: Vec<u8>, ttl_ms: u64) -> Result<Reply, ServiceError> {
        self.request(Request::Put { key: key.into(), value, ttl_ms }).await
    }

    /// Removes a value of it.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn remove(&self, key: impl Into<String>) -> Result<Reply, ServiceError> {
        self.request(Request::Remove { key: key.into() }).await
    }

    async fn request(&self, request: Request) -> Result<Reply, ServiceError> {
        let (sender, receiver) = oneshot::channel();
        let completer = super::completion::completer(sender);
        (self.table.request())(self.table.context(), &convert::request_to(&request), completer);
        // The completer was dropped or abandoned: the host stops.
        receiver.await.unwrap_or(Err(ServiceError::Unavailable))
    }
}
