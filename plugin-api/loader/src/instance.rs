//! A started plugin, and every call into it.

use std::sync::{Arc, RwLockReadGuard};
use std::time::{Duration, Instant as Clock};

use abi_stable::std_types::{RResult, RSlice, RStr, RString, RVec};
use gatemq_plugin_api::abi::convert;
use gatemq_plugin_api::abi::v1_0::{
    self, ActionView, AuthTable, InterestRecord, OutcomeCompleter, OutcomeRecord, Pair, PluginRoot_Ref, SessionRecord,
    Status, StatusCode, VerdictCode, VerdictCompleter, VerdictRecord,
};
use gatemq_types::event::Event;
use gatemq_types::{Action, AuthOutcome, Connect, Identity, Verdict};

use crate::call_thread::CallThread;
use crate::gate::{Gate, STOPPED};
use crate::host_table::{self, Services};
use crate::slots::{Answered, Slots};
use crate::{CallFailure, Info, Library, Network, views};

/// How often [`Instance::ready`] asks.
const READY_LOOK: Duration = Duration::from_millis(50);
/// How long `health` may take at least: an impatient timeout for clients must not make a plugin look broken.
const HEALTH_WAIT: Duration = Duration::from_secs(5);
/// Calls of `health` and `reconfigure` that may wait.
const CONTROL_WAITING_MAX: usize = 8;

/// Bounds of an instance.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Options {
    /// How long an answer is waited for.
    pub timeout: Duration,
    /// How long `start` and `reconfigure` may take.
    pub start_timeout: Duration,
    /// Calls under way at most, of each kind.
    pub calls_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { timeout: Duration::from_secs(5), start_timeout: Duration::from_secs(30), calls_max: 1024 }
    }
}

/// How a plugin says that it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Health {
    /// All is well.
    Ready,
    /// It works, but.
    Degraded(String),
    /// It does not work now; also what a failing `health` is.
    NotReady(String),
}

/// What a collector wants.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Interest {
    /// Bits of classes.
    pub classes: u32,
    /// Numbers of kinds besides.
    pub kinds: Vec<u32>,
    /// Only clients of these tenants; empty is all.
    pub tenants: Vec<String>,
}

/// An admitted client, in the form in which its provider is asked about it: made once, shared by all questions.
pub struct Session {
    record: SessionRecord,
    pub(crate) network: Network,
}

impl Session {
    /// `client_id` of the identity must be the one in force.
    pub fn new(connect: &Connect, identity: &Identity) -> Arc<Session> {
        let network = Network::of(connect.remote.ip());
        let connect = convert::without_secrets(convert::connect_to(connect));
        Arc::new(Session { record: SessionRecord { connect, identity: convert::identity_to(identity) }, network })
    }
}

/// A started plugin.
pub struct Instance {
    name: String,
    info: Info,
    options: Options,
    root: PluginRoot_Ref,
    raw: v1_0::Instance,
    thread: CallThread,
    /// For `health` and `reconfigure`: they wait for no client's call, and none waits for them.
    control: CallThread,
    outcomes: &'static Slots<AuthOutcome>,
    verdicts: &'static Slots<Verdict>,
    host: u64,
    /// Every call into `raw` goes through it, but those of `thread`: it makes one at a time, `stop` and the destructors
    /// among them, and knows who did not come back.
    gate: Arc<Gate>,
}

impl Instance {
    /// Starts a plugin from a library that no other instance uses.
    ///
    /// `config` is its configuration as JSON.
    ///
    /// # Errors
    /// What the plugin says, a panic, or that it took longer than `start_timeout`.
    pub async fn start(
        library: Library,
        name: &str,
        config: String,
        services: Arc<dyn Services>,
        options: Options,
    ) -> Result<Arc<Instance>, CallFailure> {
        let (root, info) = (library.root(), library.info().clone());
        let (host, table) = host_table::register(services);
        let thread = CallThread::new(name, options.calls_max);
        let started =
            thread.call(options.start_timeout, move || match (root.start())(RStr::from_str(&config), table) {
                RResult::ROk(raw) => Ok(Started { root, raw: Some(raw) }),
                RResult::RErr(status) => Err(CallFailure::abandoned(status)),
            });
        let started = started.await.and_then(|answer| answer).inspect_err(|_| host_table::unregister(host))?;
        let raw = started.keep()?;
        Ok(Arc::new(Instance {
            name: name.to_owned(),
            info,
            options,
            root,
            raw,
            thread,
            control: CallThread::new(name, CONTROL_WAITING_MAX),
            outcomes: Slots::leaked(options.calls_max),
            verdicts: Slots::leaked(options.calls_max),
            host,
            gate: Arc::default(),
        }))
    }

    /// Name of the instance.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What its library says of itself.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// Its bounds.
    pub fn options(&self) -> Options {
        self.options
    }

    fn auth(&self) -> Result<AuthTable, CallFailure> {
        self.root.auth().into_option().ok_or(CallFailure::NotThere("it is not an auth provider"))
    }

    /// A call on its control thread, refused once the plugin is stopped.
    async fn controlled<R: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CallFailure> {
        let gate = self.gate.clone();
        let entered = move || {
            let _inside = gate.enter()?;
            Ok(call())
        };
        self.control.call(timeout, entered).await?
    }

    /// A call on its call thread, refused once the plugin is stopped. It costs no locked operation, see `gate`.
    async fn called<R: Send + 'static>(
        &self,
        timeout: Duration,
        call: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R, CallFailure> {
        self.gate.open()?;
        let gate = self.gate.clone();
        let entered = move || {
            gate.open()?;
            Ok(call())
        };
        self.thread.call(timeout, entered).await?
    }

    /// Asks who a client is. Dropping the future cancels the call.
    ///
    /// # Errors
    /// No answer, for whatever reason: nobody is admitted.
    pub async fn authenticate(&self, connect: &Connect) -> Result<AuthOutcome, CallFailure> {
        let auth = self.auth()?;
        let (reserved, answer) = self.outcomes.reserve()?;
        {
            let _inside = self.gate.enter()?;
            let mut record = convert::connect_to(connect);
            record.deadline_ms = u32::try_from(self.options.timeout.as_millis()).unwrap_or(u32::MAX);
            (auth.authenticate)(self.raw, &record, outcome_completer(self.outcomes, reserved.token()));
            convert::wipe(&mut record);
        }
        self.wait(self.options.timeout, answer).await
    }

    /// Hands on what a client sent in an AUTH. Of `connect` neither password nor Authentication Data is told; `data` is the
    /// caller's to wipe. Dropping the future cancels the call.
    ///
    /// # Errors
    /// No answer, for whatever reason: nobody is admitted.
    pub async fn exchange(
        &self,
        connect: &Connect,
        data: &[u8],
        state: u64,
        reauthentication: bool,
    ) -> Result<AuthOutcome, CallFailure> {
        let auth = self.auth()?;
        let (reserved, answer) = self.outcomes.reserve()?;
        {
            let _inside = self.gate.enter()?;
            let mut record = convert::without_secrets(convert::connect_to(connect));
            record.deadline_ms = u32::try_from(self.options.timeout.as_millis()).unwrap_or(u32::MAX);
            let completer = outcome_completer(self.outcomes, reserved.token());
            (auth.exchange)(self.raw, &record, RSlice::from_slice(data), state, reauthentication, completer);
        }
        self.wait(self.options.timeout, answer).await
    }

    /// Asks for the grants of an admitted client again. Dropping the future cancels the call.
    ///
    /// # Errors
    /// No answer, for whatever reason: nothing is granted.
    pub async fn refresh(&self, session: &Session) -> Result<AuthOutcome, CallFailure> {
        let auth = self.auth()?;
        let (reserved, answer) = self.outcomes.reserve()?;
        {
            let _inside = self.gate.enter()?;
            (auth.refresh)(self.raw, &session.record, outcome_completer(self.outcomes, reserved.token()));
        }
        self.wait(self.options.timeout, answer).await
    }

    /// Asks about an action: `authorize`, and `authorize_slow` if that says Pending, within one deadline.
    ///
    /// # Errors
    /// No answer, for whatever reason: nothing is granted.
    pub async fn authorize(&self, session: &Arc<Session>, action: Action) -> Result<Verdict, CallFailure> {
        let auth = self.auth()?;
        let began = std::time::Instant::now();
        let properties: Vec<Pair> = pairs(&action);
        let (raw, asked) = (self.raw, session.clone());
        let asking = self.called(self.options.timeout, move || {
            let verdict = ask(auth, raw, &asked, &views::action(&action, &properties))?;
            Ok((verdict, action, properties))
        });
        match asking.await?? {
            (Verdict::Pending, action, properties) => {
                let left = self.options.timeout.saturating_sub(began.elapsed());
                self.authorize_slow(auth, session, &action, &properties, left).await
            }
            (verdict, ..) => Ok(verdict),
        }
    }

    /// Keeps it from being stopped while calls are made on this thread, which may last as long as they like: for those who
    /// measure a plugin or try it out. While it is held, [`Instance::stop`] does not drop the instance.
    ///
    /// # Errors
    /// It is no auth provider, or it was stopped.
    pub fn enter(&self) -> Result<Entered<'_>, CallFailure> {
        Ok(Entered { auth: self.auth()?, raw: self.raw, _inside: self.gate.enter()? })
    }

    async fn authorize_slow(
        &self,
        auth: AuthTable,
        session: &Session,
        action: &Action,
        properties: &[Pair],
        timeout: Duration,
    ) -> Result<Verdict, CallFailure> {
        let (reserved, answer) = self.verdicts.reserve()?;
        {
            let _inside = self.gate.enter()?;
            let completer = verdict_completer(self.verdicts, reserved.token());
            (auth.authorize_slow)(self.raw, &session.record, &views::action(action, properties), completer);
        }
        match self.wait(timeout, answer).await? {
            Verdict::Pending => Err(CallFailure::Failed("authorize_slow answered Pending".into())),
            verdict => Ok(verdict),
        }
    }

    async fn wait<A>(&self, timeout: Duration, answer: Answered<A>) -> Result<A, CallFailure> {
        match tokio::time::timeout(timeout, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(CallFailure::Failed("the call was dropped without an answer".into())),
            Err(_) => Err(CallFailure::TimedOut {
                timeout_ms: u64::try_from(self.options.timeout.as_millis()).unwrap_or(u64::MAX),
            }),
        }
    }

    /// What its collector wants.
    ///
    /// # Errors
    /// It is not a collector, or the call failed.
    pub async fn interest(&self) -> Result<Interest, CallFailure> {
        let events = self.root.events().into_option().ok_or(CallFailure::NotThere("it is not an event collector"))?;
        let raw = self.raw;
        let asking = self.called(self.options.timeout, move || {
            let mut record = InterestRecord { classes: 0, kinds: RVec::new(), tenants: RVec::new() };
            ((events.interest)(raw, &mut record), record)
        });
        let (status, record) = asking.await?;
        match CallFailure::of(status) {
            None => Ok(Interest {
                classes: record.classes,
                kinds: record.kinds.to_vec(),
                tenants: record.tenants.into_iter().map(RString::into_string).collect(),
            }),
            Some(failure) => Err(failure),
        }
    }

    /// Hands events to its collector and waits until it has taken them, for as long as it likes: call it on a thread of
    /// this collector's own.
    ///
    /// # Errors
    /// It is not a collector, or it panicked.
    pub fn collect(&self, batch: &[&Event]) -> Result<(), CallFailure> {
        let events = self.root.events().into_option().ok_or(CallFailure::NotThere("it is not an event collector"))?;
        let _inside = self.gate.enter()?;
        let status = views::with_events(batch, |views| (events.collect)(self.raw, views));
        CallFailure::of(status).map_or(Ok(()), Err)
    }

    /// Gives it a new configuration (JSON).
    ///
    /// # Errors
    /// What the plugin says; the old configuration stays in force. [`CallFailure::LoadAgain`]: another instance can take it.
    pub async fn reconfigure(&self, config: String) -> Result<(), CallFailure> {
        let (root, raw) = (self.root, self.raw);
        let reconfigure = move || (root.reconfigure())(raw, RStr::from_str(&config));
        let call = self.controlled(self.options.start_timeout, reconfigure);
        CallFailure::of(call.await?).map_or(Ok(()), Err)
    }

    /// Waits until it is ready, at most for `within`: how it is then. It tells nobody when it becomes ready, so it is asked.
    ///
    /// # Errors
    /// Why it is still not ready.
    pub async fn ready(&self, within: Duration) -> Result<Health, String> {
        let deadline = std::time::Instant::now() + within;
        loop {
            match self.health().await {
                Health::NotReady(why) if std::time::Instant::now() >= deadline => return Err(why),
                Health::NotReady(_) => tokio::time::sleep(READY_LOOK).await,
                health => return Ok(health),
            }
        }
    }

    /// How it is. A failing call is `NotReady`.
    pub async fn health(&self) -> Health {
        let (root, raw) = (self.root, self.raw);
        let call = self.controlled(self.options.timeout.max(HEALTH_WAIT), move || {
            let mut state = 0;
            ((root.health())(raw, &mut state), state)
        });
        match call.await {
            Ok((Status { code: StatusCode::OK, message }, state)) => match state {
                1 => Health::Ready,
                2 => Health::Degraded(message.into_string()),
                3 => Health::NotReady(message.into_string()),
                n => Health::NotReady(format!("it answered with the unknown state {n}")),
            },
            Ok((status, _)) => Health::NotReady(CallFailure::abandoned(status).to_string()),
            Err(e) => Health::NotReady(e.to_string()),
        }
    }

    /// Stops it within `deadline` and drops the instance, within another. Calls are refused from its beginning on. An
    /// instance that some call does not leave is left alone instead of being dropped.
    ///
    /// # Errors
    /// `stop` or a destructor failed; it counts as stopped all the same. It was stopped before.
    pub async fn stop(&self, deadline: Duration) -> Result<(), CallFailure> {
        if !self.gate.close() {
            return Err(STOPPED);
        }
        let (root, raw) = (self.root, self.raw);
        // Half of it for `stop`, what is left for the destructors.
        let (until, half) = (Clock::now() + deadline, deadline / 2);
        let deadline_ms = u64::try_from(half.as_millis()).unwrap_or(u64::MAX);
        let gate = self.gate.clone();
        let stopping = self.thread.call(half, move || {
            let _inside = gate.enter_closed();
            (root.stop())(raw, deadline_ms)
        });
        let stopped = stopping.await;
        let (gate, left) = (self.gate.clone(), until.saturating_duration_since(Clock::now()));
        // On the call thread: whoever of it is inside has been given up by now.
        let away = self.thread.away();
        let dropping = self.thread.call(left, move || match gate.emptied(until - left / 2, || away.nobody()) {
            true => (root.destroy())(raw),
            false => Status::ok(),
        });
        let destroyed = dropping.await;
        self.thread.end();
        self.control.end();
        host_table::unregister(self.host);
        let failed = CallFailure::of(stopped?);
        failed.or(CallFailure::of(destroyed?)).map_or(Ok(()), Err)
    }
}

/// What `start` made. Nobody may be there any more to take it, since it came too late: then it is dropped again.
struct Started {
    root: PluginRoot_Ref,
    raw: Option<v1_0::Instance>,
}

impl Started {
    fn keep(mut self) -> Result<v1_0::Instance, CallFailure> {
        self.raw.take().ok_or(CallFailure::NotThere("it was dropped"))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let (root, raw) = (self.root, self.raw.take());
        if let Some(raw) = raw {
            // A thread of its own: the author's destructor must not hold whoever drops this.
            let _ = std::thread::Builder::new().spawn(move || (root.destroy())(raw));
        }
    }
}

/// A thread's calls into an instance, see [`Instance::enter`].
pub struct Entered<'a> {
    auth: AuthTable,
    raw: v1_0::Instance,
    _inside: RwLockReadGuard<'a, ()>,
}

impl Entered<'_> {
    /// Calls `authorize` and waits for as long as it takes.
    ///
    /// # Errors
    /// As [`Instance::authorize`], but for the deadline.
    pub fn authorize(&self, session: &Session, action: &Action) -> Result<Verdict, CallFailure> {
        ask(self.auth, self.raw, session, &views::action(action, &pairs(action)))
    }
}

/// The call of `authorize` itself.
#[inline]
fn ask(
    auth: AuthTable,
    raw: v1_0::Instance,
    session: &Session,
    action: &ActionView<'_>,
) -> Result<Verdict, CallFailure> {
    let mut record = VerdictRecord::bare(VerdictCode(0));
    let status = (auth.authorize)(raw, &session.record, action, &mut record);
    match CallFailure::of(status) {
        None => convert::verdict_from(record).map_err(CallFailure::UnknownCode),
        Some(failure) => Err(failure),
    }
}

fn pairs(action: &Action) -> Vec<Pair> {
    let pair = |(name, value): &(String, String)| Pair { name: name.as_str().into(), value: value.as_str().into() };
    // Mostly there are none, which collecting takes its time to find.
    if action.user_properties.is_empty() { Vec::new() } else { action.user_properties.iter().map(pair).collect() }
}

macro_rules! completer {
    ($(#[$doc:meta])* $make:ident, $completer:ident, $record:ty, $answer:ty, $convert:path) => {
        $(#[$doc])*
        #[allow(unsafe_code)]
        fn $make(slots: &'static Slots<$answer>, token: u64) -> $completer {
            fn slots_of(context: *const ()) -> &'static Slots<$answer> {
                // SAFETY: the context below is a `&'static Slots` of this type.
                unsafe { &*context.cast::<Slots<$answer>>() }
            }
            extern "C" fn complete(context: *const (), token: u64, record: $record) {
                slots_of(context).answer(token, $convert(record).map_err(CallFailure::UnknownCode));
            }
            extern "C" fn abandon(context: *const (), token: u64, status: Status) {
                slots_of(context).answer(token, Err(CallFailure::abandoned(status)));
            }
            extern "C" fn cancelled(context: *const (), token: u64) -> bool {
                slots_of(context).is_cancelled(token)
            }
            // SAFETY: the slots live as long as the process and may be used from any thread with any token.
            unsafe { $completer::new(std::ptr::from_ref(slots).cast(), token, complete, abandon, cancelled) }
        }
    };
}

completer! {
    /// A completer for a call that gives an outcome.
    outcome_completer, OutcomeCompleter, OutcomeRecord, AuthOutcome, convert::outcome_from
}
completer! {
    /// A completer for a call that gives a verdict.
    verdict_completer, VerdictCompleter, VerdictRecord, Verdict, convert::verdict_from
}
