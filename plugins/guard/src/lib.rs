//! Finds badly behaved clients, and has them denied: a collector of events and, in the same library, an auth provider that only
//! denies.
//!
//! ```toml
//! [plugins.guard]
//! library = "guard"
//! veto = true                            # it admits nobody; [auth] chain = ["guard", …] names it first
//! [plugins.guard.config]
//! dry_run = false                        # true: log and report whom it would deny, deny nobody
//! half_life_s = 60                       # in which a score halves
//! points.failed_authentication = 10      # for each breach; 0: not counted
//! points.protocol_violation = 25
//! points.denied_action = 5
//! points.limit_exceeded = 5
//! points.connect_storm = 2
//! thresholds.address = 100               # score from which on one is denied; 0: never
//! thresholds.certificate = 100
//! thresholds.user = 300
//! thresholds.client = 100
//! ban_s = 60                             # the first denial; each further one is ban_factor times longer
//! ban_factor = 4
//! ban_s_max = 86400
//! forget_s = 604800                      # after which a subject's earlier denials are forgotten
//! subjects_max = 100000                  # kept in mind
//! allow.addresses = ["10.0.0.0/8"]       # never denied
//! allow.certificates = []                # SHA-256
//! allow.tenants = []
//! allow.users = [{ tenant = "acme", user = "root" }]
//! report_file = "/var/lib/gatemq/guard.json"
//! report_interval_s = 10
//! ```
//!
//! Before a client is admitted its address alone is held to what it does, since all else is only claimed; afterwards the client,
//! its user and its certificate are, and its address, which others may share, is not. The broker checks each denial once more, and
//! slows an address down instead of closing it where three clients or more are connected from it.

mod breach;
mod config;
mod report;
mod score;
mod subject;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gatemq_plugin_api::prelude::*;
use gatemq_plugin_api::service::ServiceError;
use gatemq_plugin_api::tracing;

use crate::breach::Breach;
use crate::config::Config;
use crate::score::{Ban, Limits, Scores};
use crate::subject::Subject;

/// How often scores that have come to nothing are forgotten.
const SWEEP_MS: u64 = 10_000;

/// Where the broker keeps for us how often a subject was denied.
fn earlier(subject: &Subject) -> String {
    format!("denied {subject}")
}

struct Guard(Arc<Shared>);

struct Shared {
    host: Host,
    state: Mutex<State>,
}

struct State {
    config: Config,
    scores: Scores,
    swept_ms: u64,
    /// Why the last denial was not raised.
    trouble: Option<String>,
}

impl State {
    fn limits(&self) -> Limits {
        Limits { half_life_s: self.config.half_life_s, subjects_max: self.config.subjects_max }
    }

    /// Counts so many breaches. The denial that follows from them: how many points against which threshold.
    fn count(&mut self, subject: &Subject, breach: Breach, times: u64, now_ms: u64) -> Option<f64> {
        let points = self.config.points(breach);
        if points == 0 || times == 0 || self.config.allows(subject) {
            return None;
        }
        let (limits, threshold) = (self.limits(), self.config.threshold(subject.kind()));
        let entry = self.scores.add(subject, breach, (points, times), limits, now_ms);
        let score = entry.score(limits.half_life_s, now_ms);
        if entry.is_banned(now_ms) || threshold.is_none_or(|threshold| score < threshold) {
            return None;
        }
        entry.ban = Ban::Asked;
        Some(score)
    }

    /// Whoever is let in again by somebody starts anew: it is not denied again for what it was denied for.
    fn forgive(&mut self, event: &Event<'_>) -> Option<Subject> {
        let Some(Value::Text(lifted)) = event.field("subject") else { return None };
        let subject =
            self.scores.iter().map(|(subject, _)| subject).find(|subject| subject.to_string() == lifted)?.clone();
        self.scores.remove(&subject);
        Some(subject)
    }

    fn set_ban(&mut self, subject: &Subject, ban: Ban) {
        if let Some(entry) = self.scores.get_mut(subject) {
            entry.ban = ban;
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a subject denied, for longer each time. How often it was is kept by the broker, over restarts.
    async fn ban(self: Arc<Self>, subject: Subject, score: f64) {
        let key = earlier(&subject);
        let earlier = self.host.get(&key).await.ok();
        let earlier = earlier.and_then(|bytes| bytes.try_into().ok()).map_or(0, u32::from_le_bytes);
        let (ttl_ms, forget_ms, dry_run) = {
            let state = self.lock();
            (state.config.ban_ms(earlier), state.config.forget_s * 1000, state.config.dry_run)
        };
        let until = Ban::Until(self.host.now_ms().saturating_add(ttl_ms));
        let reason = format!("score {score:.0}, denial {} in a row", earlier.saturating_add(1));
        if dry_run {
            tracing::warn!("dry run: would deny {subject} for {} s: {reason}", ttl_ms / 1000);
            self.lock().set_ban(&subject, until);
            return;
        }
        match self.host.deny(subject.denied(), ttl_ms, reason.clone()).await {
            Ok(_) => {
                tracing::warn!("{subject} is denied for {} s: {reason}", ttl_ms / 1000);
                self.lock().set_ban(&subject, until);
                self.host.count("denials", 1);
                let times = earlier.saturating_add(1).to_le_bytes().to_vec();
                if let Err(e) = self.host.put(key, times, forget_ms).await {
                    tracing::warn!("how often {subject} was denied cannot be kept: {e}");
                }
            }
            Err(e) => {
                self.host.count("denials_refused", 1);
                let mut state = self.lock();
                state.set_ban(&subject, Ban::None);
                // The broker knows better: whoever it spares is no trouble.
                if !matches!(e, ServiceError::NotAllowed | ServiceError::NotFound) {
                    state.trouble = Some(format!("{subject} could not be denied: {e}"));
                }
                drop(state);
                tracing::warn!("{subject} is not denied: {e}");
            }
        }
    }

    /// Starts anew with a subject whose denial was lifted.
    async fn forget(self: Arc<Self>, subject: Subject) {
        // There may be nothing to forget.
        let _ = self.host.remove(earlier(&subject)).await;
    }

    /// Writes reports until the plugin ends.
    async fn report(self: Arc<Self>) {
        loop {
            let (file, interval_s) = {
                let state = self.lock();
                (state.config.report_file.clone(), state.config.report_interval_s)
            };
            if let Some(file) = file {
                let report = {
                    let state = self.lock();
                    report::render(&state.scores, &state.config, self.host.now_ms())
                };
                if let Err(e) = report::write(&file, &report) {
                    tracing::error!("report_file {}: {e}", file.display());
                }
            }
            gatemq_plugin_api::tokio::time::sleep(Duration::from_secs(interval_s)).await;
        }
    }
}

impl Plugin for Guard {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        config.check()?;
        let state = State { config, scores: Scores::default(), swept_ms: 0, trouble: None };
        let shared = Arc::new(Shared { host, state: Mutex::new(state) });
        shared.host.spawn(shared.clone().report());
        Ok(Guard(shared))
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        config.check()?;
        self.0.lock().config = config;
        Ok(())
    }

    fn health(&self) -> Health {
        self.0.lock().trouble.take().map_or(Health::Ready, Health::Degraded)
    }
}

impl EventCollector for Guard {
    fn interest(&self) -> Interest {
        Interest::none().class(Class::Security).kind(EventKind::ClientConnected).kind(EventKind::DenialLifted)
    }

    fn collect(&self, batch: &[Event<'_>]) {
        let now_ms = self.0.host.now_ms();
        let (mut bans, mut lifted) = (Vec::new(), Vec::new());
        {
            let mut state = self.0.lock();
            for event in batch {
                if event.kind() == EventKind::DenialLifted.number() {
                    lifted.extend(state.forgive(event));
                    continue;
                }
                let Some((breach, times)) = Breach::of(event) else { continue };
                if breach::is_allowed(event, &state.config) {
                    continue;
                }
                for subject in breach::subjects(event) {
                    bans.extend(state.count(&subject, breach, times, now_ms).map(|score| (subject, score)));
                }
            }
            if now_ms.saturating_sub(state.swept_ms) >= SWEEP_MS {
                let limits = state.limits();
                state.scores.sweep(limits, now_ms);
                state.swept_ms = now_ms;
            }
        }
        for subject in lifted {
            self.0.host.spawn(self.0.clone().forget(subject));
        }
        for (subject, score) in bans {
            self.0.host.spawn(self.0.clone().ban(subject, score));
        }
    }
}

impl AuthProvider for Guard {
    /// Refuses whoever comes in the moment in which the broker is being asked to deny it; about everybody else it says nothing.
    async fn authenticate(&self, connect: &Connect) -> AuthOutcome {
        let certificate = connect.tls.as_ref().filter(|tls| tls.verified).and_then(|tls| tls.leaf_sha256);
        let state = self.0.lock();
        let asked = certificate.is_some_and(|hash| {
            state.scores.get(&Subject::Certificate(hash)).is_some_and(|entry| entry.ban == Ban::Asked)
        });
        if !asked || state.config.dry_run {
            return AuthOutcome::Next;
        }
        drop(state);
        AuthOutcome::Reject {
            code: ReasonCode::BANNED,
            reason: "its certificate is being denied".into(),
            reason_string: None,
            delay: Duration::ZERO,
        }
    }
}

gatemq_plugin_api::export_plugin!(Guard: auth, events);
