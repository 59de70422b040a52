//! What is in force, and the look at the file of revoked certificates.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, Weak};
use std::time::Duration;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::service::{RevokeRetained, ServiceError};
use gatemq_plugin_api::{tokio, tracing};

use crate::anchors::Anchors;
use crate::revoked::{Entry, Revoked};
use crate::rules::{Rule, RuleConfig};

/// How often the file is looked at.
const EVERY: Duration = Duration::from_secs(1);

/// What is revoked with each look. The broker remembers the last 256 revocations for connections that begin meanwhile, and takes those
/// that begin during more for revoked.
const REVOKED_PER_LOOK: usize = 128;

/// See the README.
#[derive(Deserialize)]
#[serde(crate = "gatemq_plugin_api::serde")]
pub(crate) struct Config {
    /// Tenant to file (PEM) with the certificates that are its trust anchors.
    anchors: BTreeMap<String, PathBuf>,
    /// Rules, in order.
    rules: Vec<RuleConfig>,
    /// File with the certificates that are revoked.
    revoked_file: Option<PathBuf>,
}

/// Anchors and rules.
pub(crate) struct Policy {
    pub(crate) anchors: Anchors,
    pub(crate) rules: Vec<Rule>,
    revoked_file: Option<PathBuf>,
}

impl Policy {
    /// # Errors
    /// What makes no sense, with its key.
    fn new(config: Config) -> Result<(Policy, Revoked), String> {
        let anchors = Anchors::load(&config.anchors)?;
        if config.rules.is_empty() {
            return Err("rules: there is none, so nobody would be admitted; give at least one".into());
        }
        let rules = (1..).zip(config.rules).map(|(n, rule)| Rule::new(n, rule, &anchors)).collect::<Result<_, _>>()?;
        let policy = Policy { anchors, rules, revoked_file: config.revoked_file };
        let revoked = policy.read().map_err(|e| format!("revoked_file: {e}"))?;
        Ok((policy, revoked))
    }

    /// The file as it is now. Blocks.
    fn read(&self) -> Result<Revoked, String> {
        self.revoked_file.as_ref().map_or_else(|| Ok(Revoked::default()), |file| Revoked::read(file, &self.anchors))
    }
}

/// Swapped as a whole.
#[derive(Clone)]
pub(crate) struct InForce {
    pub(crate) policy: Arc<Policy>,
    pub(crate) revoked: Arc<Revoked>,
}

/// See the module.
pub(crate) struct State {
    pub(crate) host: Host,
    in_force: RwLock<InForce>,
    /// Mark of a file that takes something back. Held while the file is read: one reader at a time.
    taking_back: Mutex<Option<[u8; 32]>>,
    /// What is revoked, and whose clients the broker does not know yet to be so. Bounded by the file.
    to_revoke: Mutex<Vec<Entry>>,
    /// What is wrong with the file as it is now.
    trouble: Mutex<Option<String>>,
    watched: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// # Errors
    /// What in the configuration makes no sense.
    pub(crate) fn start(config: Config, host: Host) -> Result<Arc<Self>, String> {
        let (policy, revoked) = Policy::new(config)?;
        told(&host, &policy, &revoked);
        Ok(Arc::new(State {
            host,
            in_force: RwLock::new(InForce { policy: Arc::new(policy), revoked: Arc::new(revoked) }),
            taking_back: Mutex::default(),
            to_revoke: Mutex::default(),
            trouble: Mutex::default(),
            watched: AtomicBool::new(false),
        }))
    }

    pub(crate) fn in_force(&self) -> InForce {
        self.in_force.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn trouble(&self) -> Option<String> {
        lock(&self.trouble).clone()
    }

    /// Takes another configuration, and the file as it is now.
    ///
    /// # Errors
    /// What makes no sense; the old one stays in force.
    pub(crate) fn reconfigure(&self, config: Config) -> Result<(), String> {
        let mut taking_back = lock(&self.taking_back);
        let (policy, revoked) = Policy::new(config)?;
        *taking_back = None;
        *lock(&self.trouble) = None;
        self.swap(Arc::new(policy), revoked);
        Ok(())
    }

    /// Looks whether the file has changed, and takes it, or says why not. Blocks.
    fn look(&self) {
        let mut taking_back = lock(&self.taking_back);
        let InForce { policy, revoked } = self.in_force();
        let new = match policy.read() {
            Ok(new) => new,
            Err(why) => return self.cannot(why),
        };
        let mended = lock(&self.trouble).take().is_some();
        if new.sha256 == revoked.sha256 {
            if mended {
                told(&self.host, &policy, &revoked);
            }
            return;
        }
        self.swap(policy, new.after(&revoked, &mut taking_back));
    }

    fn swap(&self, policy: Arc<Policy>, revoked: Revoked) {
        let mut in_force = self.in_force.write().unwrap_or_else(PoisonError::into_inner);
        let since = revoked.since(&in_force.revoked);
        if in_force.revoked.len() != revoked.len() || !since.is_empty() {
            told(&self.host, &policy, &revoked);
        }
        // In force before the broker is told: who was asked about before that is found by the broker.
        *in_force = InForce { policy, revoked: Arc::new(revoked) };
        lock(&self.to_revoke).extend(since);
    }

    fn cannot(&self, why: String) {
        let mut trouble = lock(&self.trouble);
        if trouble.as_ref() != Some(&why) {
            tracing::error!("the certificates of before stay revoked, and no others: {}", why.replace('\n', "; "));
            self.host.count("reloads_refused", 1);
        }
        *trouble = Some(why);
    }

    /// Has the clients of what is revoked disconnected, and those that begin meanwhile; the last ones first. What is left, and what the
    /// broker cannot do now, is for the next look.
    pub(crate) async fn revoke(&self) {
        for _ in 0..REVOKED_PER_LOOK {
            let Some(entry) = lock(&self.to_revoke).last().cloned() else { return };
            if !self.in_force().revoked.has(&entry) {
                // Taken back meanwhile.
                self.is_done(&entry);
                continue;
            }
            match self.host.revoke(entry.selector(), RevokeRetained::Keep).await {
                Ok(reply) => self.host.count("clients_revoked", reply.count),
                Err(ServiceError::NotFound) => {}
                Err(ServiceError::NotSupported) => {
                    tracing::warn!("clients that are connected stay: this broker cannot revoke them");
                    lock(&self.to_revoke).clear();
                }
                Err(e) => return tracing::warn!("clients of {} that are connected stay for now: {e}", entry.tag()),
            }
            self.is_done(&entry);
        }
    }

    /// Mostly the last one; others may have come behind it.
    fn is_done(&self, entry: &Entry) {
        let mut left = lock(&self.to_revoke);
        if left.pop_if(|last| last == entry).is_none() {
            left.retain(|known| known != entry);
        }
    }
}

fn told(host: &Host, policy: &Policy, revoked: &Revoked) {
    if let Some(file) = &policy.revoked_file {
        tracing::info!("{}: {} certificates are revoked", file.display(), revoked.len());
        host.gauge("revoked", i64::try_from(revoked.len()).unwrap_or(i64::MAX));
    }
}

/// Marks that nobody watches any more, however the task ended: its runtime may be given up when the machine is slow.
struct Watching(Weak<State>);

impl Drop for Watching {
    fn drop(&mut self) {
        if let Some(state) = self.0.upgrade() {
            state.watched.store(false, Ordering::Release);
        }
    }
}

/// Watches the file, unless somebody does already. Cheap: called at every client.
pub(crate) fn watch(state: &Arc<State>) {
    if state.watched.load(Ordering::Acquire) || state.watched.swap(true, Ordering::AcqRel) {
        return;
    }
    let watching = Watching(Arc::downgrade(state));
    // Where the plugin has ended, the task is dropped, and its mark with it.
    state.host.spawn(async move {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(state) = watching.0.upgrade() else { return };
            if state.in_force().policy.revoked_file.is_none() {
                continue;
            }
            let looking = state.clone();
            match tokio::task::spawn_blocking(move || looking.look()).await {
                Ok(()) => state.revoke().await,
                Err(e) => tracing::error!("the file of revoked certificates could not be looked at: {e}"),
            }
        }
    });
}
