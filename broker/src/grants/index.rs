//! The rules of a list as a tree by level, so that a topic is compared with few of them.
//!
//! Finds the first rule of the list that matches, as a walk of the list would, without looking at every rule: each node
//! knows the lowest rule below it, and is left out once a lower one has been found.

use hashbrown::HashMap;

use super::compile::Rule;
use super::template::{Level, Part, Resolved, expands_to};
use crate::Hasher;

const ROOT: usize = 0;

/// Rules of a list by the levels of their filters.
pub(crate) struct Index {
    nodes: Box<[Node]>,
}

struct Node {
    /// Lowest rule at this node or below it.
    lowest: u32,
    texts: HashMap<Box<str>, u32, Hasher>,
    plus: Option<u32>,
    templates: Vec<(Box<[Part]>, u32)>,
    /// Rules that end here, ascending.
    here: Vec<u32>,
    /// Rules that end with `#` below here, ascending.
    below: Vec<u32>,
}

impl Node {
    fn new(lowest: u32) -> Self {
        let (texts, templates) = (HashMap::default(), Vec::new());
        Node { lowest, texts, plus: None, templates, here: Vec::new(), below: Vec::new() }
    }
}

impl Index {
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut nodes = vec![Node::new(0)];
        for (number, rule) in (0..).zip(rules) {
            let mut at = ROOT;
            let mut ends_below = false;
            for level in &rule.levels {
                if *level == Level::Hash {
                    ends_below = true;
                } else {
                    at = child(&mut nodes, at, level, number);
                }
            }
            let node = &mut nodes[at];
            if ends_below { node.below.push(number) } else { node.here.push(number) }
        }
        Index { nodes: nodes.into() }
    }

    /// Offers rules whose filters match `topic` to `consider`, which says whether the rule decides. A rule that comes
    /// after one that decided is not offered; the lowest that decided is returned.
    pub(crate) fn first(&self, topic: &str, values: &Resolved, consider: impl FnMut(u32) -> bool) -> Option<u32> {
        let mut search = Search { nodes: &self.nodes, values, consider, best: u32::MAX };
        // Wildcards at the first level do not match `$` topics (MQTT-4.7.2-1).
        search.walk(ROOT, Some(topic), topic.starts_with('$'));
        (search.best != u32::MAX).then_some(search.best)
    }
}

/// The child of a node for a level, added if there is none yet.
fn child(nodes: &mut Vec<Node>, at: usize, level: &Level, rule: u32) -> usize {
    let next = nodes.len() as u32;
    let node = &mut nodes[at];
    let found = match level {
        Level::Text(text) => *node.texts.entry(text.clone()).or_insert(next),
        Level::Plus => *node.plus.get_or_insert(next),
        Level::Template(parts) => match node.templates.iter().find(|(known, _)| known == parts) {
            Some((_, found)) => *found,
            None => {
                node.templates.push((parts.clone(), next));
                next
            }
        },
        Level::Hash => at as u32,
    };
    if found == next {
        nodes.push(Node::new(rule));
    }
    found as usize
}

struct Search<'a, F> {
    nodes: &'a [Node],
    values: &'a Resolved,
    consider: F,
    best: u32,
}

impl<F: FnMut(u32) -> bool> Search<'_, F> {
    /// `rest` is what of the topic is below the node. Goes no deeper than the rules.
    fn walk(&mut self, at: usize, rest: Option<&str>, dollar: bool) {
        let nodes = self.nodes;
        let node = &nodes[at];
        if node.lowest >= self.best {
            return;
        }
        if !dollar {
            self.offer(&node.below);
        }
        let Some(rest) = rest else { return self.offer(&node.here) };
        let (level, rest) = match rest.as_bytes().iter().position(|byte| *byte == b'/') {
            Some(at) => (&rest[..at], Some(&rest[at + 1..])),
            None => (rest, None),
        };
        if !node.texts.is_empty()
            && let Some(child) = node.texts.get(level)
        {
            self.walk(*child as usize, rest, false);
        }
        for (parts, child) in &node.templates {
            if expands_to(parts, self.values, level) {
                self.walk(*child as usize, rest, false);
            }
        }
        if let (Some(child), false) = (node.plus, dollar) {
            self.walk(child as usize, rest, false);
        }
    }

    fn offer(&mut self, rules: &[u32]) {
        for rule in rules {
            if *rule >= self.best {
                return;
            }
            if (self.consider)(*rule) {
                self.best = *rule;
                return;
            }
        }
    }
}
