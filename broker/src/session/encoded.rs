//! A message in one layout: only the first byte and the packet identifier differ between its receivers.

use std::sync::Arc;

/// A message that waits.
pub(crate) struct Stored {
    pub(super) bytes: Box<[u8]>,
    pub(super) packet_id_at: usize,
}

/// A message ready to be copied to one receiver.
pub(crate) struct Encoded<'a> {
    bytes: &'a [u8],
    packet_id_at: usize,
    stored: &'a mut Option<Arc<Stored>>,
}

impl<'a> Encoded<'a> {
    /// `packet_id_at` is meaningless at QoS 0. `stored` is made when the first receiver of these bytes must wait, and
    /// shared by all that do.
    #[inline]
    pub(crate) fn new(bytes: &'a [u8], packet_id_at: usize, stored: &'a mut Option<Arc<Stored>>) -> Self {
        Encoded { bytes, packet_id_at, stored }
    }

    #[inline]
    pub(super) fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    #[inline]
    pub(super) fn packet_id_at(&self) -> usize {
        self.packet_id_at
    }

    pub(super) fn stored(&mut self) -> Arc<Stored> {
        let make = || Arc::new(Stored { bytes: self.bytes.into(), packet_id_at: self.packet_id_at });
        self.stored.get_or_insert_with(make).clone()
    }
}
