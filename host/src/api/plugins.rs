//! Plugins as they are, and their reload.

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{ConnectInfo, State};
use gatemq_plugin_loader::{Health, PluginStatus};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Api;
use super::caller::Caller;
use super::desk::tell;
use super::routes::{Answer, Refusal};
use crate::listeners::Turned;
use crate::plugins::Reloaded;

/// Lists them.
pub(super) async fn list(State(api): State<Api>) -> Answer {
    let rows: Vec<Value> = api.reload.plugins.status().iter().map(row).collect();
    Ok(Json(json!({ "count": rows.len(), "rows": rows, "next_page": 0 })))
}

fn row(status: &PluginStatus) -> Value {
    let (health, why) = match &status.health {
        Health::Ready => ("ready", ""),
        Health::Degraded(why) => ("degraded", why.as_str()),
        Health::NotReady(why) => ("not ready", why.as_str()),
    };
    let library = status.library.as_ref();
    let counts = &status.counts;
    json!({
        "name": status.name,
        "file": library.map(|info| info.file.display().to_string()),
        "sha256": library.map(|info| info.sha256.to_string()),
        "roles": library.map(gatemq_plugin_loader::Info::roles),
        "version": library.map(|info| &info.version),
        "api_version": library.map(|info| &info.api_version),
        "veto": status.veto,
        "health": health,
        "why": why,
        "breaker": status.breakers[0].name(),
        "breaker_of_admitted": status.breakers[1].name(),
        "in_flight": status.in_flight,
        "calls": counts.calls,
        "failures": counts.failures,
        "timeouts": counts.timeouts,
        "refused": counts.refused,
        "latency_us_p50": counts.latency_us_p50,
        "latency_us_p99": counts.latency_us_p99,
        "latency_us_max": counts.latency_us_max,
        "generation": status.generation,
        "copies": status.copies,
    })
}

/// What to reload.
#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields, default)]
pub(super) struct What {
    /// This plugin alone.
    plugin: Option<String>,
}

/// Reloads the configuration, or one plugin.
pub(super) async fn reload(
    State(api): State<Api>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    body: Result<Json<What>, JsonRejection>,
) -> Answer {
    let Json(What { plugin }) = body?;
    let action = plugin.as_ref().map_or_else(|| "reload".to_owned(), |name| format!("plugin reload {name:?}"));
    tell(&api, &caller, action);
    let only = plugin.as_deref();
    let reloads = api.reload.reload(only).await.map_err(|problems| Refusal::conflict(problems.join("\n")))?;
    match only {
        Some(only) if reloads.plugins.is_empty() => Err(Refusal::not_found(format!("there is no plugin {only:?}"))),
        Some(_) => match reloads.plugins.into_iter().next() {
            Some((_, Err(why))) => Err(Refusal::conflict(why)),
            Some((name, Ok(reloaded))) => Ok(Json(told(&name, &Ok(reloaded)))),
            None => Ok(Json(Value::Null)),
        },
        None => {
            let plugins: Vec<Value> = reloads.plugins.iter().map(|(name, reloaded)| told(name, reloaded)).collect();
            let listeners: Vec<Value> = reloads.listeners.iter().map(|(name, turned)| turn(name, turned)).collect();
            Ok(Json(json!({ "needs_restart": reloads.restart, "plugins": plugins, "listeners": listeners })))
        }
    }
}

fn turn(name: &str, turned: &Result<Turned, String>) -> Value {
    match turned {
        Ok(turned) => json!({ "name": name, "result": turned.name() }),
        Err(why) => json!({ "name": name, "result": "refused", "why": why }),
    }
}

fn told(name: &str, reloaded: &Result<Reloaded, String>) -> Value {
    match reloaded {
        Ok(Reloaded::Started) => json!({ "name": name, "result": "started" }),
        Ok(Reloaded::Stopped) => json!({ "name": name, "result": "stopped" }),
        Ok(Reloaded::Unchanged) => json!({ "name": name, "result": "unchanged" }),
        Ok(Reloaded::Reconfigured) => json!({ "name": name, "result": "reconfigured" }),
        Ok(Reloaded::Replaced { generation }) => {
            json!({ "name": name, "result": "replaced", "generation": generation })
        }
        Err(why) => json!({ "name": name, "result": "refused", "why": why }),
    }
}
