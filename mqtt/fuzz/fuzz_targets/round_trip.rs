//! What was read is written and read again: the same. Where there is only one way to write it, the same bytes.
#![no_main]

use gatemq_mqtt::codec::frame::{Framed, frame};
use gatemq_mqtt::codec::write;
use gatemq_mqtt::connection::{ExpectConnect, Packet};
use gatemq_mqtt::packet::ack::Ack;
use gatemq_mqtt::packet::auth;
use gatemq_mqtt::packet::connect::Connect;
use gatemq_mqtt::{PacketLimits, Properties, kind};
use gatemq_mqtt_fuzz::{PROTOCOLS, connect_again, established, limits, packet, properties_again};
use gatemq_types::Protocol;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let limits = limits(0);
    let Ok(Framed::Frame { head, len, .. }) = frame(bytes, limits.packet_bytes_max) else { return };
    let bytes = &bytes[..len];
    if let Ok((connect, _)) = ExpectConnect::new(limits).first(bytes, head) {
        let again = connect_again(&connect);
        let second = Connect::read(&again, head_of(&again), &limits).expect("a CONNECT");
        same_connect(&connect, &second);
    }
    for protocol in PROTOCOLS {
        if let Ok(read) = established(protocol, limits).packet(bytes, head) {
            again(bytes, &read, protocol, &limits);
        }
    }
});

fn head_of(bytes: &[u8]) -> usize {
    match frame(bytes, u32::MAX) {
        Ok(Framed::Frame { head, len, .. }) if len == bytes.len() => head,
        other => panic!("{other:?}"),
    }
}

fn same_connect(one: &Connect, two: &Connect) {
    let strip = |connect: &Connect| {
        let mut connect = connect.clone();
        // Derived from Clean Session in MQTT 3, and equal where that is.
        (connect.password, connect.auth_data) = (None, None);
        format!("{connect:?}")
    };
    assert_eq!(strip(one), strip(two));
    let secret = |secret: &Option<gatemq_types::Secret>| secret.as_ref().map(|s| s.as_bytes().to_vec());
    assert_eq!(secret(&one.password), secret(&two.password));
    assert_eq!(secret(&one.auth_data), secret(&two.auth_data));
}

fn again(bytes: &[u8], read: &Packet<'_>, protocol: Protocol, limits: &PacketLimits) {
    let with_properties = |body: &mut Vec<u8>, properties: Properties<'_>| {
        if protocol == Protocol::V5 {
            write::properties(body, &properties_again(properties));
        }
    };
    let ack = |ack: &Ack<'_>, kind: u8| {
        let mut out = Vec::new();
        write::ack_with_reason(&mut out, protocol, kind, ack.packet_id, ack.reason);
        let second = Ack::read(&out, head_of(&out), protocol, limits).expect("an acknowledgement");
        assert_eq!((second.packet_id, second.reason), (ack.packet_id, ack.reason));
    };
    match read {
        Packet::Publish(message) => {
            let (properties, mut out) = (properties_again(message.properties), Vec::new());
            let at = write::publish(&mut out, protocol, bytes[0], message.topic, &properties, message.payload);
            if message.packet_id != 0 {
                out[at..at + 2].copy_from_slice(&message.packet_id.to_be_bytes());
                assert_eq!(at, message.packet_id_at);
            }
            assert_eq!(out, bytes);
        }
        Packet::PubAck(read) => ack(read, kind::PUBACK),
        Packet::PubRec(read) => ack(read, kind::PUBREC),
        Packet::PubRel(read) => ack(read, kind::PUBREL),
        Packet::PubComp(read) => ack(read, kind::PUBCOMP),
        Packet::Subscribe(read) => {
            let mut body = read.packet_id.to_be_bytes().to_vec();
            with_properties(&mut body, read.properties);
            for (filter, options) in read.iter() {
                write::string(&mut body, filter.text);
                body.push(options.bits());
            }
            assert_eq!(packet(bytes[0], &body), bytes);
        }
        Packet::Unsubscribe(read) => {
            let mut body = read.packet_id.to_be_bytes().to_vec();
            with_properties(&mut body, read.properties);
            read.iter().for_each(|filter| write::string(&mut body, filter.text));
            assert_eq!(packet(bytes[0], &body), bytes);
        }
        // MQTT 3.1 does not use its flags, and ignores them.
        Packet::PingReq if protocol == Protocol::V31 => assert_eq!((bytes[0] & 0xF0, bytes.len()), (0xC0, 2)),
        Packet::PingReq => assert_eq!(bytes, [0xC0, 0]),
        Packet::Disconnect(read) => {
            let mut body = vec![read.reason.0];
            with_properties(&mut body, read.properties);
            let out = if protocol == Protocol::V5 { packet(0xE0, &body) } else { vec![0xE0, 0] };
            let second = established(protocol, *limits).packet(&out, head_of(&out)).map(|p| format!("{p:?}"));
            assert_eq!(second, Ok(format!("{:?}", Packet::Disconnect(*read))));
        }
        Packet::Auth(read) => {
            let mut out = Vec::new();
            assert!(auth::write(&mut out, read.reason, read.method, read.data, 0));
            let second = auth::Auth::read(&out, head_of(&out), limits).expect("an AUTH");
            assert_eq!((second.reason, second.method, second.data), (read.reason, read.method, read.data));
        }
    }
}
