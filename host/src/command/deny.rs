//! `gatemq deny add|lift|list`.

use std::process::ExitCode;

use serde_json::{Value, json};

use super::{Ask, Call, shown, table, time};
use crate::app::EXIT_USAGE;
use crate::cli::{SubjectArgs, SubjectKind};

/// Lists every denial.
pub(crate) fn list(ask: &Ask) -> ExitCode {
    ask.run_pages("/v1/denials", &[("page", Some("0".to_owned()))], usize::MAX, people)
}

/// Raises one.
pub(crate) fn add(ask: &Ask, subject: &SubjectArgs, ttl_ms: u64, reason: &str) -> ExitCode {
    with(subject, |subject| {
        let body = json!({ "subject": subject, "ttl_ms": ttl_ms, "reason": reason });
        ask.run(&Call::post("/v1/denials", body), |answer| people(answer["rows"].as_array().map_or(&[], Vec::as_slice)))
    })
}

/// Lifts all that were raised for a subject.
pub(crate) fn lift(ask: &Ask, subject: &SubjectArgs) -> ExitCode {
    with(subject, |subject| {
        ask.run(&Call::post("/v1/denials/lift", json!({ "subject": subject })), |answer| {
            format!("lifted: {}\n", shown(&answer["count"]))
        })
    })
}

fn with(subject: &SubjectArgs, run: impl FnOnce(Value) -> ExitCode) -> ExitCode {
    match read(subject) {
        Ok(subject) => run(subject),
        Err(why) => {
            eprintln!("gatemq: {why}");
            ExitCode::from(EXIT_USAGE)
        }
    }
}

/// A subject as the API takes it.
fn read(subject: &SubjectArgs) -> Result<Value, String> {
    let SubjectArgs { kind, names } = subject;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    Ok(match (kind, &names[..]) {
        (SubjectKind::Address, [network]) => {
            let (address, bits) =
                network.split_once('/').map_or((*network, None), |(address, bits)| (address, Some(bits)));
            let bits = bits
                .map(str::parse::<u8>)
                .transpose()
                .map_err(|_| format!("{network}: its prefix is no number of bits"))?;
            json!({ "kind": "address", "address": address, "bits": bits })
        }
        (SubjectKind::Certificate, [sha256]) => json!({ "kind": "certificate", "sha256": sha256 }),
        (SubjectKind::Key, [sha256]) => json!({ "kind": "key", "sha256": sha256 }),
        (SubjectKind::Issuer, [sha256]) => json!({ "kind": "issuer", "sha256": sha256 }),
        (SubjectKind::User, [tenant, user]) => json!({ "kind": "user", "tenant": tenant, "user": user }),
        (SubjectKind::Client, [tenant, user, client_id]) => {
            json!({ "kind": "client", "tenant": tenant, "user": user, "client_id": client_id })
        }
        (kind, names) => return Err(format!("{} takes {}, not {} names", kind.name(), kind.takes(), names.len())),
    })
}

fn people(rows: &[Value]) -> String {
    let row = |denial: &Value| {
        vec![
            subject(&denial["subject"]),
            shown(&denial["action"]),
            time::shown(&denial["until_ms"]),
            shown(&denial["raised_by"]),
            shown(&denial["reason"]),
        ]
    };
    table::render(&["SUBJECT", "ACTION", "UNTIL", "RAISED BY", "REASON"], &rows.iter().map(row).collect::<Vec<_>>())
}

/// As the command line takes it.
fn subject(subject: &Value) -> String {
    let kind = shown(&subject["kind"]);
    let names = match &*kind {
        "address" => vec![format!("{}/{}", shown(&subject["address"]), shown(&subject["bits"]))],
        "user" => vec![shown(&subject["tenant"]), shown(&subject["user"])],
        "client" => vec![shown(&subject["tenant"]), shown(&subject["user"]), shown(&subject["client_id"])],
        _ => vec![shown(&subject["sha256"])],
    };
    format!("{kind} {}", names.join(" "))
}
