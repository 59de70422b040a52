//! Commands that talk to a running broker, over its admin socket.
//!
//! | module | what it does |
//! |---|---|
//! | [`call`] | one request, one answer, or why there is none |
//! | [`table`] | tables for people |
//! | [`time`] | times for people, lengths of time from them |
//! | [`clients`], [`deny`] | who is there, and who is kept out |
//! | [`events`] | what happens, as it happens |
//! | [`cluster`] | the other nodes |
//! | [`plugins`] | plugins, and what is reloaded |
//! | [`mod@explain`] | why a client may do something, or may not |

mod call;
pub(crate) mod clients;
pub(crate) mod cluster;
pub(crate) mod deny;
pub(crate) mod events;
mod explain;
pub(crate) mod plugins;
pub(crate) mod table;
pub(crate) mod time;

use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::Value;

pub(crate) use call::{Call, Failed};
pub(crate) use explain::explain;

/// A command's call, and how its answer is shown.
pub(crate) struct Ask {
    /// The broker's socket.
    pub(crate) socket: PathBuf,
    /// JSON, for programs.
    pub(crate) json: bool,
}

impl Ask {
    /// Makes the call, prints what is answered: as it is, or as `people` reads it.
    pub(crate) fn run(&self, call: &Call, people: impl FnOnce(&Value) -> String) -> ExitCode {
        match call.make(&self.socket) {
            Ok(answer) => self.print(&answer, people),
            Err(failed) => {
                eprintln!("gatemq: {failed}");
                ExitCode::from(failed.exit_code())
            }
        }
    }

    /// Fetches a listing page by page, until there are no more or so many rows were seen, and prints it. `parameters` ends with the
    /// page.
    pub(crate) fn run_pages(
        &self,
        path: &str,
        parameters: &[(&'static str, Option<String>)],
        rows_max: usize,
        people: impl FnOnce(&[Value]) -> String,
    ) -> ExitCode {
        let (mut rows, mut parameters) = (Vec::new(), parameters.to_vec());
        let more = loop {
            let mut answer = match Call::get(path, &parameters).make(&self.socket) {
                Ok(answer) => answer,
                Err(failed) => {
                    eprintln!("gatemq: {failed}");
                    return ExitCode::from(failed.exit_code());
                }
            };
            if let Some(page) = answer["rows"].as_array_mut() {
                rows.append(page);
            }
            let next = match &answer["next_page"] {
                Value::String(next) => Some(next.clone()),
                next => next.as_u64().filter(|next| *next != 0).map(|next| next.to_string()),
            };
            match (next, parameters.last_mut()) {
                (Some(next), Some((_, page))) if rows.len() < rows_max => *page = Some(next),
                (next, _) => break next.is_some() || rows.len() > rows_max,
            }
        };
        rows.truncate(rows_max);
        if more {
            eprintln!("gatemq: there are more; --rows shows more of them");
        }
        self.print(&Value::from(rows), |rows| people(rows.as_array().map_or(&[], Vec::as_slice)))
    }

    fn print(&self, answer: &Value, people: impl FnOnce(&Value) -> String) -> ExitCode {
        use std::io::Write;
        let text = if self.json { format!("{answer}\n") } else { people(answer) };
        match std::io::stdout().write_all(text.as_bytes()) {
            // A reader that has seen enough, such as `head`.
            Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => {
                eprintln!("gatemq: the answer cannot be printed: {e}");
                ExitCode::FAILURE
            }
            _ => ExitCode::SUCCESS,
        }
    }
}

/// Text of an answer that a peer may have chosen, for a terminal: control characters escaped.
pub(crate) fn shown(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.chars().flat_map(escaped).collect(),
        other => other.to_string(),
    }
}

/// Characters that a terminal acts on, or that hide where a text ends, are escaped.
fn escaped(c: char) -> impl Iterator<Item = char> {
    let (escape, plain) =
        match c.is_control() || ('\u{200e}'..='\u{202e}').contains(&c) || ('\u{2066}'..='\u{2069}').contains(&c) {
            true => (Some(c.escape_default()), None),
            false => (None, Some(c)),
        };
    escape.into_iter().flatten().chain(plain)
}
