//! What one connection may send, beyond what the standard says.

use crate::Breach;
use crate::topic::{self, Filter};

/// Limits of the packets that one client may send. `Copy` and small: each connection keeps its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketLimits {
    /// Largest packet in bytes, fixed header included; at most 268,435,460.
    pub packet_bytes_max: u32,
    /// Largest CONNECT in bytes, fixed header included: it comes from somebody not yet known.
    pub connect_bytes_max: u32,
    /// Bytes of the names and values of the user properties that one packet may have; the will counts for itself.
    pub user_properties_bytes_max: u32,
    /// User properties that one packet may have; the will counts for itself.
    pub user_properties_max: u16,
    /// Levels that a topic name or filter may have.
    pub topic_levels_max: u16,
    /// Bytes that a topic name or filter may have, `$share/NAME/` included.
    pub topic_bytes_max: u16,
    /// Filters of one SUBSCRIBE or UNSUBSCRIBE.
    pub filters_per_packet_max: u16,
    /// Topic Alias Maximum that the CONNACK announced; 0 is none.
    pub topic_alias_max: u16,
}

impl Default for PacketLimits {
    fn default() -> Self {
        PacketLimits {
            packet_bytes_max: 1 << 20,
            connect_bytes_max: 64 << 10,
            user_properties_bytes_max: 64 << 10,
            user_properties_max: 64,
            topic_levels_max: 32,
            topic_bytes_max: u16::MAX,
            filters_per_packet_max: 256,
            topic_alias_max: 0,
        }
    }
}

impl PacketLimits {
    /// A topic name of a client, within these limits.
    ///
    /// # Errors
    /// Those of [`topic::name`]; [`Breach::TopicTooLong`].
    #[inline]
    pub fn topic<'a>(&self, bytes: &'a [u8]) -> Result<&'a str, Breach> {
        match bytes.len() > usize::from(self.topic_bytes_max) {
            true => Err(Breach::TopicTooLong),
            false => topic::name(bytes, self.topic_levels_max),
        }
    }

    /// A filter of a client, within these limits.
    ///
    /// # Errors
    /// Those of [`Filter::read`]; [`Breach::FilterTooLong`].
    pub fn filter<'a>(&self, text: &'a str) -> Result<Filter<'a>, Breach> {
        match text.len() > usize::from(self.topic_bytes_max) {
            true => Err(Breach::FilterTooLong),
            false => Filter::read(text, self.topic_levels_max),
        }
    }

    /// Which of these limits a breach exceeds, by the name of its field, and its value. `None`: it breaks another rule.
    pub const fn exceeded_by(&self, breach: Breach) -> Option<(&'static str, u64)> {
        Some(match breach {
            Breach::PacketTooLarge => ("packet_bytes_max", self.packet_bytes_max as u64),
            Breach::TopicTooDeep | Breach::FilterTooDeep => ("topic_levels_max", self.topic_levels_max as u64),
            Breach::TopicTooLong | Breach::FilterTooLong => ("topic_bytes_max", self.topic_bytes_max as u64),
            Breach::UserPropertiesTooMany => ("user_properties_max", self.user_properties_max as u64),
            Breach::UserPropertiesTooLarge => ("user_properties_bytes_max", self.user_properties_bytes_max as u64),
            Breach::FiltersTooMany => ("filters_per_packet_max", self.filters_per_packet_max as u64),
            _ => return None,
        })
    }
}
