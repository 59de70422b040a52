//! `gatemq cluster status|forbid|allow|key`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Ask, Call, shown, table, time};
use crate::app::EXIT_USAGE;

/// Shows the cluster as a running broker sees it.
pub(crate) fn status(ask: &Ask) -> ExitCode {
    ask.run(&Call::get("/v1/cluster", &[]), people)
}

fn people(status: &Value) -> String {
    let lacks = status["lacks"].as_str().map_or_else(|| "ready".to_owned(), |lacks| format!("not ready: {lacks}"));
    let mut text = format!("{}/{}: this node is {lacks}\n", shown(&status["environment"]), shown(&status["cluster"]));
    let array = |of: &str| status[of].as_array().cloned().unwrap_or_default();
    let times = |row: &Value| format!("{} {} {}", shown(&row["side"]), shown(&row["code"]), shown(&row["count"]));
    let refusals: Vec<String> = array("refusals").iter().map(times).collect();
    if !refusals.is_empty() {
        text += &format!("refused: {}\n", refusals.join(", "));
    }
    let rows = array("rows");
    if rows.is_empty() {
        return text + "no other node has been a member since it started\n";
    }
    let row = |member: &Value| {
        let since = time::shown(&member["since_ms"]);
        let [name, state, version, protocol, address, dropped] =
            ["name", "state", "version", "protocol", "address", "dropped"].map(|column| shown(&member[column]));
        vec![name, state, since, version, protocol, address, dropped]
    };
    let headings = ["NODE", "STATE", "SINCE", "VERSION", "PROTOCOL", "ADDRESS", "DROPPED"];
    text += &table::render(&headings, &rows.iter().map(row).collect::<Vec<_>>());
    text
}

/// Forbids a node, or allows it again.
pub(crate) fn forbid(ask: &Ask, node: &str, forbidden: bool) -> ExitCode {
    let body = json!({ "node": node, "forbidden": forbidden });
    ask.run(&Call::post("/v1/cluster/forbid", body), |answer| {
        let what = if forbidden { "forbidden on every node" } else { "may join again" };
        format!("{}: {what}\n", shown(&answer["node"]))
    })
}

/// Shows the keys of gossip.
pub(crate) fn keys(ask: &Ask) -> ExitCode {
    ask.run(&Call::get("/v1/cluster/keys", &[]), lines)
}

/// Adds the key of the secret that is the first line of standard input.
pub(crate) fn add_key(ask: &Ask) -> ExitCode {
    let mut secret = String::new();
    if let Err(e) = std::io::stdin().read_line(&mut secret) {
        eprintln!("gatemq: the secret cannot be read from standard input: {e}");
        return ExitCode::from(EXIT_USAGE);
    }
    change_key(ask, json!({ "action": "add", "secret": secret.trim() }))
}

/// Uses a key, or removes it.
pub(crate) fn change_key(ask: &Ask, body: Value) -> ExitCode {
    ask.run(&Call::post("/v1/cluster/keys", body), lines)
}

fn lines(answer: &Value) -> String {
    let keys = answer["keys"].as_array().map_or(&[][..], Vec::as_slice);
    let line = |(at, key): (usize, &Value)| format!("{}{}\n", shown(key), if at == 0 { "  in use" } else { "" });
    keys.iter().enumerate().map(line).collect()
}
