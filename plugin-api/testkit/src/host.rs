//! A host without a broker: loads a library as the broker does, and calls it under the broker's deadlines.

use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{
    CallFailure, Health, Info, Instance, Interest, Library, LibraryFile, Options, Session, Wanted,
};
use gatemq_types::event::{Event, EventKind};
use gatemq_types::{Action, AuthOutcome, Connect, Verdict};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::Recorder;

/// How long a plugin may take to say that it is ready.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long it may take to stop.
const STOP_WAIT: Duration = Duration::from_secs(5);

/// What all calls run on.
pub(crate) fn runtime() -> &'static Runtime {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build();
        runtime.unwrap_or_else(|e| panic!("a runtime cannot be started: {e}"))
    })
}

/// Loads one library, as often as it is started.
#[derive(Clone, Debug)]
pub struct TestHost {
    library: PathBuf,
    options: Options,
}

impl TestHost {
    /// Of this library, with the broker's own bounds: 5 s an answer, 30 s a start, 1,024 calls at a time.
    pub fn new(library: impl Into<PathBuf>) -> TestHost {
        TestHost { library: library.into(), options: Options::default() }
    }

    /// With other bounds.
    pub fn with_options(self, options: Options) -> TestHost {
        TestHost { options, ..self }
    }

    /// The file.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The bounds.
    pub fn options(&self) -> Options {
        self.options
    }

    /// Maps the library once more.
    ///
    /// # Errors
    /// Why the broker would refuse it, in the broker's words.
    pub fn load(&self) -> Result<Library, String> {
        let file = LibraryFile::read(&self.library, &Wanted::default()).map_err(|refusal| refusal.to_string())?;
        Library::map(file, &AtomicU32::new(0)).map_err(|refusal| refusal.to_string())
    }

    /// Starts an instance with this configuration, the table `[plugins.NAME.config]` as JSON, and waits until it is ready.
    ///
    /// # Errors
    /// The library is refused, `start` fails, or the plugin is not ready within half a minute.
    pub fn start(&self, config: Value) -> Result<Started, String> {
        self.start_with(config, Arc::default())
    }

    /// The same, with services that the test has made.
    ///
    /// # Errors
    /// As [`TestHost::start`].
    pub fn start_with(&self, config: Value, recorder: Arc<Recorder>) -> Result<Started, String> {
        let instance = runtime().block_on(self.start_instance(&config, recorder.clone()))?;
        Ok(Started { instance, recorder, records: Mutex::default() })
    }

    pub(crate) async fn start_instance(
        &self,
        config: &Value,
        recorder: Arc<Recorder>,
    ) -> Result<Arc<Instance>, String> {
        let library = self.load()?;
        let started = Instance::start(library, "under-test", config.to_string(), recorder, self.options).await;
        let instance = started.map_err(|failure| format!("it does not start: {failure}"))?;
        if let Err(why) = instance.ready(READY_WAIT).await {
            let _ = instance.stop(STOP_WAIT).await;
            return Err(format!("it is not ready after {READY_WAIT:?}: {why}"));
        }
        Ok(instance)
    }
}

/// A plugin that runs. Each call waits for its answer, on the thread of the test; so call it from outside of async code. It is
/// stopped when it is dropped.
pub struct Started {
    instance: Arc<Instance>,
    recorder: Arc<Recorder>,
    records: Mutex<Vec<Record>>,
}

/// A call that was made, and what came of it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The method.
    pub call: &'static str,
    /// About what: a client identifier, an action, kinds of events.
    pub about: String,
    /// The answer, or why there is none.
    pub answer: String,
    /// The event that the broker would raise for it.
    pub event: Option<EventKind>,
    /// How long it took.
    pub took: Duration,
}

/// Records that are kept; further ones are left out.
const RECORDS_MAX: usize = 100_000;

fn event_of(failure: &CallFailure) -> EventKind {
    match failure {
        CallFailure::TimedOut { .. } => EventKind::PluginCallTimedOut,
        CallFailure::Panicked(_) => EventKind::PluginPanicked,
        CallFailure::Fenced(_) => EventKind::PluginFenced,
        _ => EventKind::PluginCallFailed,
    }
}

impl Started {
    /// The calls that were made through this, in order.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record<A: Debug>(
        &self,
        call: &'static str,
        about: impl Into<String>,
        made: impl FnOnce() -> Result<A, CallFailure>,
    ) -> Result<A, CallFailure> {
        let began = Instant::now();
        let result = made();
        let (answer, event) = match &result {
            Ok(answer) => (format!("{answer:?}"), None),
            Err(failure) => (failure.to_string(), Some(event_of(failure))),
        };
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() < RECORDS_MAX {
            records.push(Record { call, about: about.into(), answer, event, took: began.elapsed() });
        }
        drop(records);
        result
    }

    /// What the plugin said to its host.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// What its library says of itself.
    pub fn info(&self) -> &Info {
        self.instance.info()
    }

    /// For calls of which several are to be under way at a time: the methods of this are async.
    pub fn instance(&self) -> &Arc<Instance> {
        &self.instance
    }

    /// Asks who a client is.
    ///
    /// # Errors
    /// No answer: the broker would refuse the client, and say so.
    pub fn authenticate(&self, connect: &Connect) -> Result<AuthOutcome, CallFailure> {
        let ask = || runtime().block_on(self.instance.authenticate(connect));
        self.record("authenticate", &connect.client_id, ask)
    }

    /// Hands on what a client sent in an AUTH; `state` is what the last `Continue` said.
    ///
    /// # Errors
    /// No answer.
    pub fn exchange(
        &self,
        connect: &Connect,
        data: &[u8],
        state: u64,
        reauthentication: bool,
    ) -> Result<AuthOutcome, CallFailure> {
        let ask = || runtime().block_on(self.instance.exchange(connect, data, state, reauthentication));
        self.record("exchange", &connect.client_id, ask)
    }

    /// Asks for the grants of an admitted client again.
    ///
    /// # Errors
    /// No answer.
    pub fn refresh(&self, session: &Session) -> Result<AuthOutcome, CallFailure> {
        self.record("refresh", "", || runtime().block_on(self.instance.refresh(session)))
    }

    /// Asks about an action, as the broker does where a grant says Ask: `authorize`, and `authorize_slow` after `Pending`.
    ///
    /// # Errors
    /// No answer: nothing is granted.
    pub fn authorize(&self, session: &Arc<Session>, action: Action) -> Result<Verdict, CallFailure> {
        let about = format!("{} {}", action.kind.name(), action.topic);
        self.record("authorize", about, || runtime().block_on(self.instance.authorize(session, action)))
    }

    /// Which events its collector wants.
    ///
    /// # Errors
    /// It is no collector, or gave no answer.
    pub fn interest(&self) -> Result<Interest, CallFailure> {
        self.record("interest", "", || runtime().block_on(self.instance.interest()))
    }

    /// Hands over a batch of events, and waits until it is taken.
    ///
    /// # Errors
    /// It is no collector, or it panicked.
    pub fn collect(&self, batch: &[Event]) -> Result<(), CallFailure> {
        let about = batch.iter().map(|event| event.kind().name()).collect::<Vec<_>>().join(" ");
        self.record("collect", about, || self.instance.collect(&batch.iter().collect::<Vec<_>>()))
    }

    /// Gives it a new configuration.
    ///
    /// # Errors
    /// It does not take it ([`CallFailure::LoadAgain`]: the broker would start another instance with it).
    pub fn reconfigure(&self, config: &Value) -> Result<(), CallFailure> {
        self.record("reconfigure", "", || runtime().block_on(self.instance.reconfigure(config.to_string())))
    }

    /// How it is.
    pub fn health(&self) -> Health {
        runtime().block_on(self.instance.health())
    }

    /// Stops it, and drops the instance.
    ///
    /// # Errors
    /// `stop` or the destructor failed, or did not end within 5 s.
    pub fn stop(self) -> Result<(), CallFailure> {
        runtime().block_on(self.instance.stop(STOP_WAIT))
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // One that was stopped already says so.
        let _ = runtime().block_on(self.instance.stop(STOP_WAIT));
    }
}
