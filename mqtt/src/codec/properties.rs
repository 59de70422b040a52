//! Properties of MQTT 5.0 (2.2.2): read strictly once, then a view that is cheap to walk.

use gatemq_types::UserProperty;

use crate::codec::read::Reader;
use crate::codec::write;
use crate::{Breach, PacketLimits, topic};

/// Writers of the property types, named as their readers.
mod put {
    use crate::codec::write;
    pub(super) use crate::codec::write::{binary, string};

    pub(super) fn u8(out: &mut Vec<u8>, value: u8) {
        out.push(value);
    }

    pub(super) fn u16(out: &mut Vec<u8>, value: u16) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn u32(out: &mut Vec<u8>, value: u32) {
        out.extend_from_slice(&value.to_be_bytes());
    }

    pub(super) fn varint(out: &mut Vec<u8>, value: u32) {
        write::varint(out, value as usize);
    }

    pub(super) fn string_pair(out: &mut Vec<u8>, (name, value): (&str, &str)) {
        string(out, name);
        string(out, value);
    }
}

macro_rules! properties {
    ($($(#[$doc:meta])* $number:literal $name:ident($type:ty) $read:ident;)*) => {
        /// One property, borrowed from its packet.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub enum Property<'a> {
            $($(#[$doc])* $name($type),)*
        }

        impl Property<'_> {
            /// Its identifier (table 2-4).
            pub const fn id(&self) -> u8 {
                match self { $(Property::$name(_) => $number,)* }
            }

            /// Appends it. Strings and binary data have at most 65,535 bytes; more is cut off.
            pub fn write(&self, out: &mut Vec<u8>) {
                out.push(self.id());
                match *self { $(Property::$name(value) => put::$read(out, value),)* }
            }
        }

        /// Reads one property and checks its value.
        fn read_one<'a>(reader: &mut Reader<'a>) -> Result<Property<'a>, Breach> {
            // The identifier is a Variable Byte Integer, but all that are defined take one byte.
            let property = match reader.varint()? {
                $($number => Property::$name(reader.$read()?),)*
                _ => return Err(Breach::PropertyUnknown),
            };
            check_value(&property)?;
            Ok(property)
        }
    };
}

properties! {
    /// Payload Format Indicator: 1 says that the payload is UTF-8.
    1 PayloadFormat(u8) u8;
    /// Message Expiry Interval in seconds.
    2 MessageExpiry(u32) u32;
    /// Content Type.
    3 ContentType(&'a str) string;
    /// Response Topic, without wildcards.
    8 ResponseTopic(&'a str) string;
    /// Correlation Data.
    9 CorrelationData(&'a [u8]) binary;
    /// Subscription Identifier, 1 to 268,435,455.
    11 SubscriptionId(u32) varint;
    /// Session Expiry Interval in seconds; `u32::MAX` is never.
    17 SessionExpiry(u32) u32;
    /// Assigned Client Identifier.
    18 AssignedClientId(&'a str) string;
    /// Server Keep Alive in seconds.
    19 ServerKeepAlive(u16) u16;
    /// Authentication Method.
    21 AuthMethod(&'a str) string;
    /// Authentication Data.
    22 AuthData(&'a [u8]) binary;
    /// Request Problem Information.
    23 RequestProblemInfo(u8) u8;
    /// Will Delay Interval in seconds.
    24 WillDelay(u32) u32;
    /// Request Response Information.
    25 RequestResponseInfo(u8) u8;
    /// Response Information.
    26 ResponseInfo(&'a str) string;
    /// Server Reference.
    28 ServerReference(&'a str) string;
    /// Reason String.
    31 ReasonString(&'a str) string;
    /// Receive Maximum, not 0.
    33 ReceiveMaximum(u16) u16;
    /// Topic Alias Maximum.
    34 TopicAliasMaximum(u16) u16;
    /// Topic Alias, not 0.
    35 TopicAlias(u16) u16;
    /// Maximum QoS.
    36 MaximumQos(u8) u8;
    /// Retain Available.
    37 RetainAvailable(u8) u8;
    /// User Property: name and value.
    38 User((&'a str, &'a str)) string_pair;
    /// Maximum Packet Size in bytes, not 0.
    39 MaximumPacketSize(u32) u32;
    /// Wildcard Subscription Available.
    40 WildcardAvailable(u8) u8;
    /// Subscription Identifier Available.
    41 SubscriptionIdAvailable(u8) u8;
    /// Shared Subscription Available.
    42 SharedAvailable(u8) u8;
}

/// What a value may be, whatever packet it is in.
fn check_value(property: &Property<'_>) -> Result<(), Breach> {
    let breach = match *property {
        Property::PayloadFormat(2..) => Breach::PayloadFormatUnknown,
        Property::RequestProblemInfo(2..) => Breach::RequestProblemInfoUnknown,
        Property::RequestResponseInfo(2..) => Breach::RequestResponseInfoUnknown,
        Property::MaximumQos(2..)
        | Property::RetainAvailable(2..)
        | Property::WildcardAvailable(2..)
        | Property::SubscriptionIdAvailable(2..)
        | Property::SharedAvailable(2..) => Breach::AvailabilityUnknown,
        Property::ReceiveMaximum(0) => Breach::ReceiveMaximumZero,
        Property::MaximumPacketSize(0) => Breach::MaximumPacketSizeZero,
        Property::TopicAlias(0) => Breach::TopicAliasZero,
        Property::SubscriptionId(0) => Breach::SubscriptionIdZero,
        Property::ResponseTopic(topic) if topic::has_wildcard(topic) => Breach::ResponseTopicWildcard,
        _ => return Ok(()),
    };
    Err(breach)
}

/// Which properties a packet may have: one bit an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PropertySet(u64);

impl PropertySet {
    /// The set of these identifiers, all below 64.
    pub const fn of(ids: &[u8]) -> Self {
        let (mut bits, mut i) = (0, 0);
        while i < ids.len() {
            bits |= 1 << ids[i];
            i += 1;
        }
        PropertySet(bits)
    }

    const fn has(self, id: u8) -> bool {
        self.0 >> id & 1 != 0
    }
}

/// CONNECT (3.1.2.11).
pub const CONNECT: PropertySet = PropertySet::of(&[17, 33, 39, 34, 25, 23, 38, 21, 22]);
/// The will in a CONNECT (3.1.3.2).
pub const WILL: PropertySet = PropertySet::of(&[24, 1, 2, 3, 8, 9, 38]);
/// PUBLISH from a client (3.3.2.3); a Subscription Identifier has a breach of its own.
pub const PUBLISH: PropertySet = PropertySet::of(&[1, 2, 35, 8, 9, 38, 3]);
/// PUBACK, PUBREC, PUBREL, PUBCOMP (3.4.2.2 and the like).
pub const ACK: PropertySet = PropertySet::of(&[31, 38]);
/// SUBSCRIBE (3.8.2.1).
pub const SUBSCRIBE: PropertySet = PropertySet::of(&[11, 38]);
/// UNSUBSCRIBE (3.10.2.1).
pub const UNSUBSCRIBE: PropertySet = PropertySet::of(&[38]);
/// DISCONNECT from a client (3.14.2.2); a Server Reference is a server's.
pub const DISCONNECT: PropertySet = PropertySet::of(&[17, 31, 38]);
/// AUTH (3.15.2.2).
pub const AUTH: PropertySet = PropertySet::of(&[21, 22, 31, 38]);

/// The properties of one packet, checked. The default has none.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Properties<'a>(&'a [u8]);

impl<'a> Properties<'a> {
    /// Reads the length and the properties and checks them all: known, allowed here, not repeated, values in range.
    ///
    /// # Errors
    /// What is wrong with them; [`Breach::UserPropertiesTooMany`] beyond `limits`.
    #[inline]
    pub fn read(reader: &mut Reader<'a>, allowed: PropertySet, limits: &PacketLimits) -> Result<Self, Breach> {
        let length = reader.varint()?;
        if length == 0 {
            return Ok(Properties(&[]));
        }
        let bytes = reader.take(length as usize)?;
        check(bytes, allowed, limits)?;
        Ok(Properties(bytes))
    }

    /// A view of property bytes (without their length) that were checked before, such as those of a stored message.
    /// Bytes that are no properties end the walk.
    pub const fn trusted(bytes: &'a [u8]) -> Self {
        Properties(bytes)
    }

    /// The bytes, without their length.
    #[inline]
    pub const fn as_bytes(&self) -> &'a [u8] {
        self.0
    }

    /// Whether there are none.
    #[inline]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks them in their order.
    pub fn iter(&self) -> Iter<'a> {
        Iter { reader: Reader::new(self.0, 0) }
    }

    /// User properties in their order.
    pub fn user(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.iter().filter_map(|property| match property {
            Property::User(pair) => Some(pair),
            _ => None,
        })
    }

    /// Message Expiry Interval in seconds.
    pub fn message_expiry(&self) -> Option<u32> {
        self.iter().find_map(|property| match property {
            Property::MessageExpiry(seconds) => Some(seconds),
            _ => None,
        })
    }

    /// Topic Alias.
    pub fn topic_alias(&self) -> Option<u16> {
        self.iter().find_map(|property| match property {
            Property::TopicAlias(alias) => Some(alias),
            _ => None,
        })
    }
}

impl<'a> Properties<'a> {
    /// Appends what a PUBLISH to a subscriber carries of them: all in their order (MQTT-3.3.2-18) but the Topic Alias,
    /// which ends with its connection (MQTT-3.3.2-7), and the Will Delay Interval; a Message Expiry Interval becomes
    /// `expiry_s`, the time that remains (MQTT-3.3.2-6), where that is given.
    pub fn forward(&self, out: &mut Vec<u8>, expiry_s: Option<u32>) {
        let mut reader = Reader::new(self.0, 0);
        while !reader.is_empty() {
            let start = reader.at();
            let Ok(property) = read_one(&mut reader) else { return };
            match (property, expiry_s) {
                (Property::TopicAlias(_) | Property::WillDelay(_), _) => {}
                (Property::MessageExpiry(_), Some(seconds)) => Property::MessageExpiry(seconds).write(out),
                _ => out.extend_from_slice(&self.0[start..reader.at()]),
            }
        }
    }
}

impl<'a> IntoIterator for Properties<'a> {
    type Item = Property<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// Walks [`Properties`].
#[derive(Clone, Debug)]
pub struct Iter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Property<'a>;

    fn next(&mut self) -> Option<Property<'a>> {
        if self.reader.is_empty() {
            return None;
        }
        read_one(&mut self.reader).ok()
    }
}

/// Checks property bytes as a whole.
fn check(bytes: &[u8], allowed: PropertySet, limits: &PacketLimits) -> Result<(), Breach> {
    let mut reader = Reader::new(bytes, 0);
    let (mut seen, mut users, mut user_bytes) = (0u64, 0u16, 0usize);
    while !reader.is_empty() {
        let property = read_one(&mut reader)?;
        let id = property.id();
        if !allowed.has(id) {
            return Err(if allowed == PUBLISH && id == 11 {
                Breach::SubscriptionIdFromClient
            } else {
                Breach::PropertyMisplaced
            });
        }
        if let Property::User((name, value)) = property {
            (users, user_bytes) = (users.saturating_add(1), user_bytes + name.len() + value.len());
            if users > limits.user_properties_max {
                return Err(Breach::UserPropertiesTooMany);
            }
            if user_bytes > limits.user_properties_bytes_max as usize {
                return Err(Breach::UserPropertiesTooLarge);
            }
        } else if seen >> id & 1 != 0 {
            return Err(Breach::PropertyRepeated);
        }
        seen |= 1 << id;
    }
    Ok(())
}

/// What a packet says in words: left out where it would make the packet larger than the client takes (MQTT-3.2.2-19 and
/// -20, MQTT-3.14.2-3 and -4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Words<'a> {
    /// Reason String.
    pub reason_string: Option<&'a str>,
    /// User Properties.
    pub user: &'a [UserProperty],
}

impl Words<'_> {
    /// Appends to `properties` what fits into a packet that has `body_bytes` before its properties.
    pub(crate) fn append(&self, properties: &mut Vec<u8>, body_bytes: usize, packet_bytes_max: u32) {
        let reason = self.reason_string.map(Property::ReasonString);
        let user = self.user.iter().map(|(name, value)| Property::User((name, value)));
        for property in reason.into_iter().chain(user) {
            let before = properties.len();
            property.write(properties);
            let body = body_bytes + write::varint_len(properties.len()) + properties.len();
            if !write::fits(body, packet_bytes_max) {
                properties.truncate(before);
            }
        }
    }
}
