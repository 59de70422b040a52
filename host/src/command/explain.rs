//! `gatemq explain`.

use std::process::ExitCode;

use serde_json::Value;

use super::{Ask, Call, shown};
use crate::cli::ExplainArgs;

/// Asks why a client may do something, or may not.
pub(crate) fn explain(ask: &Ask, args: &ExplainArgs) -> ExitCode {
    let parameters = [
        ("tenant", Some(args.tenant.clone())),
        ("user", Some(args.user.clone())),
        ("client_id", Some(args.client_id.clone())),
        ("action", Some(args.action.name().to_owned())),
        ("topic", Some(args.topic.clone())),
        ("qos", Some(args.message.qos.to_string())),
        ("retain", Some(args.message.retain.to_string())),
        ("payload_bytes", Some(args.message.payload_bytes.to_string())),
    ];
    ask.run(&Call::get("/v1/explain", &parameters), people)
}

fn people(answer: &Value) -> String {
    let mut text = format!("{}: {}\n", shown(&answer["verdict"]), shown(&answer["because"]));
    let grant = &answer["grant"];
    if grant.is_object() {
        let actions = grant["actions"].as_array().map(|a| a.iter().map(shown).collect::<Vec<_>>().join(", "));
        let (number, effect, filter) = (shown(&grant["number"]), shown(&grant["effect"]), shown(&grant["filter"]));
        text.push_str(&format!("grant {number}: {effect} {} {filter}\n", actions.unwrap_or_default()));
    }
    match answer["verdict"] == "ask" {
        true => text.push_str(&format!("asked is the provider {}\n", shown(&answer["provider"]))),
        false => text.push_str(&format!("identity and grants came from the provider {}\n", shown(&answer["provider"]))),
    }
    text
}
