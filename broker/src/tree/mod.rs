//! A tenant's subscriptions: a hash per level over interned level texts, with direct `+` and `#`.
//!
//! Changed in place under the tenant's write lock. One node per filter prefix; a node is freed when its last
//! subscription and child are gone. A shared subscription is one target of its filter, whatever members it has.

mod groups;
pub(crate) mod levels;
mod nodes;
mod remote;
mod subscribers;

use std::sync::Arc;

use gatemq_mqtt::topic::Filter;
use hashbrown::HashMap;

use crate::session::Session;
use crate::shared::Group;
use crate::slab::Slab;
use crate::{Hasher, TOPIC_LEVELS_MAX};
use groups::Groups;
use levels::Levels;
use nodes::{NONE, Node, ROOT};
use subscribers::Subscribers;
pub(crate) use subscribers::address_of;
use subscribers::address_of_group;
pub use subscribers::{Subscription, Target};

/// Where a filter sits, kept by its session so that leaving needs no search by text.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Place(u32);

/// The filter ends with `#` below the node.
const BELOW: u32 = 1 << 31;
/// It is the number of a shared subscription.
const SHARED: u32 = 1 << 30;

impl Place {
    fn shared(self) -> Option<u32> {
        (self.0 & SHARED != 0).then_some(self.0 & !SHARED)
    }

    fn node(self) -> u32 {
        self.0 & !BELOW
    }

    fn is_below(self) -> bool {
        self.0 & BELOW != 0
    }
}

/// Why a filter cannot be added.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TreeError {
    /// It has more than [`TOPIC_LEVELS_MAX`] levels.
    TooManyLevels,
    /// The tree has as many nodes as it can number.
    Full,
}

/// The subscriptions of one tenant.
pub struct Tree {
    levels: Levels,
    nodes: Slab<Node>,
    /// Absent until there is one.
    groups: Option<Box<Groups>>,
    hasher: Hasher,
}

impl Default for Tree {
    fn default() -> Self {
        let (levels, nodes) = (Levels::default(), Slab::new(Node::new(NONE, NONE)));
        Tree { levels, nodes, groups: None, hasher: Hasher::default() }
    }
}

impl Tree {
    /// Adds or replaces a session's subscription to `filter`, which is valid and may begin with `$share/NAME/`. Returns
    /// its place and whether it is new.
    pub fn subscribe(&mut self, filter: &str, subscription: Subscription) -> Result<(Place, bool), TreeError> {
        let Filter { share_name, filter, .. } = Filter::trusted(filter);
        let place = self.place(filter)?;
        Ok(match share_name {
            None => (place, self.subscribers_mut(place).put(Target::Session(subscription))),
            Some(share_name) => self.join(share_name, place, subscription),
        })
    }

    /// The place of a filter without a share name, made where there is none yet.
    fn place(&mut self, filter: &str) -> Result<Place, TreeError> {
        let count = filter.split('/').count();
        if count > TOPIC_LEVELS_MAX {
            return Err(TreeError::TooManyLevels);
        }
        if !self.nodes.has_room(count, SHARED) {
            return Err(TreeError::Full);
        }
        let mut at = ROOT;
        let mut place = None;
        for text in filter.split('/') {
            if text == "#" {
                place = Some(Place(at | BELOW));
                break;
            }
            at = self.child(at, text).unwrap_or_else(|| self.add_child(at, text));
        }
        Ok(place.unwrap_or(Place(at)))
    }

    fn join(&mut self, share_name: &str, place: Place, member: Subscription) -> (Place, bool) {
        let groups = self.groups.get_or_insert_default();
        if let Some((number, group)) = groups.find(share_name, place) {
            return (Place(number | SHARED), group.join(member));
        }
        let group = Arc::new(Group::new(share_name, place, &member.session.key().tenant().usage));
        let new = group.join(member);
        (self.add_group(group), new)
    }

    fn add_group(&mut self, group: Arc<Group>) -> Place {
        // Each has a node, so its number is below that of nodes.
        let number = self.groups.get_or_insert_default().add(group.clone());
        self.subscribers_mut(group.place()).put(Target::Group(group));
        Place(number | SHARED)
    }

    fn remove_group(&mut self, number: u32, group: &Arc<Group>) {
        self.subscribers_mut(group.place()).remove(address_of_group(group));
        self.prune(group.place().node());
        if let Some(groups) = &mut self.groups {
            groups.remove(number);
        }
        self.groups.take_if(|groups| groups.len() == 0);
    }

    /// Takes the session's subscription at a place away; false if it had none there.
    pub fn unsubscribe(&mut self, place: Place, session: &Arc<Session>) -> bool {
        if let Some(number) = place.shared() {
            return self.leave(number, session);
        }
        let found = self.subscribers_mut(place).remove(address_of(session));
        if found {
            self.prune(place.node());
        }
        found
    }

    fn leave(&mut self, number: u32, session: &Arc<Session>) -> bool {
        let Some(group) = self.group(number).cloned() else { return false };
        let Some(empty) = group.leave(session) else { return false };
        if empty {
            self.remove_group(number, &group);
        }
        true
    }

    /// The shared subscription at a place, if it is one.
    pub(crate) fn group_at(&self, place: Place) -> Option<&Arc<Group>> {
        self.group(place.shared()?)
    }

    fn group(&self, number: u32) -> Option<&Arc<Group>> {
        self.groups.as_ref()?.get(number)
    }

    /// The session's subscription at a place.
    pub fn subscription(&self, place: Place, session: &Arc<Session>) -> Option<Subscription> {
        if let Some(number) = place.shared() {
            return self.group(number)?.member(session);
        }
        let node = self.nodes.get(place.node());
        let subscribers = if place.is_below() { &node.below } else { &node.here };
        match subscribers.get(address_of(session))? {
            Target::Session(subscription) => Some(subscription.clone()),
            Target::Group(_) | Target::Node(_) => None,
        }
    }

    /// Whether any filter matches `topic`.
    pub(crate) fn matches(&self, topic: &str) -> bool {
        let mut targets = Vec::new();
        self.collect(topic, &mut Vec::new(), &mut targets);
        !targets.is_empty()
    }

    /// The place of `filter`, if anyone subscribed to it or (where it is not shared) to a filter below it.
    pub fn find(&self, filter: &str) -> Option<Place> {
        let Filter { share_name, filter, .. } = Filter::trusted(filter);
        let place = self.find_plain(filter)?;
        match share_name {
            None => Some(place),
            Some(share_name) => {
                let (number, _) = self.groups.as_ref()?.find(share_name, place)?;
                Some(Place(number | SHARED))
            }
        }
    }

    fn find_plain(&self, filter: &str) -> Option<Place> {
        let mut at = ROOT;
        for text in filter.split('/') {
            if text == "#" {
                return Some(Place(at | BELOW));
            }
            at = self.child(at, text)?;
        }
        Some(Place(at))
    }

    /// The filter at a place, rebuilt from the tree (sessions keep no second copy of it).
    pub fn filter(&self, place: Place) -> String {
        if let Some(number) = place.shared() {
            return self.group(number).map_or_else(String::new, |group| {
                format!("$share/{}/{}", group.share_name(), self.filter(group.place()))
            });
        }
        let mut parts = Vec::new();
        if place.is_below() {
            parts.push("#");
        }
        let mut at = place.node();
        while at != ROOT {
            let node = self.nodes.get(at);
            parts.push(if node.level == NONE { "+" } else { self.levels.text(node.level) });
            at = node.parent;
        }
        parts.reverse();
        parts.join("/")
    }

    /// Whether there is no subscription.
    pub fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.nodes.get(ROOT).is_unused()
    }

    /// Everyone whose filter matches `topic`, once for each filter, appended to `targets`. `ids` is scratch.
    ///
    /// The walk goes no deeper than the filters, which have at most [`TOPIC_LEVELS_MAX`] levels.
    pub fn collect(&self, topic: &str, ids: &mut Vec<u32>, targets: &mut Vec<Target>) {
        ids.clear();
        ids.extend(topic.split('/').map(|level| self.levels.find(level).unwrap_or(NONE)));
        // Wildcards at the first level do not match `$` topics (MQTT-4.7.2-1).
        self.walk(ROOT, ids, topic.starts_with('$'), targets);
    }

    fn walk(&self, at: u32, rest: &[u32], dollar: bool, targets: &mut Vec<Target>) {
        let node = self.nodes.get(at);
        if !dollar {
            targets.extend_from_slice(node.below.all());
        }
        let Some((first, rest)) = rest.split_first() else {
            return targets.extend_from_slice(node.here.all());
        };
        if node.plus != NONE && !dollar {
            self.walk(node.plus, rest, false, targets);
        }
        if let Some(child) = self.child_at(node, *first) {
            self.walk(child, rest, false, targets);
        }
    }

    fn subscribers_mut(&mut self, place: Place) -> &mut Subscribers {
        let node = self.nodes.get_mut(place.node());
        if place.is_below() { &mut node.below } else { &mut node.here }
    }

    fn child(&self, at: u32, text: &str) -> Option<u32> {
        let node = self.nodes.get(at);
        if text == "+" {
            return (node.plus != NONE).then_some(node.plus);
        }
        self.child_at(node, self.levels.find(text)?)
    }

    /// The child of a level's text.
    #[inline]
    fn child_at(&self, node: &Node, level: u32) -> Option<u32> {
        if node.only != NONE {
            return (self.nodes.get(node.only).level == level).then_some(node.only);
        }
        node.children.as_ref()?.get(&level).copied()
    }

    fn add_child(&mut self, at: u32, text: &str) -> u32 {
        if text == "+" {
            let child = self.nodes.add(Node::new(at, NONE));
            self.nodes.get_mut(at).plus = child;
            return child;
        }
        let level = self.levels.hold(text);
        let child = self.nodes.add(Node::new(at, level));
        let above = self.nodes.get(at);
        if above.only == NONE && above.children.is_none() {
            self.nodes.get_mut(at).only = child;
            return child;
        }
        let first = (above.only != NONE).then(|| (self.nodes.get(above.only).level, above.only));
        let hasher = self.hasher.clone();
        let above = self.nodes.get_mut(at);
        above.only = NONE;
        let children = above.children.get_or_insert_with(|| Box::new(HashMap::with_hasher(hasher)));
        children.extend(first.into_iter().chain([(level, child)]));
        child
    }

    /// Frees the node and its parents as far as nothing uses them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes.get(at).is_unused() {
            let (parent, level) = (self.nodes.get(at).parent, self.nodes.get(at).level);
            let above = self.nodes.get_mut(parent);
            if level == NONE {
                above.plus = NONE;
            } else {
                above.only = NONE;
                if let Some(children) = &mut above.children {
                    children.remove(&level);
                    if let Some((_, last)) = children.iter().next().filter(|_| children.len() == 1) {
                        above.only = *last;
                        above.children = None;
                    }
                }
                self.levels.release(level);
            }
            self.nodes.release(at);
            at = parent;
        }
    }
}

#[cfg(test)]
mod tests {
    use gatemq_types::QoS;

    use super::*;
    use crate::session::testing::session as attached;

    fn target(session: &Arc<Session>) -> Subscription {
        let (qos, no_local, retain_as_published, identifier) = (QoS::AtMostOnce, false, false, 0);
        Subscription { session: session.clone(), qos, no_local, retain_as_published, identifier }
    }

    fn session(connection: u32) -> Arc<Session> {
        attached(connection).session().clone()
    }

    fn matched(tree: &Tree, topic: &str) -> usize {
        let mut targets = Vec::new();
        tree.collect(topic, &mut Vec::new(), &mut targets);
        targets.len()
    }

    /// Guards that a place names its filter, and that the last one to leave leaves nothing behind.
    #[test]
    fn places_name_filters_and_nothing_is_left() {
        let filters = [
            "a",
            "a/b",
            "a/+",
            "a/#",
            "+/b",
            "#",
            "+/+/c",
            "a/b/c",
            "/",
            "+",
            "$S/x",
            "$S/#",
            "$share/g/a/b",
            "$share/h/a/b",
            "$share/g/#",
        ];
        let (one, two) = (session(1), session(2));
        let mut tree = Tree::default();
        let mut places = Vec::new();
        for filter in filters {
            let (place, new) = tree.subscribe(filter, target(&one)).unwrap();
            assert!(new);
            assert_eq!(tree.subscribe(filter, target(&one)).unwrap(), (place, false), "{filter} replaced");
            assert_eq!((tree.find(filter), tree.filter(place)), (Some(place), filter.to_string()));
            places.push(place);
        }
        assert_eq!((matched(&tree, "a/b"), matched(&tree, "$S"), matched(&tree, "$S/x")), (8, 1, 2));
        for place in places {
            assert!(!tree.unsubscribe(place, &two), "it never subscribed");
            assert!(tree.unsubscribe(place, &one));
        }
        assert!(tree.is_empty() && tree.groups.is_none());
        assert_eq!((tree.nodes.len(), tree.levels.len()), (1, 0), "only the root is left");
    }

    /// Guards the bound on recursion: no peer adds a filter deeper than the bound, and one just as deep works.
    #[test]
    fn depth_is_bounded() {
        let mut tree = Tree::default();
        let deepest = vec!["+"; TOPIC_LEVELS_MAX].join("/");
        assert!(tree.subscribe(&deepest, target(&session(1))).is_ok());
        let deeper = format!("{deepest}/#");
        assert_eq!(tree.subscribe(&deeper, target(&session(1))).unwrap_err(), TreeError::TooManyLevels);
        assert_eq!(matched(&tree, &vec!["x"; TOPIC_LEVELS_MAX].join("/")), 1);
    }

    /// Guards the memory of a subscription: a node stays within one cache line.
    #[test]
    fn a_node_is_one_cache_line() {
        assert!(size_of::<nodes::Node>() <= 64, "{}", size_of::<nodes::Node>());
    }
}
