//! Loads and starts the plugins; decides whether the node may serve with what it got.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use gatemq_plugin_loader::{BreakerChange, Interest, Lane, Plugin};
use gatemq_types::event::Fact;
use parking_lot::Mutex;

use super::auth::{self, AuthChains, Orders, Provider};
use super::failures::Failures;
use super::find::{Found, find};
use super::load::{self, GIVE_UP_WAIT};
use super::services::InstanceServices;
use super::set::{Managed, Plugins};
use super::tell_failure;
use crate::admin::Desk;
use crate::config::{Config, Plugin as Settings, PluginHost};
use crate::events::{Collector, Events};

/// Why the node cannot serve.
#[derive(Debug)]
pub(crate) enum Problem {
    /// The configuration is wrong: exit 78.
    Configuration(String),
    /// A required plugin does not work: exit 69.
    Plugin(String),
}

impl Problem {
    /// What is wrong.
    pub(crate) fn why(&self) -> &str {
        match self {
            Problem::Configuration(why) | Problem::Plugin(why) => why,
        }
    }
}

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
) -> Result<Arc<Plugins>, Vec<Problem>> {
    let found = find(config).map_err(|e| vec![Problem::Configuration(e)])?;
    let (mut managed, mut problems) = (Vec::new(), Vec::new());
    // Where a plugin was meant to guard the node and does not, `--dev` opens nothing either.
    let mut complete = true;
    for found in found {
        let is_in_chain = orders(config).is_naming(&found.name);
        let one = Arc::new(manage(found, None, is_in_chain, events, desk));
        if let Err(why) = start_one(&one, &config.plugin_host, events).await {
            one.plugin.missing(&why);
            if one.in_force.lock().settings.required {
                problems.push(Problem::Plugin(why));
                continue;
            }
            complete = false;
            tracing::warn!("{why}; it is not required: going on without it, and who would be asked to it is refused");
        }
        managed.push(one);
    }
    let failures = Arc::<Failures>::default();
    let chains = chains(&managed, &orders(config), &failures, dev && complete);
    let drain = config.listeners.values().map(|listener| listener.connect_ms_max).max().unwrap_or_default();
    let mut plugins = Plugins {
        managed: Mutex::new(managed),
        gone: Mutex::default(),
        events: events.clone(),
        desk: desk.clone(),
        guards: Mutex::default(),
        failures,
        dev,
        drain: Duration::from_millis(drain),
        reloading: tokio::sync::Mutex::default(),
        health_every: OnceLock::new(),
        retired: Mutex::default(),
    };
    let auth = match chains {
        // Said already by what was refused.
        _ if !problems.is_empty() => None,
        Ok(auth) => collectors(&plugins).await.map_err(|e| problems.push(Problem::Plugin(e))).ok().map(|()| auth),
        Err(wrong) => {
            problems.extend(wrong.into_iter().map(Problem::Configuration));
            None
        }
    };
    match auth {
        Some(auth) => {
            let guard = |(name, chain)| (name, Arc::new(ArcSwap::new(chain)));
            plugins.guards = Mutex::new(auth.into_iter().map(guard).collect());
            Ok(Arc::new(plugins))
        }
        None => {
            plugins.stop_instances(Instant::now() + GIVE_UP_WAIT).await;
            Err(problems)
        }
    }
}

/// The chain of each listener, with these plugins as they are in force.
fn chains(
    managed: &[Arc<Managed>],
    orders: &Orders<'_>,
    failures: &Arc<Failures>,
    dev: bool,
) -> Result<AuthChains, Vec<String>> {
    let provider = |m: &Arc<Managed>| provider(m, &m.in_force.lock().settings);
    auth::chains(&managed.iter().filter_map(provider).collect::<Vec<_>>(), orders, failures, dev)
}

/// One for a chain, unless it is known to be no auth provider: nobody knows whether one that has not started is.
pub(super) fn provider(managed: &Managed, settings: &Settings) -> Option<Provider> {
    let is_other = managed.plugin.current().is_some_and(|generation| !generation.instance().info().auth);
    let (required, veto) = (settings.required, settings.policy.veto);
    (!is_other).then(|| Provider { plugin: managed.plugin.clone(), required, veto })
}

/// The orders of auth providers that a configuration has.
pub(super) fn orders(config: &Config) -> Orders<'_> {
    let own = config.listeners.iter().map(|(name, listener)| (name.as_str(), listener.auth_chain.as_deref()));
    Orders { common: config.auth.chain.as_deref(), own: own.collect() }
}

/// One that has not started; `before`: it was there once.
pub(super) fn manage(
    found: Found,
    before: Option<Arc<Plugin>>,
    is_in_chain: bool,
    events: &Arc<Events>,
    desk: &Arc<Desk>,
) -> Managed {
    let (name, events) = (found.name.clone(), events.clone());
    let services = Arc::new(InstanceServices::new(&name, desk));
    let tell = move |lane: Lane, change: BreakerChange| {
        let (plugin, calls) = (name.clone().into(), lane.name().into());
        let number = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        let fact = match change {
            BreakerChange::Opened { failed, calls: of, open } => {
                let open_ms = u64::try_from(open.as_millis()).unwrap_or(u64::MAX);
                Fact::BreakerOpened { plugin, calls, failed: number(failed), of: number(of), open_ms }
            }
            BreakerChange::Closed => Fact::BreakerClosed { plugin, calls },
        };
        events.emit(None, fact);
    };
    let plugin = before.unwrap_or_else(|| Plugin::new(&found.name, found.settings.policy, tell));
    Managed {
        plugin,
        services,
        in_force: Mutex::new(found),
        is_in_chain: AtomicBool::new(is_in_chain),
        collector: OnceLock::new(),
        watching: Mutex::default(),
    }
}

async fn start_one(managed: &Managed, host: &PluginHost, events: &Arc<Events>) -> Result<(), String> {
    let found = managed.in_force.lock().clone();
    let file = load::read(&found, host, events)?;
    let library = load::map(file, &managed.plugin, &found, events).await?;
    let instance = load::start(library, &found, managed.services.clone(), events).await?;
    tell_loaded(events, &found.name, instance.info());
    managed.plugin.replace(instance, found.settings.policy);
    Ok(())
}

/// The event that a plugin was loaded.
pub(super) fn tell_loaded(events: &Events, plugin: &str, info: &gatemq_plugin_loader::Info) {
    let fact = Fact::PluginLoaded {
        plugin: plugin.to_owned().into(),
        file: info.file.display().to_string().into(),
        roles: info.roles().into(),
        version: info.version.clone().into(),
    };
    events.emit(None, fact);
}

async fn collectors(plugins: &Plugins) -> Result<(), String> {
    let events = plugins.events.clone();
    let all = plugins.all();
    for managed in &all {
        let settings = managed.in_force.lock().settings.clone();
        let name = managed.plugin.name();
        let interest = match managed.plugin.current() {
            // It may become one when it is loaded after all.
            None => Interest::default(),
            Some(generation) if !generation.instance().info().events => continue,
            Some(generation) => match generation.instance().interest().await {
                Ok(interest) => interest,
                Err(failure) => {
                    tell_failure(&events, name, "interest", &failure);
                    let why = format!("plugin {name} does not say what it wants to see: {failure}");
                    if settings.required {
                        return Err(why);
                    }
                    tracing::warn!("{why}; it is not required: going on without it as a collector");
                    Interest::default()
                }
            },
        };
        let collector = Collector::new(managed.plugin.clone(), settings.ring_events);
        collector.set_interest(interest);
        // It has none yet.
        let _ = managed.collector.set(collector);
    }
    let collectors: Vec<_> = all.iter().filter_map(|managed| managed.collector.get().cloned()).collect();
    for collector in collectors.iter().filter(|collector| collector.has_started()) {
        collector.start(&events).map_err(|e| format!("a collector's thread cannot be started: {e}"))?;
    }
    events.set_collectors(collectors);
    Ok(())
}
