//! What a plugin says to its host: log lines, counters, gauges and requests, put down for a test to look at.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatemq_plugin_loader::{Answer, Level, Services};
use gatemq_types::service::{Reply, Request, ServiceError};

/// Lines and requests that are kept; further ones are left out.
const KEPT_MAX: usize = 200_000;

/// How a request is answered.
pub enum Answered {
    /// With this, at once.
    With(Result<Reply, ServiceError>),
    /// Never: the host drops it, and the plugin is told `Unavailable`.
    Dropped,
}

type Answers = dyn Fn(&Request) -> Option<Answered> + Send + Sync;

/// Services of a host without a broker. `get`, `put` and `remove` work, on a map in memory; other requests are answered with an
/// empty reply, or as [`Recorder::answering`] says.
pub struct Recorder {
    level: AtomicU8,
    answers: Box<Answers>,
    lines: Mutex<Vec<(Level, String)>>,
    counts: Mutex<HashMap<String, u64>>,
    counted: Condvar,
    gauges: Mutex<HashMap<String, i64>>,
    requests: Mutex<Vec<Request>>,
    values: Mutex<HashMap<String, Vec<u8>>>,
}

impl Default for Recorder {
    fn default() -> Self {
        Recorder::answering(|_| None)
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Recorder {
    /// Requests are answered by `answers` first; what it says `None` to, as by default.
    pub fn answering(answers: impl Fn(&Request) -> Option<Answered> + Send + Sync + 'static) -> Self {
        Recorder {
            level: AtomicU8::new(Level::Trace as u8),
            answers: Box::new(answers),
            lines: Mutex::default(),
            counts: Mutex::default(),
            counted: Condvar::new(),
            gauges: Mutex::default(),
            requests: Mutex::default(),
            values: Mutex::default(),
        }
    }

    /// Most detailed level that the host wants from now on; at first it is `Trace`.
    pub fn set_level(&self, level: Level) {
        self.level.store(level as u8, Ordering::Relaxed);
    }

    /// A counter of the plugin's; 0 if it never counted.
    pub fn counted(&self, counter: &str) -> u64 {
        locked(&self.counts).get(counter).copied().unwrap_or(0)
    }

    /// Waits until a counter is at least that high, at most for `within`; what it is then.
    pub fn wait_counted(&self, counter: &str, at_least: u64, within: Duration) -> u64 {
        let of = |counts: &HashMap<String, u64>| counts.get(counter).copied().unwrap_or(0);
        let waited = self.counted.wait_timeout_while(locked(&self.counts), within, |counts| of(counts) < at_least);
        of(&waited.unwrap_or_else(PoisonError::into_inner).0)
    }

    /// A gauge of the plugin's, if it was set.
    pub fn gauged(&self, gauge: &str) -> Option<i64> {
        locked(&self.gauges).get(gauge).copied()
    }

    /// Log lines, in order.
    pub fn lines(&self) -> Vec<(Level, String)> {
        locked(&self.lines).clone()
    }

    /// How many lines of that level hold `text`.
    pub fn logged(&self, level: Level, text: &str) -> usize {
        locked(&self.lines).iter().filter(|(l, line)| *l == level && line.contains(text)).count()
    }

    /// How many lines of any level hold `text`: a password must be in none.
    pub fn mentioned(&self, text: &str) -> usize {
        locked(&self.lines).iter().filter(|(_, line)| line.contains(text)).count()
    }

    /// Requests, in order, those for values too.
    pub fn requests(&self) -> Vec<Request> {
        locked(&self.requests).clone()
    }

    /// Panics of the plugin that its log tells of, of background tasks too.
    pub fn panics(&self) -> Vec<String> {
        let lines = locked(&self.lines);
        let panics = lines.iter().filter(|(level, line)| *level == Level::Error && line.starts_with("panicked: "));
        panics.map(|(_, line)| line.clone()).collect()
    }

    fn carry_out(&self, request: &Request) -> Answered {
        if let Some(answered) = (self.answers)(request) {
            return answered;
        }
        let mut values = locked(&self.values);
        Answered::With(match request {
            Request::Get { key } => match values.get(key) {
                Some(value) => Ok(Reply { value: Some(value.clone()), ..Reply::default() }),
                None => Err(ServiceError::NotFound),
            },
            Request::Put { key, value, .. } => {
                values.insert(key.clone(), value.clone());
                Ok(Reply::default())
            }
            Request::Remove { key } => {
                values.remove(key).map(|_| Reply { count: 1, ..Reply::default() }).ok_or(ServiceError::NotFound)
            }
            _ => Ok(Reply::default()),
        })
    }
}

impl Services for Recorder {
    fn log_level(&self) -> Level {
        match self.level.load(Ordering::Relaxed) {
            1 => Level::Error,
            2 => Level::Warn,
            3 => Level::Info,
            4 => Level::Debug,
            _ => Level::Trace,
        }
    }

    fn log(&self, level: Level, _: &str, message: &str) {
        let mut lines = locked(&self.lines);
        if lines.len() < KEPT_MAX {
            lines.push((level, message.to_owned()));
        }
    }

    fn count(&self, counter: &str, add: u64) {
        *locked(&self.counts).entry(counter.to_owned()).or_default() += add;
        self.counted.notify_all();
    }

    fn gauge(&self, gauge: &str, value: i64) {
        locked(&self.gauges).insert(gauge.to_owned(), value);
    }

    fn request(&self, request: Request, answer: Answer) {
        let answered = self.carry_out(&request);
        let mut requests = locked(&self.requests);
        if requests.len() < KEPT_MAX {
            requests.push(request);
        }
        drop(requests);
        match answered {
            Answered::With(reply) => answer(reply),
            Answered::Dropped => drop(answer),
        }
    }
}
