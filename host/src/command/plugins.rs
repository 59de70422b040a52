//! `gatemq plugin list|reload`, `gatemq reload`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Ask, Call, shown, table};

/// Lists the plugins of a running broker.
pub(crate) fn list(ask: &Ask) -> ExitCode {
    ask.run_pages("/v1/plugins", &[("page", None)], usize::MAX, people)
}

fn people(rows: &[Value]) -> String {
    let row = |plugin: &Value| {
        let mut cells: Vec<_> = ["name", "roles", "version"].iter().map(|column| shown(&plugin[column])).collect();
        let why = plugin["why"].as_str().filter(|why| !why.is_empty());
        cells.push(shown(&plugin["health"]) + &why.map_or_else(String::new, |why| format!(": {}", shown(&why.into()))));
        let columns =
            ["breaker", "in_flight", "calls", "failures", "timeouts", "latency_us_p99", "generation", "copies"];
        cells.extend(columns.iter().map(|column| shown(&plugin[column])));
        cells
    };
    let headings = [
        "NAME",
        "ROLES",
        "VERSION",
        "HEALTH",
        "BREAKER",
        "IN FLIGHT",
        "CALLS",
        "FAILED",
        "TIMED OUT",
        "P99 US",
        "GENERATION",
        "COPIES",
    ];
    table::render(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// Reloads one plugin.
pub(crate) fn reload_one(ask: &Ask, name: &str) -> ExitCode {
    ask.run(&Call::post("/v1/reload", json!({ "plugin": name })), line)
}

fn line(plugin: &Value) -> String {
    let why = plugin["why"].as_str().map_or_else(String::new, |why| format!(": {}", shown(&why.into())));
    format!("{}: {}{why}\n", shown(&plugin["name"]), shown(&plugin["result"]))
}

/// Reloads the configuration and every plugin.
pub(crate) fn reload(ask: &Ask) -> ExitCode {
    ask.run(&Call::post("/v1/reload", json!({})), |answer| {
        let rows = |of: &str| answer[of].as_array().into_iter().flatten().map(line).collect::<String>();
        let mut text = rows("plugins") + &rows("listeners");
        let restart = answer["needs_restart"].as_array().map_or(&[][..], Vec::as_slice);
        text.extend(restart.iter().map(|key| format!("{}: changed, in effect from the next start on\n", shown(key))));
        text
    })
}
