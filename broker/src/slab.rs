//! Numbered things in chunks.

const CHUNK: usize = 256;

/// Things by number, in chunks: growing copies nothing and leaves no half-empty doubling. Numbers are used again.
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

impl<T> Slab<T> {
    /// With `first`, whose number is 0.
    pub(crate) fn new(first: T) -> Self {
        let mut slab = Slab { chunks: Vec::new(), free: Vec::new() };
        slab.add(first);
        slab
    }

    #[inline]
    pub(crate) fn get(&self, n: u32) -> &T {
        &self.chunks[n as usize / CHUNK][n as usize % CHUNK]
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, n: u32) -> &mut T {
        &mut self.chunks[n as usize / CHUNK][n as usize % CHUNK]
    }

    /// Whether `count` more fit below the number `end`.
    pub(crate) fn has_room(&self, count: usize, end: u32) -> bool {
        self.chunks.len() * CHUNK + count < end as usize
    }

    pub(crate) fn add(&mut self, thing: T) -> u32 {
        if let Some(n) = self.free.pop() {
            *self.get_mut(n) = thing;
            return n;
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            // The first one grows as it is needed: most tenants are small.
            self.chunks.push(if self.chunks.is_empty() { Vec::new() } else { Vec::with_capacity(CHUNK) });
        }
        let last = self.chunks.len() - 1;
        self.chunks[last].push(thing);
        (last * CHUNK + self.chunks[last].len() - 1) as u32
    }

    /// The thing under this number is not used any more; it is dropped when another takes its place.
    pub(crate) fn release(&mut self, n: u32) {
        self.free.push(n);
    }

    /// Higher than every number that is in use.
    pub(crate) fn end(&self) -> u32 {
        self.chunks.iter().map(Vec::len).sum::<usize>() as u32
    }

    /// How many are in use.
    pub(crate) fn len(&self) -> usize {
        self.chunks.iter().map(Vec::len).sum::<usize>() - self.free.len()
    }
}
