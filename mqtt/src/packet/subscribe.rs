//! SUBSCRIBE (3.8): checked as a whole before its first filter is handed out, so that none takes effect when one is wrong.

use gatemq_types::{Protocol, QoS};

use crate::codec::properties::{self, Properties, Property};
use crate::codec::read::Reader;
use crate::packet::flags_0010;
use crate::topic::Filter;
use crate::{Breach, PacketLimits};

/// SUBSCRIBE, in place.
#[derive(Clone, Copy, Debug)]
pub struct Subscribe<'a> {
    /// Packet identifier, not 0.
    pub packet_id: u16,
    /// Subscription Identifier; `None` is none.
    pub subscription_id: Option<u32>,
    /// All properties.
    pub properties: Properties<'a>,
    filters: &'a [u8],
    count: usize,
}

impl<'a> Subscribe<'a> {
    /// Reads a whole packet; its body begins at `head`. Allocates nothing.
    ///
    /// # Errors
    /// What it breaks of 3.8, 4.7, 4.8 and of `limits`.
    pub fn read(frame: &'a [u8], head: usize, protocol: Protocol, limits: &PacketLimits) -> Result<Self, Breach> {
        flags_0010(frame, protocol, Breach::SubscribeFlags)?;
        let mut reader = Reader::new(frame, head);
        let packet_id = reader.packet_id()?;
        let properties = match protocol {
            Protocol::V5 => Properties::read(&mut reader, properties::SUBSCRIBE, limits)?,
            Protocol::V31 | Protocol::V311 => Properties::default(),
        };
        let subscription_id = properties.iter().find_map(|property| match property {
            Property::SubscriptionId(id) => Some(id),
            _ => None,
        });
        let filters = reader.rest();
        let (mut reader, mut count) = (Reader::new(filters, 0), 0usize);
        while !reader.is_empty() {
            count += 1;
            if count > usize::from(limits.filters_per_packet_max) {
                return Err(Breach::FiltersTooMany);
            }
            let filter = limits.filter(reader.string()?)?;
            let options = SubscribeOptions::read(reader.u8()?, protocol)?;
            if options.no_local() && filter.share_name.is_some() {
                return Err(Breach::NoLocalShared);
            }
        }
        match count {
            0 => Err(Breach::SubscribeWithoutFilter),
            _ => Ok(Subscribe { packet_id, subscription_id, properties, filters, count }),
        }
    }

    /// How many filters there are, at least one; SUBACK has a code for each.
    pub const fn count(&self) -> usize {
        self.count
    }

    /// Walks the filters in their order.
    pub fn iter(&self) -> Filters<'a> {
        Filters { reader: Reader::new(self.filters, 0) }
    }
}

impl<'a> IntoIterator for Subscribe<'a> {
    type Item = (Filter<'a>, SubscribeOptions);
    type IntoIter = Filters<'a>;

    fn into_iter(self) -> Filters<'a> {
        self.iter()
    }
}

/// Walks the filters of a [`Subscribe`].
#[derive(Clone, Debug)]
pub struct Filters<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Filters<'a> {
    type Item = (Filter<'a>, SubscribeOptions);

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.reader.string().ok()?;
        let options = self.reader.u8().ok()?;
        Some((Filter::trusted(text), SubscribeOptions(options)))
    }
}

/// When a new subscription is sent retained messages (3.3.1.3).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[repr(u8)]
pub enum RetainHandling {
    /// At every SUBSCRIBE (MQTT-3.3.1-9).
    #[default]
    Always = 0,
    /// Only when the subscription did not exist (MQTT-3.3.1-10).
    IfNew = 1,
    /// Never (MQTT-3.3.1-11).
    Never = 2,
}

/// Subscription options (3.8.3.1), valid. MQTT 3 has only the QoS.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct SubscribeOptions(u8);

impl SubscribeOptions {
    /// From the byte on the wire.
    ///
    /// # Errors
    /// [`Breach::SubscribeOptionsReserved`] (MQTT-3.8.3-5), [`Breach::SubscribeQosReserved`],
    /// [`Breach::RetainHandlingReserved`] (3.8.3.1).
    pub const fn read(byte: u8, protocol: Protocol) -> Result<Self, Breach> {
        let reserved = match protocol {
            Protocol::V5 => 0b1100_0000,
            Protocol::V31 | Protocol::V311 => 0b1111_1100,
        };
        match byte {
            _ if byte & reserved != 0 => Err(Breach::SubscribeOptionsReserved),
            _ if byte & 0b11 == 3 => Err(Breach::SubscribeQosReserved),
            _ if byte >> 4 & 0b11 == 3 => Err(Breach::RetainHandlingReserved),
            _ => Ok(SubscribeOptions(byte)),
        }
    }

    /// The byte on the wire.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Highest QoS that the client wants.
    pub const fn qos(self) -> QoS {
        match self.0 & 0b11 {
            0 => QoS::AtMostOnce,
            1 => QoS::AtLeastOnce,
            _ => QoS::ExactlyOnce,
        }
    }

    /// No Local: the client's own messages do not come back (MQTT-3.8.3-3).
    pub const fn no_local(self) -> bool {
        self.0 & 0b100 != 0
    }

    /// Retain As Published (MQTT-3.3.1-12 and -13).
    pub const fn retain_as_published(self) -> bool {
        self.0 & 0b1000 != 0
    }

    /// Retain Handling.
    pub const fn retain_handling(self) -> RetainHandling {
        match self.0 >> 4 & 0b11 {
            0 => RetainHandling::Always,
            1 => RetainHandling::IfNew,
            _ => RetainHandling::Never,
        }
    }
}
