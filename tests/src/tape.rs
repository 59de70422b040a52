//! Follows the events: `events-json` writes one JSON object a line, this reads them as they come.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;

use crate::{PATIENCE, wait_for};

/// The events of one broker, from its start on.
pub struct Tape {
    path: PathBuf,
    file: Option<File>,
    rest: Vec<u8>,
    events: Vec<Value>,
}

impl Tape {
    /// Follows `path`, which need not be there yet.
    pub fn new(path: PathBuf) -> Tape {
        Tape { path, file: None, rest: Vec::new(), events: Vec::new() }
    }

    /// All events up to now.
    ///
    /// # Panics
    /// On a line that is not JSON.
    pub fn events(&mut self) -> &[Value] {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        if let Some(file) = &mut self.file {
            file.read_to_end(&mut self.rest).expect("the events can be read");
        }
        // All whole lines at once: one by one each would move the rest of a long tape.
        let end = self.rest.iter().rposition(|b| *b == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        for line in lines.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            let event = serde_json::from_slice(line);
            self.events.push(event.unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(line))));
        }
        &self.events
    }

    /// The first event, old or new, that `is` says is the one.
    ///
    /// # Panics
    /// When there is none within [`PATIENCE`]; all events are shown.
    pub fn wait_for(&mut self, what: &str, is: impl Fn(&Value) -> bool) -> Value {
        self.find(PATIENCE, is).unwrap_or_else(|| {
            let kinds: Vec<String> = self.events.iter().map(ToString::to_string).collect();
            panic!("no event: {what}; there are:\n{}", kinds.join("\n"))
        })
    }

    /// The first event of this kind of this client.
    ///
    /// # Panics
    /// As [`Tape::wait_for`].
    pub fn wait_for_client(&mut self, kind: &str, client_id: &str) -> Value {
        let what = format!("{kind} of {client_id}");
        self.wait_for(&what, |e| e["event"] == kind && e["client_id"] == client_id)
    }

    /// As [`Tape::wait_for`], for as long as `patience`; `None` if there is none.
    pub fn find(&mut self, patience: Duration, is: impl Fn(&Value) -> bool) -> Option<Value> {
        let deadline = std::time::Instant::now() + patience;
        wait_for("the events", patience * 2, || match self.events().iter().find(|e| is(e)) {
            Some(event) => Some(Some(event.clone())),
            None if std::time::Instant::now() >= deadline => Some(None),
            None => None,
        })
    }
}
