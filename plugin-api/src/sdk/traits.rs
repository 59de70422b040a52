//! The traits that authors implement.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use gatemq_types::event::Class;
use gatemq_types::event::EventKind;
use gatemq_types::{AuthOutcome, Connect, Verdict};
use serde::de::DeserializeOwned;

use super::{Action, AuthExchange, Event, Host, Session};
use crate::abi::v1_0::InterestRecord;

/// Why a plugin cannot start. The broker shows it and, if the plugin is `required`, does not start.
#[derive(Debug)]
pub struct StartError(pub String);

/// Why a new configuration was not taken.
#[derive(Debug)]
pub enum ReconfigureError {
    /// Something is wrong with it: the old one stays in force.
    Refused(String),
    /// A running instance cannot take it: the broker starts another one with it, and stops this one when that works.
    LoadAgain(String),
}

impl<E: fmt::Display> From<E> for StartError {
    fn from(e: E) -> Self {
        StartError(e.to_string())
    }
}

impl<E: fmt::Display> From<E> for ReconfigureError {
    fn from(e: E) -> Self {
        ReconfigureError::Refused(e.to_string())
    }
}

/// How a plugin is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// All is well.
    Ready,
    /// It works, but not all is well.
    Degraded(String),
    /// It cannot work now. Listeners stay closed until every required plugin is ready.
    NotReady(String),
}

/// What every plugin is.
pub trait Plugin: Send + Sync + Sized + 'static {
    /// From `[plugins.NAME.config]`. An unknown key is an error.
    type Config: DeserializeOwned;

    /// Starts. May take its time, but not for ever: the host's deadline applies. Called once, on a call thread.
    ///
    /// When the broker reloads, another instance is started beside this one, and this one stopped when its last call has ended:
    /// take nothing for yourself that the other one needs too, such as a port.
    ///
    /// # Errors
    /// What is wrong and what to do about it.
    fn start(config: Self::Config, host: Host) -> Result<Self, StartError>;

    /// Takes a new configuration while running, where the broker reloads. Called on a call thread; calls of other methods
    /// go on meanwhile.
    ///
    /// # Errors
    /// Keeps the old one in force. By default every new configuration needs another instance.
    fn reconfigure(&self, config: Self::Config) -> Result<(), ReconfigureError> {
        drop(config);
        Err(ReconfigureError::LoadAgain("its author wrote nothing for it".into()))
    }

    /// How it is. Called on a call thread: after the start until it does not say `NotReady` (for 30 s at most; then the plugin
    /// does not start), later every few seconds. While a required plugin is not ready, the broker admits no new client.
    fn health(&self) -> Health {
        Health::Ready
    }

    /// Finishes its work within `deadline`. Afterwards the instance is dropped. Called on a call thread.
    fn stop(&self, deadline: Duration) {
        let _ = deadline;
    }
}

/// Decides who is admitted, and as whom.
///
/// The futures run on the plugin's own runtime. A future that is not done by the deadline is dropped, and the client is
/// refused. So is one whose future panics.
pub trait AuthProvider: Plugin {
    /// Asked at every CONNECT, also at those without user name and password; but not at one with an Authentication Method
    /// (5.0) that [`offers_method`](Self::offers_method) does not offer.
    fn authenticate(&self, connect: &Connect) -> impl Future<Output = AuthOutcome> + Send;

    /// Whether it offers enhanced authentication (5.0, 4.12) by this method. A CONNECT with a method that it does not offer
    /// passes it by, as if it had said [`AuthOutcome::Next`]: who wants a proof of a certain kind is not content with
    /// another. When no provider offers it, the client is refused: Bad authentication method, 0x8C. By default it offers
    /// none. Called on the plugin's runtime: it must not wait for anything.
    fn offers_method(&self, method: &str) -> bool {
        let _ = method;
        false
    }

    /// Asked at every AUTH of a client: with its answer to [`AuthOutcome::Continue`], and when it begins to authenticate
    /// again ([`AuthExchange::reauthentication`]). By default it is refused.
    fn exchange(&self, step: &AuthExchange) -> impl Future<Output = AuthOutcome> + Send {
        let _ = step;
        async { AuthOutcome::reject("enhanced authentication is not offered") }
    }

    /// Asked for the grants of a live session again, without password. The same tenant, user and client id replace the
    /// grants; anything else ends the session. By default it does end.
    fn refresh(&self, session: &Session) -> impl Future<Output = AuthOutcome> + Send {
        let _ = session;
        async { AuthOutcome::reject("grants are not renewed") }
    }

    /// Asked about an action where a grant says Ask. Called on a call thread: it must not wait for anything; answer
    /// [`Verdict::Pending`] to be asked through [`AuthProvider::authorize_slow`], which may. By default it is denied.
    fn authorize(&self, session: &Session, action: &Action<'_>) -> Verdict {
        let _ = (session, action);
        Verdict::Next
    }

    /// Asked after `Pending`. By default it is denied.
    fn authorize_slow(&self, session: &Session, action: &Action<'_>) -> impl Future<Output = Verdict> + Send {
        let _ = (session, action);
        async { Verdict::Next }
    }
}

/// What a collector wants to see.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    classes: u32,
    kinds: Vec<u32>,
    tenants: Vec<String>,
}

impl Interest {
    /// Nothing yet.
    pub fn none() -> Self {
        Interest::default()
    }

    /// All but traffic.
    pub fn all_but_traffic() -> Self {
        Interest::none().class(Class::Security).class(Class::Lifecycle).class(Class::System)
    }

    /// And this class.
    pub fn class(mut self, class: Class) -> Self {
        self.classes |= class as u32;
        self
    }

    /// And this kind.
    pub fn kind(mut self, kind: EventKind) -> Self {
        self.kinds.push(kind.number());
        self
    }

    /// Of clients, only those of this tenant (may be said several times). Events without a tenant come all the same.
    pub fn tenant(mut self, tenant: impl Into<String>) -> Self {
        self.tenants.push(tenant.into());
        self
    }

    pub(crate) fn into_record(self) -> InterestRecord {
        InterestRecord {
            classes: self.classes,
            kinds: self.kinds.into(),
            tenants: self.tenants.into_iter().map(Into::into).collect(),
        }
    }
}

/// Sees what happens.
pub trait EventCollector: Plugin {
    /// What it wants to see. Asked once, after the start; a new configuration that changes it needs another instance
    /// ([`ReconfigureError::LoadAgain`]).
    fn interest(&self) -> Interest {
        Interest::all_but_traffic()
    }

    /// Takes a batch: at most 256 events in the order of their sequence, at most 50 ms old when the collector keeps up.
    /// Called on a thread of its own, which may block: what does not fit into its rings meanwhile is lost, oldest first,
    /// and told by an `EventsLost` event.
    fn collect(&self, batch: &[Event<'_>]);
}
