//! `gatemq plugin try`: what a plugin says of a client, and what the broker would make of it.

use std::process::ExitCode;

use gatemq_plugin_loader::{Instance, LibraryFile, Session, Wanted};
use gatemq_types::{Action, ActionKind, AuthOutcome, Connect, Effect, Identity, QoS};
use serde_json::{Value, json};

use super::{Of, STOP_WAIT, answer, client, config, map, name_of, print, run, start};
use crate::api::explain::{Question, told};
use crate::app::EXIT_UNAVAILABLE;
use crate::cli::{TriedAction, TryArgs};
use crate::command::shown;
use crate::connection::bound_alone;

/// Exit code: the client is refused, or may not (sysexits: EX_NOPERM).
const EXIT_DENIED: u8 = 77;
/// Exit code: what was given cannot be used (EX_DATAERR).
const EXIT_DATA: u8 = 65;

/// Why there is no answer.
struct Failed(u8, String);

/// Tries it.
pub(crate) fn attempt(of: &Of, args: &TryArgs) -> ExitCode {
    run(async {
        match tried(of, args).await {
            Ok(report) => {
                print(of.json, &report, people);
                ExitCode::from(if report["allowed"] == true { 0 } else { EXIT_DENIED })
            }
            Err(Failed(code, why)) => {
                eprintln!("gatemq: {}", shown(&why.into()));
                ExitCode::from(code)
            }
        }
    })
}

async fn tried(of: &Of, args: &TryArgs) -> Result<Value, Failed> {
    let data = |why: String| Failed(EXIT_DATA, why);
    let plugin = |why: String| Failed(EXIT_UNAVAILABLE, why);
    let question = question(args).map_err(data)?;
    let (connect, note) = client::of(&args.client).map_err(data)?;
    let config = config(of.config_file.as_deref()).map_err(data)?;
    let file = LibraryFile::read(&of.file, &Wanted::default()).map_err(|refusal| plugin(refusal.to_string()))?;
    let library = map(file).await.map_err(|why| plugin(format!("{}: {why}", of.file.display())))?;
    if !library.info().auth {
        return Err(data(format!("{} is no auth provider: nobody asks it about clients", of.file.display())));
    }
    let instance = start(library, &name_of(&of.file), config).await.map_err(plugin)?;
    let mut report = asked(&instance, &connect, question.as_ref()).await;
    report["note"] = note.into();
    // It has answered; how it ends is `check`'s to tell.
    let _ = instance.stop(STOP_WAIT).await;
    Ok(report)
}

fn question(args: &TryArgs) -> Result<Option<Question>, String> {
    let qos = QoS::from_bits(args.message.qos).unwrap_or_default();
    match (args.action, &args.topic) {
        (TriedAction::Connect, None) => Ok(None),
        (TriedAction::Connect, Some(_)) => Err("connect takes no topic".into()),
        (_, None) => Err("say to which topic, or to which filter".into()),
        (TriedAction::Publish, Some(topic)) => {
            Ok(Some(Question::publish(topic, qos, args.message.retain, args.message.payload_bytes)))
        }
        (TriedAction::Subscribe, Some(filter)) => Ok(Some(Question::subscribe(filter, qos))),
    }
}

/// Asks about the client, and about what it wants when it is admitted.
async fn asked(instance: &Instance, connect: &Connect, question: Option<&Question>) -> Value {
    let outcome = match instance.authenticate(connect).await {
        Ok(outcome) => outcome,
        Err(failure) => return json!({ "failed": failure.to_string(), "allowed": false }),
    };
    let mut report = json!({ "connect": answer::outcome(&outcome), "allowed": false });
    let AuthOutcome::Accept(given) = outcome else { return report };
    let bound = match bound_alone(connect, &given) {
        Ok(bound) => bound,
        // What it has said cannot be used: fail closed, as the broker does.
        Err(why) => {
            report["refused"] = why.into();
            return report;
        }
    };
    let Some(question) = question else {
        report["allowed"] = true.into();
        return report;
    };
    match question.of(&bound) {
        Ok(explanation) => {
            report["action"] = told(&explanation, instance.name());
            report["allowed"] = match explanation.effect {
                Effect::Allow => true,
                Effect::Deny => false,
                Effect::Ask => {
                    report["answer"] = authorize(instance, connect, &given, question).await;
                    report["answer"]["verdict"] == "allow"
                }
            }
            .into();
        }
        Err(refusal) => report["refused"] = refusal.why().into(),
    }
    report
}

/// Where a grant says Ask.
async fn authorize(instance: &Instance, connect: &Connect, given: &Identity, question: &Question) -> Value {
    let client_id = Some(given.client_id.clone().unwrap_or_else(|| connect.client_id.clone()));
    let session = Session::new(connect, &Identity { client_id, ..given.clone() });
    match instance.authorize(&session, question.action()).await {
        Ok(verdict) => answer::verdict(&verdict),
        Err(failure) => json!({ "verdict": "none", "reason": failure.to_string() }),
    }
}

impl Question {
    /// As the plugin is asked.
    fn action(&self) -> Action {
        let (topic, share_group) = match self.topic.strip_prefix("$share/").and_then(|rest| rest.split_once('/')) {
            Some((group, filter)) if !self.is_publish() => (filter.to_owned(), Some(group.to_owned())),
            _ => (self.topic.clone(), None),
        };
        Action {
            kind: if self.is_publish() { ActionKind::Publish } else { ActionKind::Subscribe },
            topic,
            share_group,
            qos: QoS::from_bits(self.qos).unwrap_or_default(),
            retain: self.retain,
            payload_bytes: self.payload_bytes,
            options: self.qos,
            user_properties: Vec::new(),
        }
    }
}

fn people(report: &Value) -> String {
    let mut lines = Vec::new();
    if let Some(note) = report["note"].as_str() {
        lines.push(format!("note: {}", shown(&note.into())));
    }
    if let Some(why) = report["failed"].as_str() {
        lines.push(format!(
            "CONNECT: the plugin gives no answer: {}; the broker refuses the client",
            shown(&why.into())
        ));
    }
    let connect = &report["connect"];
    if connect.is_object() {
        let mut line = format!("CONNECT: {}", shown(&connect["outcome"]));
        for detail in ["code", "reason", "reason_string", "server"] {
            if !connect[detail].is_null() {
                line.push_str(&format!(", {detail} {}", shown(&connect[detail])));
            }
        }
        lines.push(line);
    }
    let identity = &connect["identity"];
    if identity.is_object() {
        lines.push(format!("  tenant {}, user {}", shown(&identity["tenant"]), shown(&identity["user"])));
        for grant in identity["grants"].as_array().map_or(&[][..], Vec::as_slice) {
            let actions = grant["actions"].as_array().map(|a| a.iter().map(shown).collect::<Vec<_>>().join(", "));
            let (number, effect, filter) = (shown(&grant["number"]), shown(&grant["effect"]), shown(&grant["filter"]));
            lines.push(format!("  grant {number}: {effect} {} {filter}", actions.unwrap_or_default()));
        }
        lines.push(format!("  what no grant matches: {}", shown(&identity["no_match"])));
        if identity["exclusive"] != "no" {
            lines.push(format!("  one connection of each: {}", shown(&identity["exclusive"])));
        }
    }
    let action = &report["action"];
    if action.is_object() {
        lines.push(format!("by its grants: {}: {}", shown(&action["verdict"]), shown(&action["because"])));
    }
    let answer = &report["answer"];
    if answer.is_object() {
        let why = answer["reason"].as_str().map_or_else(String::new, |why| format!(": {}", shown(&why.into())));
        lines.push(format!("asked, the plugin says: {}{why}", shown(&answer["verdict"])));
    }
    if let Some(why) = report["refused"].as_str() {
        lines.push(format!("the broker refuses it: {}", shown(&why.into())));
    }
    lines.push(if report["allowed"] == true { "allowed".into() } else { "denied".into() });
    lines.join("\n") + "\n"
}
