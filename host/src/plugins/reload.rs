//! Replaces a plugin while it is called: the new file beside the old one, calls to the new one, the old one stopped after its
//! last call. Whatever goes wrong leaves the old one in place.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use gatemq_plugin_loader::{CallFailure, Info, Instance, Interest, LibraryFile, Plugin, Retired};
use gatemq_types::event::Fact;

use super::find::{Found, find};
use super::load::{self, GIVE_UP_WAIT, tell_refused, tell_stop};
use super::set::{Managed, Plugins};
use super::start::tell_loaded;
use crate::config::{Config, Plugin as Settings, PluginHost};
use crate::events::{Collector, Events};
use crate::node::Node;

/// What a reload came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reloaded {
    /// It is new, and serves.
    Started,
    /// It is gone from the configuration, and serves no more.
    Stopped,
    /// File and configuration are those in force.
    Unchanged,
    /// The instance in force has taken the new configuration.
    Reconfigured,
    /// Another instance serves.
    Replaced {
        /// How many there were of this name.
        generation: u32,
    },
}

/// What became of each plugin.
pub(super) type Each = Vec<(String, Result<Reloaded, String>)>;

impl Plugins {
    /// Has those come that are new in `config`, those go that are gone from it, and its chains of auth providers be in force: all of
    /// that, or nothing; then reloads every other plugin, each for itself, with what `config` says of it now: what became of each.
    /// What `config` says of everything else is not looked at. `only`: that plugin alone. Whoever does not wait for it any more
    /// does not cut it off.
    ///
    /// # Errors
    /// The libraries cannot be looked for, a new one does not serve, or the chains cannot be made: nothing has changed.
    pub(crate) async fn reload(
        self: &Arc<Self>,
        config: &Config,
        only: Option<&str>,
        node: &Arc<Node>,
    ) -> Result<Each, Vec<String>> {
        let (plugins, config, only, node) = (self.clone(), config.clone(), only.map(str::to_owned), node.clone());
        // A task of its own: cut off in the middle it would leave an instance behind that nobody stops.
        let reloading = tokio::spawn(async move { plugins.reload_now(&config, only.as_deref(), &node).await });
        reloading.await.unwrap_or_else(|_| Err(vec!["the node stops".to_owned()]))
    }

    async fn reload_now(
        self: &Arc<Self>,
        config: &Config,
        only: Option<&str>,
        node: &Arc<Node>,
    ) -> Result<Each, Vec<String>> {
        let _one_at_a_time = self.reloading.lock().await;
        let found = find(config).map_err(|why| vec![why])?;
        let before = self.all();
        let mut all = self.exchange(config, &found, only, node).await?;
        let is_meant = |name: &str| only.is_none_or(|only| only == name);
        for managed in before.iter().filter(|managed| is_meant(managed.plugin.name())) {
            let name = managed.plugin.name();
            if let Some(found) = found.iter().find(|found| found.name == name) {
                all.push((name.to_owned(), self.reload_one(managed, found, &config.plugin_host).await));
            }
        }
        Ok(all)
    }

    async fn reload_one(
        self: &Arc<Self>,
        managed: &Managed,
        found: &Found,
        host: &PluginHost,
    ) -> Result<Reloaded, String> {
        let (events, before) = (&self.events, managed.in_force.lock().clone());
        let file = load::read(found, host, events)?;
        let current = managed.plugin.current().map(|generation| generation.instance().clone());
        if let Some(current) = current.as_ref().filter(|current| current.info().sha256 == file.sha256())
            && is_same_but_for_config(&before.settings, &found.settings)
        {
            if before.settings.config_json == found.settings.config_json {
                return Ok(Reloaded::Unchanged);
            }
            if self.reconfigure(managed, current, found).await? {
                return Ok(Reloaded::Reconfigured);
            }
        }
        let refused = |why: String| {
            tell_refused(events, found, &why);
            format!("plugin {}: {why}", found.name)
        };
        may_map(&managed.plugin, host).map_err(refused)?;
        let (instance, interest) = self.bring_up(managed, found, file, current.as_deref().map(Instance::info)).await?;
        Ok(self.put_in_force(managed, found, instance, interest))
    }

    /// Has the instance in force take a new configuration. False: it takes that only when it is loaded again.
    async fn reconfigure(&self, managed: &Managed, current: &Instance, found: &Found) -> Result<bool, String> {
        match current.reconfigure(found.settings.config_json.clone()).await {
            Ok(()) => {
                *managed.in_force.lock() = found.clone();
                self.events.emit(None, Fact::PluginReconfigured { plugin: found.name.clone().into() });
                Ok(true)
            }
            Err(CallFailure::LoadAgain(_)) => Ok(false),
            Err(failure) => {
                let why = failure.to_string().replace('\n', "; ");
                tell_refused(&self.events, found, &format!("its new configuration: {why}"));
                Err(format!("plugin {} does not take its new configuration: {why}", found.name))
            }
        }
    }

    /// Loads and starts an instance that can take the place of one with these roles.
    async fn bring_up(
        &self,
        managed: &Managed,
        found: &Found,
        file: LibraryFile,
        before: Option<&Info>,
    ) -> Result<(Arc<Instance>, Interest), String> {
        let events = &self.events;
        let library = load::map(file, &managed.plugin, found, events).await?;
        if let Some(why) = other_roles(before, managed.is_in_chain.load(Ordering::Relaxed), library.info()) {
            tell_refused(events, found, &why);
            return Err(format!("plugin {}: {why}", found.name));
        }
        let is_collector = library.info().events;
        let instance = load::start(library, found, managed.services.clone(), events).await?;
        if !is_collector {
            return Ok((instance, Interest::default()));
        }
        let interest = load::interest(&instance, found, events).await?;
        Ok((instance, interest))
    }

    /// From here on all calls go to `instance`.
    fn put_in_force(
        self: &Arc<Self>,
        managed: &Managed,
        found: &Found,
        instance: Arc<Instance>,
        interest: Interest,
    ) -> Reloaded {
        let (events, info) = (&self.events, instance.info().clone());
        let (generation, before) = managed.plugin.replace(instance, found.settings.policy);
        *managed.in_force.lock() = found.clone();
        if let Some(collector) = managed.collector.get().filter(|_| info.events) {
            collector.set_interest(interest);
            events.interests_changed();
            if let Err(e) = collector.start(events) {
                tracing::error!("plugin {} gets no events: a collector's thread cannot be started: {e}", found.name);
            }
        }
        match before {
            Some(before) => {
                let fact = Fact::PluginReplaced {
                    plugin: found.name.clone().into(),
                    file: info.file.display().to_string().into(),
                    version: info.version.clone().into(),
                    generation: generation.into(),
                    sha256: info.sha256.to_string().into(),
                };
                events.emit(None, fact);
                self.retire(managed.collector.get().cloned(), Arc::new(before), found);
            }
            None => tell_loaded(events, &found.name, &info),
        }
        Reloaded::Replaced { generation }
    }

    /// Stops an instance that was replaced, after its last call.
    pub(super) fn retire(self: &Arc<Self>, collector: Option<Arc<Collector>>, retired: Arc<Retired>, found: &Found) {
        self.retired.lock().push(retired.clone());
        let until = Instant::now() + self.drain.max(found.settings.policy.options.timeout);
        let (plugins, name) = (self.clone(), found.name.clone());
        tokio::spawn(async move {
            if !retired.drained(until).await {
                tracing::warn!(
                    "plugin {name}: a call into the instance before does not end; it is stopped all the same"
                );
                leave_behind(collector, retired.generation().number(), &plugins.events);
            }
            tell_stop(&name, retired.stop(GIVE_UP_WAIT).await);
            plugins.retired.lock().retain(|other| !Arc::ptr_eq(other, &retired));
        });
    }
}

/// Whether one more library may be mapped for a plugin.
///
/// # Errors
/// Why not.
pub(super) fn may_map(plugin: &Plugin, host: &PluginHost) -> Result<(), String> {
    match plugin.copies().load(Ordering::Relaxed) {
        copies if copies >= host.copies_max => Err(format!(
            "{copies} copies of its libraries are mapped already, as many as plugin_host.copies_max allows; restart the broker"
        )),
        _ => Ok(()),
    }
}

/// Has the collector go on without the thread that is still in the instance of before.
fn leave_behind(collector: Option<Arc<Collector>>, generation: u32, events: &Arc<Events>) {
    let Some(collector) = collector else { return };
    if let Err(e) = collector.leave_behind(generation, events) {
        tracing::error!("plugin {} gets no events: a collector's thread cannot be started: {e}", collector.name());
    }
}

/// Whether nothing but the plugin's own configuration differs, or what takes effect at the next start anyway.
fn is_same_but_for_config(before: &Settings, now: &Settings) -> bool {
    let Settings { library: _, sha256: _, required: _, policy, ring_events: _, config_json: _ } = now;
    before.policy == *policy
}

/// Why a library cannot take the place of one with these roles; or of one that has not started, which is asked if it is in a
/// chain, and must not be believed to guard anything if it is in none.
fn other_roles(before: Option<&Info>, is_in_chain: bool, now: &Info) -> Option<String> {
    let found = now.roles();
    match before.map(Info::roles) {
        Some(wanted) if wanted != found => {
            Some(format!("wanted a library with the roles {wanted}, found {found}; restart the broker to change them"))
        }
        None if now.auth != is_in_chain => {
            let wanted = if is_in_chain {
                "an auth provider, which a chain names"
            } else {
                "no auth provider, which no chain names"
            };
            Some(format!("wanted {wanted}, found the roles {found}; correct the chain and restart the broker"))
        }
        _ => None,
    }
}
