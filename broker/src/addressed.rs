//! Things by the address of what they are about: few are looked through, many are indexed.

use hashbrown::HashMap;

use crate::Hasher;

/// From here on they are indexed; below, looking through them is cheaper.
const INDEXED_FROM: usize = 16;

/// Something that is about one thing, which it keeps alive.
pub(crate) trait Addressed {
    /// Where that is.
    fn address(&self) -> usize;
}

/// In no order, each address once.
pub(crate) struct ByAddress<T> {
    items: Vec<T>,
    /// Address to place in `items`; empty for few.
    index: HashMap<usize, u32, Hasher>,
}

impl<T: Addressed> Default for ByAddress<T> {
    fn default() -> Self {
        ByAddress { items: Vec::new(), index: HashMap::default() }
    }
}

impl<T: Addressed> ByAddress<T> {
    pub(crate) fn all(&self) -> &[T] {
        &self.items
    }

    pub(crate) fn all_mut(&mut self) -> &mut [T] {
        &mut self.items
    }

    pub(crate) fn position(&self, address: usize) -> Option<usize> {
        if self.index.is_empty() {
            return self.items.iter().position(|item| item.address() == address);
        }
        self.index.get(&address).map(|at| *at as usize)
    }

    /// Replaces the one of its address; returns that.
    pub(crate) fn put(&mut self, item: T) -> Option<T> {
        if let Some(at) = self.position(item.address()) {
            return Some(std::mem::replace(&mut self.items[at], item));
        }
        if !self.index.is_empty() {
            self.index.insert(item.address(), self.items.len() as u32);
        }
        self.items.push(item);
        if self.index.is_empty() && self.items.len() >= INDEXED_FROM {
            self.index.extend(self.items.iter().enumerate().map(|(at, item)| (item.address(), at as u32)));
        }
        None
    }

    pub(crate) fn remove(&mut self, address: usize) -> Option<T> {
        let at = self.position(address)?;
        let removed = self.items.swap_remove(at);
        if !self.index.is_empty() {
            self.index.remove(&address);
            if let Some(moved) = self.items.get(at) {
                self.index.insert(moved.address(), at as u32);
            }
            // Half the size that made it: what hovers there does not rebuild it each time.
            if self.items.len() < INDEXED_FROM / 2 {
                self.index = HashMap::default();
            }
        }
        if self.items.len() < self.items.capacity() / 4 {
            self.items.shrink_to(self.items.len() * 2);
        }
        Some(removed)
    }

    /// Any one of them, taken.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let address = self.items.last()?.address();
        self.remove(address)
    }
}
