//! The nodes of a tree, by number.

use hashbrown::HashMap;

use super::subscribers::Subscribers;
use crate::Hasher;

/// Neither a node nor a level.
pub(super) const NONE: u32 = u32::MAX >> 1;
/// The root.
pub(super) const ROOT: u32 = 0;
const CHUNK: usize = 256;

/// One filter prefix; 64 bytes or less.
pub(super) struct Node {
    pub(super) parent: u32,
    /// Number of its level's text; `NONE` for `+` and the root.
    pub(super) level: u32,
    /// The child `+`.
    pub(super) plus: u32,
    /// Children by number of their level's text; leaves own no table.
    pub(super) children: Option<Box<HashMap<u32, u32, Hasher>>>,
    /// Filters that end here.
    pub(super) here: Subscribers,
    /// Filters that end with `#` below here.
    pub(super) below: Subscribers,
}

impl Node {
    pub(super) fn is_unused(&self) -> bool {
        self.plus == NONE && self.children.is_none() && self.here.is_empty() && self.below.is_empty()
    }
}

/// Nodes in chunks: growing copies nothing and leaves no half-empty doubling.
pub(super) struct Nodes {
    chunks: Vec<Vec<Node>>,
    free: Vec<u32>,
}

impl Nodes {
    /// Only the root.
    pub(super) fn new() -> Self {
        let mut nodes = Nodes { chunks: Vec::new(), free: Vec::new() };
        nodes.add(NONE, NONE);
        nodes
    }

    pub(super) fn get(&self, n: u32) -> &Node {
        &self.chunks[n as usize / CHUNK][n as usize % CHUNK]
    }

    pub(super) fn get_mut(&mut self, n: u32) -> &mut Node {
        &mut self.chunks[n as usize / CHUNK][n as usize % CHUNK]
    }

    /// Whether `count` more fit.
    pub(super) fn has_room(&self, count: usize) -> bool {
        self.chunks.len() * CHUNK + count < NONE as usize
    }

    pub(super) fn add(&mut self, parent: u32, level: u32) -> u32 {
        let (here, below) = (Subscribers::None, Subscribers::None);
        let node = Node { parent, level, plus: NONE, children: None, here, below };
        if let Some(n) = self.free.pop() {
            *self.get_mut(n) = node;
            return n;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(node);
        (last * CHUNK + self.chunks[last].len() - 1) as u32
    }

    /// The node is unused and no longer a child of its parent.
    pub(super) fn release(&mut self, n: u32) {
        self.free.push(n);
    }

    /// Number of nodes in use, the root included.
    pub(super) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }
}
