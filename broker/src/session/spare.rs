//! What a worker lends to sessions: empty output buffers, and a place for what must survive a restart.

use crate::changes::Changes;

/// Most bytes that a worker keeps in empty buffers.
const SPARE_BYTES_MAX: usize = 4 << 20;
/// A larger buffer is given back to the allocator.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// Capacity of a new buffer.
const BUFFER_BYTES_MIN: usize = 2048;

/// Empty buffers of a worker, at most 4 MiB of them. A session owns a buffer only while bytes wait in it.
#[derive(Default)]
pub struct Spare {
    /// What must survive a restart; the host takes it after each turn.
    pub changes: Changes,
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

impl Spare {
    /// An empty buffer.
    pub fn get(&mut self) -> Vec<u8> {
        match self.buffers.pop() {
            Some(buffer) => {
                self.bytes -= buffer.capacity();
                buffer
            }
            None => Vec::with_capacity(BUFFER_BYTES_MIN),
        }
    }

    /// Takes back a buffer whose bytes were written.
    pub fn put(&mut self, mut buffer: Vec<u8>) {
        buffer.clear();
        let capacity = buffer.capacity();
        if capacity > 0 && capacity <= BUFFER_BYTES_MAX && self.bytes + capacity <= SPARE_BYTES_MAX {
            self.bytes += capacity;
            self.buffers.push(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the bound on what a worker keeps, and that buffers come back empty.
    #[test]
    fn keeps_no_more_than_its_bound() {
        let mut spare = Spare::default();
        spare.put(Vec::with_capacity(BUFFER_BYTES_MAX + 1));
        assert_eq!(spare.bytes, 0, "too large to keep");
        for _ in 0..100 {
            spare.put(vec![1; BUFFER_BYTES_MAX]);
        }
        assert_eq!(spare.bytes, SPARE_BYTES_MAX);
        let kept = spare.buffers.len();
        assert!((0..kept + 1).all(|_| spare.get().is_empty()));
        assert_eq!(spare.bytes, 0);
    }
}
