//! `cargo xtask docs`: reference pages that are made of the code's own tables. `packaging/doc/events.md` is one; a test fails when it
//! is not of now.

use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

use gatemq_plugin_testkit::{TestHost, connect_as, events};
use gatemq_tests::artifacts::Artifacts;
use gatemq_tests::workspace;
use gatemq_types::event::{Class, Event, EventKind, Fact, Filling};
use serde_json::json;

const HEAD: &str = "\
<!-- Written by `cargo xtask docs` from plugin-api/types/src/event/table.rs. Change that. -->
# Events

What a node tells collectors, its log, and its counters. Each kind has a number that is never used for another one. The *class* is
what collectors choose by; the *ring* is where an event waits for a collector that is busy (a full ring drops its oldest and says so:
`EventsLost`); *blame* is whose doing it was, where a field `blame` does not say otherwise.

Every event has a sequence, a time and the node's name. What is known of the client comes with it: `connection`, `listener`,
`transport`, `remote`, `tenant`, `user`, `client_id`, `protocol`, `leaf_sha256`; what is not known is left out. Before a client is
admitted its client identifier is only claimed.

Each event is counted under its own name; when a node ends it logs the counts (`gatemq::total`, `event=\"ClientRefused\" n=12`). In
the log an event is its name, the client, and the fields: class system and security at level info, up to 100 lines a second of
security, lifecycle at debug, traffic at trace. Of what one address, or one admitted client, causes more than 100 times a second the
rest is counted and told in one `EventsCoalesced`.

The lines of JSON are those of the plugin `events-json`, with `…` for text and 7 for numbers; chains are SHA-256 of certificates.

";

/// Writes the pages.
pub(crate) fn run() -> ExitCode {
    let (file, page) = (events_file(), events_page());
    fs::create_dir_all(file.parent().unwrap_or(&file)).expect("packaging/doc");
    fs::write(&file, page).expect("the page is written");
    println!("{}", file.display());
    ExitCode::SUCCESS
}

fn events_file() -> PathBuf {
    workspace().join("packaging/doc/events.md")
}

/// The page, in the order of the numbers.
fn events_page() -> String {
    let mut kinds = EventKind::ALL.to_vec();
    kinds.sort_by_key(|kind| kind.number());
    let lines = lines(&kinds);
    let mut page = HEAD.to_owned();
    // Writing to a string does not fail.
    let _ = writeln!(page, "| number | event | class | ring | blame |\n|---|---|---|---|---|");
    for kind in &kinds {
        let (name, class) = (kind.name(), kind.class());
        let (link, ring, blame) = (name.to_lowercase(), class.ring().name(), kind.blame().name());
        let _ = writeln!(page, "| {} | [{name}](#{link}) | {} | {ring} | {blame} |", kind.number(), class.name());
    }
    for (kind, line) in kinds.iter().zip(lines) {
        let _ = write!(page, "\n## {}\n\n{}", kind.name(), unindented(kind.meaning()));
        if !kind.fields().is_empty() {
            page.push_str("\n| field | type | meaning |\n|---|---|---|\n");
        }
        for (field, kind, meaning) in kind.fields() {
            let kind = match *kind {
                "Text" => "text",
                "u64" => "number",
                "bool" => "yes or no",
                _ => "certificates",
            };
            let _ = writeln!(page, "| `{field}` | {kind} | {} |", unindented(meaning).trim().replace('\n', " "));
        }
        let _ = writeln!(page, "\n```json\n{line}\n```");
    }
    page
}

/// Documentation as it is written, without the blank after `///`.
fn unindented(text: &str) -> String {
    text.lines().map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

/// What the real library writes for one of each kind. Those of class system are about no client.
fn lines(kinds: &[EventKind]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("events.json");
    let host = TestHost::new(Artifacts::get().plugin("events-json"));
    let plugin = host.start(json!({ "file": file })).expect("events-json starts");
    let connect = connect_as("sensor-1", "ada", "");
    let filling = Filling { text: "…".into(), number: 7, flag: true, chain: Vec::new() };
    let told = |(sequence, kind): (u64, &EventKind)| {
        let mut event = events::event(sequence, &connect, Fact::filled(*kind, &filling));
        event.peer = event.peer.filter(|_| kind.class() != Class::System);
        event
    };
    let batch: Vec<Event> = (1..).zip(kinds).map(told).collect();
    plugin.collect(&batch).expect("the events are taken");
    plugin.stop().expect("events-json stops");
    let text = fs::read_to_string(file).expect("lines");
    assert_eq!(text.lines().count(), kinds.len());
    text.lines().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the page: it says what the table and the library say.
    #[test]
    fn the_page_is_of_now() {
        let file = events_file();
        let written = fs::read_to_string(&file).unwrap_or_default();
        assert!(written == events_page(), "{} is not of now: run `cargo xtask docs`", file.display());
    }
}
