//! What one address causes beyond so many events a second is counted instead of told one by one, so that a flood hides nothing.
//!
//! Told apart are network (an IPv4 address, the /64 of an IPv6 address), listener, kind and cause, and of clients that are
//! admitted also who they are: behind one NAT the breaches of one client neither use up what is told of its neighbour, nor are
//! they counted together with it, for whoever judges clients by their events (`guard`) must know whose they were. Strangers are
//! nobody but an address: what they claim to be is not told apart.

use std::borrow::Cow;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_broker::denials::of_address;
use gatemq_types::event::{EventKind, Fact, Peer, Value};
use gatemq_types::{Blame, Subject};
use parking_lot::Mutex;

/// Events that are told one by one in a second.
pub(super) const TOLD_MAX: u32 = 100;
/// And as many of them in the log, which has room for some hundred lines a second of all addresses together.
const LOGGED_MAX: u32 = 20;
/// Slots among which one is looked for.
const WAYS: usize = 8;
/// 4096 slots, some 400 KiB, however many addresses there are.
const SETS: usize = 512;

/// Events that were counted instead of told, and what they have in common.
#[derive(Debug)]
pub(super) struct Coalesced {
    pub(super) kind: EventKind,
    pub(super) peer: Arc<Peer>,
    count: u64,
    cause: Cause<'static>,
}

impl Coalesced {
    /// The event that tells of them.
    pub(super) fn fact(&self) -> Fact {
        Fact::EventsCoalesced {
            kind: self.kind.name().into(),
            count: self.count,
            address: network(self.peer.remote).into(),
            code: self.cause.code,
            cause: self.cause.text.clone(),
            blame: self.cause.blame.name().into(),
        }
    }
}

/// What becomes of an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Taken {
    /// It is told, and written to the log or not.
    Told { logged: bool },
    /// It is counted.
    Counted,
}

/// What tells events of one kind apart, for those who judge by them.
#[derive(PartialEq, Eq, Hash, Debug)]
struct Cause<'a> {
    code: u64,
    text: Cow<'a, str>,
    blame: Blame,
}

impl<'a> Cause<'a> {
    fn of(fact: &'a Fact) -> Self {
        let (mut code, mut text) = (0, "");
        let of_few = match fact.kind() {
            EventKind::ConnectionRefused => "reason",
            EventKind::LimitExceeded => "which",
            _ => "",
        };
        fact.fields(&mut |name, value| match value {
            Value::Number(n) if name == "code" => code = n,
            Value::Text(said) if name == of_few => text = said,
            _ => {}
        });
        Cause { code, text: text.into(), blame: fact.blame() }
    }

    fn into_owned(self) -> Cause<'static> {
        Cause { text: self.text.into_owned().into(), ..self }
    }
}

#[derive(Default)]
struct Slot {
    /// Hash of whose events are counted here; 0: nobody's.
    who: u64,
    second: u64,
    told: u32,
    more: Option<Coalesced>,
}

impl Slot {
    /// Whether its second is over. A thread may be a little late; a clock that was set back begins anew.
    fn is_over(&self, now_s: u64) -> bool {
        now_s > self.second || self.second > now_s.saturating_add(1)
    }
}

/// See the module.
pub(super) struct Coalescer {
    sets: Box<[Mutex<[Slot; WAYS]>]>,
    /// Keyed at random: nobody can choose addresses that share a set, or a slot.
    hasher: RandomState,
    /// The second up to which everything is told.
    looked_s: AtomicU64,
}

impl Default for Coalescer {
    fn default() -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Coalescer { sets, hasher: RandomState::new(), looked_s: AtomicU64::new(0) }
    }
}

impl Coalescer {
    /// An event in second `now_s`, and what is to be told before it: of the second before, or of somebody whose slot it takes.
    ///
    /// Never waits, and allocates nothing for most events: a set that another thread is at is left alone, and the event told. So is
    /// it when all slots of its set are in use by floods of this second. Else the least of those in use makes room: who comes
    /// back has all of its hundred again. Whatever does not fit is told rather than lost.
    pub(super) fn take(&self, peer: &Arc<Peer>, fact: &Fact, now_s: u64) -> (Taken, Option<Coalesced>) {
        let cause = Cause::of(fact);
        let who = self.who(peer, fact.kind(), &cause);
        let told = (Taken::Told { logged: true }, None);
        let Some(mut set) = self.sets.get(who as usize % SETS).and_then(|set| set.try_lock()) else { return told };
        let Some(slot) = find(&mut set, who, now_s) else { return told };
        let mut over = None;
        if slot.who != who || slot.is_over(now_s) {
            over = slot.more.take();
            *slot = Slot { who, second: now_s, told: 0, more: None };
        }
        if slot.told < TOLD_MAX {
            slot.told += 1;
            return (Taken::Told { logged: slot.told <= LOGGED_MAX }, over);
        }
        match &mut slot.more {
            Some(more) => {
                more.count += 1;
                if let Some(common) = common(&more.peer, peer) {
                    more.peer = Arc::new(common);
                }
            }
            None => {
                let cause = cause.into_owned();
                slot.more = Some(Coalesced { kind: fact.kind(), peer: peer.clone(), count: 1, cause });
            }
        }
        (Taken::Counted, over)
    }

    /// What is to be told because its second is over. Looks once a second, and once more where it was kept from looking.
    pub(super) fn over(&self, now_s: u64) -> Vec<Coalesced> {
        let mut over = Vec::new();
        if self.looked_s.load(Ordering::Relaxed) == now_s {
            return over;
        }
        let mut all = true;
        for set in &self.sets {
            let Some(mut set) = set.try_lock() else {
                all = false;
                continue;
            };
            over.extend(set.iter_mut().filter(|slot| slot.is_over(now_s)).filter_map(|slot| slot.more.take()));
        }
        if all {
            self.looked_s.store(now_s, Ordering::Relaxed);
        }
        over
    }

    fn who(&self, peer: &Peer, kind: EventKind, cause: &Cause<'_>) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        (of_address(peer.remote.ip()), &*peer.listener, kind, cause).hash(&mut hasher);
        if !peer.tenant.is_empty() {
            (&*peer.tenant, &*peer.user, &*peer.client_id, peer.leaf_sha256).hash(&mut hasher);
        }
        hasher.finish().max(1)
    }
}

/// The slot of `who`, else the least of those that may be taken from whose they are.
fn find(set: &mut [Slot; WAYS], who: u64, now_s: u64) -> Option<&mut Slot> {
    let at = set.iter().position(|slot| slot.who == who).or_else(|| {
        let free = set.iter().enumerate().filter(|(_, slot)| slot.more.is_none() || slot.is_over(now_s));
        free.min_by_key(|(_, slot)| if slot.is_over(now_s) { 0 } else { slot.told }).map(|(at, _)| at)
    })?;
    set.get_mut(at)
}

/// `192.0.2.7/32`, `2001:db8::/64`.
fn network(remote: SocketAddr) -> String {
    match of_address(remote.ip()) {
        Subject::Address { address, bits } => format!("{address}/{bits}"),
        other => other.to_string(),
    }
}

/// What both have in common; `None` where `a` says nothing that does not hold for `b`. Both are of one network, listener, and
/// client where that is known.
fn common(a: &Peer, b: &Peer) -> Option<Peer> {
    let of_both = |a: SocketAddr, b: SocketAddr| match (a == b, a.ip() == b.ip(), of_address(a.ip())) {
        (true, ..) => a,
        (_, true, _) => SocketAddr::new(a.ip(), 0),
        (_, _, Subject::Address { address, .. }) => SocketAddr::new(address, 0),
        _ => a,
    };
    let remote = of_both(a.remote, b.remote);
    let says_no_more = (a.connection == b.connection || a.connection == 0)
        && a.remote == remote
        && (a.leaf_sha256 == b.leaf_sha256 || a.leaf_sha256.is_none())
        && (a.protocol == b.protocol || a.protocol.is_none())
        && (a.client_id == b.client_id || a.client_id.is_empty());
    if says_no_more {
        return None;
    }
    Some(Peer {
        connection: if a.connection == b.connection { a.connection } else { 0 },
        remote,
        leaf_sha256: a.leaf_sha256.filter(|_| a.leaf_sha256 == b.leaf_sha256),
        protocol: a.protocol.filter(|_| a.protocol == b.protocol),
        client_id: if a.client_id == b.client_id { a.client_id.clone() } else { "".into() },
        ..a.clone()
    })
}

#[cfg(test)]
#[path = "coalesce_tests.rs"]
mod tests;
