//! Faults that come to every plugin sooner or later, and what must hold then: it answers, nobody is admitted whom it refuses
//! otherwise, and the next client is served as before.

mod at_once;
mod cancelled;
mod dropped;
mod judge;
mod odd;
mod odd_input;
mod reconfigured;

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{Instance, Options};
use gatemq_types::{Action, Connect};
use serde_json::Value;

use crate::host::runtime;
use crate::{Recorder, TestHost};
use judge::{Judge, Problems};

/// How often each fault comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Calls that are made at once, and events.
    pub calls: usize,
    /// Calls that are cancelled.
    pub cancelled: usize,
    /// New configurations.
    pub reconfigurations: usize,
    /// Instances that are stopped while calls run. Each maps the library once more, for the life of the process.
    pub stops: usize,
}

impl Counts {
    /// As often as a plugin has to bear it.
    pub const FULL: Counts = Counts { calls: 10_000, cancelled: 10_000, reconfigurations: 200, stops: 20 };
    /// So often that a fault which always shows is found, within seconds.
    pub const SHORT: Counts = Counts { calls: 1_500, cancelled: 500, reconfigurations: 12, stops: 3 };
}

/// The fault suite for one plugin: see [`FaultSuite::run`].
#[derive(Clone, Debug)]
pub struct FaultSuite {
    host: TestHost,
    configs: Vec<Value>,
    clients: Vec<Connect>,
    actions: Vec<Action>,
    counts: Counts,
}

impl FaultSuite {
    /// For this library with this configuration, the table `[plugins.NAME.config]`.
    pub fn new(library: impl Into<PathBuf>, config: Value) -> FaultSuite {
        let (host, configs) = (TestHost::new(library), vec![config]);
        FaultSuite { host, configs, clients: Vec::new(), actions: Vec::new(), counts: Counts::FULL }
    }

    /// Another configuration that the plugin takes: it is reconfigured to and fro.
    pub fn other_config(mut self, config: Value) -> Self {
        self.configs.push(config);
        self
    }

    /// A client, to be admitted or to be refused: the suite asks first and holds the plugin to it. Give some of both.
    pub fn client(mut self, connect: Connect) -> Self {
        self.clients.push(connect);
        self
    }

    /// Something that admitted clients ask for where a grant says Ask.
    pub fn action(mut self, action: Action) -> Self {
        self.actions.push(action);
        self
    }

    /// Other counts than [`Counts::FULL`].
    pub fn counts(self, counts: Counts) -> Self {
        FaultSuite { counts, ..self }
    }

    /// Other bounds than the broker's own.
    pub fn options(self, options: Options) -> Self {
        FaultSuite { host: self.host.with_options(options), ..self }
    }

    /// Runs it. In each step the plugin must answer within its deadline, must not panic (in a background task neither), must admit
    /// nobody whom it refuses when it is asked in peace, and must then serve as before:
    ///
    /// | step | what is done |
    /// |---|---|
    /// | odd input | clients, exchanges, actions and events with empty, huge and senseless values; garbage for certificates |
    /// | cancelled calls | clients that leave at any moment |
    /// | calls at once | more than the host lets through, of all clients; batches of events meanwhile |
    /// | reconfigured under load | good configurations in turn, and wrong ones, which must be refused and change nothing |
    /// | stopped while calls run | every call must end, and the stop too; another instance of the file serves |
    ///
    /// A plugin that answers `Unavailable`, or rejects with Server busy (0x89), when it has too much to do is right.
    pub fn run(&self) -> Report {
        runtime().block_on(self.run_steps())
    }

    async fn run_steps(&self) -> Report {
        let mut report = Report { library: self.host.library().to_owned(), steps: Vec::new() };
        let subject = match Subject::new(self).await {
            Ok(subject) => subject,
            Err(why) => {
                report.add("asked in peace", Instant::now(), Ok(String::new()), vec![why]);
                return report;
            }
        };
        macro_rules! step {
            ($name:literal, $step:path) => {{
                let (began, mut problems) = (Instant::now(), Problems::default());
                let done = $step(&subject, &mut problems).await;
                report.add($name, began, done, problems.into_lines());
            }};
        }
        step!("odd input", odd_input::run);
        step!("cancelled calls", cancelled::run);
        step!("calls at once", at_once::run);
        step!("reconfigured under load", reconfigured::run);
        step!("stopped while calls run", dropped::run);
        report
    }
}

/// What the steps share.
struct Subject<'a> {
    suite: &'a FaultSuite,
    judge: Judge,
    is_auth: bool,
    is_collector: bool,
}

impl<'a> Subject<'a> {
    async fn new(suite: &'a FaultSuite) -> Result<Self, String> {
        let mut judge = Judge::new(&suite.clients, &suite.actions);
        let (mut is_auth, mut is_collector) = (false, false);
        for config in &suite.configs {
            let recorder = Arc::new(Recorder::default());
            let instance = suite.host.start_instance(config, recorder.clone()).await?;
            (is_auth, is_collector) = (instance.info().auth, instance.info().events);
            if is_auth {
                judge.learn(&instance).await?;
            }
            if is_collector {
                instance.interest().await.map_err(|failure| format!("interest: {failure}"))?;
            }
            let stopped = instance.stop(suite.stop_wait()).await;
            stopped.map_err(|failure| format!("stop: {failure}"))?;
            if let Some(panic) = recorder.panics().first() {
                return Err(panic.clone());
            }
        }
        match is_auth && suite.clients.is_empty() {
            true => Err("an auth provider needs clients to be asked about: give some with FaultSuite::client".into()),
            false => Ok(Subject { suite, judge, is_auth, is_collector }),
        }
    }

    /// An instance of its own for a step, with the first configuration.
    async fn start(&self) -> Result<Under, String> {
        let recorder = Arc::new(Recorder::default());
        // Errors and warnings are looked at; ten thousand lines of each call are nobody's.
        recorder.set_level(gatemq_plugin_loader::Level::Warn);
        let instance = self.suite.host.start_instance(&self.suite.configs[0], recorder.clone()).await?;
        Ok(Under { instance, recorder })
    }

    /// The clients, in turn.
    fn client(&self, n: usize) -> (usize, Connect) {
        let at = n % self.suite.clients.len();
        (at, Connect { connection: n as u64 + 100, ..self.suite.clients[at].clone() })
    }

    fn timeout(&self) -> Duration {
        self.suite.host.options().timeout
    }
}

impl FaultSuite {
    fn stop_wait(&self) -> Duration {
        self.host.options().timeout.max(Duration::from_secs(5))
    }
}

/// The instance that a step is done to.
struct Under {
    instance: Arc<Instance>,
    recorder: Arc<Recorder>,
}

impl Under {
    /// It serves as before, stops, and has not panicked.
    async fn end(self, subject: &Subject<'_>, problems: &mut Problems) {
        if subject.is_auth {
            subject.judge.settles(&self.instance, subject.timeout(), problems).await;
        }
        if let gatemq_plugin_loader::Health::NotReady(why) = self.instance.health().await {
            problems.add(format!("it is not ready any more: {why}"));
        }
        if let Err(failure) = self.instance.stop(subject.suite.stop_wait()).await {
            problems.add(format!("stop: {failure}"));
        }
        self.recorder.panics().into_iter().for_each(|panic| problems.add(panic));
    }
}

/// A step of the suite, and what was found.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its name.
    pub name: &'static str,
    /// What was done, in numbers.
    pub done: String,
    /// What did not hold, a line each; empty: it passed.
    pub problems: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

/// What a run of the suite found. Shown as a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// The library.
    pub library: PathBuf,
    /// The steps, in order.
    pub steps: Vec<Step>,
}

impl Report {
    fn add(&mut self, name: &'static str, began: Instant, done: Result<String, String>, mut problems: Vec<String>) {
        let done = done.unwrap_or_else(|why| {
            problems.push(why);
            String::new()
        });
        self.steps.push(Step { name, done, problems, took: began.elapsed() });
    }

    /// Whether every step passed.
    pub fn passed(&self) -> bool {
        self.steps.iter().all(|step| step.problems.is_empty())
    }

    /// For tests.
    ///
    /// # Panics
    /// With the report, when a step did not pass.
    pub fn assert_passed(&self) {
        assert!(self.passed(), "the plugin does not bear what will come to it:\n{self}");
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.library.display())?;
        for Step { name, done, problems, took } in &self.steps {
            let result = if problems.is_empty() { "passed" } else { "FAILED" };
            writeln!(f, "{result}  {name} ({} ms): {done}", took.as_millis())?;
            problems.iter().try_for_each(|problem| writeln!(f, "        {problem}"))?;
        }
        Ok(())
    }
}
