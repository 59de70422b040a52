//! The nodes of a tree.

use hashbrown::HashMap;

use super::subscribers::Subscribers;
use crate::Hasher;

/// Neither a node nor a level.
pub(super) const NONE: u32 = u32::MAX >> 1;
/// The root.
pub(super) const ROOT: u32 = 0;

/// One filter prefix; 64 bytes or less.
pub(super) struct Node {
    pub(super) parent: u32,
    /// Number of its level's text; `NONE` for `+` and the root.
    pub(super) level: u32,
    /// The child `+`.
    pub(super) plus: u32,
    /// The other child, if there is just one: most have no table.
    pub(super) only: u32,
    /// Two children or more, by number of their level's text.
    pub(super) children: Option<Box<HashMap<u32, u32, Hasher>>>,
    /// Filters that end here.
    pub(super) here: Subscribers,
    /// Filters that end with `#` below here.
    pub(super) below: Subscribers,
}

impl Node {
    pub(super) fn new(parent: u32, level: u32) -> Self {
        let (here, below) = (Subscribers::None, Subscribers::None);
        Node { parent, level, plus: NONE, only: NONE, children: None, here, below }
    }

    pub(super) fn is_unused(&self) -> bool {
        self.plus == NONE
            && self.only == NONE
            && self.children.is_none()
            && self.here.is_empty()
            && self.below.is_empty()
    }
}
