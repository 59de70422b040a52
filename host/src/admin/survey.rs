//! One look at all connections for everything that the requests at hand want to know of who is here.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use gatemq_broker::denials::{normal, of_address};
use gatemq_types::service::{Request, ServiceError};
use gatemq_types::{Denial, Subject};
use parking_lot::Mutex;

use super::scan::Scanner;
use super::{By, Job, Replicated};
use crate::connection::Client;
use crate::worker::scan::{Look, Looks};

/// Clients (tenant, user and client identifier) that are connected from an address from which on it is taken for shared.
const IDENTITIES_SHARED: usize = 3;

/// How many are here of each subject that plugins want to deny; of addresses clients, up to [`IDENTITIES_SHARED`].
#[derive(Default)]
pub(super) struct Survey {
    found: HashMap<Subject, HashSet<u64>>,
}

impl Survey {
    /// Of what plugins want to deny in these requests, and of addresses that those of other nodes have denied; where there is nothing,
    /// nobody is looked at.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn of(scanner: &Scanner<'_>, jobs: &[Job], elsewhere: &[Replicated]) -> Result<Survey, ServiceError> {
        let wanted = jobs.iter().filter_map(|job| match (&job.by, &job.request) {
            (By::Plugin(_), Request::Deny { subject, .. }) => normal(subject).ok(),
            _ => None,
        });
        let elsewhere = elsewhere.iter().filter_map(|replicated| match replicated {
            Replicated::Denied(Denial { subject: subject @ Subject::Address { .. }, raised_by, .. })
                if *raised_by != By::Operator.to_string() =>
            {
                Some(subject.clone())
            }
            _ => None,
        });
        let wanted = wanted.chain(elsewhere);
        let found: HashMap<Subject, HashSet<u64>> = wanted.map(|subject| (subject, HashSet::new())).collect();
        if found.is_empty() {
            return Ok(Survey::default());
        }
        let (found, hasher) = (Arc::new(Mutex::new(found)), RandomState::new());
        let into = found.clone();
        let look: Looks = Arc::new(move |client: &Client| {
            let key = client.session.key();
            let who = hasher.hash_one((key.tenant().name(), key.user(), key.client_id()));
            let mut found = into.lock();
            for subject in subjects(client) {
                if let Some(clients) = found.get_mut(&subject).filter(|clients| clients.len() < IDENTITIES_SHARED) {
                    clients.insert(who);
                }
            }
            Look::Next
        });
        scanner.all(&look)?;
        let found = std::mem::take(&mut *found.lock());
        Ok(Survey { found })
    }

    /// Whether somebody is connected who is it.
    pub(super) fn is_here(&self, subject: &Subject) -> bool {
        self.found.get(subject).is_some_and(|clients| !clients.is_empty())
    }

    /// Whether several clients are connected from an address.
    pub(super) fn is_shared(&self, address: &Subject) -> bool {
        self.found.get(address).is_some_and(|clients| clients.len() >= IDENTITIES_SHARED)
    }
}

/// What a client could be denied as by a plugin.
fn subjects(client: &Client) -> impl Iterator<Item = Subject> {
    let key = client.session.key();
    let (tenant, user) = (key.tenant().name().to_owned(), key.user().to_owned());
    let named = Subject::Client { tenant: tenant.clone(), user: user.clone(), client_id: key.client_id().to_owned() };
    let of_all = [of_address(client.peer.remote.ip()), Subject::User { tenant, user }, named];
    let proven = client.proven().map(|proven| [Subject::Certificate(proven.leaf), Subject::Key(proven.key)]);
    of_all.into_iter().chain(proven.into_iter().flatten())
}
