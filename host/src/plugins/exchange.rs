//! Plugins that are new in the configuration come while the node serves, those that are gone from it go, and its chains of auth
//! providers are in force: all of that at once, or nothing of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use gatemq_types::event::Fact;

use super::auth::{self, AuthChains, Orders};
use super::find::Found;
use super::load::{self, give_up, tell_refused};
use super::reload::{Each, Reloaded, may_map};
use super::set::{Managed, Plugins};
use super::start::{manage, orders, provider, tell_loaded};
use crate::admin;
use crate::config::Config;
use crate::events::Collector;
use crate::node::Node;

/// How long a collector that is gone may take what waits for it. Nobody else waits for that but the reload.
const COLLECT_WAIT: Duration = Duration::from_secs(1);
/// What is said of one that is gone.
const GONE: &str = "it is gone from the configuration";

impl Plugins {
    /// See the module. `only`: the chains are looked at only where that one is new or gone. What became of those that came and went.
    ///
    /// # Errors
    /// A new one does not serve, or the chains cannot be made.
    pub(super) async fn exchange(
        self: &Arc<Self>,
        config: &Config,
        found: &[Found],
        only: Option<&str>,
        node: &Arc<Node>,
    ) -> Result<Each, Vec<String>> {
        let is_meant = |name: &str| only.is_none_or(|only| only == name);
        let is_found = |managed: &Managed| found.iter().any(|found| found.name == managed.plugin.name());
        let (gone, mut all): (Vec<_>, Vec<_>) =
            self.all().into_iter().partition(|managed| is_meant(managed.plugin.name()) && !is_found(managed));
        let is_new = |found: &&Found| is_meant(&found.name) && !all.iter().any(|m| m.plugin.name() == found.name);
        let new: Vec<_> = found.iter().filter(is_new).collect();
        if only.is_some() && gone.is_empty() && new.is_empty() {
            return Ok(Each::new());
        }
        let orders = orders(config);
        let begun = self.begin_all(config, &new, &orders).await?;
        all.extend(begun.iter().cloned());
        match self.chains(&all, found, &orders) {
            Ok(chains) => {
                self.put_chains(&all, chains, &orders);
                *self.managed.lock() = all;
                Ok(self.let_come(&begun).chain(self.let_go(gone, node).await).collect())
            }
            Err(wrong) => {
                self.take_back(&begun).await;
                Err(wrong)
            }
        }
    }

    /// Starts all that are new, or none.
    async fn begin_all(
        &self,
        config: &Config,
        new: &[&Found],
        orders: &Orders<'_>,
    ) -> Result<Vec<Arc<Managed>>, Vec<String>> {
        let (mut begun, mut wrong) = (Vec::new(), Vec::new());
        for found in new {
            match self.begin(config, found, orders).await {
                Ok(managed) => begun.push(managed),
                Err(why) => wrong.push(why),
            }
        }
        if wrong.is_empty() {
            return Ok(begun);
        }
        self.take_back(&begun).await;
        Err(wrong)
    }

    /// Starts a new one. Nobody asks it anything yet.
    async fn begin(&self, config: &Config, found: &Found, orders: &Orders<'_>) -> Result<Arc<Managed>, String> {
        let (host, events) = (&config.plugin_host, &self.events);
        let before = self.gone.lock().get(&found.name).cloned();
        let managed = manage(found.clone(), before, orders.is_naming(&found.name), events, &self.desk);
        may_map(&managed.plugin, host).map_err(|why| {
            tell_refused(events, found, &why);
            format!("plugin {}: {why}", found.name)
        })?;
        let file = load::read(found, host, events)?;
        let library = load::map(file, &managed.plugin, found, events).await?;
        let is_collector = library.info().events;
        let instance = load::start(library, found, managed.services.clone(), events).await?;
        if is_collector {
            let interest = load::interest(&instance, found, events).await?;
            let collector = Collector::new(managed.plugin.clone(), found.settings.ring_events);
            collector.set_interest(interest);
            // It has none yet.
            let _ = managed.collector.set(collector);
        }
        managed.plugin.replace(instance, found.settings.policy);
        Ok(Arc::new(managed))
    }

    /// Stops those that were started for nothing.
    async fn take_back(&self, begun: &[Arc<Managed>]) {
        for managed in begun {
            if let Some(retired) = managed.plugin.retire(GONE) {
                give_up(retired.generation().instance()).await;
            }
            // What was mapped for it stays mapped, and counts.
            self.gone.lock().insert(managed.plugin.name().to_owned(), managed.plugin.clone());
        }
    }

    /// The chains that a configuration wants of these.
    fn chains(&self, all: &[Arc<Managed>], found: &[Found], orders: &Orders<'_>) -> Result<AuthChains, Vec<String>> {
        let settings = |managed: &Managed| match found.iter().find(|found| found.name == managed.plugin.name()) {
            Some(found) => found.settings.clone(),
            None => managed.in_force.lock().settings.clone(),
        };
        let providers: Vec<_> = all.iter().filter_map(|managed| provider(managed, &settings(managed))).collect();
        // Where one was meant to guard the node and does not, `--dev` opens nothing either.
        let is_complete = all.iter().all(|managed| managed.plugin.current().is_some());
        auth::chains(&providers, orders, &self.failures, self.dev && is_complete)
    }

    /// Whoever comes from now on is asked about in this order. A listener that the configuration does not know keeps its chain, and one
    /// that is new has it when it opens.
    fn put_chains(&self, all: &[Arc<Managed>], chains: AuthChains, orders: &Orders<'_>) {
        for managed in all {
            managed.is_in_chain.store(orders.is_naming(managed.plugin.name()), Ordering::Relaxed);
        }
        let mut guards = self.guards.lock();
        for (listener, chain) in chains {
            guards.entry(listener).or_default().store(chain);
        }
    }

    /// New ones get events, and are asked how they are.
    fn let_come(&self, begun: &[Arc<Managed>]) -> impl Iterator<Item = (String, Result<Reloaded, String>)> {
        let collectors = self.all().iter().filter_map(|managed| managed.collector.get().cloned()).collect();
        self.events.replace_collectors(collectors);
        for managed in begun {
            let name = managed.plugin.name();
            self.gone.lock().remove(name);
            if let Some(Err(e)) = managed.collector.get().map(|collector| collector.start(&self.events)) {
                tracing::error!("plugin {name} gets no events: a collector's thread cannot be started: {e}");
            }
            if let Some(generation) = managed.plugin.current() {
                tell_loaded(&self.events, name, generation.instance().info());
            }
            self.watch(managed);
        }
        let told: Vec<_> = begun.iter().map(|m| (m.plugin.name().to_owned(), Ok(Reloaded::Started))).collect();
        told.into_iter()
    }

    /// Those that are gone take what waits for them and stop after their last call; who was admitted by one is disconnected, because
    /// nobody stands for him any more.
    async fn let_go(self: &Arc<Self>, gone: Vec<Arc<Managed>>, node: &Arc<Node>) -> Each {
        let mut all = Each::new();
        for managed in gone {
            let name = managed.plugin.name().to_owned();
            managed.not_watched();
            if let Some(collector) = managed.collector.get().cloned() {
                let until = Instant::now() + COLLECT_WAIT;
                let stopped = tokio::task::spawn_blocking(move || collector.stop(until)).await;
                if !stopped.unwrap_or(false) {
                    tracing::warn!("plugin {name} is still in `collect`; what waits for it is dropped");
                }
            }
            self.gone.lock().insert(name.clone(), managed.plugin.clone());
            if let Some(retired) = managed.plugin.retire(GONE) {
                let found = managed.in_force.lock().clone();
                self.retire(None, Arc::new(retired), &found);
            }
            self.events.emit(None, Fact::PluginRemoved { plugin: name.clone().into() });
            // After it can be asked no more, so that it stands for nobody who is asked about now.
            admin::revoke_admitted_by(node, &name);
            all.push((name, Ok(Reloaded::Stopped)));
        }
        all
    }
}
