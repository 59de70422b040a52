//! Other nodes among the targets.

use std::sync::Arc;

use gatemq_mqtt::topic::Filter;

use super::subscribers::Target;
use super::{Place, SHARED, Tree, TreeError};
use crate::remote::{Remote, address_of_node};
use crate::shared::Group;
use crate::tenant::Usage;

impl Tree {
    /// Clients of another node subscribed to `filter`; of a shared subscription, `members` of them. `usage` is the tenant's.
    ///
    /// # Errors
    /// Too deep a filter, or too large a tree.
    pub(crate) fn set_node(
        &mut self,
        filter: &str,
        node: &Arc<Remote>,
        members: u32,
        usage: &Arc<Usage>,
    ) -> Result<(), TreeError> {
        let parts = Filter::trusted(filter);
        let place = self.place(parts.filter)?;
        let Some(share_name) = parts.share_name else {
            self.subscribers_mut(place).put(Target::Node(node.clone()));
            return Ok(());
        };
        let known = self.groups.as_ref().and_then(|groups| groups.find(share_name, place));
        match known {
            Some((_, group)) => group.set_node(node, members, filter),
            None => {
                let group = Arc::new(Group::new(share_name, place, usage));
                group.set_node(node, members, filter);
                self.add_group(group);
            }
        }
        Ok(())
    }

    /// None of that node's does any more.
    pub(crate) fn unset_node(&mut self, filter: &str, node: &Arc<Remote>) {
        let Some(place) = self.find(filter) else { return };
        let Some(number) = place.shared() else {
            if self.subscribers_mut(place).remove(address_of_node(node)) {
                self.prune(place.node());
            }
            return;
        };
        if let Some(group) = self.group(number).cloned()
            && group.unset_node(node)
        {
            self.remove_group(number, &group);
        }
    }

    /// The shared subscription of a filter.
    pub(crate) fn group_of(&self, filter: &str) -> Option<Arc<Group>> {
        self.find(filter).and_then(|place: Place| self.group(place.0 & !SHARED)).cloned()
    }
}
