//! Everything that happens goes through [`Events::emit`]: one counter, one log line, one push for each collector that wants
//! it. Emitting never waits. What one address causes too often is counted, and told once a second ([`coalesce`]).

mod coalesce;
mod collector;
mod log_line;
mod ring;
mod tail;

pub(crate) use collector::Collector;
pub(crate) use tail::{Reader, Told};

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use gatemq_broker::denials::{Recent, of_address};
use gatemq_types::event::{Class, Event, EventKind, Fact, Peer};

use parking_lot::Mutex;

use crate::clock;
use coalesce::{Coalesced, Coalescer, Taken};
use log_line::LogLines;
use tail::Tail;

/// Events before there are collectors; a start makes a few for each plugin.
const EARLY_MAX: usize = 1024;

/// The node's events.
pub(crate) struct Events {
    node: Arc<str>,
    sequence: AtomicU64,
    counts: Vec<AtomicU64>,
    /// `None`: not yet. Read for each event, hardly ever written.
    collectors: ArcSwapOption<Vec<Arc<Collector>>>,
    /// What happened before there were collectors (plugins loaded, and refused): they get it when they come.
    early: Mutex<Vec<Arc<Event>>>,
    /// Bits of classes that some collector wants. Read for each message, hardly ever written.
    classes: AtomicU32,
    log: LogLines,
    coalescer: Coalescer,
    /// Those who follow events, and the latest.
    tail: Tail,
    /// One looks at what is wanted at a time.
    looking: Mutex<()>,
    /// Addresses that failed before they authenticated.
    failed: Recent,
}

impl Events {
    /// For a node of that name.
    pub(crate) fn new(node: &str) -> Arc<Self> {
        Arc::new(Events {
            node: node.into(),
            sequence: AtomicU64::new(0),
            counts: EventKind::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            collectors: ArcSwapOption::empty(),
            early: Mutex::default(),
            classes: AtomicU32::new(0),
            log: LogLines::default(),
            coalescer: Coalescer::default(),
            tail: Tail::default(),
            looking: Mutex::default(),
            failed: Recent::default(),
        })
    }

    /// Sets the first collectors, before clients come: they get what happened before them.
    pub(crate) fn set_collectors(&self, collectors: Vec<Arc<Collector>>) {
        let mut early = self.early.lock();
        for event in early.drain(..) {
            collectors.iter().filter(|c| c.wants(event.kind(), "")).for_each(|c| c.push(event.clone()));
        }
        self.collectors.store(Some(Arc::new(collectors)));
        drop(early);
        self.interests_changed();
    }

    /// From now on these are the collectors.
    pub(crate) fn replace_collectors(&self, collectors: Vec<Arc<Collector>>) {
        self.collectors.store(Some(Arc::new(collectors)));
        self.interests_changed();
    }

    /// Looks again what collectors and readers want.
    pub(crate) fn interests_changed(&self) {
        let _looking = self.looking.lock();
        let classes = self.collectors().iter().fold(self.tail.classes(), |bits, c| bits | c.classes());
        self.classes.store(classes, Ordering::Relaxed);
    }

    /// Name of the node.
    pub(crate) fn node(&self) -> &str {
        &self.node
    }

    /// The collectors.
    pub(crate) fn collectors(&self) -> Arc<Vec<Arc<Collector>>> {
        self.collectors.load_full().unwrap_or_default()
    }

    /// Whether events of class traffic are wanted. Ask before making one.
    #[inline]
    pub(crate) fn traffic_wanted(&self) -> bool {
        self.classes.load(Ordering::Relaxed) & Class::Traffic as u32 != 0
    }

    /// Whether somebody at this address failed in the last hour before authenticating: what an address may be denied for.
    pub(crate) fn failed_lately(&self, ip: IpAddr, now_ms: u64) -> bool {
        self.failed.holds(&of_address(ip), now_ms)
    }

    /// Something happened, to `peer` if it was about a connection.
    pub(crate) fn emit(&self, peer: Option<&Arc<Peer>>, fact: Fact) {
        let now_ms = clock::now_ms();
        self.count(fact.kind());
        let mut logged = true;
        if let Some(peer) = peer.filter(|peer| fact.kind().class() == Class::Security && !peer.is_away()) {
            if is_failure_before_authentication(peer, &fact) {
                self.failed.note(&of_address(peer.remote.ip()), now_ms);
            }
            let (taken, over) = self.coalescer.take(peer, &fact, now_ms / 1000);
            over.into_iter().for_each(|coalesced| self.tell_coalesced(&coalesced, now_ms));
            match taken {
                Taken::Counted => return,
                Taken::Told { logged: in_log } => logged = in_log,
            }
        }
        if logged {
            self.log.write(peer.map(|p| &**p), &fact);
        }
        self.hand_out(peer, fact, None, now_ms);
    }

    /// Tells what was counted in seconds that are over. To be called more often than once a second, and with `u64::MAX` at the end.
    pub(crate) fn look(&self, now_ms: u64) {
        self.coalescer.over(now_ms / 1000).iter().for_each(|coalesced| self.tell_coalesced(coalesced, clock::now_ms()));
    }

    fn tell_coalesced(&self, coalesced: &Coalesced, now_ms: u64) {
        let fact = coalesced.fact();
        self.count(fact.kind());
        self.log.write(Some(&coalesced.peer), &fact);
        self.hand_out(Some(&coalesced.peer), fact, Some(coalesced.kind), now_ms);
    }

    fn count(&self, kind: EventKind) {
        if let Some(at) = EventKind::ALL.iter().position(|k| *k == kind) {
            self.counts[at].fetch_add(1, Ordering::Relaxed);
        }
    }

    /// To each collector that wants it, or what it stands for.
    fn hand_out(&self, peer: Option<&Arc<Peer>>, fact: Fact, stands_for: Option<EventKind>, now_ms: u64) {
        let collectors: Guard<_> = self.collectors.load();
        let is_followed = self.tail.classes() & fact.kind().class() as u32 != 0;
        let Some(collectors) = &*collectors else {
            let event = Arc::new(self.event(peer.cloned(), fact, now_ms));
            let mut early = self.early.lock();
            if early.len() < EARLY_MAX {
                early.push(event.clone());
            }
            drop(early);
            if is_followed {
                self.tail.push(event);
            }
            return;
        };
        let (kind, tenant) = (fact.kind(), peer.map_or("", |p| &*p.tenant));
        let wants = |c: &&Arc<Collector>| c.wants(kind, tenant) || stands_for.is_some_and(|kind| c.wants(kind, tenant));
        let mut wanted = collectors.iter().filter(wants).peekable();
        if wanted.peek().is_none() && !is_followed {
            return;
        }
        let event = Arc::new(self.event(peer.cloned(), fact, now_ms));
        wanted.for_each(|collector| collector.push(event.clone()));
        if is_followed {
            self.tail.push(event);
        }
    }

    fn event(&self, peer: Option<Arc<Peer>>, fact: Fact, now_ms: u64) -> Event {
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        Event { sequence, time_ms: now_ms, node: self.node.clone(), peer, fact }
    }

    /// How many events of each kind there were, those that happened at all.
    pub(crate) fn counts(&self) -> impl Iterator<Item = (EventKind, u64)> {
        let counts = EventKind::ALL.iter().zip(&self.counts);
        counts.map(|(kind, n)| (*kind, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0)
    }
}

/// What a peer did before anybody knew who it is. What the broker refused for its own reasons does not count.
fn is_failure_before_authentication(peer: &Peer, fact: &Fact) -> bool {
    peer.tenant.is_empty()
        && match fact {
            Fact::TlsHandshakeFailed { .. }
            | Fact::ConnectTimedOut { .. }
            | Fact::UpgradeFailed { .. }
            | Fact::AuthExchangeAborted { .. }
            | Fact::ProtocolViolated { .. }
            | Fact::PacketMalformed { .. }
            | Fact::TopicRefused { .. }
            | Fact::FilterRefused { .. } => true,
            Fact::ConnectionRefused { reason } => reason.starts_with("address_"),
            Fact::ClientRefused { stage, .. } => matches!(&**stage, "authenticate" | "exchange"),
            _ => false,
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Promise 7: an address can be denied for what failed there before it authenticated, and for nothing else.
    #[test]
    fn promise_7_what_counts_as_a_failure_of_an_address() {
        let refused = |reason: &'static str| Fact::ConnectionRefused { reason: reason.into() };
        let client = |stage: &'static str| Fact::ClientRefused {
            stage: stage.into(),
            code: 0x86,
            reason: "".into(),
            plugin: "".into(),
            chain: Vec::new(),
        };
        let violated = || Fact::ProtocolViolated { clause: "".into(), detail: "".into(), code: 0x82 };
        for (fact, tenant, counts) in [
            (client("authenticate"), "", true),
            (client("denial"), "", false),
            (client("identity"), "", false),
            (refused("address_connections_per_s_max"), "", true),
            (refused("connections_max"), "", false),
            (refused("denied"), "", false),
            (violated(), "", true),
            (violated(), "t", false),
            (Fact::ConnectionAccepted {}, "", false),
        ] {
            let events = Events::new("node");
            let peer = crate::denials::testing::peer("192.0.2.7", tenant);
            let what = format!("{fact:?} of {tenant:?}");
            events.emit(Some(&Arc::new(peer)), fact);
            let failed = |ip: &str| events.failed_lately(ip.parse().unwrap(), clock::now_ms());
            assert_eq!((failed("192.0.2.7"), failed("192.0.2.8")), (counts, false), "{what}");
        }
    }
}
