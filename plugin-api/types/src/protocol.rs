//! Versions of MQTT and quality of service.

/// Version of MQTT that a client speaks; the number is the protocol level of its CONNECT.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum Protocol {
    /// MQTT 3.1, protocol name `MQIsdp`.
    V31 = 3,
    /// MQTT 3.1.1.
    V311 = 4,
    /// MQTT 5.0.
    V5 = 5,
}

impl Protocol {
    /// The version of a protocol level, if there is one.
    pub const fn from_level(level: u8) -> Option<Protocol> {
        match level {
            3 => Some(Protocol::V31),
            4 => Some(Protocol::V311),
            5 => Some(Protocol::V5),
            _ => None,
        }
    }

    /// The protocol level, as on the wire.
    pub const fn level(self) -> u8 {
        self as u8
    }

    /// As people write it: `3.1`, `3.1.1`, `5.0`.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::V31 => "3.1",
            Protocol::V311 => "3.1.1",
            Protocol::V5 => "5.0",
        }
    }
}

/// Quality of service (MQTT 5.0, section 4.3).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum QoS {
    /// At most once.
    #[default]
    AtMostOnce = 0,
    /// At least once.
    AtLeastOnce = 1,
    /// Exactly once.
    ExactlyOnce = 2,
}

impl QoS {
    /// From its two bits; 3 is none.
    pub const fn from_bits(bits: u8) -> Option<QoS> {
        match bits {
            0 => Some(QoS::AtMostOnce),
            1 => Some(QoS::AtLeastOnce),
            2 => Some(QoS::ExactlyOnce),
            _ => None,
        }
    }

    /// Its two bits.
    pub const fn bits(self) -> u8 {
        self as u8
    }
}
