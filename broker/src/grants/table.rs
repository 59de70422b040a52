//! One compiled form for equal lists.

use std::hash::BuildHasher;
use std::sync::{Arc, Weak};

use gatemq_types::Grant;
use hashbrown::HashTable;
use parking_lot::Mutex;

use super::{GrantError, Grants};
use crate::Hasher;

/// Compiles lists, and hands out one compiled form for all identities whose lists are equal.
///
/// It keeps no list alive, and knows at most `lists_max`: when that many are in use, further ones are compiled but not
/// shared.
pub struct GrantTable {
    lists_max: usize,
    hasher: Hasher,
    lists: Mutex<Lists>,
}

/// Lists by hash, those that nobody has any more among them until they are swept.
#[derive(Default)]
struct Lists {
    table: HashTable<(u64, Weak<Grants>)>,
    sweep_at: usize,
}

/// Fewer lists than this are not worth a sweep.
const SWEEP_MIN: usize = 64;

impl GrantTable {
    /// Knows none yet.
    pub fn new(lists_max: usize) -> Self {
        GrantTable { lists_max, hasher: Hasher::default(), lists: Mutex::default() }
    }

    /// The compiled form of a list.
    ///
    /// # Errors
    /// The first rule that is malformed.
    pub fn compile(&self, grants: &[Grant]) -> Result<Arc<Grants>, GrantError> {
        let hash = self.hasher.hash_one(grants);
        if let Some(known) = find(&self.lists.lock().table, hash, grants) {
            return Ok(known);
        }
        // Without the lock: a long list of one client must not keep the others waiting.
        let compiled = Arc::new(Grants::compile(grants)?);
        let mut lists = self.lists.lock();
        let Lists { table, sweep_at } = &mut *lists;
        if let Some(known) = find(table, hash, grants) {
            return Ok(known);
        }
        // The same list that nobody had any more comes back: one entry, not one for each time.
        while let Ok(gone) = table.find_entry(hash, |(known, list)| *known == hash && list.strong_count() == 0) {
            gone.remove();
        }
        // Each sweep is paid for by as many lists that came since the last one.
        if table.len() >= (*sweep_at).min(self.lists_max) {
            table.retain(|(_, list)| list.strong_count() > 0);
            *sweep_at = (table.len() * 2).max(SWEEP_MIN);
        }
        if table.len() < self.lists_max {
            table.insert_unique(hash, (hash, Arc::downgrade(&compiled)), |(hash, _)| *hash);
        }
        Ok(compiled)
    }
}

fn find(lists: &HashTable<(u64, Weak<Grants>)>, hash: u64, grants: &[Grant]) -> Option<Arc<Grants>> {
    let same = |list: &Weak<Grants>| list.upgrade().filter(|list| *list.source == *grants);
    lists.iter_hash(hash).filter(|(known, _)| *known == hash).find_map(|(_, list)| same(list))
}

#[cfg(test)]
mod tests {
    use gatemq_types::Actions;

    use super::*;

    /// Guards section 12.6: equal lists are compiled once, and the table neither grows nor keeps lists alive.
    #[test]
    fn equal_lists_are_one_and_the_table_is_bounded() {
        let list = |n: usize| [Grant::allow(Actions::ALL, format!("{n}/#"))];
        let table = GrantTable::new(2);
        let (a, b) = (table.compile(&list(1)).unwrap(), table.compile(&list(2)).unwrap());
        assert!(Arc::ptr_eq(&a, &table.compile(&list(1)).unwrap()));
        assert!(!Arc::ptr_eq(&a, &b));
        let third = table.compile(&list(3)).unwrap();
        assert!(!Arc::ptr_eq(&third, &table.compile(&list(3)).unwrap()), "full: not shared");
        drop(b);
        let third = table.compile(&list(3)).unwrap();
        assert!(Arc::ptr_eq(&third, &table.compile(&list(3)).unwrap()), "list 2 made room");
        for n in 0..100 {
            table.compile(&list(n)).unwrap();
        }
        assert!(table.lists.lock().table.len() <= 2);
    }

    /// Guards against what a connect storm showed: a list that comes and goes left an entry behind each time, and every
    /// look-up walked them all.
    #[test]
    fn a_list_that_comes_and_goes_leaves_nothing_behind() {
        let table = GrantTable::new(100_000);
        for _ in 0..1000 {
            drop(table.compile(&[Grant::allow(Actions::ALL, "a/#")]).unwrap());
        }
        assert_eq!(table.lists.lock().table.len(), 1);
        for n in 0..10_000 {
            drop(table.compile(&[Grant::allow(Actions::ALL, format!("{n}/#"))]).unwrap());
        }
        assert!(table.lists.lock().table.len() <= 2 * SWEEP_MIN);
    }
}
