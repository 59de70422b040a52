//! Something for each of many topics, found by filter: a hash per level over interned level texts.

use hashbrown::HashMap;

use crate::slab::Slab;
use crate::tree::levels::Levels;
use crate::{Hasher, TOPIC_LEVELS_MAX};

/// No level: that of the root.
const NONE: u32 = u32::MAX;
const ROOT: u32 = 0;

/// One topic prefix.
struct Node<T> {
    parent: u32,
    /// Number of its level's text.
    level: u32,
    /// By number of their level's text; leaves own no table.
    children: Option<Box<HashMap<u32, u32, Hasher>>>,
    thing: Option<T>,
}

impl<T> Node<T> {
    fn new(parent: u32, level: u32) -> Self {
        Node { parent, level, children: None, thing: None }
    }
}

/// See the module. No topic has more than [`TOPIC_LEVELS_MAX`] levels, and no walk goes deeper.
pub(super) struct Topics<T> {
    levels: Levels,
    nodes: Slab<Node<T>>,
    hasher: Hasher,
}

impl<T> Default for Topics<T> {
    fn default() -> Self {
        let hasher = Hasher::default();
        Topics { levels: Levels::default(), nodes: Slab::new(Node::new(NONE, NONE)), hasher }
    }
}

/// One level of a filter.
enum Wanted {
    Text(u32),
    Plus,
    Hash,
}

impl<T> Topics<T> {
    /// The number of a topic that is there, or on the way to one.
    pub(super) fn find(&self, topic: &str) -> Option<u32> {
        topic.split('/').try_fold(ROOT, |at, text| self.child(at, self.levels.find(text)?))
    }

    /// Higher than the number of every topic.
    pub(super) fn end(&self) -> u32 {
        self.nodes.end()
    }

    /// What a topic has.
    pub(super) fn get_mut(&mut self, at: u32) -> Option<&mut T> {
        self.nodes.get_mut(at).thing.as_mut()
    }

    /// What a topic has.
    pub(super) fn get(&self, at: u32) -> Option<&T> {
        self.nodes.get(at).thing.as_ref()
    }

    /// The number of a topic, which then has to be [`put`](Self::put) to; `None`: it is too deep, or there is no room.
    pub(super) fn add(&mut self, topic: &str) -> Option<u32> {
        let count = topic.split('/').count();
        if count > TOPIC_LEVELS_MAX || !self.nodes.has_room(count, NONE) {
            return None;
        }
        Some(topic.split('/').fold(ROOT, |at, text| {
            self.levels.find(text).and_then(|level| self.child(at, level)).unwrap_or_else(|| self.add_child(at, text))
        }))
    }

    /// Returns what the topic had.
    pub(super) fn put(&mut self, at: u32, thing: T) -> Option<T> {
        self.nodes.get_mut(at).thing.replace(thing)
    }

    /// Takes away what a topic has, and the topic.
    pub(super) fn take(&mut self, at: u32) -> Option<T> {
        let thing = self.nodes.get_mut(at).thing.take();
        self.prune(at);
        thing
    }

    /// Calls `each` with what every topic has that `filter` (valid) matches, in no order.
    pub(super) fn matching(&self, filter: &str, each: &mut impl FnMut(&T)) {
        let wanted = |text| match text {
            "+" => Some(Wanted::Plus),
            "#" => Some(Wanted::Hash),
            text => self.levels.find(text).map(Wanted::Text),
        };
        let wanted: Option<Vec<Wanted>> = filter.split('/').map(wanted).collect();
        if let Some(wanted) = wanted.filter(|wanted| wanted.len() <= TOPIC_LEVELS_MAX + 1) {
            self.walk(ROOT, &wanted, each);
        }
    }

    fn walk(&self, at: u32, wanted: &[Wanted], each: &mut impl FnMut(&T)) {
        let node = self.nodes.get(at);
        match wanted.split_first() {
            None => node.thing.iter().for_each(each),
            Some((Wanted::Text(level), rest)) => {
                if let Some(child) = self.child(at, *level) {
                    self.walk(child, rest, each);
                }
            }
            Some((Wanted::Plus, rest)) => self.children(at, |child| self.walk(child, rest, each)),
            Some((Wanted::Hash, _)) => self.all(at, each),
        }
    }

    /// The node's own and what is below it.
    fn all(&self, at: u32, each: &mut impl FnMut(&T)) {
        self.nodes.get(at).thing.iter().for_each(&mut *each);
        self.children(at, |child| self.all(child, each));
    }

    /// For a wildcard: below the root it does not match what begins with `$` (MQTT-4.7.2-1).
    fn children(&self, at: u32, mut each: impl FnMut(u32)) {
        for (level, child) in self.nodes.get(at).children.iter().flat_map(|children| children.iter()) {
            if at != ROOT || !self.levels.text(*level).starts_with('$') {
                each(*child);
            }
        }
    }

    fn child(&self, at: u32, level: u32) -> Option<u32> {
        self.nodes.get(at).children.as_ref()?.get(&level).copied()
    }

    fn add_child(&mut self, at: u32, text: &str) -> u32 {
        let level = self.levels.hold(text);
        let child = self.nodes.add(Node::new(at, level));
        let hasher = self.hasher.clone();
        let children = &mut self.nodes.get_mut(at).children;
        children.get_or_insert_with(|| Box::new(HashMap::with_hasher(hasher))).insert(level, child);
        child
    }

    /// Frees the node and its parents as far as nothing uses them.
    fn prune(&mut self, mut at: u32) {
        while at != ROOT && self.nodes.get(at).thing.is_none() && self.nodes.get(at).children.is_none() {
            let (parent, level) = (self.nodes.get(at).parent, self.nodes.get(at).level);
            let children = &mut self.nodes.get_mut(parent).children;
            let emptied = children.as_mut().is_some_and(|children| {
                children.remove(&level);
                children.is_empty()
            });
            if emptied {
                *children = None;
            }
            self.levels.release(level);
            self.nodes.release(at);
            at = parent;
        }
    }

    /// Whether no topic is left.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.nodes.len() == 1 && self.levels.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use gatemq_mqtt::topic;
    use proptest::prelude::*;

    use super::*;

    fn name() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "c", "", "$s"]);
        prop::collection::vec(level, 1..5)
            .prop_map(|levels| levels.join("/"))
            .prop_filter("not empty", |t| !t.is_empty())
    }

    fn filter() -> impl Strategy<Value = String> {
        let level = prop::sample::select(vec!["a", "b", "", "$s", "+", "+", "z"]);
        let end = prop_oneof![2 => Just(""), 1 => Just("/#")];
        let long = (prop::collection::vec(level, 1..5), end).prop_map(|(levels, end)| levels.join("/") + end);
        prop_oneof![9 => long, 1 => Just("#".to_string())].prop_filter("not empty", |f| !f.is_empty())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        /// Guards retained matching against a naive model: after any stores and clears each filter finds exactly the
        /// topics that it matches, with what was put there last, and nothing is left when all are taken.
        #[test]
        fn finds_what_matches(
            steps in prop::collection::vec((prop::bool::weighted(0.7), name()), 0..60),
            filters in prop::collection::vec(filter(), 1..12),
        ) {
            let mut topics = Topics::default();
            let mut model = std::collections::HashMap::<String, usize>::new();
            for (n, (put, name)) in steps.into_iter().enumerate() {
                if put {
                    let at = topics.add(&name).unwrap();
                    prop_assert_eq!(topics.put(at, n), model.insert(name, n));
                } else {
                    let taken = topics.find(&name).and_then(|at| topics.take(at));
                    prop_assert_eq!(taken, model.remove(&name));
                }
            }
            for filter in &filters {
                let mut found = Vec::new();
                topics.matching(filter, &mut |n| found.push(*n));
                let mut wanted: Vec<_> =
                    model.iter().filter(|(name, _)| topic::matches(filter, name)).map(|(_, n)| *n).collect();
                found.sort();
                wanted.sort();
                prop_assert_eq!(found, wanted, "{}", filter);
            }
            for (name, n) in model {
                let at = topics.find(&name).unwrap();
                prop_assert_eq!(topics.take(at), Some(n));
            }
            prop_assert!(topics.is_empty());
        }
    }
}
