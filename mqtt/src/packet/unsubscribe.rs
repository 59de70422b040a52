//! UNSUBSCRIBE (3.10): checked as a whole before its first filter is handed out.

use gatemq_types::Protocol;

use crate::codec::properties::{self, Properties};
use crate::codec::read::Reader;
use crate::packet::flags_0010;
use crate::topic::Filter;
use crate::{Breach, PacketLimits};

/// UNSUBSCRIBE, in place.
#[derive(Clone, Copy, Debug)]
pub struct Unsubscribe<'a> {
    /// Packet identifier, not 0.
    pub packet_id: u16,
    /// User properties.
    pub properties: Properties<'a>,
    filters: &'a [u8],
    count: usize,
}

impl<'a> Unsubscribe<'a> {
    /// Reads a whole packet; its body begins at `head`. Allocates nothing.
    ///
    /// # Errors
    /// What it breaks of 3.10, 4.7, 4.8 and of `limits`.
    pub fn read(frame: &'a [u8], head: usize, protocol: Protocol, limits: &PacketLimits) -> Result<Self, Breach> {
        flags_0010(frame, protocol, Breach::UnsubscribeFlags)?;
        let mut reader = Reader::new(frame, head);
        let packet_id = reader.packet_id()?;
        let properties = match protocol {
            Protocol::V5 => Properties::read(&mut reader, properties::UNSUBSCRIBE, limits)?,
            Protocol::V31 | Protocol::V311 => Properties::default(),
        };
        let filters = reader.rest();
        let (mut reader, mut count) = (Reader::new(filters, 0), 0usize);
        while !reader.is_empty() {
            count += 1;
            if count > usize::from(limits.filters_per_packet_max) {
                return Err(Breach::FiltersTooMany);
            }
            limits.filter(reader.string()?)?;
        }
        match count {
            0 => Err(Breach::UnsubscribeWithoutFilter),
            _ => Ok(Unsubscribe { packet_id, properties, filters, count }),
        }
    }

    /// How many filters there are, at least one; a 5.0 UNSUBACK has a code for each.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Walks the filters in their order.
    pub fn iter(&self) -> Filters<'a> {
        Filters { reader: Reader::new(self.filters, 0) }
    }
}

impl<'a> IntoIterator for Unsubscribe<'a> {
    type Item = Filter<'a>;
    type IntoIter = Filters<'a>;

    fn into_iter(self) -> Filters<'a> {
        self.iter()
    }
}

/// Walks the filters of an [`Unsubscribe`].
#[derive(Clone, Debug)]
pub struct Filters<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Filters<'a> {
    type Item = Filter<'a>;

    fn next(&mut self) -> Option<Filter<'a>> {
        self.reader.string().ok().map(Filter::trusted)
    }
}
