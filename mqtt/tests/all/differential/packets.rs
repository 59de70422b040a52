//! Packets of clients: sound ones, put together from parts that may not belong together, and damaged ones.

use gatemq_mqtt::codec::properties::Property;
use gatemq_mqtt::codec::write;
use gatemq_types::Protocol;
use proptest::prelude::*;

use crate::bytes::{connect, packet, s};

const PROTOCOLS: [Protocol; 3] = [Protocol::V31, Protocol::V311, Protocol::V5];

/// The CONNECT of the client that sends all others: with an Authentication Method and a session that goes on.
pub(super) fn greeting(protocol: Protocol) -> Vec<u8> {
    match protocol {
        Protocol::V31 => connect("MQIsdp", 3, 2, &[&s("c")]),
        Protocol::V311 => connect("MQTT", 4, 2, &[&s("c")]),
        Protocol::V5 => connect("MQTT", 5, 2, &[&[9, 0x11, 0, 0, 0, 9, 0x15, 0, 1, b'm'], &s("c")]),
    }
}

/// Properties with their length.
fn properties(list: &[Property<'_>]) -> Vec<u8> {
    let (mut bytes, mut out) = (Vec::new(), Vec::new());
    list.iter().for_each(|property| property.write(&mut bytes));
    write::properties(&mut out, &bytes);
    out
}

/// One of each kind and version, rich.
pub(super) fn sound() -> Vec<(Protocol, Vec<u8>)> {
    use Property::*;
    let user = [User(("k", "v")), User(("k", "w"))];
    let of_will = [WillDelay(1), MessageExpiry(2), ContentType("t"), PayloadFormat(1), ResponseTopic("r"), user[0]];
    let of_connect = [
        [SessionExpiry(9), ReceiveMaximum(2), MaximumPacketSize(99), TopicAliasMaximum(4), RequestResponseInfo(1)],
        [RequestProblemInfo(0), AuthMethod("m"), AuthData(&[0, 255]), user[0], user[1]],
    ]
    .concat();
    let of_publish = [
        [PayloadFormat(1), MessageExpiry(7), ContentType("t"), ResponseTopic("r")],
        [CorrelationData(&[0, 1]), TopicAlias(3), user[0], user[1]],
    ]
    .concat();
    let why = properties(&[ReasonString("why"), user[0]]);
    let payload = [s("c"), s("w"), s("p"), s("u"), s("x")].concat();
    let payload5 = [s("c"), properties(&of_will), s("w"), s("p"), s("u"), s("x")].concat();
    let auth = [AuthMethod("m"), AuthData(&[1]), ReasonString("why"), user[1]];
    let mut all = vec![
        (Protocol::V31, connect("MQIsdp", 3, 0xF6, &[&payload])),
        (Protocol::V311, connect("MQTT", 4, 0xEC, &[&payload])),
        (Protocol::V5, connect("MQTT", 5, 0xF6, &[&properties(&of_connect), &payload5])),
        (Protocol::V5, packet(0x3D, &[&s("a/b"), &[0, 1], &properties(&of_publish), b"payload"])),
        (Protocol::V5, packet(0x30, &[&s(""), &properties(&[TopicAlias(1)])])),
        (Protocol::V5, packet(0x82, &[&[0, 1], &properties(&[SubscriptionId(200), user[0]]), &s("a/#"), &[0x2D]])),
        (Protocol::V5, packet(0x82, &[&[0, 1], &properties(&[]), &s("$share/g/+/b"), &[0x19], &s("b"), &[2]])),
        (Protocol::V5, packet(0xA2, &[&[0, 1], &properties(&user), &s("$share/g/a"), &s("b/#")])),
        (Protocol::V5, packet(0x40, &[&[0, 1, 0x87], &why])),
        (Protocol::V5, packet(0x50, &[&[0, 1, 0x97], &why])),
        (Protocol::V5, packet(0x62, &[&[0, 1, 0x92], &why])),
        (Protocol::V5, packet(0x70, &[&[0, 1, 0x92], &why])),
        (Protocol::V5, packet(0xE0, &[&[4], &properties(&[SessionExpiry(5), ReasonString("why"), user[0]])])),
        (Protocol::V5, packet(0xE0, &[&[0x82]])),
        (Protocol::V5, packet(0xF0, &[&[0x19], &properties(&auth)])),
    ];
    for protocol in PROTOCOLS {
        all.extend([0x40, 0x50, 0x62, 0x70].map(|first| (protocol, packet(first, &[&[1, 0]]))));
        all.extend([0xC0, 0xE0].map(|first| (protocol, packet(first, &[]))));
    }
    for protocol in [Protocol::V31, Protocol::V311] {
        all.push((protocol, packet(0x3B, &[&s("a/b"), &[0, 1], b"payload"])));
        all.push((protocol, packet(0x31, &[&s("/")])));
        all.push((protocol, packet(0x82, &[&[0, 1], &s("a/+/#"), &[2], &s("b"), &[0]])));
        all.push((protocol, packet(0xA2, &[&[0, 1], &s("a"), &s("b/#")])));
    }
    all
}

/// A damaged sound packet, or one put together.
pub(super) fn packets() -> impl Strategy<Value = (Protocol, Vec<u8>)> {
    // Most rules are of 5.0.
    let protocol = prop_oneof![1 => prop::sample::select(PROTOCOLS.to_vec()), 1 => Just(Protocol::V5)];
    let built = protocol.prop_flat_map(|protocol| (Just(protocol), assembled(protocol)));
    prop_oneof![damaged(prop::sample::select(sound()).boxed()), built.clone(), damaged(built.boxed())]
}

/// Up to three bytes changed, or cut short, or something put in; then the length made to fit, or not.
fn damaged(whole: BoxedStrategy<(Protocol, Vec<u8>)>) -> impl Strategy<Value = (Protocol, Vec<u8>)> {
    let index = any::<prop::sample::Index>();
    let byte = prop_oneof![any::<u8>(), prop::sample::select(vec![0u8, 1, 2, 3, 4, 0x80, b'#', b'+', b'/', 0xFF])];
    let changes = prop::collection::vec((0u8..4, index, byte), 1..4);
    (whole, changes, prop::bool::weighted(0.8)).prop_map(|((protocol, mut bytes), changes, fit)| {
        for (what, at, byte) in changes {
            let at = at.index(bytes.len());
            match what {
                0 if bytes.len() > 2 => bytes.truncate(at.max(2)),
                1 => bytes.insert(at, byte),
                _ => bytes[at] = byte,
            }
        }
        // All lengths here take one byte, where they are what they were.
        if fit && bytes.len() > 2 && bytes.len() < 130 {
            bytes[1] = (bytes.len() - 2) as u8;
        }
        (protocol, bytes)
    })
}

fn text() -> impl Strategy<Value = Vec<u8>> {
    let some =
        ["a", "a/b", "", "+", "a/#", "#", "a+", "#/a", "$share/g/a", "$share//a", "$share/g", "\0", "ü", "$SYS/x"];
    prop::sample::select(some.to_vec()).prop_map(s)
}

/// Any property, wherever it belongs.
fn property() -> impl Strategy<Value = Vec<u8>> {
    let number = prop::sample::select(vec![0u32, 1, 2, 255, 65_535]);
    let words = prop::sample::select(vec!["", "m", "r/s", "+", "\0"]);
    (0usize..27, number, words).prop_map(|(which, n, text)| {
        use Property::*;
        let all = [
            PayloadFormat(n as u8),
            MessageExpiry(n),
            ContentType(text),
            ResponseTopic(text),
            CorrelationData(text.as_bytes()),
            SubscriptionId(n),
            SessionExpiry(n),
            AssignedClientId(text),
            ServerKeepAlive(n as u16),
            AuthMethod(text),
            AuthData(text.as_bytes()),
            RequestProblemInfo(n as u8),
            WillDelay(n),
            RequestResponseInfo(n as u8),
            ResponseInfo(text),
            ServerReference(text),
            ReasonString(text),
            ReceiveMaximum(n as u16),
            TopicAliasMaximum(n as u16),
            TopicAlias(n as u16),
            MaximumQos(n as u8),
            RetainAvailable(n as u8),
            User((text, "v")),
            MaximumPacketSize(n),
            WildcardAvailable(n as u8),
            SubscriptionIdAvailable(n as u8),
            SharedAvailable(n as u8),
        ];
        let mut out = Vec::new();
        all[which].write(&mut out);
        out
    })
}

fn some_properties(protocol: Protocol) -> impl Strategy<Value = Vec<u8>> {
    let list = prop_oneof![Just(Vec::new()), prop::collection::vec(property(), 1..4)];
    list.prop_map(move |list| {
        let mut out = Vec::new();
        if protocol == Protocol::V5 {
            write::properties(&mut out, &list.concat());
        }
        out
    })
}

/// A packet of any kind whose parts are in their places, whatever they are.
fn assembled(protocol: Protocol) -> BoxedStrategy<Vec<u8>> {
    let code = prop_oneof![prop::sample::select(vec![0u8, 4, 0x10, 0x18, 0x19, 0x87, 0x92]), any::<u8>()];
    let id = prop::sample::select(vec![[0u8, 0], [0, 1], [255, 255]]);
    let flags = prop_oneof![4 => Just(2u8), 1 => 0u8..16];
    let list = prop::collection::vec((text(), any::<u8>().prop_map(|byte| byte & 0x3F)), 0..3);
    let properties = || some_properties(protocol);
    let publish = (0u8..16, text(), id.clone(), properties(), any::<[u8; 2]>()).prop_map(
        |(flags, topic, id, properties, payload)| {
            let id = if flags & 6 == 0 { &[][..] } else { &id[..] };
            packet(0x30 | flags, &[&topic, id, &properties, &payload])
        },
    );
    let reason = (prop::sample::select(vec![0x40u8, 0x50, 0x62, 0x70]), id.clone(), code.clone(), properties())
        .prop_map(|(first, id, code, properties)| packet(first, &[&id, &[code], &properties]));
    let last = (prop::sample::select(vec![0xE0u8, 0xF0]), code, properties())
        .prop_map(|(first, code, properties)| packet(first, &[&[code], &properties]));
    let filters =
        (any::<bool>(), flags, id, properties(), list).prop_map(|(subscribe, flags, id, properties, list)| {
            let filters: Vec<u8> = list
                .into_iter()
                .flat_map(|(text, options)| if subscribe { [text, vec![options]].concat() } else { text })
                .collect();
            packet(if subscribe { 0x80 } else { 0xA0 } | flags, &[&id, &properties, &filters])
        });
    let bare = (0u8..16, 0u8..3).prop_map(|(kind, body)| packet(kind << 4, &[&vec![0; body.into()]]));
    prop_oneof![3 => publish, 2 => reason, 2 => last, 3 => filters, 1 => bare, 3 => connects(protocol)].boxed()
}

fn connects(protocol: Protocol) -> impl Strategy<Value = Vec<u8>> {
    let (name, level) = match protocol {
        Protocol::V31 => ("MQIsdp", 3),
        Protocol::V311 => ("MQTT", 4),
        Protocol::V5 => ("MQTT", 5),
    };
    let name =
        prop_oneof![8 => Just((name, level)), 1 => Just(("MQTT", 3)), 1 => Just(("MQIsdp", 4)), 1 => Just(("x", 9))];
    let flags = prop_oneof![any::<u8>(), prop::sample::select(vec![2u8, 0, 0xC2, 0xF6, 0x42, 0x82])];
    let parts = prop::collection::vec(text(), 5);
    (name, flags, some_properties(protocol), some_properties(protocol), parts, prop::bool::weighted(0.1)).prop_map(
        |((name, level), flags, own, of_will, parts, more)| {
            let mut body = vec![&own[..], &parts[0]];
            if flags & 4 != 0 {
                body.extend([&of_will[..], &parts[1], &parts[2]]);
            }
            if flags & 0x80 != 0 {
                body.push(&parts[3]);
            }
            if flags & 0x40 != 0 {
                body.push(&parts[4]);
            }
            if more {
                body.push(b"x");
            }
            connect(name, level, flags, &body)
        },
    )
}
