//! What becomes of retained messages when their publisher's identity is revoked: they are withheld from whoever subscribes until it
//! is admitted again, or removed.

use std::sync::Arc;

use gatemq_types::Effect;

use super::{Kept, Publisher, Retained};
use crate::changes::{Change, Changes};
use crate::{Identity, Tenant};

/// Places for topics that are looked at under one lock.
const SLICE: u32 = 256;

/// What a step of [`Tenant::revoke_retained`] did.
#[derive(Default, Debug)]
pub struct RevokedRetained {
    /// Topics whose messages are withheld now, or were removed.
    pub topics: Vec<String>,
    /// Where the next step begins; `None`: this was the last.
    pub next: Option<u32>,
}

/// What became of a client's withheld messages when it was admitted again.
#[derive(Default, Debug)]
pub struct Readmitted {
    /// Those that go to subscribers again.
    pub delivered: u64,
    /// Those that only a provider could allow: they stay withheld until their topic gets another one.
    pub withheld: u64,
    /// Topics of those that its grants do not allow any more: they were removed.
    pub removed: Vec<String>,
}

impl Tenant {
    /// Withholds or removes the retained messages of publishers that are `selected`, from place `from` on: as many as may be
    /// looked at while nobody else looks. 0 is the first place. What no client published is never selected.
    pub fn revoke_retained(
        &self,
        from: u32,
        remove: bool,
        selected: impl Fn(&Publisher) -> bool,
        changes: &mut Changes,
    ) -> RevokedRetained {
        let mut retained = self.retained.write();
        let end = retained.topics.end();
        let until = from.saturating_add(SLICE).min(end);
        let mut topics = Vec::new();
        for at in from..until {
            let of = |kept: &&Kept| !kept.publisher.user.is_empty() && selected(&kept.publisher);
            let Some(kept) = retained.topics.get(at).filter(of) else { continue };
            if kept.withheld && !remove {
                continue;
            }
            let topic = kept.message.topic().to_owned();
            match remove {
                true => retained.remove_revoked(self, at, &topic, changes),
                false => retained.withhold(self, at, changes),
            }
            topics.push(topic);
        }
        RevokedRetained { topics, next: (until < end).then_some(until) }
    }

    /// A client is admitted, and nobody wants its provider asked once more: what is withheld of it goes to subscribers again as far
    /// as its grants allow it to have that retained.
    pub fn readmit_retained(&self, identity: &Identity, changes: &mut Changes) -> Readmitted {
        let mut readmitted = Readmitted::default();
        // Nearly always.
        if self.retained.read().withheld.is_empty() {
            return readmitted;
        }
        let mut retained = self.retained.write();
        let name = (identity.key().user().into(), identity.key().client_id().into());
        for at in retained.withheld.get(&name).cloned().unwrap_or_default() {
            let Some(kept) = retained.topics.get(at) else { continue };
            let (message, qos) = (kept.message.clone(), kept.qos);
            let payload_bytes = u32::try_from(message.payload().len()).unwrap_or(u32::MAX);
            match identity.may_have_retained(message.topic(), qos, payload_bytes) {
                Effect::Allow => {
                    retained.release(self, at, changes);
                    readmitted.delivered += 1;
                }
                Effect::Ask => readmitted.withheld += 1,
                Effect::Deny => {
                    retained.remove_revoked(self, at, message.topic(), changes);
                    readmitted.removed.push(message.topic().to_owned());
                }
            }
        }
        readmitted
    }
}

impl Retained {
    /// Under the lock, so that the store hears of a topic's messages in their order.
    fn remove_revoked(&mut self, tenant: &Tenant, at: u32, topic: &str, changes: &mut Changes) {
        self.remove(at);
        changes.retain(|| Change::RetainedCleared { tenant: tenant.name().to_owned(), topic: topic.to_owned() });
    }

    fn withhold(&mut self, tenant: &Tenant, at: u32, changes: &mut Changes) {
        if let Some(publisher) = self.mark(tenant, at, true, changes) {
            self.withheld.entry(publisher.name()).or_default().insert(at);
        }
    }

    fn release(&mut self, tenant: &Tenant, at: u32, changes: &mut Changes) {
        if let Some(publisher) = self.mark(tenant, at, false, changes) {
            self.not_withheld(at, &publisher);
        }
    }

    fn mark(&mut self, tenant: &Tenant, at: u32, withheld: bool, changes: &mut Changes) -> Option<Arc<Publisher>> {
        let kept = self.topics.get_mut(at)?;
        kept.withheld = withheld;
        let (message, qos, publisher) = (kept.message.clone(), kept.qos, kept.publisher.clone());
        let of = publisher.clone();
        changes.retain(|| Change::Retained { tenant: tenant.name().to_owned(), message, qos, publisher: of, withheld });
        Some(publisher)
    }

    /// A withheld message is no more, or is not withheld any more.
    pub(super) fn not_withheld(&mut self, at: u32, publisher: &Publisher) {
        let name = publisher.name();
        if let Some(places) = self.withheld.get_mut(&name) {
            places.remove(&at);
            if places.is_empty() {
                self.withheld.remove(&name);
            }
        }
    }
}
