//! What plugins keep: a small map each, kept in the store where there is one, else as long as the node runs.

use std::collections::HashMap;

use gatemq_store::{KeptValue, Op, Store, StoreError};
use gatemq_types::service::{Reply, ServiceError};
use parking_lot::Mutex;

use super::run::counted;
use super::{By, Outcome};
use crate::cluster;

/// Keys of an owner.
const KEYS_MAX: usize = 4096;
/// Bytes of all keys and values of an owner.
const BYTES_MAX: usize = 4 << 20;
/// Longest key, in bytes.
const KEY_BYTES_MAX: usize = 256;
/// Largest value, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// See the module. Full: `Busy`.
#[derive(Default)]
pub(super) struct Values(Mutex<HashMap<Box<str>, Owned>>);

#[derive(Default)]
struct Owned {
    values: HashMap<Box<str>, KeptValue>,
    bytes: usize,
}

fn is_over(value: &KeptValue, now_ms: u64) -> bool {
    value.until_ms != 0 && value.until_ms <= now_ms
}

impl Owned {
    fn remove(&mut self, key: &str) -> Option<KeptValue> {
        let value = self.values.remove(key)?;
        self.bytes -= key.len() + value.bytes.len();
        Some(value)
    }

    fn insert(&mut self, key: &str, value: KeptValue) {
        self.remove(key);
        self.bytes += key.len() + value.bytes.len();
        self.values.insert(key.into(), value);
    }

    /// Whether a value of so many bytes has room in the place of what the key has.
    fn has_room(&self, key: &str, bytes: usize) -> bool {
        let (keys, free) = match self.values.get(key) {
            Some(before) => (self.values.len() - 1, key.len() + before.bytes.len()),
            None => (self.values.len(), 0),
        };
        keys < KEYS_MAX && self.bytes - free + key.len() + bytes <= BYTES_MAX
    }
}

impl Values {
    /// # Errors
    /// `NotFound`.
    pub(super) fn get(&self, by: &By, key: &str, now_ms: u64) -> Outcome {
        let owners = self.0.lock();
        let value = owners.get(&*by.to_string()).and_then(|owned| owned.values.get(key));
        let value = value.filter(|value| !is_over(value, now_ms)).ok_or(ServiceError::NotFound)?;
        Ok(Reply { value: Some(value.bytes.to_vec()), ..counted(1) })
    }

    /// # Errors
    /// `Invalid`: an empty key, or one or a value that is too long. `Busy`: the owner has as much as it may.
    pub(super) fn put(
        &self,
        by: &By,
        key: String,
        value: Vec<u8>,
        ttl_ms: u64,
        now_ms: u64,
        ops: &mut Vec<Op>,
    ) -> Outcome {
        if key.is_empty() || key.len() > KEY_BYTES_MAX || value.len() > VALUE_BYTES_MAX {
            return Err(ServiceError::Invalid);
        }
        let owner = by.to_string();
        let until_ms = if ttl_ms == 0 { 0 } else { now_ms.saturating_add(ttl_ms) };
        let value = KeptValue { until_ms, bytes: value.into() };
        let mut owners = self.0.lock();
        let owned = owners.entry(owner.as_str().into()).or_default();
        if !owned.has_room(&key, value.bytes.len()) {
            return Err(ServiceError::Busy);
        }
        owned.insert(&key, value.clone());
        ops.push(Op::PutValue { owner: owner.into(), key: key.into(), value });
        Ok(counted(1))
    }

    /// # Errors
    /// `NotFound`.
    pub(super) fn remove(&self, by: &By, key: &str, now_ms: u64, ops: &mut Vec<Op>) -> Outcome {
        let owner = by.to_string();
        let mut owners = self.0.lock();
        let value = owners.get_mut(&*owner).and_then(|owned| owned.remove(key)).ok_or(ServiceError::NotFound)?;
        ops.push(Op::DeleteValue { owner: owner.into(), key: key.into() });
        if is_over(&value, now_ms) { Err(ServiceError::NotFound) } else { Ok(counted(1)) }
    }

    /// Takes away at most `max` whose time is over.
    pub(super) fn expire(&self, now_ms: u64, max: usize, ops: &mut Vec<Op>) {
        let mut left = max;
        for (owner, owned) in self.0.lock().iter_mut() {
            let over = owned.values.iter().filter(|(_, value)| is_over(value, now_ms)).map(|(key, _)| key.clone());
            let over: Vec<Box<str>> = over.take(left).collect();
            left -= over.len();
            for key in over {
                owned.remove(&key);
                ops.push(Op::DeleteValue { owner: owner.clone(), key });
            }
        }
    }

    /// Takes back what a store has kept; what is over goes into `ops`.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn restore(&self, store: &dyn Store, now_ms: u64, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let mut owners = self.0.lock();
        store.scan_values(&mut |owner, key, value| {
            if owner == cluster::MARKS {
                return true; // It has its own reader.
            }
            match is_over(&value, now_ms) {
                true => ops.push(Op::DeleteValue { owner: owner.into(), key: key.into() }),
                false => owners.entry(owner.into()).or_default().insert(key, value),
            }
            true
        })
    }
}
