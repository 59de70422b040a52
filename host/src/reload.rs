//! SIGHUP, `gatemq reload`, `gatemq plugin reload`: the configuration is read again, checked, and what may change while running is changed.

use std::sync::Arc;

use arc_swap::ArcSwap;
use gatemq_types::event::Fact;
use tracing_subscriber::EnvFilter;

use crate::api::http::{self, Tokens};
use crate::certificates::{AllPrepared, Certificates};
use crate::config::{self, Config, Sources};
use crate::listeners::{Listeners, Plan, Turned};
use crate::log;
use crate::node::Node;
use crate::platform;
use crate::plugins::{Plugins, Reloaded};
use crate::ready;
use crate::service::Reloading;

/// Problems of a refused configuration that its event names; the log has all.
const TOLD_MAX: usize = 10;

/// What a reload needs to know.
pub(crate) struct Reload {
    /// Where the configuration is.
    pub(crate) sources: Sources,
    /// With which one the node started.
    pub(crate) started: Config,
    /// Whether with `--dev`.
    pub(crate) dev: bool,
    /// The node's plugins.
    pub(crate) plugins: Arc<Plugins>,
    /// Its listeners.
    pub(crate) listeners: Arc<Listeners>,
    /// Their TLS files.
    pub(crate) certificates: Arc<Certificates>,
    /// The node.
    pub(crate) node: Arc<Node>,
    /// Who may use the API over HTTP.
    pub(crate) tokens: Arc<ArcSwap<Tokens>>,
}

/// What a reload came to.
pub(crate) struct Reloads {
    /// What has changed and takes effect from the next start on.
    pub(crate) restart: Vec<String>,
    /// What became of each plugin.
    pub(crate) plugins: Vec<(String, Result<Reloaded, String>)>,
    /// Listeners that came, went, or are others now.
    pub(crate) listeners: Vec<(String, Result<Turned, String>)>,
}

impl Reload {
    /// Reloads at each signal; those that come during a reload are one.
    pub(crate) async fn at_each(self: Arc<Self>, mut told: platform::Reloads) {
        while told.next().await {
            // It has said in the log what is wrong.
            let _ = self.reload(None).await;
        }
    }

    /// Reads the configuration again and changes what may change while running. `only`: of plugins, that one alone, and nothing
    /// else. What is refused leaves everything as it was. Whoever does not wait for it any more does not cut it off.
    ///
    /// # Errors
    /// Everything that is wrong with the configuration, a line each.
    pub(crate) async fn reload(self: &Arc<Self>, only: Option<&str>) -> Result<Reloads, Vec<String>> {
        let (reload, only) = (self.clone(), only.map(str::to_owned));
        let reloading = tokio::spawn(async move { reload.reload_now(only.as_deref()).await });
        reloading.await.unwrap_or_else(|_| Err(vec!["the node stops".to_owned()]))
    }

    async fn reload_now(&self, only: Option<&str>) -> Result<Reloads, Vec<String>> {
        let _told = Reloading::begin();
        let problems = |problems: Vec<config::Problem>| problems.iter().map(config::Problem::to_string).collect();
        let config = config::load(&self.sources).and_then(|config| match self.dev {
            true => Some(config::check_dev(&config)).filter(|problems| !problems.is_empty()).map_or(Ok(config), Err),
            false => Ok(config),
        });
        let config = config.map_err(|wrong| self.refused(problems(wrong)))?;
        let tokens = self.tokens(&config, only).map_err(|why| self.refused(vec![why]))?;
        let restart = needs_restart(&self.started, &config);
        if !restart.is_empty() {
            tracing::warn!("changed, but in effect from the next start on: {}", restart.join(", "));
        }
        let _turn = self.certificates.turn().await;
        let all = match only {
            None => Some(self.prepare(&config).map_err(|wrong| self.refused(wrong))?),
            Some(_) => None,
        };
        let plugins = self.plugins.reload(&config, only, &self.node).await.map_err(|why| self.refused(why))?;
        for (plugin, reloaded) in &plugins {
            match reloaded {
                Ok(reloaded) => tracing::info!(plugin, ?reloaded, "reloaded"),
                Err(why) => tracing::error!("not reloaded: {}", why.escape_debug()),
            }
        }
        if let Some(tokens) = tokens {
            self.tokens.store(Arc::new(tokens));
        }
        let mut listeners = Vec::new();
        if let Some((plan, certificates, filter)) = all {
            self.certificates.exchange(certificates);
            self.listeners.adjust(&config);
            let proxies = config.listeners.values().flat_map(|listener| listener.proxies.clone());
            self.node.denials.spare_proxies(proxies.collect());
            listeners = self.listeners.exchange(plan, &self.plugins).await;
            if let (false, Some(file)) = (listeners.is_empty(), &self.started.node.ready_file)
                && let Err(e) = ready::renew(file, &self.listeners.bound())
            {
                tracing::warn!("node.ready_file: {}: {e}; it says where the node listened before", file.display());
            }
            self.node.overload.adjust(config.overload);
            log::adjust(filter);
            self.node.events.emit(None, Fact::ConfigReloaded { restart: restart.join(", ").into() });
        }
        Ok(Reloads { restart, plugins, listeners })
    }

    /// Reads everything besides plugins that is to change, so that nothing does where something is wrong. The cluster's files are
    /// used already then: they are read and taken, or not, in one step.
    fn prepare(&self, config: &Config) -> Result<(Plan, AllPrepared, EnvFilter), Vec<String>> {
        let filter = log::filter(&config.log).map_err(|e| vec![e])?;
        let plan = self.listeners.plan(config)?;
        let certificates = self.certificates.prepare(config, &plan)?;
        let of_cluster = config.cluster.as_ref().map(|cluster| &cluster.tls);
        self.certificates.reload_cluster(of_cluster).map_err(|e| vec![e])?;
        Ok((plan, certificates, filter))
    }

    /// The tokens that are in the file now; `None`: nothing is to be changed.
    fn tokens(&self, config: &Config, only: Option<&str>) -> Result<Option<Tokens>, String> {
        let Some(http) = config.http.as_ref().filter(|_| only.is_none()) else { return Ok(None) };
        let tokens = http.token_file.as_ref().map(|file| http::tokens(file)).transpose()?;
        Ok(Some(tokens.unwrap_or_default()))
    }

    fn refused(&self, problems: Vec<String>) -> Vec<String> {
        let problems: Vec<_> = problems.iter().map(|problem| config::located(&self.sources, problem)).collect();
        for problem in &problems {
            tracing::error!("{}", problem.escape_debug());
        }
        let told = problems.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join("; ");
        self.node.events.emit(None, Fact::ConfigRefused { why: told.into() });
        problems
    }
}

/// What has changed and takes effect only at a start.
fn needs_restart(before: &Config, now: &Config) -> Vec<String> {
    let sections = [
        ("[node]", before.node == now.node),
        ("log.format", before.log.format == now.log.format),
        ("[store]", before.store == now.store),
        ("plugin_host.health_interval_ms", {
            before.plugin_host.health_interval_ms == now.plugin_host.health_interval_ms
        }),
        ("[http]", before.http.is_some() == now.http.is_some()),
        ("http.bind", before.http.as_ref().zip(now.http.as_ref()).is_none_or(|(was, is)| was.bind == is.bind)),
        ("[http.tls]", {
            let has_tls = |http: &config::Http| http.tls.is_some();
            before.http.as_ref().zip(now.http.as_ref()).is_none_or(|(was, is)| has_tls(was) == has_tls(is))
        }),
        ("[limits]", before.limits == now.limits),
        ("[denials]", before.denials == now.denials),
        ("[cluster]", but_for_tls(before) == but_for_tls(now)),
    ];
    let changed = sections.iter().filter(|(_, is_same)| !is_same).map(|(section, _)| (*section).to_owned());
    let settings = now.plugins.iter().filter_map(|(name, now)| Some((name, before.plugins.get(name)?, now)));
    let of_plugins = settings
        .filter(|(_, before, now)| before.ring_events != now.ring_events)
        .map(|(name, ..)| format!("plugins.{name}.ring_events"));
    changed.chain(of_plugins).collect()
}

/// The cluster, but for the files of its TLS, which are read again.
fn but_for_tls(config: &Config) -> Option<config::Cluster> {
    let mut cluster = config.cluster.clone()?;
    cluster.tls = Default::default();
    Some(cluster)
}
