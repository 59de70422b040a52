//! Packets put together from raw fields, and fed to a state as a connection feeds them.

use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::codec::write;
use gatemq_mqtt::connection::{Established, Exchange, ExpectConnect, ExpectDecision, Packet};
use gatemq_mqtt::packet::connect::Connect;
use gatemq_mqtt::{Breach, PacketLimits};
use gatemq_types::Protocol;

/// A packet: first byte, length, and these fields one after the other.
pub(crate) fn packet(first: u8, fields: &[&[u8]]) -> Vec<u8> {
    let body = fields.concat();
    let mut out = vec![first];
    write::varint(&mut out, body.len());
    out.extend(body);
    out
}

/// A string with its length.
pub(crate) fn s(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    write::string(&mut out, text);
    out
}

/// Small limits, so that a table can exceed them.
pub(crate) fn limits() -> PacketLimits {
    PacketLimits {
        packet_bytes_max: 300,
        connect_bytes_max: 200,
        user_properties_bytes_max: 12,
        user_properties_max: 2,
        topic_levels_max: 4,
        topic_bytes_max: 20,
        filters_per_packet_max: 3,
        topic_alias_max: 5,
    }
}

/// Body and header of a CONNECT up to its payload.
pub(crate) fn connect(name: &str, level: u8, flags: u8, rest: &[&[u8]]) -> Vec<u8> {
    packet(0x10, &[&s(name), &[level, flags, 0, 60], &rest.concat()])
}

/// A client that speaks `protocol`, waiting for its decision; 5.0 with the authentication method `m`.
pub(crate) fn waiting(protocol: Protocol, session_expiry_s: u8) -> ExpectDecision {
    let bytes = match protocol {
        Protocol::V31 => connect("MQIsdp", 3, 2, &[&s("c")]),
        Protocol::V311 => connect("MQTT", 4, 2, &[&s("c")]),
        Protocol::V5 => connect("MQTT", 5, 2, &[&[9, 0x11, 0, 0, 0, session_expiry_s, 0x15, 0, 1, b'm'], &s("c")]),
    };
    match ExpectConnect::new(limits()).first(&bytes, 2) {
        Ok((_, waiting)) => waiting,
        Err(breach) => panic!("a valid CONNECT: {breach}"),
    }
}

/// The same client, admitted.
pub(crate) fn admitted(protocol: Protocol) -> Established {
    waiting(protocol, 0).accept(limits())
}

/// Who reads.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reading {
    /// Nothing has come yet.
    First,
    /// CONNECT has come, with an authentication method.
    Exchange,
    /// A client is admitted.
    Client(Protocol),
    /// A 5.0 client is admitted whose CONNECT had no authentication method.
    WithoutMethod,
}

impl Reading {
    /// Reads one whole packet as a connection does, and walks all that is in it.
    pub(crate) fn read(self, bytes: &[u8]) -> Result<(), Breach> {
        match self {
            Reading::First => {
                let state = ExpectConnect::new(limits());
                let Some((frame, head)) = whole(state.frame(bytes)?, bytes) else { return Err(Breach::EndsEarly) };
                let (connect, _): (Connect, ExpectDecision) = state.first(frame, head)?;
                if let Some(will) = &connect.will {
                    will.user_properties();
                }
            }
            Reading::Exchange => {
                let state = waiting(Protocol::V5, 0);
                let Some((frame, head)) = whole(state.frame(bytes)?, bytes) else { return Err(Breach::EndsEarly) };
                match state.packet(frame, head)? {
                    Exchange::Auth(auth) => assert_eq!(auth.method, "m"),
                    Exchange::Disconnect(_) => {}
                }
            }
            Reading::Client(protocol) => return read(admitted(protocol), bytes),
            Reading::WithoutMethod => {
                let bytes_first = connect("MQTT", 5, 2, &[&[0], &s("c")]);
                let (_, state) = ExpectConnect::new(limits()).first(&bytes_first, 2)?;
                return read(state.accept(limits()), bytes);
            }
        }
        Ok(())
    }
}

fn read(mut state: Established, bytes: &[u8]) -> Result<(), Breach> {
    let Some((frame, head)) = whole(state.frame(bytes)?, bytes) else { return Err(Breach::EndsEarly) };
    match state.packet(frame, head)? {
        Packet::Subscribe(packet) => assert_eq!(packet.iter().count(), packet.count()),
        Packet::Unsubscribe(packet) => assert_eq!(packet.iter().count(), packet.count()),
        Packet::Publish(packet) => {
            packet.properties.iter().count();
        }
        _ => {}
    }
    Ok(())
}

fn whole(framed: Framed, bytes: &[u8]) -> Option<(&[u8], usize)> {
    match framed {
        Framed::Incomplete { .. } => None,
        Framed::Frame { head, len, .. } => Some((&bytes[..len], head)),
    }
}
