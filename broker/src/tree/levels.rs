//! Level texts by number, each kept once however many filters have it.

use std::hash::BuildHasher;

use hashbrown::HashTable;

use crate::Hasher;

/// Interned texts with the number of nodes that hold each.
#[derive(Default)]
pub(crate) struct Levels {
    texts: Vec<(Box<str>, u32)>,
    numbers: HashTable<u32>,
    free: Vec<u32>,
    hasher: Hasher,
}

impl Levels {
    /// The number of a text that some node holds.
    #[inline]
    pub(crate) fn find(&self, text: &str) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        self.numbers.find(hash, |n| *self.texts[*n as usize].0 == *text).copied()
    }

    /// The text of a number that is held.
    pub(crate) fn text(&self, number: u32) -> &str {
        self.texts.get(number as usize).map_or("", |(text, _)| text)
    }

    /// Holds a text once more.
    pub(crate) fn hold(&mut self, text: &str) -> u32 {
        if let Some(n) = self.find(text) {
            self.texts[n as usize].1 += 1;
            return n;
        }
        let n = self.free.pop().unwrap_or_else(|| {
            self.texts.push(Default::default());
            self.texts.len() as u32 - 1
        });
        self.texts[n as usize] = (text.into(), 1);
        let Levels { texts, numbers, hasher, .. } = self;
        numbers.insert_unique(hasher.hash_one(text), n, |n| hasher.hash_one(&*texts[*n as usize].0));
        n
    }

    /// Ends one hold; the last frees the text.
    pub(crate) fn release(&mut self, n: u32) {
        let (text, held) = &mut self.texts[n as usize];
        *held -= 1;
        if *held == 0 {
            let hash = self.hasher.hash_one(&**text);
            if let Ok(entry) = self.numbers.find_entry(hash, |m| *m == n) {
                entry.remove();
            }
            *text = Box::default();
            self.free.push(n);
        }
    }

    /// Number of texts that are held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.numbers.len()
    }
}
