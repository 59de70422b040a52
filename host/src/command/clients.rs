//! `gatemq clients`, `gatemq kick`.

use std::fmt::Write as _;
use std::process::ExitCode;

use serde_json::{Map, Value, json};

use super::{Ask, Call, shown, table, time};
use crate::app::EXIT_USAGE;
use crate::cli::WhichArgs;

/// Pages are fetched until there are no more, or so many rows were seen.
pub(crate) fn list(ask: &Ask, which: &WhichArgs, rows_max: usize) -> ExitCode {
    let mut parameters: Vec<_> = given(which).into_iter().map(|(name, value)| (name, Some(plain(&value)))).collect();
    parameters.push(("page", Some("0".to_owned())));
    ask.run_pages("/v1/clients", &parameters, rows_max, people)
}

/// Sessions whose clients are away, in the order in which they expire. What only a connection has names none of them.
pub(crate) fn list_away(ask: &Ask, which: &WhichArgs, rows_max: usize) -> ExitCode {
    if which.connection.is_some() || which.tag.is_some() || which.certificate.is_some() {
        eprintln!("gatemq: who is away has no connection: --away goes with --tenant, --user and --client-id");
        return ExitCode::from(EXIT_USAGE);
    }
    let mut parameters: Vec<_> = given(which).into_iter().map(|(name, value)| (name, Some(plain(&value)))).collect();
    parameters.push(("page", Some("0".to_owned())));
    ask.run_pages("/v1/sessions/away", &parameters, rows_max, away)
}

fn away(rows: &[Value]) -> String {
    let row = |session: &Value| {
        let columns = ["tenant", "user", "client_id", "protocol", "subscriptions", "waiting", "dropped"];
        let mut cells: Vec<_> = columns.iter().map(|column| shown(&session[column])).collect();
        cells.push(time::shown(&session["expires_ms"]));
        cells
    };
    let headings = ["TENANT", "USER", "CLIENT ID", "MQTT", "SUBSCRIPTIONS", "WAITING", "DROPPED", "EXPIRES"];
    table::render(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}

/// Disconnects whoever is meant.
pub(crate) fn kick(ask: &Ask, which: &WhichArgs, reason: &str) -> ExitCode {
    let clients: Map<String, Value> = given(which).into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    ask.run(&Call::post("/v1/clients/kick", json!({ "clients": clients, "reason": reason })), |answer| {
        let mut text = format!("disconnected: {}\n", shown(&answer["count"]));
        for row in answer["rows"].as_array().into_iter().flatten() {
            let _ = writeln!(text, "not reached: {}", shown(&row["node"]));
        }
        text
    })
}

fn given(which: &WhichArgs) -> Vec<(&'static str, Value)> {
    let WhichArgs { tenant, user, client_id, connection, tag, certificate } = which;
    let text = |value: &Option<String>| value.clone().map(Value::from);
    let all = [
        ("tenant", text(tenant)),
        ("user", text(user)),
        ("client_id", text(client_id)),
        ("connection", connection.map(Value::from)),
        ("tag", text(tag)),
        ("leaf_sha256", text(certificate)),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// As a parameter.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned)
}

fn people(rows: &[Value]) -> String {
    let row = |client: &Value| {
        let columns = ["connection", "tenant", "user", "client_id", "remote", "listener", "protocol"];
        let mut cells: Vec<_> = columns.iter().map(|column| shown(&client[column])).collect();
        cells.push(time::shown(&client["connected_ms"]));
        cells
    };
    let headings = ["CONNECTION", "TENANT", "USER", "CLIENT ID", "REMOTE", "LISTENER", "MQTT", "CONNECTED"];
    table::render(&headings, &rows.iter().map(row).collect::<Vec<_>>())
}
