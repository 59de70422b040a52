//! Denials: who is kept out, by whom, and for how long.
//!
//! | module | what it says |
//! |---|---|
//! | `subject` | subjects in the one form in which they are compared |
//! | `prefixes` | the networks that hold an address |
//! | `recent` | who was here lately |
//!
//! Of one subject there is at most one denial of each who raised one, so that nobody shortens or lifts another's. A look where
//! nothing of its kind is denied is one load; otherwise one lookup, for addresses one of each prefix length in use.

mod prefixes;
mod recent;
mod subject;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use gatemq_types::{Denial, Subject};
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::Hasher;
use prefixes::Prefixes;
pub use recent::Recent;
pub use subject::{normal, of_address};

/// Bytes of names and reasons that a raiser's denials may have each, on average: a client chooses its names, up to 64 KiB.
const BYTES_EACH: usize = 1024;

/// What a denial does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Its subject is refused.
    Refuse,
    /// An address may connect so many times a second.
    Slow {
        /// Connections a second.
        per_s: u32,
    },
}

/// A denial in force.
#[derive(Debug)]
pub struct Held {
    /// Whom, until when, why, and who raised it.
    pub denial: Denial,
    /// What it does.
    pub effect: Effect,
    /// Connections of the running second, for [`Effect::Slow`]: the second in the upper half, their number in the lower.
    second: AtomicU64,
}

impl Held {
    fn is_over(&self, now_ms: u64) -> bool {
        self.denial.until_ms != 0 && self.denial.until_ms <= now_ms
    }

    /// Whether it keeps one more connection out, which it counts.
    pub fn refuses(&self, now_ms: u64) -> bool {
        let Effect::Slow { per_s } = self.effect else { return true };
        let now_s = (now_ms / 1000) & u64::from(u32::MAX);
        let one_more = |word: u64| match (word >> 32 == now_s, word & u64::from(u32::MAX)) {
            (false, _) => Some(now_s << 32 | 1),
            (true, n) if n < u64::from(per_s) => Some(word + 1),
            (true, _) => None,
        };
        self.second.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).is_err()
    }
}

/// What became of a denial that was raised.
#[derive(Clone, Debug)]
pub struct Added {
    /// It, in the form in which it is kept.
    pub held: Arc<Held>,
    /// The same raiser had denied the subject before.
    pub replaced: bool,
}

/// Why a denial is not raised.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum NotAdded {
    /// Its raiser has as many as it may, or their names and reasons are too long.
    Full {
        /// How many.
        max: usize,
    },
    /// Nobody could be such a subject.
    Invalid(&'static str),
}

impl fmt::Display for NotAdded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotAdded::Full { max } => write!(f, "its raiser has {max} denials, which is the most it may; lift some"),
            NotAdded::Invalid(why) => f.write_str(why),
        }
    }
}

/// What of a peer's certificate can be denied. Only of one whose key was proven.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Proven {
    /// SHA-256 of the leaf.
    pub leaf: [u8; 32],
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// The same of each authority of the verified path, the anchor included.
    pub issuers: Box<[[u8; 32]]>,
    /// The certificates of the path as revocation lists name them, by issuer and serial number: the beginning of a SHA-256 of both.
    pub links: Box<[[u8; 16]]>,
}

/// Kinds of subjects, as they are looked for.
#[derive(Clone, Copy)]
enum Kind {
    Address,
    Certificate,
    Name,
}

fn kind(subject: &Subject) -> Kind {
    match subject {
        Subject::Address { .. } => Kind::Address,
        Subject::Certificate(_) | Subject::Key(_) | Subject::Issuer(_) => Kind::Certificate,
        Subject::User { .. } | Subject::Client { .. } => Kind::Name,
    }
}

/// Bytes of what peers and raisers chose.
fn bytes_of(denial: &Denial) -> usize {
    let names = match &denial.subject {
        Subject::User { tenant, user } => tenant.len() + user.len(),
        Subject::Client { tenant, user, client_id } => tenant.len() + user.len() + client_id.len(),
        Subject::Address { .. } | Subject::Certificate(_) | Subject::Key(_) | Subject::Issuer(_) => 0,
    };
    names + denial.reason.len()
}

/// See the module.
pub struct Denials {
    per_raiser_max: usize,
    /// How many there are, by kind.
    counts: [AtomicU32; 3],
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    /// Mostly one each.
    by_subject: HashMap<Subject, Vec<(u64, Arc<Held>)>, Hasher>,
    /// In the order in which they were raised.
    by_number: BTreeMap<u64, Arc<Held>>,
    /// Those that end by themselves: when, and their number.
    expiring: BTreeSet<(u64, u64)>,
    /// How many each raiser has, and the bytes of their names and reasons.
    raisers: HashMap<String, (usize, usize), Hasher>,
    prefixes: Prefixes,
    last: u64,
}

impl Denials {
    /// None yet. Who has raised `per_raiser_max` is refused further ones.
    pub fn new(per_raiser_max: usize) -> Self {
        Denials { per_raiser_max, counts: Default::default(), inner: RwLock::default() }
    }

    fn count(&self, kind: Kind) -> &AtomicU32 {
        &self.counts[kind as usize]
    }

    fn none_of(&self, kind: Kind) -> bool {
        self.count(kind).load(Ordering::Acquire) == 0
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.read().by_number.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.counts.iter().all(|count| count.load(Ordering::Acquire) == 0)
    }

    /// Raises a denial, in place of the one that the same raiser had raised for the same subject. From the moment on in which
    /// this returns every look finds it.
    ///
    /// # Errors
    /// Its raiser has too many, or the subject makes no sense; nothing has changed.
    pub fn add(&self, denial: Denial, effect: Effect) -> Result<Added, NotAdded> {
        self.add_within(denial, effect, self.per_raiser_max)
    }

    /// As [`Self::add`], for one that a store has kept, or another node has raised: those of a time in which more were allowed stay in
    /// force.
    ///
    /// # Errors
    /// The subject makes no sense.
    pub fn restore(&self, denial: Denial, effect: Effect) -> Result<Added, NotAdded> {
        self.add_within(denial, effect, usize::MAX)
    }

    fn add_within(&self, denial: Denial, effect: Effect, max: usize) -> Result<Added, NotAdded> {
        let subject = normal(&denial.subject).map_err(NotAdded::Invalid)?;
        let denial = Denial { subject, ..denial };
        let mut inner = self.inner.write();
        let raised_by = &*denial.raised_by;
        let before = inner.find(&denial.subject, raised_by);
        let (raised, bytes) = inner.raisers.get(raised_by).copied().unwrap_or_default();
        let too_many = before.is_none() && raised >= max;
        let freed = before.and_then(|number| inner.by_number.get(&number)).map_or(0, |held| bytes_of(&held.denial));
        if too_many || bytes - freed + bytes_of(&denial) > max.saturating_mul(BYTES_EACH) {
            return Err(NotAdded::Full { max });
        }
        if let Some(number) = before {
            self.remove(&mut inner, number);
        }
        let held = Arc::new(Held { denial, effect, second: AtomicU64::new(0) });
        inner.insert(held.clone());
        self.count(kind(&held.denial.subject)).fetch_add(1, Ordering::AcqRel);
        Ok(Added { held, replaced: before.is_some() })
    }

    fn remove(&self, inner: &mut Inner, number: u64) -> Option<Arc<Held>> {
        let held = inner.remove(number)?;
        self.count(kind(&held.denial.subject)).fetch_sub(1, Ordering::AcqRel);
        Some(held)
    }

    /// Lifts what was raised for a subject: by `raised_by`, or `None`: by anybody.
    pub fn lift(&self, subject: &Subject, raised_by: Option<&str>) -> Vec<Arc<Held>> {
        let Ok(subject) = normal(subject) else { return Vec::new() };
        let mut inner = self.inner.write();
        let of_it = inner.by_subject.get(&subject).into_iter().flatten();
        let of_it = of_it.filter(|(_, held)| raised_by.is_none_or(|by| held.denial.raised_by == by));
        let numbers: Vec<u64> = of_it.map(|(number, _)| *number).collect();
        numbers.into_iter().filter_map(|number| self.remove(&mut inner, number)).collect()
    }

    /// What `raised_by` has raised for exactly this subject.
    pub fn find(&self, subject: &Subject, raised_by: &str) -> Option<Arc<Held>> {
        let subject = normal(subject).ok()?;
        let inner = self.inner.read();
        let mut of_it = inner.by_subject.get(&subject)?.iter();
        of_it.find(|(_, held)| held.denial.raised_by == raised_by).map(|(_, held)| held.clone())
    }

    /// Whether `raised_by`, or `None`: anybody, has raised one for exactly this subject.
    pub fn has(&self, subject: &Subject, raised_by: Option<&str>) -> bool {
        let Ok(subject) = normal(subject) else { return false };
        let inner = self.inner.read();
        let mut of_it = inner.by_subject.get(&subject).into_iter().flatten();
        of_it.any(|(_, held)| raised_by.is_none_or(|by| held.denial.raised_by == by))
    }

    /// Takes away at most `max` of those whose time is over.
    pub fn expire(&self, now_ms: u64, max: usize) -> Vec<Arc<Held>> {
        if self.is_empty() || self.inner.read().expiring.first().is_none_or(|first| first.0 > now_ms) {
            return Vec::new();
        }
        let mut inner = self.inner.write();
        let over: Vec<u64> = inner.expiring.range(..=(now_ms, u64::MAX)).take(max).map(|at| at.1).collect();
        over.into_iter().filter_map(|number| self.remove(&mut inner, number)).collect()
    }

    /// At most `max` of them behind place `after` (0: from the beginning), in the order in which they were raised, and the place
    /// to go on from; 0: there are no more.
    pub fn page(&self, after: u64, max: usize) -> (Vec<Arc<Held>>, u64) {
        let inner = self.inner.read();
        let mut rest = inner.by_number.range(after.saturating_add(1)..);
        let page: Vec<_> = rest.by_ref().take(max).collect();
        let next = page.last().filter(|_| rest.next().is_some()).map_or(0, |(number, _)| **number);
        (page.into_iter().map(|(_, held)| held.clone()).collect(), next)
    }

    /// What keeps an address out; one that refuses before one that slows down.
    pub fn of_address(&self, ip: IpAddr, now_ms: u64, wanted: impl Fn(&Held) -> bool) -> Option<Arc<Held>> {
        if self.none_of(Kind::Address) {
            return None;
        }
        let inner = self.inner.read();
        let mut slow = None;
        for network in inner.prefixes.of(ip) {
            for held in inner.in_force(&network, now_ms).filter(|held| wanted(held)) {
                match held.effect {
                    Effect::Refuse => return Some(held.clone()),
                    Effect::Slow { .. } => slow = Some(held.clone()),
                }
            }
        }
        slow
    }

    /// What keeps out who proved to have a certificate.
    pub fn of_certificate(&self, proven: &Proven, now_ms: u64) -> Option<Arc<Held>> {
        if self.none_of(Kind::Certificate) {
            return None;
        }
        let inner = self.inner.read();
        let issuers = proven.issuers.iter().map(|issuer| Subject::Issuer(*issuer));
        let own = [Subject::Certificate(proven.leaf), Subject::Key(proven.key)];
        own.into_iter().chain(issuers).find_map(|subject| inner.in_force(&subject, now_ms).next().cloned())
    }

    /// What keeps out a client that authenticated.
    pub fn of_name(&self, tenant: &str, user: &str, client_id: &str, now_ms: u64) -> Option<Arc<Held>> {
        if self.none_of(Kind::Name) {
            return None;
        }
        let (tenant, user) = (tenant.to_owned(), user.to_owned());
        let client = Subject::Client { tenant: tenant.clone(), user: user.clone(), client_id: client_id.to_owned() };
        let inner = self.inner.read();
        let subjects = [Subject::User { tenant, user }, client];
        subjects.iter().find_map(|subject| inner.in_force(subject, now_ms).next().cloned())
    }
}

impl Inner {
    fn in_force(&self, subject: &Subject, now_ms: u64) -> impl Iterator<Item = &Arc<Held>> {
        let of_it = self.by_subject.get(subject).into_iter().flatten();
        of_it.map(|(_, held)| held).filter(move |held| !held.is_over(now_ms))
    }

    fn find(&self, subject: &Subject, raised_by: &str) -> Option<u64> {
        let of_it = self.by_subject.get(subject)?;
        of_it.iter().find(|(_, held)| held.denial.raised_by == raised_by).map(|(number, _)| *number)
    }

    fn insert(&mut self, held: Arc<Held>) {
        self.last += 1;
        let number = self.last;
        let Denial { subject, until_ms, raised_by, .. } = &held.denial;
        if let Subject::Address { address, bits } = subject {
            self.prefixes.add(*address, *bits);
        }
        if *until_ms != 0 {
            self.expiring.insert((*until_ms, number));
        }
        let raised = self.raisers.entry(raised_by.clone()).or_default();
        *raised = (raised.0 + 1, raised.1 + bytes_of(&held.denial));
        self.by_subject.entry_ref(subject).or_default().push((number, held.clone()));
        self.by_number.insert(number, held);
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Held>> {
        let held = self.by_number.remove(&number)?;
        let Denial { subject, until_ms, raised_by, .. } = &held.denial;
        self.expiring.remove(&(*until_ms, number));
        if let Subject::Address { address, bits } = subject {
            self.prefixes.remove(*address, *bits);
        }
        if let Some(of_it) = self.by_subject.get_mut(subject) {
            of_it.retain(|(other, _)| *other != number);
            if of_it.is_empty() {
                self.by_subject.remove(subject);
            }
        }
        if let Some(raised) = self.raisers.get_mut(&**raised_by) {
            *raised = (raised.0 - 1, raised.1 - bytes_of(&held.denial));
            if raised.0 == 0 {
                self.raisers.remove(&**raised_by);
            }
        }
        Some(held)
    }
}

#[cfg(test)]
mod tests;
