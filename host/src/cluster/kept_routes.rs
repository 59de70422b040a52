//! What persistent sessions of other nodes have subscribed, in the store: a node that starts while another is away keeps for it what it
//! is to have.

use std::collections::{BTreeMap, HashMap, HashSet};

use gatemq_cluster::core::{FilterKey, Input, Interest, NodeName};
use gatemq_store::{KeptValue, Op, Store, StoreError};

use super::MARKS;

/// Begins the key of a row, which has the node, the tenant and the filter. No mark's key begins so.
const PREFIX: &str = "i/";

/// What is in the store, by node. Bounded by what the tenants' trees take.
#[derive(Default)]
pub(super) struct KeptRoutes(HashMap<NodeName, HashSet<FilterKey>>);

impl KeptRoutes {
    /// A node says what it wants, or does not any more.
    pub(super) fn said(&mut self, node: &NodeName, key: &FilterKey, interest: Option<Interest>, ops: &mut Vec<Op>) {
        if interest.is_some_and(|interest| interest.durable) {
            if self.0.entry(node.clone()).or_default().insert(key.clone()) {
                let value = KeptValue { until_ms: 0, bytes: Box::default() };
                ops.push(Op::PutValue { owner: MARKS.into(), key: row(node, key), value });
            }
        } else if self.0.get_mut(node).is_some_and(|kept| kept.remove(key)) {
            ops.push(Op::DeleteValue { owner: MARKS.into(), key: row(node, key) });
        }
    }

    /// What the store has, which the core is told before the node joins.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(super) fn restored(&mut self, store: &dyn Store) -> Result<Vec<Input>, StoreError> {
        let mut found: BTreeMap<NodeName, Vec<FilterKey>> = BTreeMap::new();
        store.scan_values(&mut |owner, key, _| {
            if owner == MARKS
                && let Some((node, key)) = read(key)
            {
                found.entry(node).or_default().push(key);
            }
            true
        })?;
        self.0.extend(found.iter().map(|(node, keys)| (node.clone(), keys.iter().cloned().collect())));
        Ok(found.into_iter().map(|(node, keys)| Input::RoutesRestored { node, keys }).collect())
    }
}

/// Names of nodes and tenants have no NUL, nor has a filter.
fn row(node: &NodeName, key: &FilterKey) -> Box<str> {
    format!("{PREFIX}{node}\0{}\0{}", key.tenant, key.filter).into()
}

fn read(key: &str) -> Option<(NodeName, FilterKey)> {
    let mut parts = key.strip_prefix(PREFIX)?.split('\0');
    let (node, tenant, filter) = (parts.next()?, parts.next()?, parts.next()?);
    Some((NodeName::new(node).ok()?, FilterKey::new(tenant, filter)))
}
