//! An ordered map as it will be: what is stored, and over it what a group of operations changes.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::StoreError;

/// Key and value while a range is walked; returns whether to go on.
pub(crate) type Each<'a> = dyn FnMut(&[u8], &[u8]) -> Result<bool, StoreError> + 'a;

/// An ordered map that can be read.
pub(crate) trait Map {
    /// The value of a key.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// Keys from `from` on and below `to`, in order.
    fn range(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError>;

    /// What is said of a value that is not what was written.
    fn damaged(&self, key: &[u8]) -> StoreError;
}

/// What changes, by key; `None` removes it.
pub(crate) type Changes = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

/// A key and its value.
pub(crate) type Pair = (Vec<u8>, Vec<u8>);

/// See the module.
pub(crate) struct Staging<'a> {
    base: &'a dyn Map,
    pub(crate) changes: Changes,
}

impl<'a> Staging<'a> {
    pub(crate) fn new(base: &'a dyn Map) -> Self {
        Staging { base, changes: Changes::new() }
    }

    pub(crate) fn put(&mut self, key: Vec<u8>, value: Vec<u8>) {
        self.changes.insert(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: Vec<u8>) {
        self.changes.insert(key, None);
    }

    /// Removes what was put a moment ago in the same group without leaving a trace, if it is known that it was not there
    /// before.
    pub(crate) fn remove_new(&mut self, key: Vec<u8>) {
        if self.changes.remove(&key).is_none() {
            self.changes.insert(key, None);
        }
    }

    /// Keys and values of a range, at most `max` of them.
    pub(crate) fn collect(&self, from: &[u8], to: &[u8], max: usize) -> Result<Vec<Pair>, StoreError> {
        let mut found = Vec::new();
        self.range(from, to, &mut |key, value| {
            found.push((key.to_vec(), value.to_vec()));
            Ok(found.len() < max)
        })?;
        Ok(found)
    }
}

impl Map for Staging<'_> {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => self.base.get(key),
        }
    }

    fn range(&self, from: &[u8], to: &[u8], each: &mut Each<'_>) -> Result<(), StoreError> {
        if from >= to {
            return Ok(());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        let mut changed = self.changes.range::<[u8], _>(bounds).peekable();
        let mut more = true;
        self.base.range(from, to, &mut |key, value| {
            while let Some((new, change)) = changed.next_if(|(new, _)| new.as_slice() < key) {
                if let Some(change) = change {
                    more = each(new, change)?;
                    if !more {
                        return Ok(false);
                    }
                }
            }
            more = match changed.next_if(|(new, _)| new.as_slice() == key) {
                Some((_, None)) => true,
                Some((_, Some(change))) => each(key, change)?,
                None => each(key, value)?,
            };
            Ok(more)
        })?;
        for (new, change) in changed {
            let Some(change) = change else { continue };
            if !more || !each(new, change)? {
                break;
            }
        }
        Ok(())
    }

    fn damaged(&self, key: &[u8]) -> StoreError {
        self.base.damaged(key)
    }
}
