//! Loads and starts the plugins; decides whether the node may serve with what it got.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gatemq_plugin_loader::{Health, Instance, Library, Options};
use gatemq_types::event::Fact;

use super::auth::{self, AuthChains, Orders};
use super::failure_event;
use super::find::{Found, find};
use super::services::InstanceServices;
use crate::admin::Desk;
use crate::config::Config;
use crate::events::{Collector, Events};

/// How long a plugin may take to become ready.
const READY_WAIT: Duration = Duration::from_secs(30);
/// How long plugins may take to stop when the node does not start after all.
const GIVE_UP_WAIT: Duration = Duration::from_secs(5);

/// Why the node cannot serve.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The configuration is wrong: exit 78.
    Configuration(String),
    /// A required plugin does not work: exit 69.
    Plugin(String),
}

/// The started plugins.
pub(crate) struct PluginSet {
    /// Who is asked at CONNECT, by listener.
    pub(crate) auth: AuthChains,
    /// All of them.
    pub(crate) running: Instances,
}

/// Instances that run until they are stopped.
pub(crate) struct Instances(Vec<Arc<Instance>>);

/// Loads and starts all plugins. `dev`: the node may serve without an auth provider (on loopback, which the caller has
/// checked).
///
/// # Errors
/// A required plugin was refused or failed, or the chain of auth providers cannot be made.
pub(crate) async fn start(
    config: &Config,
    events: &Arc<Events>,
    desk: &Arc<Desk>,
    dev: bool,
) -> Result<PluginSet, Vec<Problem>> {
    let found = find(config).map_err(|e| vec![Problem::Configuration(e)])?;
    let (mut started, mut problems) = (Vec::new(), Vec::new());
    // Where a plugin was meant to guard the node and does not, `--dev` opens nothing either.
    let mut complete = true;
    for plugin in found {
        match start_one(&plugin, events, desk).await {
            Ok(instance) => started.push((instance, plugin)),
            Err(why) if plugin.settings.required => problems.push(Problem::Plugin(why)),
            Err(why) => {
                complete = false;
                tracing::warn!("{why}; it is not required: going on without it");
            }
        }
    }
    let auth: Vec<_> = started.iter().map(|(i, _)| i).filter(|i| i.info().auth).cloned().collect();
    let refused = !problems.is_empty();
    let own = config.listeners.iter().map(|(name, listener)| (name.as_str(), listener.auth_chain.as_deref()));
    let orders = Orders { common: config.auth.chain.as_deref(), own: own.collect() };
    let auth = match auth::chains(&auth, &orders, dev && complete) {
        Ok(auth) => Some(auth),
        // Said already by what was refused.
        Err(_) if refused => None,
        Err(wrong) => {
            problems.extend(wrong.into_iter().map(Problem::Configuration));
            None
        }
    };
    match auth {
        Some(auth) if problems.is_empty() => {
            let collecting = collectors(&started, events).await;
            let running = Instances(started.into_iter().map(|(i, _)| i).collect());
            match collecting {
                Ok(()) => Ok(PluginSet { auth, running }),
                Err(e) => {
                    running.stop(events, Instant::now() + GIVE_UP_WAIT).await;
                    Err(vec![Problem::Plugin(e)])
                }
            }
        }
        _ => {
            stop_all(started.iter().map(|(i, _)| i), Instant::now() + GIVE_UP_WAIT).await;
            Err(problems)
        }
    }
}

async fn start_one(plugin: &Found, events: &Arc<Events>, desk: &Arc<Desk>) -> Result<Arc<Instance>, String> {
    let refused = |why: String| {
        let (plugin, file) = (plugin.name.clone().into(), plugin.file.display().to_string().into());
        events.emit(None, Fact::PluginRefused { plugin, file, why: why.into() });
    };
    // Reading and mapping block; nothing else runs yet.
    let library = Library::open(&plugin.file).map_err(|refusal| {
        refused(refusal.reason.to_string());
        format!("plugin {} refused: {refusal}", plugin.name)
    })?;
    let options = Options {
        timeout: Duration::from_millis(plugin.settings.timeout_ms),
        calls_max: plugin.settings.calls_max,
        ..Options::default()
    };
    let services = Arc::new(InstanceServices::new(&plugin.name, desk));
    let config = plugin.settings.config_json.clone();
    let instance = Instance::start(library, &plugin.name, config, services, options).await.map_err(|failure| {
        refused(failure.to_string());
        let problems = failure.to_string().replace('\n', "; ");
        format!("plugin {} ({}) does not start: {problems}", plugin.name, plugin.file.display())
    })?;
    if let Err(why) = ready(&instance).await {
        refused(why.clone());
        // The node may go on without it: then it must not go on by itself.
        stop_all([&instance].into_iter(), Instant::now() + GIVE_UP_WAIT).await;
        return Err(why);
    }
    let info = instance.info();
    events.emit(
        None,
        Fact::PluginLoaded {
            plugin: plugin.name.clone().into(),
            file: info.file.display().to_string().into(),
            roles: info.roles().into(),
            version: info.version.clone().into(),
        },
    );
    Ok(instance)
}

/// Waits until it is ready: listeners open only then.
async fn ready(instance: &Instance) -> Result<(), String> {
    let deadline = Instant::now() + READY_WAIT;
    loop {
        match instance.health().await {
            Health::Ready => return Ok(()),
            Health::Degraded(why) => {
                tracing::warn!("plugin {} is degraded: {}", instance.name(), why.escape_debug());
                return Ok(());
            }
            Health::NotReady(why) if Instant::now() >= deadline => {
                return Err(format!("plugin {} is not ready: {}", instance.name(), why.escape_debug()));
            }
            Health::NotReady(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn collectors(started: &[(Arc<Instance>, Found)], events: &Arc<Events>) -> Result<(), String> {
    let mut collectors = Vec::new();
    for (instance, found) in started.iter().filter(|(i, _)| i.info().events) {
        match instance.interest().await {
            Ok(interest) => collectors.push(Collector::new(instance.clone(), interest, found.settings.ring_events)),
            Err(failure) => {
                events.emit(None, failure_event(instance.name(), "interest", &failure));
                let why = format!("plugin {} does not say what it wants to see: {failure}", instance.name());
                if found.settings.required {
                    return Err(why);
                }
                tracing::warn!("{why}; it is not required: going on without it as a collector");
            }
        }
    }
    for collector in &collectors {
        collector.start(events).map_err(|e| format!("a collector's thread cannot be started: {e}"))?;
    }
    events.set_collectors(collectors);
    Ok(())
}

async fn stop_all(instances: impl Iterator<Item = &Arc<Instance>>, deadline: Instant) {
    for instance in instances {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(100));
        // Half for `stop`, half for the destructor.
        if let Err(failure) = instance.stop(left / 2).await {
            tracing::warn!("plugin {} did not stop well: {}", instance.name(), failure.to_string().escape_debug());
        }
    }
}

impl Instances {
    /// Has collectors take what waits, then stops every plugin.
    pub(crate) async fn stop(&self, events: &Events, deadline: Instant) {
        // Half of what is left, so that a collector which hangs leaves the other plugins time to stop.
        let collected = Instant::now() + deadline.saturating_duration_since(Instant::now()) / 2;
        for collector in events.collectors() {
            if !collector.stop(collected) {
                tracing::warn!("plugin {} is still in `collect`; it is left behind", collector.name());
            }
        }
        stop_all(self.0.iter(), deadline).await;
    }
}
