//! Where public keys come from, and how they are kept up to date: looked at every `refresh_s`, and when a token names a key that
//! is not there, but then at most once in [`GAP`].
//!
//! What cannot be fetched or read changes nothing: the last good set stays in force until it is `keys_age_s_max` old.

use std::path::PathBuf;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::{Duration, Instant};

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::tracing;
use gatemq_plugin_http::{Client, Server, file};
use tokio::sync::{Notify, Semaphore, watch};

use crate::config::Config;
use crate::key_set::KeySet;

/// Largest key set, in bytes.
const BYTES_MAX: usize = 1024 * 1024;
/// Time between two looks that tokens ask for, and until the next look after one that failed; unless `refresh_s` is less.
const GAP: Duration = Duration::from_secs(10);
/// Default of `refresh_s`.
const REFRESH_FILE: Duration = Duration::from_secs(5);
const REFRESH_SERVER: Duration = Duration::from_secs(300);
/// How long a file's reading is waited for.
const FILE_TIMEOUT: Duration = Duration::from_secs(2);
/// Clients that wait for a look at a time; further ones are refused, so that strangers cannot hold every call.
const WAITING_MAX: usize = 32;

enum From {
    File(PathBuf),
    Server { server: Box<Server>, client: Client },
}

/// See the module.
pub(crate) struct Source {
    from: From,
    refresh: Duration,
    age_max: Duration,
    host: Host,
    current: RwLock<Current>,
    /// Rouses the task that looks.
    wanted: Arc<Notify>,
    /// Told after each look.
    looked: watch::Sender<()>,
    waiting: Semaphore,
}

/// What is in force.
#[derive(Clone, Default)]
struct Current {
    set: Option<Arc<KeySet>>,
    good_at: Option<Instant>,
    looked_at: Option<Instant>,
    /// What is wrong since the last good look.
    trouble: Option<String>,
}

impl Current {
    /// Takes what a look has found.
    fn take(&mut self, found: Result<KeySet, String>, now: Instant) {
        self.looked_at = Some(now);
        match found {
            Ok(set) => {
                (self.set, self.good_at, self.trouble) = (Some(Arc::new(set)), Some(now), None);
            }
            Err(trouble) => self.trouble = Some(trouble),
        }
    }

    fn set(&self, now: Instant, age_max: Duration) -> Result<&Arc<KeySet>, String> {
        let trouble = self.trouble.as_deref().unwrap_or("nobody has answered yet");
        let (Some(set), Some(good_at)) = (&self.set, self.good_at) else {
            return Err(format!("there are no keys: {trouble}"));
        };
        match now.saturating_duration_since(good_at) > age_max {
            true => Err(format!("the keys are too old: {trouble}")),
            false => Ok(set),
        }
    }

    fn health(&self, now: Instant, age_max: Duration) -> Health {
        match (self.set(now, age_max), &self.trouble) {
            (Err(why), _) => Health::NotReady(why),
            (Ok(set), _) if set.len() == 0 => Health::NotReady("the key set has no key that can be used".into()),
            (Ok(_), Some(trouble)) => Health::Degraded(format!("the keys of before stay in force: {trouble}")),
            (Ok(_), None) => Health::Ready,
        }
    }

    fn rested(&self, now: Instant, gap: Duration) -> bool {
        self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= gap)
    }
}

impl Source {
    /// Begins to look. Keys of a file are there at once, those of a server as soon as it has answered.
    ///
    /// # Errors
    /// What is wrong with the file, or with how the server is written.
    pub(crate) fn start(config: &Config, host: &Host) -> Result<Arc<Self>, String> {
        let source = Self::new(config, host)?;
        source.look_at_file()?;
        watch(&source, None);
        Ok(source)
    }

    /// As [`Source::start`], in place of this one. Keys of the same server stay until it has answered again; another must
    /// answer now. Blocks.
    ///
    /// # Errors
    /// As [`Source::start`], and no answer of another server.
    pub(crate) fn follow(&self, config: &Config, host: &Host) -> Result<Arc<Self>, String> {
        let source = Self::new(config, host)?;
        source.look_at_file()?;
        if source.is_as(self) {
            *source.write() = self.read().clone();
        }
        if matches!(source.from, From::File(_)) || source.read().set.is_some() {
            watch(&source, None);
            return Ok(source);
        }
        let (done, first) = sync_channel(1);
        watch(&source, Some(done));
        let _ = first.recv_timeout(source.patience());
        source.set().map(|_| source.clone())
    }

    fn new(config: &Config, host: &Host) -> Result<Arc<Self>, String> {
        let from = match (&config.keys_file, &config.keys_server) {
            (Some(path), _) => From::File(path.clone()),
            (None, Some(server)) => {
                let client = server.client(BYTES_MAX, host).map_err(|problems| {
                    let keyed = problems.iter().map(|problem| format!("keys_server.{problem}"));
                    keyed.collect::<Vec<_>>().join("\n")
                })?;
                From::Server { server: Box::new(server.clone()), client }
            }
            (None, None) => return Err("keys_file, keys_server: give one of them".into()),
        };
        let default = if matches!(from, From::File(_)) { REFRESH_FILE } else { REFRESH_SERVER };
        Ok(Arc::new(Source {
            from,
            refresh: config.refresh_s.map_or(default, Duration::from_secs),
            age_max: Duration::from_secs(config.keys_age_s_max),
            host: host.clone(),
            current: RwLock::default(),
            wanted: Arc::default(),
            looked: watch::Sender::new(()),
            waiting: Semaphore::new(WAITING_MAX),
        }))
    }

    fn is_as(&self, other: &Source) -> bool {
        match (&self.from, &other.from) {
            (From::Server { server, .. }, From::Server { server: before, .. }) => server.url == before.url,
            _ => false,
        }
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Current> {
        self.current.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> std::sync::RwLockWriteGuard<'_, Current> {
        self.current.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn gap(&self) -> Duration {
        self.refresh.min(GAP)
    }

    /// How long a look may take.
    fn patience(&self) -> Duration {
        match &self.from {
            From::File(_) => FILE_TIMEOUT,
            From::Server { server, .. } => server.timeout() + Duration::from_millis(500),
        }
    }

    /// The keys in force.
    ///
    /// # Errors
    /// There are none, or they are too old.
    pub(crate) fn set(&self) -> Result<Arc<KeySet>, String> {
        self.read().set(Instant::now(), self.age_max).cloned()
    }

    pub(crate) fn health(&self) -> Health {
        self.read().health(Instant::now(), self.age_max)
    }

    /// Has the keys looked at because one is missing, unless that was done a moment ago or too many wait already; waits for it.
    pub(crate) async fn look_again(&self) {
        let Ok(_place) = self.waiting.try_acquire() else { return };
        let mut looked = self.looked.subscribe();
        if self.read().rested(Instant::now(), self.gap()) {
            self.wanted.notify_one();
            // However it ends, the keys are asked once more.
            let _ = tokio::time::timeout(self.patience(), looked.changed()).await;
        }
    }

    fn look_at_file(&self) -> Result<(), String> {
        let From::File(path) = &self.from else { return Ok(()) };
        let set = read_file(path).map_err(|e| format!("keys_file: {e}"))?;
        self.take(Ok(set));
        Ok(())
    }

    async fn look(&self) {
        let found = match &self.from {
            From::File(path) => {
                let path = path.clone();
                let read = gatemq_plugin_api::tokio::task::spawn_blocking(move || read_file(&path)).await;
                read.unwrap_or_else(|e| Err(e.to_string()))
            }
            From::Server { server, client } => match client.get(server.timeout()).await {
                Ok(answer) => KeySet::parse(&answer.body).map_err(|e| format!("the server of keys: {e}")),
                Err(e) => Err(format!("the server of keys: {e}")),
            },
        };
        self.take(found);
    }

    fn take(&self, found: Result<KeySet, String>) {
        self.host.count(if found.is_ok() { "key_looks" } else { "key_looks_failed" }, 1);
        let mut current = self.write();
        let before = (current.trouble.clone(), current.set.as_ref().map(|set| set.len()));
        current.take(found, Instant::now());
        match (&current.trouble, &current.set) {
            (Some(trouble), _) if before.0.as_ref() != Some(trouble) => {
                tracing::error!("no new keys, those of before stay in force: {trouble}");
            }
            (None, Some(set)) if before != (None, Some(set.len())) => {
                tracing::info!("{} keys, and {} that cannot be used", set.len(), set.unusable);
            }
            _ => {}
        }
        drop(current);
        let _ = self.looked.send(());
    }
}

fn read_file(path: &std::path::Path) -> Result<KeySet, String> {
    KeySet::parse(&file::read(path, BYTES_MAX as u64)?).map_err(|e| format!("{}: {e}", path.display()))
}

/// Looks, until the source is dropped. `first` is told after the first look.
fn watch(source: &Arc<Source>, first: Option<SyncSender<()>>) {
    let (weak, wanted) = (Arc::downgrade(source), source.wanted.clone());
    source.host.spawn(async move {
        let mut first = first;
        loop {
            let Some(pause) = turn(&weak, &mut first).await else { return };
            let until = tokio::time::Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(until) => break,
                    () = wanted.notified() => {}
                }
                let Some(source) = weak.upgrade() else { return };
                let rested = source.read().rested(Instant::now(), source.gap());
                if rested {
                    break;
                }
            }
        }
    });
}

/// Looks, unless that was done a moment ago. How long to wait until the next time; `None`: the source is no more.
async fn turn(source: &Weak<Source>, first: &mut Option<SyncSender<()>>) -> Option<Duration> {
    let source = source.upgrade()?;
    let rested = source.read().rested(Instant::now(), source.gap());
    if rested {
        source.look().await;
    }
    if let Some(first) = first.take() {
        let _ = first.try_send(());
    }
    let failed = source.read().trouble.is_some();
    Some(if failed { source.gap() } else { source.refresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 1: keys that nobody confirms any more are used until they are too old, and not a moment longer; health says so.
    #[test]
    fn promise_1_old_keys_are_used_for_their_time() {
        let (age_max, gap, mut current) = (Duration::from_secs(60), GAP, Current::default());
        let began = Instant::now();
        let at = |s: u64| began + Duration::from_secs(s);
        let not_ready = |health: Health| matches!(health, Health::NotReady(_));
        assert!(current.set(began, age_max).is_err() && not_ready(current.health(began, age_max)));
        assert!(current.rested(began, gap));
        current.take(Err("down".into()), began);
        assert!(current.set(began, age_max).is_err_and(|why| why.ends_with("down")));
        let one =
            br#"{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
        let set = || KeySet::parse(one);
        current.take(set(), at(1));
        assert_eq!(current.health(at(61), age_max), Health::Ready);
        current.take(Err("down".into()), at(50));
        assert!(!current.rested(at(59), gap) && current.rested(at(60), gap));
        assert!(current.set(at(61), age_max).is_ok());
        assert!(matches!(current.health(at(61), age_max), Health::Degraded(why) if why.ends_with("down")));
        assert!(current.set(at(62), age_max).is_err() && not_ready(current.health(at(62), age_max)));
        current.take(set(), at(70));
        assert_eq!(current.health(at(130), age_max), Health::Ready);
        current.take(KeySet::parse(br#"{"keys": []}"#), at(71));
        assert!(not_ready(current.health(at(71), age_max)), "an issuer that takes back all keys is heard");
    }
}
