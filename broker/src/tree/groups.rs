//! Shared subscriptions by number, and by share name and filter.

use std::hash::BuildHasher;
use std::sync::Arc;

use hashbrown::HashTable;

use super::Place;
use crate::Hasher;
use crate::shared::Group;

/// Those of a tenant; numbers are used again.
#[derive(Default)]
pub(super) struct Groups {
    by_number: Vec<Option<Arc<Group>>>,
    free: Vec<u32>,
    numbers: HashTable<u32>,
    hasher: Hasher,
}

impl Groups {
    pub(super) fn get(&self, number: u32) -> Option<&Arc<Group>> {
        self.by_number.get(number as usize)?.as_ref()
    }

    /// The group of a share name at the place of a filter.
    pub(super) fn find(&self, share_name: &str, place: Place) -> Option<(u32, &Arc<Group>)> {
        let is_it = |number: &u32| self.get(*number).is_some_and(|group| group.is_at(share_name, place));
        let number = *self.numbers.find(self.hasher.hash_one((share_name, place)), is_it)?;
        Some((number, self.get(number)?))
    }

    pub(super) fn add(&mut self, group: Arc<Group>) -> u32 {
        let hash = self.hash(&group);
        let number = self.free.pop().unwrap_or_else(|| {
            self.by_number.push(None);
            self.by_number.len() as u32 - 1
        });
        self.by_number[number as usize] = Some(group);
        let Groups { by_number, numbers, hasher, .. } = self;
        numbers.insert_unique(hash, number, |number| match &by_number[*number as usize] {
            Some(group) => hasher.hash_one((group.share_name(), group.place())),
            None => 0,
        });
        number
    }

    pub(super) fn remove(&mut self, number: u32) {
        let Some(group) = self.by_number.get_mut(number as usize).and_then(Option::take) else { return };
        if let Ok(found) = self.numbers.find_entry(self.hash(&group), |known| *known == number) {
            found.remove();
        }
        self.free.push(number);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }

    fn hash(&self, group: &Group) -> u64 {
        self.hasher.hash_one((group.share_name(), group.place()))
    }
}
