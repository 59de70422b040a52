//! Event collector that writes JSON lines: one object an event, one write a batch, rotated by size.
//!
//! ```toml
//! [plugins.log.config]
//! file = "/var/log/gatemq/events.json"  # "-" is standard output
//! rotate_bytes = 67108864               # 0: never
//! keep_files = 5                        # events.json.1 (newest) to events.json.5
//! classes = ["security", "lifecycle", "system"]
//! kinds = ["MessageDropped"]            # besides the classes
//! tenants = []                          # only clients of these; none: all
//! chain = "sha256"                      # or "none", "pem": how certificates are written
//! ```
//!
//! A line has `time`, `time_ms`, `node`, `sequence`, `event`, `number`, `class`, `blame`, then, where they are known,
//! `connection`, `listener`, `transport`, `remote`, `tenant`, `user`, `client_id`, `protocol`, `leaf_sha256`, and `fields`.
//! A disk that is full costs events, which are counted, and nothing else.

mod config;
mod file;
mod line;
mod output;
mod platform;
mod rfc3339;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use gatemq_plugin_api::prelude::*;

use crate::config::{ChainForm, Config};
use crate::output::Output;

struct EventsJson {
    host: Host,
    interest: Interest,
    state: Mutex<State>,
}

struct State {
    chain: ChainForm,
    output: Output,
    /// Lines of one batch; kept for its memory.
    lines: Vec<u8>,
}

impl EventsJson {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plugin for EventsJson {
    type Config = Config;

    fn start(config: Config, host: Host) -> Result<Self, StartError> {
        let interest = config.interest()?;
        let output = Output::open(&config, Instant::now())?;
        Ok(EventsJson { host, interest, state: Mutex::new(State { chain: config.chain, output, lines: Vec::new() }) })
    }

    fn reconfigure(&self, config: Config) -> Result<(), ReconfigureError> {
        if config.interest()? != self.interest {
            return Err(ReconfigureError::LoadAgain("classes, kinds and tenants are asked for once".into()));
        }
        let output = Output::open(&config, Instant::now())?;
        let mut state = self.lock();
        state.chain = config.chain;
        state.output = output;
        Ok(())
    }

    fn health(&self) -> Health {
        self.lock().output.trouble().map_or(Health::Ready, Health::Degraded)
    }

    fn stop(&self, _: Duration) {
        let mut state = self.lock();
        if let Err(e) = state.output.flush() {
            gatemq_plugin_api::tracing::warn!("{e}");
        }
    }
}

impl EventCollector for EventsJson {
    fn interest(&self) -> Interest {
        self.interest.clone()
    }

    fn collect(&self, batch: &[Event<'_>]) {
        let mut state = self.lock();
        let State { chain, output, lines } = &mut *state;
        lines.clear();
        for event in batch {
            line::append(lines, event, *chain);
        }
        let events = batch.len() as u64;
        let written = output.write(lines, events, Instant::now());
        drop(state);
        self.host.count(if written.lost { "events_lost" } else { "events_written" }, events);
        if let Some(complaint) = written.complaint {
            gatemq_plugin_api::tracing::error!("{complaint}");
        }
    }
}

gatemq_plugin_api::export_plugin!(EventsJson: events);
