//! Looks at libraries and their configurations, and starts nothing.

use std::time::Duration;

use gatemq_plugin_loader::{Info, Plugin};

use super::auth::{self, Names};
use super::find::{Found, find};
use super::load;
use super::start::{Problem, orders};
use crate::config::{Config, PluginHost};
use crate::events::Events;

/// How long a plugin may look at its configuration.
const CHECK_WAIT: Duration = Duration::from_secs(10);

/// Everything that would keep the node from starting, as far as it can be known without starting a plugin. `told` says what a
/// plugin finds wrong with its configuration: with the plugin's name, one line a problem.
pub(crate) async fn check(config: &Config, told: impl Fn(&str, &str) -> Vec<String>) -> Vec<Problem> {
    let events = Events::new(&config.node.name);
    let found = match find(config) {
        Ok(found) => found,
        Err(e) => return vec![Problem::Configuration(e)],
    };
    let (mut problems, mut loaded) = (Vec::new(), Vec::new());
    for found in &found {
        let (library, wrong) = look(found, &config.plugin_host, &events, &told).await;
        problems.extend(wrong);
        loaded.push((found, library));
    }
    let names = |is: &dyn Fn(&Found, Option<&Info>) -> bool| {
        let named = loaded.iter().filter(|(found, info)| is(found, info.as_ref()));
        named.map(|(found, _)| found.name.as_str()).collect()
    };
    let is_auth = |info: Option<&Info>| info.is_some_and(|info| info.auth);
    let names = Names {
        started: names(&|_, info| is_auth(info)),
        vetoes: names(&|found, info| is_auth(info) && found.settings.policy.veto),
        left_out: names(&|_, info| info.is_none()),
    };
    // Said already by what was refused.
    if names.left_out.is_empty() {
        problems.extend(auth::problems(&names, &orders(config), false).into_iter().map(Problem::Configuration));
    }
    problems
}

/// What a library is, and what is wrong with it or its configuration.
async fn look(
    found: &Found,
    host: &PluginHost,
    events: &Events,
    told: &impl Fn(&str, &str) -> Vec<String>,
) -> (Option<Info>, Vec<Problem>) {
    let plugin = Plugin::new(&found.name, found.settings.policy, |_, _| {});
    let library = match load::read(found, host, events) {
        Ok(file) => load::map(file, &plugin, found, events).await,
        Err(refused) => Err(refused),
    };
    let library = match library {
        Ok(library) => library,
        Err(refused) => return (None, vec![Problem::Plugin(refused)]),
    };
    let checked = library.check_config(found.settings.config_json.clone(), CHECK_WAIT).await;
    let wrong = checked.err().map_or_else(Vec::new, |failure| told(&found.name, &failure.to_string()));
    (Some(library.info().clone()), wrong.into_iter().map(Problem::Configuration).collect())
}
