//! What the fuzz targets share: a connection that takes bytes in any pieces, packets to begin with, and writers of packets
//! that only a client sends.

use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::codec::write;
use gatemq_mqtt::connection::{Established, Exchange, ExpectConnect, ExpectDecision, Packet};
use gatemq_mqtt::packet::connect::Connect;
use gatemq_mqtt::{Breach, PacketLimits, Properties};
use gatemq_types::Protocol;

/// All three.
pub const PROTOCOLS: [Protocol; 3] = [Protocol::V31, Protocol::V311, Protocol::V5];

/// The defaults, or, for odd `choice`, limits that are soon reached.
pub fn limits(choice: u8) -> PacketLimits {
    match choice & 1 {
        0 => PacketLimits { topic_alias_max: 10, ..PacketLimits::default() },
        _ => PacketLimits {
            packet_bytes_max: 60,
            connect_bytes_max: 80,
            user_properties_bytes_max: 6,
            user_properties_max: 1,
            topic_levels_max: 3,
            topic_bytes_max: 8,
            filters_per_packet_max: 2,
            topic_alias_max: 1,
        },
    }
}

/// A CONNECT to begin with, so that the fuzzer need not find one: 3.1, 3.1.1, 5.0, 5.0 with an Authentication Method, none.
pub fn connect(choice: u8) -> &'static [u8] {
    match choice % 5 {
        0 => b"\x10\x0F\x00\x06MQIsdp\x03\x02\x00\x00\x00\x01c",
        1 => b"\x10\x0D\x00\x04MQTT\x04\x02\x00\x00\x00\x01c",
        2 => b"\x10\x0E\x00\x04MQTT\x05\x02\x00\x00\x00\x00\x01c",
        3 => b"\x10\x12\x00\x04MQTT\x05\x02\x00\x00\x04\x15\x00\x01m\x00\x01c",
        _ => b"",
    }
}

/// An established connection of a client that offered an Authentication Method in 5.0.
///
/// # Panics
/// When [`connect`] is refused.
pub fn established(protocol: Protocol, limits: PacketLimits) -> Established {
    let bytes = connect(match protocol {
        Protocol::V31 => 0,
        Protocol::V311 => 1,
        Protocol::V5 => 3,
    });
    let (_, decision) = ExpectConnect::new(PacketLimits::default()).first(bytes, 2).expect("a CONNECT");
    decision.accept(limits)
}

enum State {
    Connect(ExpectConnect),
    Decision(ExpectDecision),
    Established(Established),
    Ended,
}

/// A connection, and what came out of it.
pub struct Script {
    state: State,
    limits: PacketLimits,
    buffer: Vec<u8>,
    /// Each packet or the breach that ended it, as text.
    pub told: Vec<String>,
}

impl Script {
    /// Nothing has come yet.
    pub fn new(limits: PacketLimits) -> Script {
        Script { state: State::Connect(ExpectConnect::new(limits)), limits, buffer: Vec::new(), told: Vec::new() }
    }

    /// Takes bytes as they come.
    ///
    /// # Panics
    /// When a frame does not lie within the bytes.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
        loop {
            let framed = match &self.state {
                State::Connect(state) => state.frame(&self.buffer),
                State::Decision(state) => state.frame(&self.buffer),
                State::Established(state) => state.frame(&self.buffer),
                State::Ended => return,
            };
            match framed {
                Err(breach) => self.end(breach),
                Ok(Framed::Incomplete { need }) => {
                    assert!(need == 0 || need > self.buffer.len(), "needs {need} of {}", self.buffer.len());
                    return;
                }
                Ok(Framed::Frame { first, head, len }) => {
                    assert!(
                        first == self.buffer[0] && 2 <= head && head <= 5 && head <= len && len <= self.buffer.len()
                    );
                    let packet: Vec<u8> = self.buffer.drain(..len).collect();
                    if let Err(breach) = self.packet(&packet, head) {
                        self.end(breach);
                    }
                }
            }
        }
    }

    fn packet(&mut self, packet: &[u8], head: usize) -> Result<(), Breach> {
        match std::mem::replace(&mut self.state, State::Ended) {
            State::Connect(state) => {
                let (connect, next) = state.first(packet, head)?;
                self.told.push(format!("{connect:?}"));
                self.state = match next.auth_method() {
                    Some(_) => State::Decision(next),
                    None => State::Established(next.accept(self.limits)),
                };
            }
            State::Decision(state) => {
                let exchange = state.packet(packet, head)?;
                self.told.push(format!("{exchange:?}"));
                if let Exchange::Auth(auth) = exchange {
                    // One more step, or admitted: as the data says.
                    self.state = match auth.data {
                        Some(_) => State::Decision(state),
                        None => State::Established(state.accept(self.limits)),
                    };
                }
            }
            State::Established(mut state) => {
                let packet = state.packet(packet, head)?;
                walk(&packet);
                self.told.push(format!("{packet:?}"));
                if !matches!(packet, Packet::Disconnect(_)) {
                    self.state = State::Established(state);
                }
            }
            State::Ended => {}
        }
        Ok(())
    }

    fn end(&mut self, breach: Breach) {
        self.told.push(format!("{breach:?}"));
        self.state = State::Ended;
    }
}

/// Looks at all that a packet hands out lazily.
///
/// # Panics
/// When what was checked as a whole is not there piece by piece.
pub fn walk(packet: &Packet<'_>) {
    let properties = match packet {
        Packet::Publish(message) => message.properties,
        Packet::PubAck(ack) | Packet::PubRec(ack) | Packet::PubRel(ack) | Packet::PubComp(ack) => ack.properties,
        Packet::Subscribe(packet) => {
            assert_eq!(packet.iter().count(), packet.count());
            packet.properties
        }
        Packet::Unsubscribe(packet) => {
            assert_eq!(packet.iter().count(), packet.count());
            packet.properties
        }
        Packet::PingReq => return,
        Packet::Disconnect(packet) => packet.properties,
        Packet::Auth(packet) => packet.properties,
    };
    assert_eq!(properties_again(properties), properties.as_bytes());
}

/// Properties, read one by one and written.
pub fn properties_again(properties: Properties<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    for property in properties {
        property.write(&mut out);
    }
    out
}

/// A packet: first byte and body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![first];
    write::varint(&mut out, body.len());
    out.extend_from_slice(body);
    out
}

/// A CONNECT that says what this one says.
pub fn connect_again(connect: &Connect) -> Vec<u8> {
    use gatemq_mqtt::codec::properties::Property;
    let v5 = connect.protocol == Protocol::V5;
    let mut body = Vec::new();
    write::string(&mut body, if connect.protocol == Protocol::V31 { "MQIsdp" } else { "MQTT" });
    body.push(match connect.protocol {
        Protocol::V31 => 3,
        Protocol::V311 => 4,
        Protocol::V5 => 5,
    });
    let will = connect.will.as_ref();
    let will_flags = will.map_or(0, |will| 4 | will.qos.bits() << 3 | u8::from(will.retain) << 5);
    let (name, password) = (connect.user_name.is_some(), connect.password.is_some());
    body.push(u8::from(connect.clean_start) << 1 | will_flags | u8::from(password) << 6 | u8::from(name) << 7);
    body.extend_from_slice(&connect.keep_alive_s.to_be_bytes());
    if v5 {
        let mut properties = Vec::new();
        let mut put = |property: Property<'_>| property.write(&mut properties);
        put(Property::SessionExpiry(connect.session_expiry_s));
        put(Property::ReceiveMaximum(connect.receive_max));
        put(Property::TopicAliasMaximum(connect.topic_alias_max));
        put(Property::RequestResponseInfo(connect.request_response_info.into()));
        put(Property::RequestProblemInfo(connect.request_problem_info.into()));
        if connect.packet_bytes_max > 0 {
            put(Property::MaximumPacketSize(connect.packet_bytes_max));
        }
        connect.user_properties.iter().for_each(|(name, value)| put(Property::User((name, value))));
        connect.auth_method.iter().for_each(|method| put(Property::AuthMethod(method)));
        connect.auth_data.iter().for_each(|data| put(Property::AuthData(data.as_bytes())));
        write::properties(&mut body, &properties);
    }
    write::string(&mut body, &connect.client_id);
    if let Some(will) = will {
        if v5 {
            let mut properties = Vec::new();
            Property::WillDelay(will.delay_s).write(&mut properties);
            properties.extend_from_slice(&will.properties);
            write::properties(&mut body, &properties);
        }
        write::string(&mut body, &will.topic);
        write::binary(&mut body, &will.payload);
    }
    connect.user_name.iter().for_each(|name| write::string(&mut body, name));
    connect.password.iter().for_each(|password| write::binary(&mut body, password.as_bytes()));
    packet(0x10, &body)
}
