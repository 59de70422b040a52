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

    /// Ends the connections that `selector` names, which must not be everybody: with DISCONNECT 0x98 and `reason` (1 KiB of it).
    /// Their wills are not published, their sessions stay. The reply counts them.
    ///
    /// # Errors
    /// `NotFound`: there is none; see [`ServiceError`].
    pub async fn disconnect(&self, selector: Selector, reason: impl Into<String>) -> Result<Reply, ServiceError> {
        self.request(Request::Disconnect { selector, reason: reason.into() }).await
    }

    /// Keeps a subject out for `ttl_ms` milliseconds, or until the denial is lifted if that is 0; replaces what this plugin had
    /// raised for it. The reply's row is the denial as it is listed: its `action` is `slow` where an address is shared. See the
    /// [guide](crate::guide#who-is-kept-out) for what may be denied.
    ///
    /// # Errors
    /// `NotFound`, `NotAllowed`: it may not be denied. `Busy`: `denials.per_raiser_max` are raised. See [`ServiceError`].
    pub async fn deny(&self, subject: Subject, ttl_ms: u64, reason: impl Into<String>) -> Result<Reply, ServiceError> {
        self.request(Request::Deny { subject, ttl_ms, reason: reason.into() }).await
    }

    /// Lifts what this plugin raised for a subject.
    ///
    /// # Errors
    /// `NotFound`: there is none. `NotAllowed`: only others have raised one. See [`ServiceError`].
    pub async fn allow(&self, subject: Subject) -> Result<Reply, ServiceError> {
        self.request(Request::Allow { subject }).await
    }

    /// Lists denials, everybody's, a page at a time; page 0 is the first. A row is a JSON object: `subject` (`kind`, and
    /// `address` and `bits`, `sha256`, or `tenant`, `user` and `client_id`), `action`, `until_ms`, `reason`, `raised_by`.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn denials(&self, page: u64) -> Result<Reply, ServiceError> {
        self.request(Request::Denials { page }).await
    }

    /// Has the providers of connected clients asked for their grants again (`refresh`), and subscriptions and queues checked with
    /// them. The reply counts the clients and does not wait for the providers' answers. Who is away is checked when he comes back.
    /// `retained` says what becomes of what they have had retained; with [`RevokeRetained::Withhold`] and
    /// [`RevokeRetained::Remove`] that has happened when the reply comes, also in the store, and clients that are away are named too.
    ///
    /// # Errors
    /// `Invalid`: a selector that names everybody. `NotFound`: nobody of that name is connected, and nothing of theirs was retained that
    /// had to be withheld or removed. See [`ServiceError`].
    pub async fn revoke(&self, selector: Selector, retained: RevokeRetained) -> Result<Reply, ServiceError> {
        self.request(Request::Revoke { selector, retained }).await
    }

    /// Publishes a message to those of its tenant who subscribed, as the broker's own; not below `$`. The reply comes when it is
    /// routed, and counts the subscriptions that it went to. At most 1,000 messages and 8 MiB a second.
    ///
    /// # Errors
    /// `Invalid`: no topic, one below `$`, or too large. `Busy`: too fast, or not retained because the tenant has as many as it
    /// may. See [`ServiceError`].
    pub async fn publish(&self, message: Message) -> Result<Reply, ServiceError> {
        self.request(Request::Publish(message)).await
    }

    /// Lists sessions that have a connection, a page at a time; page 0 is the first. A row is a JSON object: `connection`,
    /// `tenant`, `user`, `client_id`, `listener`, `transport`, `protocol`, `remote`, `connected_ms` (since 1970), `leaf_sha256`.
    ///
    /// # Errors
    /// See [`ServiceError`].
    pub async fn sessions(&self, selector: Selector, page: u64) -> Result<Reply, ServiceError> {
        self.request(Request::Sessions { selector, page }).await
    }

    /// Reads a value of the plugin's own small map.
    ///
    /// # Errors
    /// `NotFound`; see [`ServiceError`].
    pub async fn get(&self, key: impl Into<String>) -> Result<Vec<u8>, ServiceError> {
        self.request(Request::Get { key: key.into() }).await?.value.ok_or(ServiceError::NotFound)
    }

    /// Writes a value of it, for `ttl_ms` milliseconds, or for ever if that is 0. It outlives a restart where the broker has a
    /// store. Keys are at most 256 bytes long, values 64 KiB; at most 4,096 keys, and 4 MiB in all.
    ///
    /// # Errors
    /// `Invalid`: too long. `Busy`: too many. See [`ServiceError`].
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
