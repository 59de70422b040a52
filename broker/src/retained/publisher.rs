//! Who published what is retained: one record for all that a client has had retained.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use crate::Hasher;
use crate::identity::Marks;

/// A client that published what is retained. Not its key: that holds the tenant, which holds this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Publisher {
    /// User; empty: no client published it.
    pub user: Box<str>,
    /// Client identifier.
    pub client_id: Box<str>,
    /// What it was found by besides when it published.
    pub marks: Option<Arc<Marks>>,
}

impl Publisher {
    /// Its session's name in its tenant.
    pub(super) fn name(&self) -> (Box<str>, Box<str>) {
        (self.user.clone(), self.client_id.clone())
    }

    fn is(&self, who: Who<'_>) -> bool {
        *self.user == *who.user && *self.client_id == *who.client_id && self.marks.as_ref() == who.marks
    }

    fn who(&self) -> Who<'_> {
        Who { user: &self.user, client_id: &self.client_id, marks: self.marks.as_ref() }
    }
}

/// A [`Publisher`] that is looked for.
#[derive(Clone, Copy, Hash)]
pub(crate) struct Who<'a> {
    pub(crate) user: &'a str,
    pub(crate) client_id: &'a str,
    pub(crate) marks: Option<&'a Arc<Marks>>,
}

/// Those of a tenant, as long as something of theirs is retained: each with how many messages.
#[derive(Default)]
pub(super) struct Publishers {
    table: HashTable<(u32, Arc<Publisher>)>,
    hasher: Hasher,
}

impl Publishers {
    /// The record of one, for one more message.
    pub(super) fn get(&mut self, who: Who<'_>) -> Arc<Publisher> {
        let Publishers { table, hasher } = self;
        let hash = hasher.hash_one(who);
        if let Some((messages, known)) = table.find_mut(hash, |(_, known)| known.is(who)) {
            *messages += 1;
            return known.clone();
        }
        let (user, client_id, marks) = (who.user.into(), who.client_id.into(), who.marks.cloned());
        let publisher = Arc::new(Publisher { user, client_id, marks });
        table.insert_unique(hash, (1, publisher.clone()), |(_, known)| hasher.hash_one(known.who()));
        publisher
    }

    /// One of its messages is no more.
    pub(super) fn release(&mut self, publisher: &Arc<Publisher>) {
        let hash = self.hasher.hash_one(publisher.who());
        if let Ok(mut entry) = self.table.find_entry(hash, |(_, known)| Arc::ptr_eq(known, publisher)) {
            entry.get_mut().0 -= 1;
            if entry.get().0 == 0 {
                entry.remove();
            }
        }
    }

    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }
}
