//! CONNECT (3.1) of all three versions. Owned: it comes once a connection, and its password is wiped when it is dropped.

use gatemq_types::{Protocol, QoS, Secret, UserProperty};

use crate::codec::properties::{self, Properties, Property};
use crate::codec::read::Reader;
use crate::packet::flags_0000;
use crate::{Breach, PacketLimits};

/// A CONNECT. What MQTT 3 does not say has the value that 5.0 gives to what is left out.
#[derive(Clone, Debug)]
pub struct Connect {
    /// Version.
    pub protocol: Protocol,
    /// Clean Start (5.0) or Clean Session (3.x).
    pub clean_start: bool,
    /// Keep Alive in seconds; 0 is none.
    pub keep_alive_s: u16,
    /// Client identifier; empty where the server is to assign one.
    pub client_id: String,
    /// The will.
    pub will: Option<Will>,
    /// User name.
    pub user_name: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// Session Expiry Interval in seconds, `u32::MAX` is never; of MQTT 3, 0 with Clean Session and never without.
    pub session_expiry_s: u32,
    /// Receive Maximum, not 0; 65,535 when left out.
    pub receive_max: u16,
    /// Maximum Packet Size in bytes; 0 when left out: any.
    pub packet_bytes_max: u32,
    /// Topic Alias Maximum; 0 is none.
    pub topic_alias_max: u16,
    /// Request Response Information.
    pub request_response_info: bool,
    /// Request Problem Information; true when left out.
    pub request_problem_info: bool,
    /// User properties in their order.
    pub user_properties: Vec<UserProperty>,
    /// Authentication Method.
    pub auth_method: Option<String>,
    /// Authentication Data; only with a method.
    pub auth_data: Option<Secret>,
}

/// The will of a CONNECT.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Will {
    /// Topic name, valid.
    pub topic: String,
    /// QoS.
    pub qos: QoS,
    /// RETAIN.
    pub retain: bool,
    /// Will Delay Interval in seconds.
    pub delay_s: u32,
    /// Properties of its PUBLISH as bytes without their length, checked, in their order (MQTT-3.1.3-10).
    pub properties: Vec<u8>,
    /// Payload.
    pub payload: Vec<u8>,
}

impl Will {
    /// User properties of its PUBLISH.
    pub fn user_properties(&self) -> Vec<UserProperty> {
        owned(Properties::trusted(&self.properties))
    }
}

fn owned(properties: Properties<'_>) -> Vec<UserProperty> {
    properties.user().map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// Connect flags (3.1.2.3).
#[derive(Clone, Copy)]
struct Flags(u8);

impl Flags {
    const fn has(self, bit: u8) -> bool {
        self.0 >> bit & 1 != 0
    }

    const fn clean_start(self) -> bool {
        self.has(1)
    }

    const fn will(self) -> bool {
        self.has(2)
    }

    const fn will_qos(self) -> u8 {
        self.0 >> 3 & 0b11
    }

    const fn will_retain(self) -> bool {
        self.has(5)
    }

    const fn password(self) -> bool {
        self.has(6)
    }

    const fn user_name(self) -> bool {
        self.has(7)
    }

    fn check(self, protocol: Protocol) -> Result<(), Breach> {
        if self.has(0) && protocol != Protocol::V31 {
            return Err(Breach::ConnectFlagReserved);
        }
        match (self.will(), self.will_qos(), self.will_retain()) {
            (true, 3, _) => return Err(Breach::WillQosReserved),
            (false, 1.., _) => return Err(Breach::WillQosWithoutWill),
            (false, _, true) => return Err(Breach::WillRetainWithoutWill),
            _ => {}
        }
        if protocol != Protocol::V5 && self.password() && !self.user_name() {
            return Err(Breach::PasswordWithoutUserName);
        }
        Ok(())
    }
}

impl Connect {
    /// Reads a whole packet; its body begins at `head`.
    ///
    /// # Errors
    /// [`Breach::ProtocolNameUnknown`], [`Breach::ProtocolLevelUnsupported`] (to be answered with code 0x84), and what it
    /// breaks of 3.1 and of `limits`.
    pub fn read(frame: &[u8], head: usize, limits: &PacketLimits) -> Result<Self, Breach> {
        // Checked for every version: which one it is stands behind them.
        flags_0000(frame, Protocol::V311, Breach::FlagsReserved)?;
        let mut reader = Reader::new(frame, head);
        let name = reader.binary()?;
        let protocol = protocol(name, reader.u8()?)?;
        let flags = Flags(reader.u8()?);
        flags.check(protocol)?;
        let keep_alive_s = reader.u16()?;
        let properties = match protocol {
            Protocol::V5 => Properties::read(&mut reader, properties::CONNECT, limits)?,
            Protocol::V31 | Protocol::V311 => Properties::default(),
        };
        let client_id = reader.string()?;
        let may_be_empty = match protocol {
            Protocol::V5 => true,
            Protocol::V311 => flags.clean_start(),
            Protocol::V31 => false,
        };
        if client_id.is_empty() && !may_be_empty {
            return Err(Breach::ClientIdEmpty);
        }
        // MQTT 3.1 wants at most 23 characters; its clients use more, and other brokers take them.
        let will = if flags.will() { Some(will(&mut reader, flags, protocol, limits)?) } else { None };
        // MQTT 3.1 lets the remaining length overrule these two flags.
        let present = |reader: &Reader<'_>| protocol != Protocol::V31 || !reader.is_empty();
        let user_name = match flags.user_name() && present(&reader) {
            true => Some(reader.string()?.to_owned()),
            false => None,
        };
        let password = match flags.password() && present(&reader) {
            true => Some(Secret::new(reader.binary()?.to_vec())),
            false => None,
        };
        reader.end()?;
        let mut connect = Connect {
            protocol,
            clean_start: flags.clean_start(),
            keep_alive_s,
            client_id: client_id.to_owned(),
            will,
            user_name,
            password,
            session_expiry_s: if protocol == Protocol::V5 || flags.clean_start() { 0 } else { u32::MAX },
            receive_max: u16::MAX,
            packet_bytes_max: 0,
            topic_alias_max: 0,
            request_response_info: false,
            request_problem_info: true,
            user_properties: Vec::new(),
            auth_method: None,
            auth_data: None,
        };
        connect.take_properties(properties)?;
        Ok(connect)
    }

    fn take_properties(&mut self, properties: Properties<'_>) -> Result<(), Breach> {
        for property in properties {
            match property {
                Property::SessionExpiry(seconds) => self.session_expiry_s = seconds,
                Property::ReceiveMaximum(max) => self.receive_max = max,
                Property::MaximumPacketSize(bytes) => self.packet_bytes_max = bytes,
                Property::TopicAliasMaximum(max) => self.topic_alias_max = max,
                Property::RequestResponseInfo(wanted) => self.request_response_info = wanted != 0,
                Property::RequestProblemInfo(wanted) => self.request_problem_info = wanted != 0,
                Property::AuthMethod(name) => self.auth_method = Some(name.to_owned()),
                Property::AuthData(bytes) => self.auth_data = Some(Secret::new(bytes.to_vec())),
                _ => {}
            }
        }
        self.user_properties = owned(properties);
        match (&self.auth_method, &self.auth_data) {
            (None, Some(_)) => Err(Breach::AuthDataWithoutMethod),
            _ => Ok(()),
        }
    }
}

/// The version that a protocol name and level stand for.
fn protocol(name: &[u8], level: u8) -> Result<Protocol, Breach> {
    match (name, Protocol::from_level(level)) {
        (b"MQTT", Some(protocol @ (Protocol::V311 | Protocol::V5))) => Ok(protocol),
        (b"MQIsdp", Some(protocol @ Protocol::V31)) => Ok(protocol),
        (b"MQTT" | b"MQIsdp", _) => Err(Breach::ProtocolLevelUnsupported),
        _ => Err(Breach::ProtocolNameUnknown),
    }
}

/// The will fields of the payload (3.1.3.2 to 3.1.3.4).
fn will(reader: &mut Reader<'_>, flags: Flags, protocol: Protocol, limits: &PacketLimits) -> Result<Will, Breach> {
    let read = match protocol {
        Protocol::V5 => Properties::read(reader, properties::WILL, limits)?,
        Protocol::V31 | Protocol::V311 => Properties::default(),
    };
    let delay_s = read.iter().find_map(|property| match property {
        Property::WillDelay(seconds) => Some(seconds),
        _ => None,
    });
    let mut properties = Vec::new();
    read.forward(&mut properties, None);
    Ok(Will {
        topic: limits.topic(reader.binary()?)?.to_owned(),
        qos: QoS::from_bits(flags.will_qos()).ok_or(Breach::WillQosReserved)?,
        retain: flags.will_retain(),
        delay_s: delay_s.unwrap_or(0),
        properties,
        payload: reader.binary()?.to_vec(),
    })
}

/// In which form the sender of a CONNECT that could not be read understands an answer; `None` when it does not speak MQTT
/// at all. A level above 5 is answered as 5.0 is; the highest bit of the level is a bridge's mark and does not count.
pub(crate) fn answer_form(frame: &[u8], head: usize) -> Option<Protocol> {
    let mut reader = Reader::new(frame, head);
    match (reader.binary().ok()?, reader.u8().ok()? & 0x7F) {
        (b"MQTT", 5..) => Some(Protocol::V5),
        (b"MQTT", _) => Some(Protocol::V311),
        (b"MQIsdp", _) => Some(Protocol::V31),
        _ => None,
    }
}
