//! One file a packet: what a broker reads of clients, and what it writes to them.

use gatemq_types::Protocol;

use crate::Breach;

pub mod ack;
pub mod auth;
pub mod connack;
pub mod connect;
pub mod disconnect;
pub mod ping;
pub mod publish;
pub mod suback;
pub mod subscribe;
pub mod unsuback;
pub mod unsubscribe;

/// That the flags of the fixed header are 0010, as PUBREL, SUBSCRIBE and UNSUBSCRIBE have them. MQTT 3.1 sets DUP as well
/// when it sends one of them again.
#[inline]
fn flags_0010(frame: &[u8], protocol: Protocol, breach: Breach) -> Result<(), Breach> {
    match (frame.first().map(|first| first & 0x0F), protocol) {
        (Some(0b0010), _) | (Some(0b1010), Protocol::V31) => Ok(()),
        _ => Err(breach),
    }
}

/// That the flags of the fixed header are 0000. MQTT 3.1 does not use them, so they may be anything.
#[inline]
fn flags_0000(frame: &[u8], protocol: Protocol, breach: Breach) -> Result<(), Breach> {
    match (frame.first().map(|first| first & 0x0F), protocol) {
        (Some(0), _) | (Some(_), Protocol::V31) => Ok(()),
        _ => Err(breach),
    }
}
