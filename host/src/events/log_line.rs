//! An event as a log line: `event=ClientRefused listener=… …`, what peers said escaped.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::event::{Class, Fact, Peer, Value};

use crate::clock;

/// Lines a second about what peers do; the rest of that second is only counted, so that a flood cannot fill a disk.
const PEER_LINES_PER_S_MAX: u64 = 100;

/// Writes log lines.
#[derive(Default)]
pub(crate) struct LogLines {
    /// Second, and lines in it.
    second: AtomicU64,
    lines: AtomicU64,
}

impl LogLines {
    /// System events are logged at info, security at info within the bound, lifecycle at debug, traffic at trace.
    pub(crate) fn write(&self, peer: Option<&Peer>, fact: &Fact) {
        match fact.kind().class() {
            Class::System => tracing::info!(target: "gatemq::event", "{}", line(peer, fact)),
            Class::Security if tracing::enabled!(target: "gatemq::event", tracing::Level::INFO) => {
                if self.within_bound() {
                    tracing::info!(target: "gatemq::event", "{}", line(peer, fact));
                }
            }
            Class::Security => {}
            Class::Lifecycle => tracing::debug!(target: "gatemq::event", "{}", line(peer, fact)),
            Class::Traffic => tracing::trace!(target: "gatemq::event", "{}", line(peer, fact)),
        }
    }

    fn within_bound(&self) -> bool {
        let now = clock::now_ms() / 1000;
        if self.second.swap(now, Ordering::Relaxed) != now {
            let before = self.lines.swap(0, Ordering::Relaxed);
            if before > PEER_LINES_PER_S_MAX {
                let left_out = before - PEER_LINES_PER_S_MAX;
                tracing::warn!(target: "gatemq::event", left_out, "more events about peers than are logged in a second");
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < PEER_LINES_PER_S_MAX
    }
}

fn line(peer: Option<&Peer>, fact: &Fact) -> String {
    let mut line = fact.kind().name().to_owned();
    // Writing to a string does not fail.
    if let Some(p) = peer {
        let _ = write!(line, " listener={} remote={} connection={}", p.listener, p.remote, p.connection);
        for (name, text) in [("tenant", &p.tenant), ("user", &p.user), ("client_id", &p.client_id)] {
            if !text.is_empty() {
                let _ = write!(line, " {name}={text:?}");
            }
        }
    }
    fact.fields(&mut |name, value| {
        let _ = match value {
            Value::Number(n) => write!(line, " {name}={n}"),
            Value::Flag(flag) => write!(line, " {name}={flag}"),
            Value::Text("") => Ok(()),
            Value::Text(text) => write!(line, " {name}={text:?}"),
            Value::Chain([]) => Ok(()),
            Value::Chain(chain) => write!(line, " {name}={} certificates", chain.len()),
        };
    });
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the log against what peers say: control characters and line breaks are escaped.
    #[test]
    fn peers_cannot_write_log_lines() {
        let fact = Fact::SubscribeDenied { filter: "a\nERROR fake\u{1b}[2J".into(), code: 0x87, reason: "".into() };
        let line = line(None, &fact);
        assert_eq!(line, r#"SubscribeDenied filter="a\nERROR fake\u{1b}[2J" code=135"#);
    }
}
