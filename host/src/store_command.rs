//! `gatemq store`: looks into a store that no broker has open.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use gatemq_store::{Checked, Embedded, OpenError, Options, Stats, Store as _};
use serde_json::{Map, Value, json};

use crate::app::EXIT_UNAVAILABLE;
use crate::config::{Config, StoreKind};
use crate::durable;

/// Exit code: the store is damaged, or of a later version (sysexits: EX_DATAERR).
const EXIT_DAMAGED: u8 = 65;
/// Exit code: there is no store (EX_NOINPUT).
const EXIT_NO_STORE: u8 = 66;
/// Exit code: another process has it (EX_TEMPFAIL).
const EXIT_IN_USE: u8 = 75;

/// Looks at every file and every value, and prints what is there.
pub(crate) fn check(config: &Config, json: bool) -> ExitCode {
    with_store(config, |directory| match gatemq_store::check(directory) {
        Ok(Some(checked)) => print(&of_check(&checked), json),
        Ok(None) => none(directory),
        Err(e) => refused(&e),
    })
}

/// Prints counts.
pub(crate) fn stats(config: &Config, json: bool) -> ExitCode {
    with_store(config, |directory| {
        // Opening would make one where there is none.
        if !["database", "format", "commit.high"].iter().any(|name| directory.join(name).exists()) {
            return none(directory);
        }
        let store = match Embedded::open(&Options { check_tables: false, ..Options::new(directory) }) {
            Ok(store) => store,
            Err(e) => return refused(&e),
        };
        let stats = store.stats();
        match store.close() {
            Ok(()) => print(&of_stats(&stats), json),
            Err(e) => {
                eprintln!("gatemq: {}: {e}", directory.display());
                ExitCode::from(EXIT_UNAVAILABLE)
            }
        }
    })
}

fn with_store(config: &Config, run: impl FnOnce(&Path) -> ExitCode) -> ExitCode {
    match config.store.kind {
        StoreKind::Embedded => run(&durable::directory(config)),
        StoreKind::Memory => {
            eprintln!("gatemq: store.kind is memory: this broker keeps nothing on disk");
            ExitCode::from(EXIT_NO_STORE)
        }
    }
}

fn none(directory: &Path) -> ExitCode {
    let directory = directory.display();
    eprintln!("gatemq: {directory}: there is no store; the broker makes one when it starts. Is node.data_dir right?");
    ExitCode::from(EXIT_NO_STORE)
}

fn refused(error: &OpenError) -> ExitCode {
    let code = match error {
        OpenError::Locked { .. } => EXIT_IN_USE,
        OpenError::Damaged(_) | OpenError::Newer { .. } => EXIT_DAMAGED,
        OpenError::Io { .. } => EXIT_UNAVAILABLE,
    };
    eprintln!("gatemq: {error}; {}", durable::advice(error));
    ExitCode::from(code)
}

fn of_stats(stats: &Stats) -> Map<String, Value> {
    let counts = [
        ("commit", stats.commit),
        ("sessions", stats.sessions),
        ("ending_sessions", stats.ending_sessions),
        ("queued_messages", stats.messages),
        ("queued_bytes", stats.bytes),
        ("shared_messages", stats.shared_messages),
        ("journal_bytes", stats.journal_bytes),
        ("tables", stats.tables),
        ("table_bytes", stats.table_bytes),
    ];
    counts.into_iter().map(|(name, count)| (name.to_owned(), count.into())).collect()
}

fn of_check(checked: &Checked) -> Map<String, Value> {
    let mut all = of_stats(&checked.stats);
    let counts = [
        ("subscriptions", checked.subscriptions),
        ("retained_messages", checked.retained),
        ("denials", checked.denials),
        ("commit_high", checked.commit_high),
        ("torn_bytes", checked.torn_bytes),
    ];
    all.extend(counts.map(|(name, count)| (name.to_owned(), count.into())));
    let file = |file: &gatemq_store::CheckedFile| json!({"path": file.path.to_string_lossy(), "bytes": file.bytes});
    all.insert("files".into(), checked.files.iter().map(file).collect());
    all
}

fn print(found: &Map<String, Value>, json: bool) -> ExitCode {
    let text = if json { format!("{}\n", Value::from(found.clone())) } else { table(found) };
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("gatemq: what was found cannot be printed: {e}");
            ExitCode::FAILURE
        }
    }
}

fn table(found: &Map<String, Value>) -> String {
    let mut text = String::new();
    for (name, value) in found {
        // Writing into memory does not fail.
        let _ = match value {
            Value::Array(files) => files.iter().try_for_each(|file| {
                writeln!(text, "file  {} ({} bytes)", file["path"].as_str().unwrap_or_default(), file["bytes"])
            }),
            count => writeln!(text, "{:<18} {:>14}", name.replace('_', " "), count.to_string()),
        };
    }
    text
}
