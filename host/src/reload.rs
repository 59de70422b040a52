//! SIGHUP: the configuration is read again, checked, and what may change while running is changed.

use std::sync::Arc;

use gatemq_types::event::Fact;
use tokio::signal::unix::Signal;

use crate::config::{self, Config, Sources};
use crate::events::Events;
use crate::plugins::Plugins;

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
    /// The node's events.
    pub(crate) events: Arc<Events>,
}

impl Reload {
    /// Reloads at each signal; those that come during a reload are one.
    pub(crate) async fn at_each(self, mut hangup: Signal) {
        while hangup.recv().await.is_some() {
            self.reload().await;
        }
    }

    async fn reload(&self) {
        let config = match config::load(&self.sources) {
            Ok(config) if self.dev => match config::check_dev(&config) {
                problems if problems.is_empty() => config,
                problems => return self.refused(&problems),
            },
            Ok(config) => config,
            Err(problems) => return self.refused(&problems),
        };
        let restart = needs_restart(&self.started, &config).join(", ");
        if !restart.is_empty() {
            tracing::warn!("changed, but in effect from the next start on: {restart}");
        }
        match self.plugins.reload_all(&config).await {
            Ok(all) => {
                for (plugin, reloaded) in all {
                    match reloaded {
                        Ok(reloaded) => tracing::info!(plugin, ?reloaded, "reloaded"),
                        Err(why) => tracing::error!("not reloaded: {}", why.escape_debug()),
                    }
                }
            }
            Err(why) => tracing::error!("no plugin is reloaded: {}", why.escape_debug()),
        }
        self.events.emit(None, Fact::ConfigReloaded { restart: restart.into() });
    }

    fn refused(&self, problems: &[config::Problem]) {
        for problem in problems {
            tracing::error!("{}", problem.to_string().escape_debug());
        }
        let told: Vec<_> = problems.iter().take(TOLD_MAX).map(config::Problem::to_string).collect();
        self.events.emit(None, Fact::ConfigRefused { why: told.join("; ").into() });
    }
}

/// What has changed and takes effect only at a start.
fn needs_restart(before: &Config, now: &Config) -> Vec<String> {
    let sections = [
        ("[node]", before.node == now.node),
        ("[log]", before.log == now.log),
        ("[store]", before.store == now.store),
        ("[listeners]", before.listeners == now.listeners),
        ("[auth]", before.auth == now.auth),
        ("[plugin_host] health_interval_ms", {
            before.plugin_host.health_interval_ms == now.plugin_host.health_interval_ms
        }),
        ("[limits]", before.limits == now.limits),
    ];
    let changed = sections.iter().filter(|(_, is_same)| !is_same).map(|(section, _)| (*section).to_owned());
    let settings = now.plugins.iter().filter_map(|(name, now)| Some((name, before.plugins.get(name)?, now)));
    let of_plugins = settings.flat_map(|(name, before, now)| {
        let keys =
            [("required", before.required == now.required), ("ring_events", before.ring_events == now.ring_events)];
        keys.into_iter().filter(|(_, is_same)| !is_same).map(move |(key, _)| format!("plugins.{name}.{key}"))
    });
    changed.chain(of_plugins).collect()
}
