//! What every node has whole: denials, retained messages, and which nodes an operator forbade.
//!
//! Values are where they belong: in the node's denials, its tenants' trees, the store. Beside them the store has a mark of each: who
//! wrote it last, and a hash of what it then was. What differs from its mark at the start was changed in the last moments before
//! a crash, and is told anew.

use std::collections::HashMap;
use std::sync::Arc;

use gatemq_broker::session::Message;
use gatemq_cluster::core::{Entry, Input, Mark, NodeName, Set};
use gatemq_store::{DenialBytes, KeptValue, Op, Retained, Store, StoreError};
use gatemq_types::Subject;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use super::driver::Driver;
use super::told::Told;
use super::{Cluster, MARKS};
use crate::admin::Replicated;
use crate::durable;

/// The key of the times that the core wants kept.
const CONTACT: &str = "contact";

/// A mark as it is kept.
#[derive(Serialize, Deserialize)]
struct Kept {
    mark: Mark,
    hash: u64,
    /// Of a set that has no other place.
    value: Vec<u8>,
}

fn key_of(set: Set, key: &[u8]) -> Box<str> {
    let set = match set {
        Set::Denials => 'd',
        Set::Retained => 'r',
        Set::Nodes => 'n',
    };
    let mut text = String::with_capacity(1 + 2 * key.len());
    text.push(set);
    for byte in key {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or_default()));
    }
    text.into()
}

fn read_key(text: &str) -> Option<(Set, Box<[u8]>)> {
    let (set, hex) = text.split_at_checked(1)?;
    let set = match set {
        "d" => Set::Denials,
        "r" => Set::Retained,
        "n" => Set::Nodes,
        _ => return None,
    };
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
    Some((set, bytes?.into()))
}

/// The key of a retained message: tenants' names have no NUL.
fn retained_key(tenant: &str, topic: &str) -> Box<[u8]> {
    [tenant.as_bytes(), b"\0", topic.as_bytes()].concat().into()
}

fn read_retained_key(key: &[u8]) -> Option<(&str, &str)> {
    std::str::from_utf8(key).ok()?.split_once('\0')
}

fn put(set: Set, key: Box<[u8]>, value: Option<Vec<u8>>, until_ms: u64) -> Input {
    Input::Put { set, key, value, until_ms }
}

fn put_retained(tenant: &str, retained: &Retained) -> Input {
    let key = retained_key(tenant, retained.message.topic());
    let expires_ms = retained.message.expires_ms();
    let until_ms = if expires_ms == u64::MAX { 0 } else { expires_ms };
    put(Set::Retained, key, Some(retained.write(tenant)), until_ms)
}

impl Cluster {
    /// The desk raised or lifted denials: operations of the store that say which.
    pub(crate) fn denied<'a>(&self, ops: impl Iterator<Item = &'a Op>) {
        let told = ops.filter_map(|op| match op {
            Op::PutDenial(denial) => {
                let (name, bytes) = (DenialBytes::name(denial), DenialBytes::write(denial));
                Some(put(Set::Denials, name.into(), Some(bytes), denial.until_ms))
            }
            Op::DeleteDenial { subject, raised_by } => {
                Some(put(Set::Denials, DenialBytes::name_of(subject, raised_by).into(), None, 0))
            }
            _ => None,
        });
        self.inbox.tell_all(told.map(Told::Core).collect::<Vec<_>>());
    }

    /// Clients published what is retained: operations of the store that say what. Called in their order.
    pub(crate) fn retained(&self, ops: &[Op]) {
        let told = ops.iter().filter_map(|op| match op {
            Op::PutRetained { tenant, retained } => Some(put_retained(tenant, retained)),
            Op::DeleteRetained { tenant, topic } => Some(put(Set::Retained, retained_key(tenant, topic), None, 0)),
            _ => None,
        });
        self.inbox.tell_all(told.map(Told::Core).collect::<Vec<_>>());
    }
}

/// What the core is told of the sets before the node joins.
///
/// # Errors
/// The store cannot be read.
pub(super) fn restored(cluster: &Cluster, store: &dyn Store) -> Result<Vec<Input>, StoreError> {
    let mut marks: HashMap<(Set, Box<[u8]>), Kept> = HashMap::new();
    let mut inputs = Vec::new();
    store.scan_values(&mut |owner, key, value| {
        if owner != MARKS {
            return true;
        }
        if key == CONTACT {
            if let Ok((contact_ms, ran_ms)) = postcard::from_bytes(&value.bytes) {
                inputs.push(Input::ContactRestored { contact_ms, ran_ms });
            }
        } else if let (Some(of), Ok(kept)) = (read_key(key), postcard::from_bytes(&value.bytes)) {
            marks.insert(of, kept);
        }
        true
    })?;
    let (mut known, mut anew) = (Vec::new(), Vec::new());
    let mut found = |input: Input| {
        let Input::Put { set, key, value, .. } = &input else { return };
        let hash = value.as_deref().map(xxh3_64);
        match marks.remove(&(*set, key.clone())) {
            Some(Kept { mark, hash: kept, .. }) if !mark.removed && hash == Some(kept) => {
                known.push((*set, key.clone(), mark));
            }
            _ => anew.push(input),
        }
    };
    store.scan_denials(&mut |denial| {
        let (name, bytes) = (DenialBytes::name(&denial), DenialBytes::write(&denial));
        found(put(Set::Denials, name.into(), Some(bytes), denial.until_ms));
        true
    })?;
    store.scan_retained(&mut |tenant, retained| {
        found(put_retained(tenant, &retained));
        true
    })?;
    for ((set, key), Kept { mark, .. }) in marks {
        match set {
            Set::Nodes => {
                if let (false, Ok(name)) = (mark.removed, std::str::from_utf8(&key)) {
                    cluster.forbidden.write().insert(name.into());
                }
                known.push((set, key, mark));
            }
            // It is gone, and its tombstone was not kept any more.
            _ if !mark.removed => anew.push(put(set, key, None, 0)),
            _ => known.push((set, key, mark)),
        }
    }
    let restored = |of: Set| {
        let marks = known.iter().filter(|(set, ..)| *set == of).map(|(_, key, mark)| (key.clone(), mark.clone()));
        Input::SetRestored { set: of, marks: marks.collect() }
    };
    inputs.extend(Set::ALL.map(restored));
    inputs.extend(anew);
    Ok(inputs)
}

impl Driver {
    pub(super) fn store(&mut self, set: Set, entry: Entry, foreign: bool) {
        let hash = xxh3_64(&entry.value);
        let value = if set == Set::Nodes { entry.value.clone() } else { Vec::new() };
        let kept = Kept { mark: entry.mark.clone(), hash, value };
        if let Ok(bytes) = postcard::to_allocvec(&kept) {
            let value = KeptValue { until_ms: 0, bytes: bytes.into() };
            self.ops.push(Op::PutValue { owner: MARKS.into(), key: key_of(set, &entry.key), value });
        }
        let value = (!entry.mark.removed).then_some(&*entry.value);
        match set {
            Set::Retained if !foreign => {
                // Where another node's came in between it has to be put in force again: the later one is ours.
                if self.overwritten.remove(&entry.key) {
                    self.retain(&entry.key, value);
                }
            }
            Set::Nodes => self.forbid(&entry.key, value.is_some()),
            _ if !foreign => {}
            Set::Denials => self.deny(&entry.key, value),
            Set::Retained => {
                self.retain(&entry.key, value);
                if self.overwritten.len() >= OVERWRITTEN_MAX {
                    self.overwritten.clear();
                }
                self.overwritten.insert(entry.key);
            }
        }
    }

    pub(super) fn forget(&mut self, set: Set, key: &[u8]) {
        self.ops.push(Op::DeleteValue { owner: MARKS.into(), key: key_of(set, key) });
        match set {
            Set::Denials => self.deny(key, None),
            Set::Retained => self.retain(key, None),
            Set::Nodes => self.forbid(key, false),
        }
    }

    pub(super) fn contact(&mut self, contact_ms: u64, ran_ms: u64) {
        if let Ok(bytes) = postcard::to_allocvec(&(contact_ms, ran_ms)) {
            let value = KeptValue { until_ms: 0, bytes: bytes.into() };
            self.ops.push(Op::PutValue { owner: MARKS.into(), key: CONTACT.into(), value });
        }
    }

    /// Reads entries for another node.
    pub(super) fn load(&mut self, to: NodeName, set: Set, keys: Vec<Box<[u8]>>) {
        let entry = |key: Box<[u8]>| {
            let mark = self.core.mark(set, &key)?;
            let value = match set {
                _ if mark.removed => Some(Vec::new()),
                Set::Nodes => Some(Vec::new()),
                Set::Denials => {
                    let (subject, raised_by) = DenialBytes::read_name(&key)?;
                    self.node.denials.set.find(&subject, &raised_by).map(|held| DenialBytes::write(&held.denial))
                }
                Set::Retained => {
                    let (tenant, topic) = read_retained_key(&key)?;
                    let retained = self.node.tenants.get(tenant)?.retained_of(topic)?;
                    durable::retained(&retained).map(|retained| retained.write(tenant))
                }
            };
            Some(Entry { key, mark, value: value? })
        };
        let entries = keys.into_iter().filter_map(entry).collect();
        self.cluster.inbox.tell(Told::Core(Input::Loaded { to, set, entries }));
    }

    fn deny(&self, key: &[u8], value: Option<&[u8]>) {
        let replicated = match value {
            Some(value) => DenialBytes::read(value).map(Replicated::Denied),
            None => {
                let lifted = |(subject, raised_by): (Subject, String)| Replicated::Lifted { subject, raised_by };
                DenialBytes::read_name(key).map(lifted)
            }
        };
        match replicated {
            Some(replicated) => self.desk.replicate(replicated),
            None => tracing::warn!("a denial of another node cannot be read"),
        }
    }

    fn retain(&mut self, key: &[u8], value: Option<&[u8]>) {
        let Some((tenant, topic)) = read_retained_key(key) else { return };
        let (tenant, topic): (Box<str>, Box<str>) = (tenant.into(), topic.into());
        let Some(value) = value else {
            if let Some(known) = self.node.tenants.get(&tenant) {
                known.clear_retained(&topic);
            }
            self.ops.push(Op::DeleteRetained { tenant, topic });
            return;
        };
        let Some((_, retained)) =
            Retained::read(value).filter(|(of, kept)| **of == *tenant && kept.message.topic() == &*topic)
        else {
            return tracing::warn!("a retained message of another node cannot be read");
        };
        let now_ms = crate::clock::now_ms();
        let of = &retained.message;
        let message = Arc::new(Message::restored(of.topic(), of.properties(), of.payload(), of.expires_ms()));
        let restored = durable::restored_retained(&retained, message);
        let known = self.node.tenants.get_or_create(&tenant);
        if known.is_ok_and(|tenant| tenant.restore_retained(restored, now_ms)) {
            self.ops.push(Op::PutRetained { tenant, retained });
        }
    }

    fn forbid(&self, key: &[u8], forbidden: bool) {
        if let Ok(name) = std::str::from_utf8(key) {
            self.cluster.note_forbidden(name, forbidden);
        }
    }
}

/// Topics of which is known that another node's message came in between. Beyond that the oldest knowledge goes, all at once.
const OVERWRITTEN_MAX: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards keys of marks: what is written is read, for any bytes.
    #[test]
    fn keys_are_read_back() {
        for set in Set::ALL {
            for key in [&b""[..], b"\0\xff/", "tenant\0a/ü".as_bytes()] {
                assert_eq!(read_key(&key_of(set, key)), Some((set, key.into())));
            }
        }
        for wrong in ["", "x00", "d0g", "d\u{fc}", CONTACT] {
            assert_eq!(read_key(wrong), None, "{wrong}");
        }
    }
}
