//! Packet types: the upper half of the first byte (MQTT 5.0, 2.1.2).

/// Connection request.
pub const CONNECT: u8 = 1;
/// Its answer.
pub const CONNACK: u8 = 2;
/// A message.
pub const PUBLISH: u8 = 3;
/// Answer to a QoS 1 message.
pub const PUBACK: u8 = 4;
/// QoS 2, first answer.
pub const PUBREC: u8 = 5;
/// QoS 2, release.
pub const PUBREL: u8 = 6;
/// QoS 2, last answer.
pub const PUBCOMP: u8 = 7;
/// Subscription request.
pub const SUBSCRIBE: u8 = 8;
/// Its answer.
pub const SUBACK: u8 = 9;
/// Request to end subscriptions.
pub const UNSUBSCRIBE: u8 = 10;
/// Its answer.
pub const UNSUBACK: u8 = 11;
/// Sign of life.
pub const PINGREQ: u8 = 12;
/// Its answer.
pub const PINGRESP: u8 = 13;
/// Farewell.
pub const DISCONNECT: u8 = 14;
/// A step of enhanced authentication (5.0 only).
pub const AUTH: u8 = 15;
