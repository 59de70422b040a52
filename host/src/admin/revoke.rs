//! Has identities asked for again, and withholds or removes what their clients have retained.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use gatemq_broker::{Publisher, Tenant};
use gatemq_store::wait;
use gatemq_types::event::Fact;
use gatemq_types::service::{RevokeRetained, Selector, ServiceError};
use parking_lot::Mutex;

use super::scan::Scanner;
use crate::connection::{Client, tell_removed};
use crate::durable;
use crate::node::Node;
use crate::revocations::Revoked;
use crate::worker::scan::{Look, Looks};

/// Tenant, user and client identifier.
type Name = (String, String, String);

/// One that has begun: what is to be withheld is.
pub(super) struct Revocation {
    by: Arc<str>,
    named: Named,
    retained: RevokeRetained,
    withheld: u64,
}

impl Revocation {
    /// Of a plugin or an operator of this node.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn begin(
        scanner: &Scanner<'_>,
        by: &str,
        selector: Selector,
        retained: RevokeRetained,
    ) -> Result<Self, ServiceError> {
        Self::new(scanner, by, selector, retained, true)
    }

    /// That another node wants: it has withheld what it found by itself, or removes it, and all nodes have that from there. So only
    /// what clients have retained that are here is looked for; else what a provider let be delivered meanwhile would be withheld again.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn of_another_node(
        scanner: &Scanner<'_>,
        by: &str,
        selector: Selector,
        retained: RevokeRetained,
    ) -> Result<Self, ServiceError> {
        Self::new(scanner, by, selector, retained, false)
    }

    fn new(
        scanner: &Scanner<'_>,
        by: &str,
        selector: Selector,
        retained: RevokeRetained,
        by_itself: bool,
    ) -> Result<Self, ServiceError> {
        let by: Arc<str> = by.into();
        // First, so that whoever is not found because its connection has not begun looks for it itself.
        scanner.node.revocations.note(by.clone(), Revoked::Selected(selector.clone()));
        let named = Named::find(scanner, selector, retained, by_itself)?;
        let mut revocation = Revocation { by, named, retained, withheld: 0 };
        if retained == RevokeRetained::Withhold {
            // Before a provider's answer lets them be delivered again.
            revocation.withheld = revocation.named.revoke(scanner.node, &revocation.by, false)?;
        }
        Ok(revocation)
    }

    /// Has the providers of the clients here asked; returns how many.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn clients(&self, scanner: &Scanner<'_>) -> Result<u64, ServiceError> {
        let revoked = Arc::new(AtomicU64::new(0));
        let (counter, who, selector) = (revoked.clone(), self.by.clone(), self.named.selector.clone());
        let look: Looks = Arc::new(move |client: &Client| match client.is_named_by(&selector) {
            true => {
                counter.fetch_add(1, Ordering::Relaxed);
                Look::Revoke(who.clone())
            }
            false => Look::Next,
        });
        scanner.all(&look)?;
        Ok(revoked.load(Ordering::Relaxed))
    }

    /// Removes what is to be removed, when those who are only disconnected cannot publish any more; returns how many messages are withheld or
    /// removed.
    ///
    /// # Errors
    /// The node stops.
    pub(super) fn end(self, scanner: &Scanner<'_>) -> Result<u64, ServiceError> {
        match self.retained {
            RevokeRetained::Remove => self.named.revoke(scanner.node, &self.by, true),
            RevokeRetained::Keep | RevokeRetained::Withhold => Ok(self.withheld),
        }
    }
}

/// A plugin is gone, and nobody stands any more for those whom it admitted: they are disconnected. Does not wait for that.
pub(crate) fn revoke_admitted_by(node: &Node, plugin: &str) {
    let (by, plugin): (Arc<str>, _) = (format!("reload: plugin {plugin} is gone").into(), plugin.to_owned());
    // First, as above.
    node.revocations.note(by.clone(), Revoked::AdmittedBy(plugin.clone()));
    let look: Looks = Arc::new(move |client: &Client| match client.provider() == plugin {
        true => Look::Revoke(by.clone()),
        false => Look::Next,
    });
    node.scan_all(&look);
}

/// Whose retained messages are meant.
struct Named {
    selector: Selector,
    /// Whether what the selector names by itself is meant, and not only what those have that are here.
    by_itself: bool,
    /// Clients that are here and are named by something that what they published may not be stored with.
    here: HashSet<Name>,
}

impl Named {
    /// # Errors
    /// The node stops.
    fn find(
        scanner: &Scanner<'_>,
        selector: Selector,
        retained: RevokeRetained,
        by_itself: bool,
    ) -> Result<Named, ServiceError> {
        let Selector { connection, tag, leaf_sha256, .. } = &selector;
        let by_more_than_names = connection.is_some() || tag.is_some() || leaf_sha256.is_some();
        if retained == RevokeRetained::Keep || by_itself && !by_more_than_names {
            return Ok(Named { selector, by_itself, here: HashSet::new() });
        }
        let here = Arc::new(Mutex::new(HashSet::new()));
        let (into, wanted) = (here.clone(), selector.clone());
        let look: Looks = Arc::new(move |client: &Client| {
            if client.is_named_by(&wanted) {
                let key = client.identity().key();
                into.lock().insert(name(key.tenant().name(), key.user(), key.client_id()));
            }
            Look::Next
        });
        scanner.all(&look)?;
        let here = std::mem::take(&mut *here.lock());
        Ok(Named { selector, by_itself, here })
    }

    fn published(&self, tenant: &str, of: &Publisher) -> bool {
        let Selector { tenant: _, user, client_id, connection, tag, leaf_sha256 } = &self.selector;
        let is = |wanted: &Option<String>, has: &str| wanted.as_ref().is_none_or(|wanted| wanted == has);
        let marks = of.marks.as_deref();
        let by_itself = self.by_itself
            && connection.is_none()
            && is(user, &of.user)
            && is(client_id, &of.client_id)
            && tag.as_ref().is_none_or(|tag| marks.is_some_and(|marks| marks.tags.contains(tag)))
            && leaf_sha256.is_none_or(|leaf| marks.is_some_and(|marks| marks.leaf_sha256 == Some(leaf)));
        by_itself || !self.here.is_empty() && self.here.contains(&name(tenant, &of.user, &of.client_id))
    }

    /// Withholds or removes, in the store too; returns how many.
    ///
    /// # Errors
    /// The store has failed: the node stops.
    fn revoke(&self, node: &Node, by: &str, remove: bool) -> Result<u64, ServiceError> {
        let wanted = |tenant: &Tenant| self.selector.tenant.as_ref().is_none_or(|name| name == tenant.name());
        let mut all = 0;
        for tenant in node.tenants.filter(wanted) {
            let messages = self.revoke_in(node, &tenant, by, remove)?;
            if messages > 0 {
                let (withheld, removed) = if remove { (0, messages) } else { (messages, 0) };
                let in_tenant = tenant.name().to_owned().into();
                let fact = Fact::RetainedRevoked { by: by.to_owned().into(), in_tenant, withheld, removed };
                node.events.emit(None, fact);
            }
            all += messages;
        }
        Ok(all)
    }

    fn revoke_in(&self, node: &Node, tenant: &Tenant, by: &str, remove: bool) -> Result<u64, ServiceError> {
        let mut changes = node.changes();
        let (mut messages, mut from) = (0, Some(0));
        while let Some(at) = from {
            let step = tenant.revoke_retained(at, remove, |of| self.published(tenant.name(), of), &mut changes);
            from = step.next;
            messages += step.topics.len() as u64;
            if let (Some(store), false) = (&node.store, changes.is_empty()) {
                let kept = wait(|answer| {
                    changes.submit(|changes| {
                        let batch = durable::batch(&changes);
                        if let Some(cluster) = node.cluster() {
                            cluster.retained(&batch.ops);
                        }
                        store.commit(batch, answer);
                    });
                });
                kept.map_err(|e| {
                    node.store_failed(&e);
                    ServiceError::Unavailable
                })?;
            }
            if remove {
                tell_removed(node, None, step.topics, by);
            }
        }
        Ok(messages)
    }
}

fn name(tenant: &str, user: &str, client_id: &str) -> Name {
    (tenant.to_owned(), user.to_owned(), client_id.to_owned())
}
