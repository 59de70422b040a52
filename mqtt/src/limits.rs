//! What one connection may send, beyond what the standard says.

/// Limits of the packets that one client may send. `Copy` and small: each connection keeps its own.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PacketLimits {
    /// Largest packet in bytes, fixed header included; at most 268,435,460.
    pub packet_bytes_max: u32,
    /// Largest CONNECT in bytes, fixed header included: it comes from somebody not yet known.
    pub connect_bytes_max: u32,
    /// Levels that a topic name or filter may have.
    pub topic_levels_max: u16,
    /// User properties that one packet may have; the will counts for itself.
    pub user_properties_max: u16,
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
            topic_levels_max: 32,
            user_properties_max: 64,
            filters_per_packet_max: 256,
            topic_alias_max: 0,
        }
    }
}
