//! The differences, one row each.
//!
//! Where we refuse and `rmqtt-codec` does not, the standard says so; theirs serves both ends of a connection while ours reads
//! clients only, or it leaves the question to whoever uses it. Where they refuse and we do not, the standard allows it. That
//! both read something and mean different things by it does not happen: there is no such row.

use gatemq_mqtt::Breach;
use gatemq_types::Protocol::{self, V5, V31, V311};
use rmqtt_codec::error::DecodeError;

use super::{Both, Difference};

/// One difference.
pub(super) struct Row {
    pub(super) difference: Difference,
    /// Where it is; the example is of the first.
    pub(super) protocols: &'static [Protocol],
    /// What else must be so.
    pub(super) fits: fn(&[u8], &Both) -> bool,
    /// A packet that shows it.
    pub(super) example: &'static [u8],
    /// Clause and reason.
    pub(super) why: &'static str,
}

const ALL: &[Protocol] = &[V31, V311, V5];
const MQTT3: &[Protocol] = &[V31, V311];

const fn we_refuse(
    breach: Breach,
    protocols: &'static [Protocol],
    fits: fn(&[u8], &Both) -> bool,
    example: &'static [u8],
    why: &'static str,
) -> Row {
    Row { difference: Difference::WeRefuse(breach), protocols, fits, example, why }
}

const fn they_refuse(
    protocols: &'static [Protocol],
    fits: fn(&[u8], &Both) -> bool,
    example: &'static [u8],
    why: &'static str,
) -> Row {
    Row { difference: Difference::TheyRefuse, protocols, fits, example, why }
}

fn always(_: &[u8], _: &Both) -> bool {
    true
}

fn of_connect(bytes: &[u8], both: &Both) -> bool {
    bytes[0] == 0x10 && both.theirs.as_ref().err().is_none_or(|e| matches!(e, DecodeError::InvalidLength))
}

fn connect_or_ping(bytes: &[u8], _: &Both) -> bool {
    matches!(bytes[0], 0x10 | 0xC0)
}

fn disconnect(bytes: &[u8], _: &Both) -> bool {
    bytes[0] == 0xE0
}

fn repeated(bytes: &[u8], _: &Both) -> bool {
    matches!(bytes[0], 0x6A | 0x8A | 0xAA)
}

fn flags_not_used(bytes: &[u8], _: &Both) -> bool {
    matches!(bytes[0] >> 4, 4 | 5 | 7 | 12 | 14) && bytes[0] & 0x0F != 0
}

fn connect_flag_not_used(bytes: &[u8], both: &Both) -> bool {
    bytes[0] == 0x10 && matches!(both.theirs, Err(DecodeError::ConnectReservedFlagSet))
}

fn nameless(_: &[u8], both: &Both) -> bool {
    matches!(both.theirs, Err(DecodeError::InvalidClientId))
        && both.ours.as_ref().is_ok_and(|words| words.starts_with("CONNECT clean=false") && words.contains(" id=\"\""))
}

fn expired(_: &[u8], both: &Both) -> bool {
    matches!(both.theirs, Err(DecodeError::MalformedPacket))
        && both.ours.as_ref().is_ok_and(|words| words.contains(" expiry=0"))
}

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    we_refuse(Breach::LengthNotMinimal, ALL, always, b"\xE0\x80\x00",
        "MQTT-1.5.5-1: a length stands in the fewest bytes; they take any"),
    we_refuse(Breach::StringHasNul, ALL, always, b"\x31\x03\x00\x01\x00",
        "MQTT-1.5.4-2: no U+0000 in a string; they take it"),
    we_refuse(Breach::BytesLeft, ALL, connect_or_ping, b"\xC0\x01\x00",
        "3.1.3, 3.12.3: nothing follows what a CONNECT or PINGREQ has; they do not look"),
    we_refuse(Breach::BytesLeft, MQTT3, disconnect, b"\xE0\x01\x00",
        "3.14.1: DISCONNECT of MQTT 3 has no body; they do not look"),
    we_refuse(Breach::ServerPacket, ALL, always, b"\xD0\x00",
        "2.1.2: their codec is for both ends, ours reads what a client may send"),
    we_refuse(Breach::TopicEmpty, &[V5], always, b"\x30\x03\x00\x00\x00",
        "MQTT-4.7.3-1: a topic has a character, unless an alias stands for it; they ask in MQTT 3 only"),
    we_refuse(Breach::TopicEmpty, MQTT3, of_connect, b"\x10\x13\x00\x06MQIsdp\x03\x06\x00\x00\x00\x01c\x00\x00\x00\x00",
        "MQTT-4.7.3-1: so has that of a will; they ask for PUBLISH only"),
    we_refuse(Breach::TopicWildcard, ALL, always, b"\x31\x03\x00\x01#",
        "MQTT-3.3.2-2: no wildcard in a topic name; they leave it to the broker"),
    we_refuse(Breach::ResponseTopicWildcard, &[V5], always, b"\x30\x0A\x00\x01a\x04\x08\x00\x01+xy",
        "MQTT-3.3.2-14: no wildcard in a response topic; they do not look"),
    we_refuse(Breach::FilterEmpty, &[V5], always, b"\xA2\x05\x00\x01\x00\x00\x00",
        "MQTT-4.7.3-1: a filter has a character; they ask in MQTT 3 only"),
    we_refuse(Breach::FilterHashMisplaced, ALL, always, b"\xA2\x06\x00\x01\x00\x02a#",
        "MQTT-4.7.1-1: # is the whole last level; they leave it to the broker"),
    we_refuse(Breach::FilterPlusMisplaced, ALL, always, b"\xA2\x06\x00\x01\x00\x02a+",
        "MQTT-4.7.1-2: + is a whole level; they leave it to the broker"),
    we_refuse(Breach::ShareNameEmpty, ALL, always, b"\xA2\x0D\x00\x01\x00\x09$share//a",
        "MQTT-4.8.2-1; in MQTT 3 too, where a share is our extension"),
    we_refuse(Breach::ShareNameWildcard, ALL, always, b"\xA2\x0E\x00\x01\x00\x0A$share/+/a",
        "MQTT-4.8.2-2; in MQTT 3 too, where a share is our extension"),
    we_refuse(Breach::ShareFilterMissing, ALL, always, b"\xA2\x0C\x00\x01\x00\x08$share/g",
        "MQTT-4.8.2-2; in MQTT 3 too, where a share is our extension"),
    we_refuse(Breach::ProtocolLevelUnsupported, MQTT3, always, b"\x10\x0D\x00\x04MQTT\x03\x02\x00\x3C\x00\x01c",
        "MQTT-3.1.2-2: MQTT is level 4, MQIsdp is level 3; they take either level with either name"),
    we_refuse(Breach::ClientIdEmpty, &[V31], always, b"\x10\x0E\x00\x06MQIsdp\x03\x02\x00\x3C\x00\x00",
        "MQTT 3.1, 3.1: a client identifier has 1 to 23 characters; empty came with 3.1.1"),
    we_refuse(Breach::PasswordWithoutUserName, MQTT3, always,
        b"\x10\x12\x00\x06MQIsdp\x03\x42\x00\x3C\x00\x01c\x00\x01p",
        "MQTT-3.1.2-22 of 3.1.1; they do not look"),
    we_refuse(Breach::WillQosWithoutWill, &[V5], always, b"\x10\x0E\x00\x04MQTT\x05\x0A\x00\x3C\x00\x00\x01c",
        "MQTT-3.1.2-11; they ask in MQTT 3 only"),
    we_refuse(Breach::WillRetainWithoutWill, &[V5], always, b"\x10\x0E\x00\x04MQTT\x05\x22\x00\x3C\x00\x00\x01c",
        "MQTT-3.1.2-13; they ask in MQTT 3 only"),
    we_refuse(Breach::AuthDataWithoutMethod, &[V5], always,
        b"\x10\x11\x00\x04MQTT\x05\x02\x00\x3C\x03\x16\x00\x00\x00\x01c",
        "3.1.2.11.10: data without a method is a protocol error; they do not look"),
    we_refuse(Breach::DupAtQos0, ALL, always, b"\x39\x03\x00\x01a",
        "MQTT-3.3.1-2: nothing at QoS 0 is sent again; they do not look"),
    we_refuse(Breach::SubscriptionIdFromClient, &[V5], always, b"\x31\x07\x00\x01a\x03\x0B\xFF\x01",
        "MQTT-3.3.4-6: only a server sends it; their codec is for both ends"),
    we_refuse(Breach::PubAckCode, &[V5], always, b"\x40\x03\x00\x01\x10",
        "3.4.2.1: No matching subscribers is a server's to say; their codec is for both ends"),
    we_refuse(Breach::PubRecCode, &[V5], always, b"\x50\x03\x00\x01\x10",
        "3.5.2.1: No matching subscribers is a server's to say; their codec is for both ends"),
    we_refuse(Breach::SubscribeOptionsReserved, MQTT3, always, b"\x82\x06\x00\x01\x00\x01a\x0D",
        "MQTT-3.8.3-4 of 3.1.1: the upper six bits are 0; they cut them off"),
    we_refuse(Breach::NoLocalShared, &[V5], always, b"\x82\x10\x00\x01\x00\x00\x0A$share/g/a\x04",
        "MQTT-3.8.3-4: no No Local on a share; they leave it to the broker"),
    we_refuse(Breach::DisconnectCode, &[V5], always, b"\xE0\x01\x8D",
        "3.14.2.1: some reasons are a server's to say; their codec is for both ends"),
    we_refuse(Breach::PropertyMisplaced, &[V5], disconnect, b"\xE0\x05\x00\x03\x1C\x00\x00",
        "3.14.2.2.5: a Server Reference is a server's to give; their codec is for both ends"),
    we_refuse(Breach::AuthCode, &[V5], always, b"\xF0\x00",
        "3.15.2.1: success is a server's to say, and 0x18 only answers it; theirs knows no state"),
    we_refuse(Breach::AuthMethodMissing, &[V5], always, b"\xF0\x01\x19",
        "3.15.2.2.2: AUTH without a method is a protocol error; they do not look"),
    we_refuse(Breach::AuthMethodChanged, &[V5], always, b"\xF0\x06\x19\x04\x15\x00\x01x",
        "MQTT-4.12.0-5: the method is that of CONNECT; theirs knows no state"),
    they_refuse(&[V31], flags_not_used, b"\xC1\x00",
        "MQTT 3.1, 3.12: a PINGREQ does not use the flags; reserved they became with 3.1.1"),
    they_refuse(&[V31], connect_flag_not_used, b"\x10\x0F\x00\x06MQIsdp\x03\x03\x00\x3C\x00\x01c",
        "MQTT 3.1, 3.1: bit 0 of the connect flags is not used; reserved it became with 3.1.1"),
    they_refuse(&[V31], of_connect, b"\x10\x0F\x00\x06MQIsdp\x03\xC2\x00\x3C\x00\x01c",
        "MQTT 3.1, 3.1: the remaining length overrules the flags of user name and password; they want both fields"),
    they_refuse(&[V31], repeated, b"\x6A\x02\x00\x01",
        "MQTT 3.1, 2.1: PUBREL, SUBSCRIBE and UNSUBSCRIBE that are sent again have DUP; they know 3.1.1 only"),
    they_refuse(&[V5], nameless, b"\x10\x0D\x00\x04MQTT\x05\x00\x00\x3C\x00\x00\x00",
        "3.1.3.1: an empty client identifier is given one, whatever Clean Start says; they ask what 3.1.1 asks"),
    they_refuse(&[V5], expired, b"\x30\x0A\x00\x01a\x05\x02\x00\x00\x00\x00x",
        "3.3.2.3.3: a Message Expiry Interval of 0 is not forbidden; they want a number that is not 0"),
];
