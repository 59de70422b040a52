//! What the broker writes, byte for byte.

use gatemq_mqtt::codec::properties::Words;
use gatemq_mqtt::codec::write;
use gatemq_mqtt::packet::connack::{self, ConnAck};
use gatemq_mqtt::packet::{auth, disconnect, suback, unsuback};
use gatemq_mqtt::{Breach, kind};
use gatemq_types::Protocol::{V5, V31, V311};
use gatemq_types::{Protocol, QoS, ReasonCode};

use crate::bytes::{connect, s};

fn written(f: impl FnOnce(&mut Vec<u8>) -> bool) -> Option<Vec<u8>> {
    let mut out = vec![];
    let whether = f(&mut out);
    assert_eq!(whether, !out.is_empty(), "false means that nothing was appended");
    whether.then_some(out)
}

fn connack(packet: ConnAck<'_>, protocol: Protocol, max: u32) -> Option<Vec<u8>> {
    written(|out| packet.write(out, protocol, max))
}

/// 3.2: acknowledging a CONNECT in each version, of which 3.1 has no bit for a session that is present; MQTT-3.2.2-6: no session is present with a failure.
#[test]
fn connack_of_each_version() {
    let accepted = ConnAck { session_present: true, receive_max: Some(100), ..ConnAck::new(ReasonCode::SUCCESS) };
    assert_eq!(connack(accepted, V311, 0).unwrap(), [0x20, 2, 1, 0]);
    assert_eq!(connack(accepted, V31, 0).unwrap(), [0x20, 2, 0, 0]);
    assert_eq!(connack(accepted, V5, 0).unwrap(), [0x20, 6, 1, 0, 3, 0x21, 0, 100]);
    let refused = ConnAck { session_present: true, ..ConnAck::new(ReasonCode::BAD_USER_NAME_OR_PASSWORD) };
    assert_eq!(connack(refused, V311, 0).unwrap(), [0x20, 2, 0, 4]);
    assert_eq!(connack(refused, V5, 0).unwrap(), [0x20, 3, 0, 0x86, 0]);
}

/// 3.2.2.3: every property that differs from the standard's default is said, and no other.
#[test]
fn connack_properties() {
    let packet = ConnAck {
        session_expiry_s: Some(1),
        receive_max: Some(2),
        qos_max: QoS::AtLeastOnce,
        retain_available: false,
        packet_bytes_max: Some(3),
        assigned_client_id: Some("i"),
        topic_alias_max: 4,
        wildcard_available: false,
        subscription_id_available: false,
        shared_available: false,
        server_keep_alive_s: Some(5),
        response_info: Some("r"),
        server_reference: Some("s"),
        auth_method: Some("m"),
        auth_data: Some(b"d"),
        ..ConnAck::new(ReasonCode::SUCCESS)
    };
    let expected = [
        &[0x11, 0, 0, 0, 1, 0x21, 0, 2, 0x24, 1, 0x25, 0, 0x27, 0, 0, 0, 3, 0x12, 0, 1, b'i', 0x22, 0, 4][..],
        &[
            0x28, 0, 0x29, 0, 0x2A, 0, 0x13, 0, 5, 0x1A, 0, 1, b'r', 0x1C, 0, 1, b's', 0x15, 0, 1, b'm', 0x16, 0, 1,
            b'd',
        ],
    ]
    .concat();
    let bytes = connack(packet, V5, 0).unwrap();
    assert_eq!(bytes[..5], [0x20, 3 + expected.len() as u8, 0, 0, expected.len() as u8]);
    assert_eq!(bytes[5..], expected);
}

/// MQTT-3.2.2-19 and -20, MQTT-3.1.2-24: words are dropped, user properties first to go, before a packet becomes too large;
/// what is too large without them is not sent.
#[test]
fn words_give_way_to_the_maximum_packet_size() {
    let user = [("k".to_owned(), "v".to_owned())];
    let words = Words { reason_string: Some("why"), user: &user };
    let packet = ConnAck { words, ..ConnAck::new(ReasonCode::NOT_AUTHORIZED) };
    let reason = [0x1F, 0, 3, b'w', b'h', b'y'];
    let pair = [0x26, 0, 1, b'k', 0, 1, b'v'];
    let all = [&[0x20, 16, 0, 0x87, 13][..], &reason, &pair].concat();
    assert_eq!(connack(packet, V5, 0).unwrap(), all);
    assert_eq!(connack(packet, V5, 18).unwrap(), all);
    assert_eq!(connack(packet, V5, 17).unwrap(), [&[0x20, 9, 0, 0x87, 6][..], &reason].concat());
    assert_eq!(connack(packet, V5, 10).unwrap(), [0x20, 3, 0, 0x87, 0]);
    assert_eq!(connack(packet, V5, 4), None);
}

/// 3.1.1 MQTT-3.1.2-2, MQTT-3.1.3-8, MQTT-3.1.4-1; 5.0 3.1.2.2: who is told why its CONNECT is refused, and in which form.
#[test]
fn refused_connects_are_answered_in_their_own_form() {
    let answer = |bytes: &[u8], breach| written(|out| connack::refuse(out, bytes, 2, breach));
    let level = Breach::ProtocolLevelUnsupported;
    assert_eq!(answer(&connect("MQTT", 6, 2, &[]), level).unwrap(), [0x20, 3, 0, 0x84, 0]);
    assert_eq!(answer(&connect("MQTT", 2, 2, &[]), level).unwrap(), [0x20, 2, 0, 1]);
    // A bridge sets the highest bit, and tries again without when it is told 1.
    assert_eq!(answer(&connect("MQTT", 0x84, 2, &[]), level).unwrap(), [0x20, 2, 0, 1]);
    assert_eq!(answer(&connect("MQIsdp", 3, 2, &[&s("")]), Breach::ClientIdEmpty).unwrap(), [0x20, 2, 0, 2]);
    assert_eq!(answer(&connect("MQTT", 4, 3, &[&s("c")]), Breach::ConnectFlagReserved), None);
    assert_eq!(answer(&connect("MQTT", 5, 3, &[&s("c")]), Breach::ConnectFlagReserved).unwrap(), [0x20, 3, 0, 0x81, 0]);
    assert_eq!(answer(b"GET / HTTP/1.1\r\n", Breach::ConnectNotFirst), None);
}

/// 3.9, 3.11: SUBACK and UNSUBACK in each version; MQTT 3 knows one failure, and no codes of UNSUBACK.
#[test]
fn suback_and_unsuback() {
    let codes = [ReasonCode::GRANTED_QOS_1, ReasonCode::NOT_AUTHORIZED];
    let sub = |protocol, max| written(|out| suback::write(out, protocol, 0x0102, &codes, Words::default(), max));
    assert_eq!(sub(V311, 0).unwrap(), [0x90, 4, 1, 2, 1, 0x80]);
    assert_eq!(sub(V5, 7).unwrap(), [0x90, 5, 1, 2, 0, 1, 0x87]);
    assert_eq!(sub(V5, 6), None);
    let codes = [ReasonCode::SUCCESS, ReasonCode::NO_SUBSCRIPTION_EXISTED];
    let unsub = |protocol, max| written(|out| unsuback::write(out, protocol, 0x0102, &codes, Words::default(), max));
    assert_eq!(unsub(V31, 0).unwrap(), [0xB0, 2, 1, 2]);
    assert_eq!(unsub(V5, 7).unwrap(), [0xB0, 5, 1, 2, 0, 0, 0x11]);
    assert_eq!(unsub(V5, 6), None);
}

/// 3.4 to 3.7: the four acknowledgements; PUBREL has the flags 0010 (MQTT-3.6.1-1); MQTT 3 has no reason codes.
#[test]
fn acknowledgements() {
    let mut out = Vec::new();
    write::ack(&mut out, kind::PUBACK, 0x0102);
    write::ack(&mut out, kind::PUBREL, 0x0102);
    write::ack_with_reason(&mut out, V5, kind::PUBREC, 0x0102, ReasonCode::NOT_AUTHORIZED);
    write::ack_with_reason(&mut out, V5, kind::PUBCOMP, 0x0102, ReasonCode::SUCCESS);
    write::ack_with_reason(&mut out, V311, kind::PUBREL, 0x0102, ReasonCode::PACKET_IDENTIFIER_NOT_FOUND);
    write::ping_resp(&mut out);
    let expected: [&[u8]; 6] =
        [&[0x40, 2, 1, 2], &[0x62, 2, 1, 2], &[0x50, 3, 1, 2, 0x87], &[0x70, 2, 1, 2], &[0x62, 2, 1, 2], &[0xD0, 0]];
    assert_eq!(out, expected.concat());
}

/// 3.14, 3.15: DISCONNECT and AUTH; MQTT 3 has neither from a server; MQTT-3.14.2-3: words give way. The length of no properties is
/// written: rumqttc 0.25 waits for it, and never tells why it was disconnected.
#[test]
fn disconnect_and_auth() {
    let words = Words { reason_string: Some("w"), user: &[] };
    let bye = |protocol, server, words, max| {
        written(|out| disconnect::write(out, protocol, ReasonCode::SERVER_MOVED, server, words, max))
    };
    assert_eq!(bye(V311, None, words, 0), None);
    assert_eq!(bye(V5, None, Words::default(), 0).unwrap(), [0xE0, 2, 0x9D, 0]);
    assert_eq!(bye(V5, None, Words::default(), 3), None);
    assert_eq!(bye(V5, None, words, 0).unwrap(), [0xE0, 6, 0x9D, 4, 0x1F, 0, 1, b'w']);
    assert_eq!(bye(V5, None, words, 7).unwrap(), [0xE0, 2, 0x9D, 0]);
    assert_eq!(bye(V5, Some("s"), words, 8).unwrap(), [0xE0, 6, 0x9D, 4, 0x1C, 0, 1, b's']);
    assert_eq!(bye(V5, Some("s"), words, 7), None);
    let step = |max| written(|out| auth::write(out, ReasonCode::CONTINUE_AUTHENTICATION, "m", Some(b"d"), max));
    assert_eq!(step(0).unwrap(), [0xF0, 10, 0x18, 8, 0x15, 0, 1, b'm', 0x16, 0, 1, b'd']);
    assert_eq!(step(11), None);
}

/// Guards what one receiver's packet has besides what all get: it is that of a PUBLISH with all of the properties.
#[test]
fn publish_with_own_properties() {
    for (first, topic) in [(0x30, "a/b"), (0x35, "a/b"), (0x32, "")] {
        for payload in [&b"x"[..], &[7; 300]] {
            let (own, all) = ([35, 0, 1], [35, 0, 1, 1, 1]);
            let (mut with, mut want) = (vec![9], vec![9]);
            let at = write::publish_with(&mut with, first, topic, &own, &[1, 1], payload);
            assert_eq!(at, write::publish(&mut want, Protocol::V5, first, topic, &all, payload));
            assert_eq!(with, want);
            let body = write::publish_body(topic.len(), first & 6 != 0, all.len(), payload.len());
            assert_eq!(with.len(), 1 + 1 + write::varint_len(body) + body);
        }
    }
}
