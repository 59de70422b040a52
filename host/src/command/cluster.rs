//! `gatemq cluster status`.

use std::process::ExitCode;

use serde_json::Value;

use super::{Ask, Call, shown, table, time};

/// Shows the cluster as a running broker sees it.
pub(crate) fn status(ask: &Ask) -> ExitCode {
    ask.run(&Call::get("/v1/cluster", &[]), people)
}

fn people(status: &Value) -> String {
    let lacks = status["lacks"].as_str().map_or_else(|| "ready".to_owned(), |lacks| format!("not ready: {lacks}"));
    let mut text = format!("{}/{}: this node is {lacks}\n", shown(&status["environment"]), shown(&status["cluster"]));
    let rows = status["rows"].as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return text + "no other node has been a member since it started\n";
    }
    let row = |member: &Value| {
        let since = time::shown(&member["since_ms"]);
        let [name, state, version, address, dropped] =
            ["name", "state", "version", "address", "dropped"].map(|column| shown(&member[column]));
        vec![name, state, since, version, address, dropped]
    };
    let headings = ["NODE", "STATE", "SINCE", "VERSION", "ADDRESS", "DROPPED"];
    text += &table::render(&headings, &rows.iter().map(row).collect::<Vec<_>>());
    text
}
