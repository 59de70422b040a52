//! An event as a log line: `event=ClientRefused listener=… …`, what peers said escaped.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_types::event::{Class, EventKind, Fact, Peer, Value};

use crate::clock;

/// Lines a second about what peers do, and as many each about calls that fail and about denials, which peers may cause; the rest of that second is
/// only counted, so that a flood cannot fill a disk.
const LINES_PER_S_MAX: u64 = 100;

/// Writes log lines.
#[derive(Default)]
pub(crate) struct LogLines {
    peers: Bound,
    calls: Bound,
    denials: Bound,
}

impl LogLines {
    /// System events are logged at info, calls that fail and security within the bound at info, lifecycle at debug, traffic
    /// at trace.
    pub(crate) fn write(&self, peer: Option<&Peer>, fact: &Fact) {
        match (fact.kind(), fact.kind().class()) {
            (
                EventKind::PluginCallFailed
                | EventKind::PluginCallTimedOut
                | EventKind::PluginPanicked
                | EventKind::PluginFenced,
                _,
            ) => self.calls.write("more calls failed than are logged in a second", peer, fact),
            (EventKind::DenialAdded | EventKind::DenialLifted | EventKind::DenialExpired, _) => {
                self.denials.write("more denials come and go than are logged in a second", peer, fact);
            }
            (_, Class::Security) => self.peers.write("more events about peers than are logged in a second", peer, fact),
            (_, Class::System) => tracing::info!(target: "gatemq::event", "{}", line(peer, fact)),
            (_, Class::Lifecycle) => tracing::debug!(target: "gatemq::event", "{}", line(peer, fact)),
            (_, Class::Traffic) => tracing::trace!(target: "gatemq::event", "{}", line(peer, fact)),
        }
    }
}

/// At most [`LINES_PER_S_MAX`] lines at info.
#[derive(Default)]
struct Bound {
    /// Second, and lines in it.
    second: AtomicU64,
    lines: AtomicU64,
}

impl Bound {
    fn write(&self, left_out: &str, peer: Option<&Peer>, fact: &Fact) {
        if tracing::enabled!(target: "gatemq::event", tracing::Level::INFO)
            && self.allows(left_out, clock::now_ms() / 1000)
        {
            tracing::info!(target: "gatemq::event", "{}", line(peer, fact));
        }
    }

    fn allows(&self, why: &str, second: u64) -> bool {
        if self.second.swap(second, Ordering::Relaxed) != second {
            let before = self.lines.swap(0, Ordering::Relaxed);
            if before > LINES_PER_S_MAX {
                let left_out = before - LINES_PER_S_MAX;
                tracing::warn!(target: "gatemq::event", left_out, "{why}");
            }
        }
        self.lines.fetch_add(1, Ordering::Relaxed) < LINES_PER_S_MAX
    }
}

fn line(peer: Option<&Peer>, fact: &Fact) -> String {
    let mut line = fact.kind().name().to_owned();
    // Writing to a string does not fail.
    if let Some(p) = peer {
        if !p.is_away() {
            let _ = write!(line, " listener={} remote={}", p.listener, p.remote);
            if p.connection != 0 {
                let _ = write!(line, " connection={}", p.connection);
            }
        }
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

    /// Guards the disk: what strangers do, and the calls that they make fail, is bounded, each for itself.
    #[test]
    fn a_flood_is_bounded() {
        let log = LogLines::default();
        let allowed = |bound: &Bound, second| (0..10_000).filter(|_| bound.allows("", second)).count() as u64;
        assert_eq!(allowed(&log.calls, 1), LINES_PER_S_MAX);
        assert_eq!((allowed(&log.calls, 1), allowed(&log.calls, 2)), (0, LINES_PER_S_MAX));
        let panicked = Fact::PluginPanicked { plugin: "p".into(), method: "m".into(), message: "x".into() };
        for fact in [panicked, Fact::ConnectionRefused { reason: "connections_max".into() }] {
            log.write(None, &fact);
        }
    }
}
