//! One row a breach: bytes that must be refused, and their twin that differs only in what is refused and is read.

use std::collections::HashSet;

use gatemq_mqtt::Breach;
use gatemq_types::Protocol::{V5, V31, V311};

use crate::bytes::Reading::{Client, Exchange, First, WithoutMethod};
use crate::bytes::{Reading, connect, limits, packet, s};

struct Row {
    breach: Breach,
    reading: Reading,
    bad: Vec<u8>,
    twin: Vec<u8>,
}

fn row(breach: Breach, reading: Reading, bad: Vec<u8>, twin: Vec<u8>) -> Row {
    Row { breach, reading, bad, twin }
}

/// A 5.0 PUBLISH at QoS 0 to `a` with these properties.
fn with_properties(properties: &[u8]) -> Vec<u8> {
    packet(0x30, &[&s("a"), &[properties.len() as u8], properties, b"x"])
}

/// A 5.0 CONNECT with these properties.
fn connect5(properties: &[u8]) -> Vec<u8> {
    connect("MQTT", 5, 2, &[&[properties.len() as u8], properties, &s("c")])
}

fn subscribe5(filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1, 0], &s(filter), &[options]])
}

fn subscribe311(filter: &str, options: u8) -> Vec<u8> {
    packet(0x82, &[&[0, 1], &s(filter), &[options]])
}

fn framing() -> Vec<Row> {
    use Breach::*;
    vec![
        row(LengthTooLong, Client(V5), vec![0xC0, 0x80, 0x80, 0x80, 0x80, 0], vec![0xC0, 0]),
        row(LengthNotMinimal, Client(V5), vec![0xC0, 0x80, 0], vec![0xC0, 0]),
        row(LengthNotMinimal, Client(V5), packet(0x30, &[&s("a"), &[0x80, 0]]), packet(0x30, &[&s("a"), &[0]])),
        row(PacketTooLarge, Client(V5), vec![0x30, 0xAA, 0x02], packet(0x30, &[&s("a"), &[0], &[7; 293]])),
        row(PacketTooLarge, First, vec![0x10, 0xC6, 0x01], connect("MQTT", 4, 2, &[&s(&"c".repeat(185))])),
        row(EndsEarly, Client(V311), packet(0x30, &[&[0, 2], b"a"]), packet(0x30, &[&[0, 2], b"ab"])),
        row(BytesLeft, Client(V311), packet(0x40, &[&[0, 1, 0]]), packet(0x40, &[&[0, 1]])),
        row(BytesLeft, Client(V5), packet(0xC0, &[&[0]]), packet(0xC0, &[])),
        row(BytesLeft, First, connect("MQTT", 4, 2, &[&s("c"), &[0]]), connect("MQTT", 4, 2, &[&s("c")])),
        row(TypeReserved, Client(V5), packet(0x00, &[]), packet(0xC0, &[])),
        row(TypeReserved, Client(V311), packet(0xF0, &[]), packet(0xC0, &[])),
        row(FlagsReserved, Client(V5), packet(0xC1, &[]), packet(0xC0, &[])),
        row(FlagsReserved, Client(V5), packet(0x42, &[&[0, 1]]), packet(0x40, &[&[0, 1]])),
        row(StringNotUtf8, Client(V311), packet(0x30, &[&[0, 2, 0xC3, 0x28]]), packet(0x30, &[&[0, 2, 0xC3, 0xA8]])),
        // A surrogate, and its neighbour that is a non-character and allowed.
        row(
            StringNotUtf8,
            Client(V5),
            with_properties(b"\x03\x00\x03\xED\xA0\x80"),
            with_properties(b"\x03\x00\x03\xEF\xBF\xBF"),
        ),
        row(StringHasNul, Client(V311), packet(0x30, &[&s("a\0")]), packet(0x30, &[&s("a\x01")])),
        row(
            StringHasNul,
            Client(V5),
            with_properties(b"\x26\x00\x01a\x00\x01\0"),
            with_properties(b"\x26\x00\x01a\x00\x01b"),
        ),
        row(PacketIdZero, Client(V311), packet(0x32, &[&s("a"), &[0, 0]]), packet(0x32, &[&s("a"), &[0, 1]])),
        row(PacketIdZero, Client(V5), packet(0x40, &[&[0, 0]]), packet(0x40, &[&[0, 1]])),
        row(PacketIdZero, Client(V311), packet(0x82, &[&[0, 0], &s("a"), &[0]]), subscribe311("a", 0)),
    ]
}

fn properties() -> Vec<Row> {
    use Breach::*;
    let none = || with_properties(&[]);
    vec![
        row(PropertyUnknown, Client(V5), with_properties(&[4, 0]), none()),
        row(PropertyMisplaced, Client(V5), with_properties(&[0x21, 0, 1]), none()),
        row(
            PropertyMisplaced,
            Client(V5),
            packet(0xE0, &[&[0, 4, 0x1C, 0, 1, b's']]),
            packet(0xE0, &[&[0, 4, 0x1F, 0, 1, b's']]),
        ),
        row(PropertyMisplaced, First, connect5(&[0x18, 0, 0, 0, 1]), connect5(&[0x11, 0, 0, 0, 1])),
        row(PropertyRepeated, Client(V5), with_properties(&[1, 1, 1, 1]), with_properties(&[1, 1])),
        row(PropertyRepeated, First, connect5(&[0x21, 0, 1, 0x21, 0, 1]), connect5(&[0x21, 0, 1])),
        row(
            PropertyRepeated,
            Client(V5),
            packet(0x82, &[&[0, 1, 4, 11, 1, 11, 2], &s("a"), &[0]]),
            packet(0x82, &[&[0, 1, 2, 11, 1], &s("a"), &[0]]),
        ),
        row(
            UserPropertiesTooMany,
            Client(V5),
            with_properties(&[38, 0, 0, 0, 0].repeat(3)),
            with_properties(&[38, 0, 0, 0, 0].repeat(2)),
        ),
        row(
            UserPropertiesTooLarge,
            Client(V5),
            with_properties(&[&[38, 0, 6][..], b"abcdef", &[0, 7], b"ghijklm"].concat()),
            with_properties(&[&[38, 0, 6][..], b"abcdef", &[0, 6], b"ghijkl"].concat()),
        ),
        row(PayloadFormatUnknown, Client(V5), with_properties(&[1, 2]), with_properties(&[1, 1])),
        row(ReceiveMaximumZero, First, connect5(&[0x21, 0, 0]), connect5(&[0x21, 0, 1])),
        row(MaximumPacketSizeZero, First, connect5(&[0x27, 0, 0, 0, 0]), connect5(&[0x27, 0, 0, 0, 1])),
        row(RequestResponseInfoUnknown, First, connect5(&[0x19, 2]), connect5(&[0x19, 1])),
        row(RequestProblemInfoUnknown, First, connect5(&[0x17, 2]), connect5(&[0x17, 0])),
        row(AvailabilityUnknown, Client(V5), with_properties(&[0x24, 2]), none()),
        row(TopicAliasZero, Client(V5), with_properties(&[0x23, 0, 0]), with_properties(&[0x23, 0, 1])),
        row(TopicAliasTooLarge, Client(V5), with_properties(&[0x23, 0, 6]), with_properties(&[0x23, 0, 5])),
        row(
            SubscriptionIdZero,
            Client(V5),
            packet(0x82, &[&[0, 1, 2, 11, 0], &s("a"), &[0]]),
            packet(0x82, &[&[0, 1, 2, 11, 1], &s("a"), &[0]]),
        ),
        row(SubscriptionIdFromClient, Client(V5), with_properties(&[11, 1]), none()),
        row(
            ResponseTopicWildcard,
            Client(V5),
            with_properties(b"\x08\x00\x03a/+"),
            with_properties(b"\x08\x00\x03a/b"),
        ),
        row(AuthDataWithoutMethod, First, connect5(&[0x16, 0, 1, 7]), connect5(&[0x16, 0, 1, 7, 0x15, 0, 1, b'm'])),
    ]
}

fn topics() -> Vec<Row> {
    use Breach::*;
    vec![
        row(TopicEmpty, Client(V311), packet(0x30, &[&s("")]), packet(0x30, &[&s("a")])),
        row(TopicEmpty, Client(V5), packet(0x30, &[&s(""), &[0]]), packet(0x30, &[&s(""), &[3, 0x23, 0, 1]])),
        row(TopicWildcard, Client(V311), packet(0x30, &[&s("a/#")]), packet(0x30, &[&s("a/b")])),
        row(
            TopicWildcard,
            First,
            connect("MQTT", 4, 6, &[&s("c"), &s("w/+"), &s("")]),
            connect("MQTT", 4, 6, &[&s("c"), &s("w/x"), &s("")]),
        ),
        row(TopicTooDeep, Client(V311), packet(0x30, &[&s("////")]), packet(0x30, &[&s("///")])),
        row(
            TopicTooLong,
            Client(V5),
            packet(0x30, &[&s(&"a".repeat(21)), &[0]]),
            packet(0x30, &[&s(&"a".repeat(20)), &[0]]),
        ),
        row(
            TopicTooLong,
            First,
            connect("MQTT", 4, 6, &[&s("c"), &s(&"w".repeat(21)), &s("")]),
            connect("MQTT", 4, 6, &[&s("c"), &s(&"w".repeat(20)), &s("")]),
        ),
        row(FilterTooLong, Client(V311), subscribe311(&"a".repeat(21), 0), subscribe311(&"a".repeat(20), 0)),
        row(
            FilterTooLong,
            Client(V5),
            packet(0xA2, &[&[0, 1, 0], &s(&"a".repeat(21))]),
            packet(0xA2, &[&[0, 1, 0], &s(&"a".repeat(20))]),
        ),
        row(FilterEmpty, Client(V311), subscribe311("", 0), subscribe311("a", 0)),
        row(FilterHashMisplaced, Client(V5), subscribe5("a/#/b", 0), subscribe5("a/b/#", 0)),
        row(FilterHashMisplaced, Client(V5), subscribe5("a#", 0), subscribe5("#", 0)),
        row(FilterPlusMisplaced, Client(V311), subscribe311("a+/b", 0), subscribe311("+/b", 0)),
        row(FilterTooDeep, Client(V5), subscribe5("a/b/c/d/e", 0), subscribe5("$share/g/a/b/c/d", 0)),
        row(ShareNameEmpty, Client(V5), subscribe5("$share//a", 0), subscribe5("$share/g/a", 0)),
        row(ShareNameWildcard, Client(V5), subscribe5("$share/g+/a", 0), subscribe5("$share/g/+", 0)),
        row(ShareFilterMissing, Client(V5), subscribe5("$share/g", 0), subscribe5("$share", 0)),
        row(ShareFilterMissing, Client(V311), subscribe311("$share/g/", 0), subscribe311("$share/g//", 0)),
        row(
            ShareFilterMissing,
            Client(V5),
            packet(0xA2, &[&[0, 1, 0], &s("$share/g")]),
            packet(0xA2, &[&[0, 1, 0], &s("$share/g/a")]),
        ),
    ]
}

fn connects() -> Vec<Row> {
    use Breach::*;
    let plain = || connect("MQTT", 4, 2, &[&s("c")]);
    vec![
        row(ConnectNotFirst, First, packet(0xC0, &[]), plain()),
        row(ConnectNotFirst, First, b"GET / HTTP/1.1\r\n\r\n".to_vec(), plain()),
        row(FlagsReserved, First, packet(0x11, &[&plain()[2..]]), plain()),
        row(ConnectAgain, Client(V5), connect5(&[]), packet(0xC0, &[])),
        row(ConnectAgain, Exchange, connect5(&[]), packet(0xE0, &[])),
        row(ProtocolNameUnknown, First, connect("mqtt", 4, 2, &[&s("c")]), plain()),
        row(ProtocolLevelUnsupported, First, connect("MQTT", 6, 2, &[&s("c")]), plain()),
        row(ProtocolLevelUnsupported, First, connect("MQTT", 3, 2, &[&s("c")]), connect("MQIsdp", 3, 2, &[&s("c")])),
        row(ConnectFlagReserved, First, connect("MQTT", 4, 3, &[&s("c")]), plain()),
        row(WillQosWithoutWill, First, connect("MQTT", 4, 0x0A, &[&s("c")]), plain()),
        row(WillRetainWithoutWill, First, connect("MQTT", 4, 0x22, &[&s("c")]), plain()),
        row(
            WillQosReserved,
            First,
            connect("MQTT", 4, 0x1E, &[&s("c"), &s("w"), &s("")]),
            connect("MQTT", 4, 0x16, &[&s("c"), &s("w"), &s("")]),
        ),
        row(
            PasswordWithoutUserName,
            First,
            connect("MQTT", 4, 0x42, &[&s("c"), &s("p")]),
            connect("MQTT", 5, 0x42, &[&[0], &s("c"), &s("p")]),
        ),
        row(ClientIdEmpty, First, connect("MQTT", 4, 0, &[&s("")]), connect("MQTT", 4, 2, &[&s("")])),
        row(ClientIdEmpty, First, connect("MQIsdp", 3, 2, &[&s("")]), connect("MQTT", 5, 0, &[&[0], &s("")])),
        // The fields that flags announce are there (MQTT-3.1.2-9, -17, -19); MQTT 3.1 alone forgives a missing user name.
        row(
            EndsEarly,
            First,
            connect("MQTT", 4, 6, &[&s("c"), &s("w")]),
            connect("MQTT", 4, 6, &[&s("c"), &s("w"), &s("")]),
        ),
        row(EndsEarly, First, connect("MQTT", 4, 0x82, &[&s("c")]), connect("MQIsdp", 3, 0x82, &[&s("c")])),
        row(
            EndsEarly,
            First,
            connect("MQTT", 4, 0xC2, &[&s("c"), &s("u")]),
            connect("MQTT", 4, 0xC2, &[&s("c"), &s("u"), &s("p")]),
        ),
    ]
}

fn messages() -> Vec<Row> {
    use Breach::*;
    let ack5 = |first: u8, code: u8| packet(first, &[&[0, 1, code]]);
    vec![
        row(QosReserved, Client(V311), packet(0x36, &[&s("a"), &[0, 1]]), packet(0x34, &[&s("a"), &[0, 1]])),
        row(DupAtQos0, Client(V5), packet(0x38, &[&s("a"), &[0]]), packet(0x3A, &[&s("a"), &[0, 1, 0]])),
        row(PubAckCode, Client(V5), ack5(0x40, 0x10), ack5(0x40, 0x80)),
        row(PubRecCode, Client(V5), ack5(0x50, 0x92), ack5(0x50, 0x91)),
        row(PubRelCode, Client(V5), ack5(0x62, 0x80), ack5(0x62, 0x92)),
        row(PubCompCode, Client(V5), ack5(0x70, 0x80), ack5(0x70, 0x92)),
        row(PubRelFlags, Client(V5), packet(0x60, &[&[0, 1]]), packet(0x62, &[&[0, 1]])),
        row(PubRelFlags, Client(V311), packet(0x6A, &[&[0, 1]]), packet(0x62, &[&[0, 1]])),
        row(BytesLeft, Client(V5), packet(0x40, &[&[0, 1, 0, 0, 0]]), packet(0x40, &[&[0, 1, 0, 0]])),
    ]
}

fn subscriptions() -> Vec<Row> {
    use Breach::*;
    let many = |n: usize| packet(0x82, &[&[0, 1], &[s("a"), vec![0]].concat().repeat(n)]);
    vec![
        row(SubscribeFlags, Client(V311), packet(0x80, &[&subscribe311("a", 0)[2..]]), subscribe311("a", 0)),
        row(SubscribeFlags, Client(V311), packet(0x8A, &[&subscribe311("a", 0)[2..]]), subscribe311("a", 0)),
        row(SubscribeWithoutFilter, Client(V311), packet(0x82, &[&[0, 1]]), subscribe311("a", 0)),
        row(SubscribeOptionsReserved, Client(V5), subscribe5("a", 0x40), subscribe5("a", 0x2E)),
        row(SubscribeOptionsReserved, Client(V311), subscribe311("a", 0x04), subscribe311("a", 2)),
        row(SubscribeQosReserved, Client(V5), subscribe5("a", 3), subscribe5("a", 2)),
        row(SubscribeQosReserved, Client(V311), subscribe311("a", 3), subscribe311("a", 2)),
        row(RetainHandlingReserved, Client(V5), subscribe5("a", 0x30), subscribe5("a", 0x20)),
        row(NoLocalShared, Client(V5), subscribe5("$share/g/a", 4), subscribe5("a", 4)),
        row(EndsEarly, Client(V311), packet(0x82, &[&[0, 1], &s("a")]), subscribe311("a", 0)),
        row(UnsubscribeFlags, Client(V311), packet(0xA0, &[&[0, 1], &s("a")]), packet(0xA2, &[&[0, 1], &s("a")])),
        row(UnsubscribeWithoutFilter, Client(V5), packet(0xA2, &[&[0, 1, 0]]), packet(0xA2, &[&[0, 1, 0], &s("a")])),
        row(FiltersTooMany, Client(V311), many(4), many(3)),
        row(
            FiltersTooMany,
            Client(V311),
            packet(0xA2, &[&[0, 1], &s("a").repeat(4)]),
            packet(0xA2, &[&[0, 1], &s("a").repeat(3)]),
        ),
    ]
}

fn others() -> Vec<Row> {
    use Breach::*;
    let auth = |first: u8, code: u8, method: &str| {
        let method = s(method);
        packet(first, &[&[code, 1 + method.len() as u8, 0x15], &method])
    };
    vec![
        row(DisconnectFlags, Client(V311), packet(0xE1, &[]), packet(0xE0, &[])),
        row(DisconnectCode, Client(V5), packet(0xE0, &[&[0x8E]]), packet(0xE0, &[&[0x04]])),
        row(BytesLeft, Client(V311), packet(0xE0, &[&[0]]), packet(0xE0, &[])),
        row(
            SessionExpiryRaised,
            Client(V5),
            packet(0xE0, &[&[0, 5, 0x11, 0, 0, 0, 1]]),
            packet(0xE0, &[&[0, 5, 0x11, 0, 0, 0, 0]]),
        ),
        row(AuthFlags, Client(V5), auth(0xF1, 0x19, "m"), auth(0xF0, 0x19, "m")),
        row(AuthCode, Client(V5), packet(0xF0, &[]), auth(0xF0, 0x19, "m")),
        row(AuthCode, Client(V5), auth(0xF0, 0x18, "m"), auth(0xF0, 0x19, "m")),
        row(AuthCode, Exchange, auth(0xF0, 0x19, "m"), auth(0xF0, 0x18, "m")),
        row(AuthMethodMissing, Client(V5), packet(0xF0, &[&[0x19, 0]]), auth(0xF0, 0x19, "m")),
        row(AuthMethodChanged, Client(V5), auth(0xF0, 0x19, "n"), auth(0xF0, 0x19, "m")),
        row(AuthNotOffered, WithoutMethod, auth(0xF0, 0x19, "m"), packet(0xC0, &[])),
        row(BeforeConnAck, Exchange, packet(0xC0, &[]), packet(0xE0, &[])),
        row(ServerPacket, Client(V5), packet(0xD0, &[]), packet(0xC0, &[])),
        row(ServerPacket, Client(V311), packet(0x20, &[&[0, 0]]), packet(0xC0, &[])),
    ]
}

fn rows() -> Vec<Row> {
    [framing(), properties(), topics(), connects(), messages(), subscriptions(), others()]
        .into_iter()
        .flatten()
        .collect()
}

/// Guards every clause that one packet can break: the bad bytes give exactly that breach, and the twin is read.
#[test]
fn each_breach_is_refused_and_its_twin_is_read() {
    for row in rows() {
        let Row { breach, reading, bad, twin } = row;
        assert_eq!(reading.read(&bad), Err(breach), "{breach}: {reading:?} {bad:02X?}");
        assert_eq!(reading.read(&twin), Ok(()), "twin of {breach}: {reading:?} {twin:02X?}");
    }
}

/// Guards the table above: no breach without a row. The exceptions need more than one packet and are the broker's to find.
#[test]
fn no_breach_is_without_a_row() {
    let found: HashSet<Breach> = rows().iter().map(|row| row.breach).collect();
    for breach in Breach::ALL {
        let elsewhere = matches!(
            breach,
            Breach::ReceiveMaximumExceeded
                | Breach::QosNotAnnounced
                | Breach::RetainNotAnnounced
                | Breach::TopicAliasUnknown
        );
        assert_eq!(found.contains(breach), !elsewhere, "{breach:?}");
    }
}

/// MQTT 3.1 sets DUP when it sends PUBREL, SUBSCRIBE or UNSUBSCRIBE again; the later versions forbid it.
#[test]
fn dup_of_mqtt_3_1() {
    for bytes in [packet(0x6A, &[&[0, 1]]), packet(0x8A, &[&[0, 1], &s("a"), &[0]]), packet(0xAA, &[&[0, 1], &s("a")])]
    {
        assert_eq!(Client(V31).read(&bytes), Ok(()), "{bytes:02X?}");
        assert!(Client(V311).read(&bytes).is_err(), "{bytes:02X?}");
    }
}

/// MQTT 3.1 does not use the flags of most packets, nor bit 0 of the connect flags: they may be anything.
#[test]
fn flags_that_mqtt_3_1_does_not_use() {
    for bytes in [packet(0x4F, &[&[0, 1]]), packet(0x52, &[&[0, 1]]), packet(0xC1, &[]), packet(0xE2, &[])] {
        assert_eq!(Client(V31).read(&bytes), Ok(()), "{bytes:02X?}");
        assert!(Client(V311).read(&bytes).is_err(), "{bytes:02X?}");
    }
    assert_eq!(First.read(&connect("MQIsdp", 3, 3, &[&s("c")])), Ok(()));
}

/// Guards the clients of 3.1 whose identifiers are longer than the 23 characters that it allows.
#[test]
fn a_long_client_id_of_mqtt_3_1() {
    assert_eq!(First.read(&connect("MQIsdp", 3, 2, &[&s(&"\u{E9}".repeat(40))])), Ok(()));
}

/// Guards what an event says of a limit: each breach of a limit names it and its value, a breach of another rule none.
#[test]
fn breaches_of_limits_name_them() {
    let limits = limits();
    for (breach, limit) in [
        (Breach::PacketTooLarge, ("packet_bytes_max", 300)),
        (Breach::TopicTooDeep, ("topic_levels_max", 4)),
        (Breach::FilterTooLong, ("topic_bytes_max", 20)),
        (Breach::UserPropertiesTooMany, ("user_properties_max", 2)),
        (Breach::UserPropertiesTooLarge, ("user_properties_bytes_max", 12)),
        (Breach::FiltersTooMany, ("filters_per_packet_max", 3)),
    ] {
        assert_eq!(limits.exceeded_by(breach), Some(limit));
    }
    assert_eq!(limits.exceeded_by(Breach::TopicEmpty), None);
}

/// Guards what an operator reads: every breach has a clause, a failure code and words, and the two versions' clauses differ
/// where the standards number them differently.
#[test]
fn breaches_explain_themselves() {
    for breach in Breach::ALL {
        assert!(breach.code().is_failure(), "{breach:?}");
        assert!(!breach.clause().is_empty() && !breach.detail().is_empty(), "{breach:?}");
        assert!(!breach.is_malformed() || matches!(breach.code().0, 0x81 | 0x8F), "{breach:?}");
    }
    assert_eq!(Breach::StringHasNul.clause_in(V311), "MQTT-1.5.3-2");
    assert_eq!(Breach::StringHasNul.clause_in(V5), "MQTT-1.5.4-2");
    assert_eq!(Breach::PacketTooLarge.clause_in(V311), "MQTT-3.2.2-15");
}
