//! What a connection reads in each state, and what stands in it.

use gatemq_mqtt::codec::frame::Framed;
use gatemq_mqtt::connection::{Established, Exchange, ExpectConnect, Packet, TopicAliases};
use gatemq_mqtt::packet::subscribe::RetainHandling;
use gatemq_mqtt::{Breach, PacketLimits};
use gatemq_types::Protocol::{V5, V31, V311};
use gatemq_types::{QoS, ReasonCode, Secret};

use crate::bytes::{admitted, connect, limits, packet, s, waiting};

fn read<'a>(state: &mut Established, bytes: &'a [u8]) -> Result<Packet<'a>, Breach> {
    let Framed::Frame { head, .. } = state.frame(bytes)? else { return Err(Breach::EndsEarly) };
    state.packet(bytes, head)
}

/// 3.1: every field of a full 5.0 CONNECT.
#[test]
fn connect_of_5_0() {
    let properties = [
        &[0x11, 0, 0, 0, 9, 0x21, 0, 8, 0x27, 0, 0, 1, 0, 0x22, 0, 7, 0x19, 1, 0x17, 0][..],
        b"\x15\x00\x01m\x16\x00\x01d\x26\x00\x01k\x00\x01v\x26\x00\x01k\x00\x01w",
    ]
    .concat();
    let will_properties = b"\x01\x01\x18\x00\x00\x00\x05\x26\x00\x01k\x00\x01v";
    let bytes = connect(
        "MQTT",
        5,
        0xF6,
        &[
            &[properties.len() as u8],
            &properties,
            &s("c"),
            &[will_properties.len() as u8],
            will_properties,
            &s("w/x"),
            &s("bye"),
            &s("u"),
            &s("p"),
        ],
    );
    let (connect, waiting) = ExpectConnect::new(limits()).first(&bytes, 2).unwrap();
    assert_eq!((connect.protocol, connect.clean_start, connect.keep_alive_s), (V5, true, 60));
    assert_eq!((connect.session_expiry_s, connect.receive_max, connect.packet_bytes_max), (9, 8, 256));
    assert_eq!(
        (connect.topic_alias_max, connect.request_response_info, connect.request_problem_info),
        (7, true, false)
    );
    assert_eq!(connect.client_id, "c");
    assert_eq!((connect.user_name.as_deref(), connect.password), (Some("u"), Some(Secret::new(b"p".to_vec()))));
    assert_eq!(connect.user_properties, [("k".into(), "v".into()), ("k".into(), "w".into())]);
    assert_eq!((connect.auth_method.as_deref(), connect.auth_data), (Some("m"), Some(Secret::new(b"d".to_vec()))));
    assert_eq!(waiting.auth_method(), Some("m"));
    let will = connect.will.unwrap();
    assert_eq!((will.topic.as_str(), will.payload.as_slice(), will.delay_s), ("w/x", &b"bye"[..], 5));
    assert_eq!((will.qos, will.retain), (QoS::ExactlyOnce, true));
    assert_eq!(will.properties, b"\x01\x01\x26\x00\x01k\x00\x01v", "without the delay, which is not the message's");
    assert_eq!(will.user_properties(), [("k".into(), "v".into())]);
}

/// 3.1.2.11 and 3.1.1 MQTT-3.1.2-4, -6: what is left out has the standard's default; a session of MQTT 3 ends at once or
/// never.
#[test]
fn connect_defaults() {
    for (bytes, protocol, session_expiry_s) in [
        (connect("MQTT", 5, 0, &[&[0], &s("c")]), V5, 0),
        (connect("MQTT", 4, 2, &[&s("c")]), V311, 0),
        (connect("MQTT", 4, 0, &[&s("c")]), V311, u32::MAX),
        (connect("MQIsdp", 3, 0, &[&s("c")]), V31, u32::MAX),
    ] {
        let (connect, _) = ExpectConnect::new(limits()).first(&bytes, 2).unwrap();
        assert_eq!((connect.protocol, connect.session_expiry_s), (protocol, session_expiry_s));
        assert_eq!((connect.receive_max, connect.packet_bytes_max, connect.topic_alias_max), (65_535, 0, 0));
        assert!(connect.request_problem_info && !connect.request_response_info);
        assert!(connect.will.is_none() && connect.user_name.is_none() && connect.password.is_none());
    }
}

/// MQTT-3.1.0-1: a stranger is refused by its first byte, before the length that it announces has arrived; the twin is
/// waited for.
#[test]
fn strangers_are_refused_at_once() {
    let state = ExpectConnect::new(PacketLimits::default());
    assert_eq!(state.frame(b"G"), Err(Breach::ConnectNotFirst));
    assert_eq!(state.frame(&[0x16, 3, 1]), Err(Breach::FlagsReserved), "TLS");
    assert_eq!(state.frame(&[0x10]), Ok(Framed::Incomplete { need: 0 }));
    assert_eq!(state.frame(&[0x10, 20, 0]), Ok(Framed::Incomplete { need: 22 }));
}

/// 3.14.2.2.2: a session that lasts may get another expiry at DISCONNECT.
#[test]
fn disconnect_may_change_an_expiry_that_is_not_0() {
    let mut state = waiting(V5, 9).accept(limits());
    let bytes = packet(0xE0, &[&[4, 5, 0x11, 0, 0, 1, 0]]);
    let Ok(Packet::Disconnect(read)) = read(&mut state, &bytes) else { panic!("refused") };
    assert_eq!((read.reason, read.session_expiry_s), (ReasonCode::DISCONNECT_WITH_WILL, Some(256)));
}

/// 4.12: steps before CONNACK have code 0x18; a re-authentication begins with 0x19, goes on with 0x18, and after it has
/// ended another begins with 0x19.
#[test]
fn enhanced_authentication() {
    let auth = |code: u8| packet(0xF0, &[&[code, 8, 0x15, 0, 1, b'm', 0x16, 0, 1, b'd']]);
    let state = waiting(V5, 0);
    let step = auth(0x18);
    let Ok(Exchange::Auth(read_auth)) = state.packet(&step, 2) else { panic!("refused") };
    assert_eq!((read_auth.method, read_auth.data), ("m", Some(&b"d"[..])));

    let mut state = state.accept(limits());
    let again = auth(0x19);
    assert!(matches!(read(&mut state, &again), Ok(Packet::Auth(_))));
    assert!(matches!(read(&mut state, &step), Ok(Packet::Auth(_))));
    assert!(matches!(read(&mut state, &again), Err(Breach::AuthCode)));
    state.reauthenticated();
    assert!(matches!(read(&mut state, &step), Err(Breach::AuthCode)));
    assert!(matches!(read(&mut state, &again), Ok(Packet::Auth(_))));
}

/// 3.8: filters, share names and options come out in their order.
#[test]
fn subscriptions() {
    let bytes = packet(0x82, &[&[0, 7, 2, 11, 9], &s("$share/g/a/#"), &[0b0000_1001], &s("b/+"), &[0b0010_0110]]);
    let mut state = admitted(V5);
    let Ok(Packet::Subscribe(read)) = read(&mut state, &bytes) else { panic!("refused") };
    assert_eq!((read.packet_id, read.subscription_id, read.count()), (7, Some(9), 2));
    let filters: Vec<_> = read.iter().collect();
    let (first, options) = filters[0];
    assert_eq!((first.text, first.share_name, first.filter), ("$share/g/a/#", Some("g"), "a/#"));
    assert_eq!((options.qos(), options.no_local(), options.retain_as_published()), (QoS::AtLeastOnce, false, true));
    let (second, options) = filters[1];
    assert_eq!((second.share_name, second.filter), (None, "b/+"));
    assert_eq!((options.qos(), options.no_local(), options.retain_as_published()), (QoS::ExactlyOnce, true, false));
    assert_eq!(options.retain_handling(), RetainHandling::Never);
}

/// 3.4.2.1: reason code and properties of an acknowledgement may each be left out.
#[test]
fn acknowledgements() {
    for (bytes, reason) in [
        (packet(0x40, &[&[1, 2]]), 0x00),
        (packet(0x40, &[&[1, 2, 0x87]]), 0x87),
        (packet(0x40, &[&[1, 2, 0x87, 0]]), 0x87),
        (packet(0x40, &[&[1, 2, 0x87, 4, 31, 0, 1, b'r']]), 0x87),
    ] {
        let mut state = admitted(V5);
        let Ok(Packet::PubAck(read)) = read(&mut state, &bytes) else { panic!("refused") };
        assert_eq!((read.packet_id, read.reason), (0x0102, ReasonCode(reason)));
    }
}

/// Guards 3.3.2.3.4: an alias stands for the topic that it was last set to, for nothing before, and for nothing on another
/// connection; each has its own.
#[test]
fn topic_aliases() {
    let mut aliases = TopicAliases::default();
    let publish = |topic: &str, alias: u8| packet(0x30, &[&s(topic), &[3, 0x23, 0, alias], b"x"]);
    let resolve = |aliases: &mut TopicAliases, bytes: Vec<u8>| match read(&mut admitted(V5), &bytes) {
        Ok(Packet::Publish(message)) => aliases.resolve(&message).map(|topic| topic.to_string()),
        other => panic!("{other:?}"),
    };
    assert_eq!(resolve(&mut aliases, publish("", 1)), Err(Breach::TopicAliasUnknown));
    assert_eq!(resolve(&mut aliases, packet(0x30, &[&s("plain"), &[0], b"x"])), Ok("plain".into()));
    for (topic, alias, is) in
        [("a", 5, "a"), ("", 5, "a"), ("b", 1, "b"), ("", 5, "a"), ("c", 5, "c"), ("", 5, "c"), ("", 1, "b")]
    {
        for _ in 0..2 {
            assert_eq!(resolve(&mut aliases, publish(topic, alias)), Ok(is.into()), "{topic} {alias}");
        }
    }
    assert_eq!(resolve(&mut aliases, publish("", 2)), Err(Breach::TopicAliasUnknown));
    assert_eq!(resolve(&mut TopicAliases::default(), publish("", 5)), Err(Breach::TopicAliasUnknown));
}
