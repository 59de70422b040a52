//! All plugins of a node: what is in force, how they are, and their end.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{Health, Plugin, PluginStatus, Retired, Services};
use gatemq_types::event::Fact;
use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::auth::{Guard, Guards};
use super::failures::Failures;
use super::find::Found;
use super::load::tell_stop;
use crate::admin::Desk;
use crate::events::{Collector, Events};

/// One of them.
pub(super) struct Managed {
    pub(super) plugin: Arc<Plugin>,
    /// Of all its generations: what they count, they count together.
    pub(super) services: Arc<dyn Services>,
    /// What its generation in force was started with.
    pub(super) in_force: Mutex<Found>,
    /// Whether an order of auth providers names it.
    pub(super) is_in_chain: AtomicBool,
    /// Of a collector, and of one that has not started and may become one.
    pub(super) collector: OnceLock<Arc<Collector>>,
    /// What asks it how it is.
    pub(super) watching: Mutex<Option<AbortHandle>>,
}

impl Managed {
    /// Nobody asks it how it is any more.
    pub(super) fn not_watched(&self) {
        if let Some(watching) = self.watching.lock().take() {
            watching.abort();
        }
    }
}

/// See the module.
pub(crate) struct Plugins {
    /// Exchanged as a whole, by a reload.
    pub(super) managed: Mutex<Vec<Arc<Managed>>>,
    /// Those that are gone from the configuration, should they come back: they go on counting. No more of them than an operator
    /// has had.
    pub(super) gone: Mutex<BTreeMap<String, Arc<Plugin>>>,
    pub(super) events: Arc<Events>,
    /// For the services of new ones.
    pub(super) desk: Arc<Desk>,
    /// The chain of each listener.
    pub(super) guards: Mutex<Guards>,
    /// Refused clients of each address, whichever chain refused them.
    pub(super) failures: Arc<Failures>,
    /// Whether with `--dev`.
    pub(super) dev: bool,
    /// How long a call or an exchange may take: so long an instance that was replaced is not stopped.
    pub(super) drain: Duration,
    /// One reload at a time.
    pub(super) reloading: tokio::sync::Mutex<()>,
    /// How often the plugins are asked how they are.
    pub(super) health_every: OnceLock<Duration>,
    /// Generations that were replaced and have not stopped; no more of them than mapped copies.
    pub(super) retired: Mutex<Vec<Arc<Retired>>>,
}

impl Plugins {
    /// All of them, as of now.
    pub(super) fn all(&self) -> Vec<Arc<Managed>> {
        self.managed.lock().clone()
    }

    /// The chain of a listener, which a reload exchanges; of one that has none, a chain that admits nobody.
    pub(crate) fn guard(&self, listener: &str) -> Guard {
        self.guards.lock().get(listener).cloned().unwrap_or_default()
    }

    /// What is known of each, in the order of their names.
    pub(crate) fn status(&self) -> Vec<PluginStatus> {
        let mut all: Vec<_> = self.all().iter().map(|managed| managed.plugin.status()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Names of those without which the node does not serve.
    pub(crate) fn required(&self) -> Vec<Arc<str>> {
        let all = self.all();
        let required = all.iter().filter(|managed| managed.in_force.lock().settings.required);
        required.map(|managed| managed.plugin.shared_name().clone()).collect()
    }

    /// Asks each plugin how it is, now and then, until they are stopped.
    pub(crate) fn watch_health(&self, every: Duration) {
        // A second call would be a mistake of the start sequence: the first stays.
        let _ = self.health_every.set(every);
        self.all().iter().for_each(|managed| self.watch(managed));
    }

    /// Asks one, where they are asked.
    pub(super) fn watch(&self, managed: &Managed) {
        let Some(every) = self.health_every.get().copied() else { return };
        let (plugin, events) = (managed.plugin.clone(), self.events.clone());
        let watching = tokio::spawn(async move {
            loop {
                tokio::time::sleep(every).await;
                if let Some((before, now)) = plugin.ask_health().await {
                    tell_health(&events, plugin.name(), &before, &now);
                }
            }
        });
        *managed.watching.lock() = Some(watching.abort_handle());
    }

    /// Has collectors take what waits, then stops every plugin.
    pub(crate) async fn stop(&self, deadline: Instant) {
        // None begins any more; one under way may end, or be left behind.
        let left = deadline.saturating_duration_since(Instant::now());
        let _no_reload = tokio::time::timeout(left / 4, self.reloading.lock()).await;
        // One that was stopped has not failed.
        self.all().iter().for_each(|managed| managed.not_watched());
        for status in self.status() {
            let counts = status.counts;
            tracing::info!(
                target: "gatemq::total",
                plugin = status.name,
                calls = counts.calls,
                failures = counts.failures,
                timeouts = counts.timeouts,
                refused = counts.refused,
                latency_us_p99 = counts.latency_us_p99,
                generation = status.generation,
                copies = status.copies,
            );
        }
        // Half of what is left, so that a collector which hangs leaves the other plugins time to stop.
        let collected = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        for collector in self.events.collectors().iter() {
            if !collector.stop(collected) {
                tracing::warn!("plugin {} is still in `collect`; it is left behind", collector.name());
            }
        }
        self.stop_instances(deadline).await;
    }

    /// Stops every instance, also those that were replaced.
    pub(super) async fn stop_instances(&self, deadline: Instant) {
        let retired: Vec<_> = self.retired.lock().drain(..).collect();
        let retired = retired.iter().map(|retired| retired.generation().instance().clone());
        let all = self.all();
        let current = all.iter().filter_map(|managed| Some(managed.plugin.current()?.instance().clone()));
        for instance in retired.chain(current).collect::<Vec<_>>() {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
            // Half for `stop`, half for the destructor.
            tell_stop(instance.name(), instance.stop(left / 2).await);
        }
    }
}

fn tell_health(events: &Events, plugin: &str, before: &Health, now: &Health) {
    let name = || plugin.to_owned().into();
    match (before, now) {
        (Health::NotReady(_), Health::NotReady(_)) => {}
        (_, Health::NotReady(why)) => {
            events.emit(None, Fact::PluginFailed { plugin: name(), why: why.clone().into() });
        }
        (Health::NotReady(_), _) => events.emit(None, Fact::PluginRecovered { plugin: name() }),
        (Health::Ready, Health::Degraded(why)) => {
            tracing::warn!("plugin {plugin} is degraded: {}", why.escape_debug());
        }
        (Health::Degraded(_), Health::Ready) => tracing::info!("plugin {plugin} is no longer degraded"),
        _ => {}
    }
}
