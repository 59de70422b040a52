//! What is written is read back.

use gatemq_mqtt::codec::frame::{Framed, frame};
use gatemq_mqtt::codec::properties::Property;
use gatemq_mqtt::codec::read::Reader;
use gatemq_mqtt::codec::write;
use gatemq_mqtt::{PacketLimits, Properties, Publish};
use gatemq_types::{Protocol, QoS};
use proptest::prelude::*;

/// Properties of a PUBLISH; each at most once but the user properties.
#[derive(Clone, Debug)]
struct Given {
    format: Option<u8>,
    expiry_s: Option<u32>,
    content_type: Option<String>,
    response_topic: Option<String>,
    correlation: Option<Vec<u8>>,
    user: Vec<(String, String)>,
}

impl Given {
    fn list(&self) -> Vec<Property<'_>> {
        let mut list: Vec<Property<'_>> = self.user.iter().map(|(name, value)| Property::User((name, value))).collect();
        list.extend(self.format.map(Property::PayloadFormat));
        list.extend(self.expiry_s.map(Property::MessageExpiry));
        list.extend(self.content_type.as_deref().map(Property::ContentType));
        list.extend(self.response_topic.as_deref().map(Property::ResponseTopic));
        list.extend(self.correlation.as_deref().map(Property::CorrelationData));
        list
    }

    fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for property in self.list() {
            property.write(&mut out);
        }
        out
    }
}

prop_compose! {
    fn given()(
        format in prop::option::of(0u8..2),
        expiry_s in prop::option::of(any::<u32>()),
        content_type in prop::option::of("[^\0]{0,9}"),
        response_topic in prop::option::of("[^\0+#]{1,9}"),
        correlation in prop::option::of(prop::collection::vec(any::<u8>(), 0..9)),
        user in prop::collection::vec(("[^\0]{0,5}", "[^\0]{0,5}"), 0..4),
    ) -> Given {
        Given { format, expiry_s, content_type, response_topic, correlation, user }
    }
}

fn protocols() -> impl Strategy<Value = Protocol> {
    prop::sample::select(vec![Protocol::V31, Protocol::V311, Protocol::V5])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// 3.3: a PUBLISH is read as it was written; payload, topic and properties lie within the frame, and the packet
    /// identifier is where the writer says.
    #[test]
    fn publish(
        protocol in protocols(),
        topic in "[^\0+#]{1,40}",
        given in given(),
        payload in prop::collection::vec(any::<u8>(), 0..200),
        qos in 0u8..3,
        retain in any::<bool>(),
        id in 1u16..,
        garbage in prop::collection::vec(any::<u8>(), 0..4),
    ) {
        let limits = PacketLimits { topic_levels_max: u16::MAX, ..PacketLimits::default() };
        let properties = given.bytes();
        let mut out = garbage.clone();
        let first = 0x30 | qos << 1 | u8::from(retain);
        let at = write::publish(&mut out, protocol, first, &topic, &properties, &payload);
        if qos > 0 {
            prop_assert_eq!(&out[at..at + 2], &[0, 0]);
            out[at..at + 2].copy_from_slice(&id.to_be_bytes());
        }
        let bytes = &out[garbage.len()..];
        let Ok(Framed::Frame { head, len, .. }) = frame(bytes, 1 << 20) else { panic!("no frame") };
        prop_assert_eq!(len, bytes.len());
        let read = Publish::read(bytes, head, protocol, &limits).unwrap();
        prop_assert_eq!((read.topic, read.payload), (topic.as_str(), payload.as_slice()));
        prop_assert_eq!((read.qos, read.retain, read.dup), (QoS::from_bits(qos).unwrap(), retain, false));
        prop_assert_eq!(read.packet_id, if qos > 0 { id } else { 0 });
        prop_assert_eq!(read.packet_id_at + garbage.len(), at);
        if protocol == Protocol::V5 {
            prop_assert_eq!(read.properties.iter().collect::<Vec<_>>(), given.list());
            prop_assert_eq!(read.properties.message_expiry(), given.expiry_s);
            prop_assert_eq!(read.properties.user().count(), given.user.len());
        } else {
            prop_assert!(read.properties.is_empty());
        }
    }

    /// MQTT-3.3.2-6, -7, -18: forwarding keeps properties and their order, puts the remaining time in, drops the alias.
    #[test]
    fn forwarded_properties(given in given(), alias in prop::option::of(1u16..), remaining in any::<u32>()) {
        let mut bytes = Vec::new();
        if let Some(alias) = alias {
            Property::TopicAlias(alias).write(&mut bytes);
        }
        bytes.extend(given.bytes());
        let mut out = Vec::new();
        Properties::trusted(&bytes).forward(&mut out, Some(remaining));
        let expected = Given { expiry_s: given.expiry_s.map(|_| remaining), ..given.clone() };
        prop_assert_eq!(&out, &expected.bytes());
        out.clear();
        Properties::trusted(&bytes).forward(&mut out, None);
        prop_assert_eq!(out, given.bytes());
    }

    /// 1.5.5: variable byte integers, their length included.
    #[test]
    fn variable_byte_integers(value in 0..=write::VARINT_MAX) {
        let mut out = Vec::new();
        write::varint(&mut out, value as usize);
        prop_assert_eq!(out.len(), write::varint_len(value as usize));
        prop_assert_eq!(Reader::new(&out, 0).varint(), Ok(value));
    }
}

/// MQTT-4.7.3-3: a string that is too long is cut before a character, so that its length never lies.
#[test]
fn long_strings_are_cut() {
    let text = "è".repeat(40_000);
    let mut out = Vec::new();
    write::string(&mut out, &text);
    let read = Reader::new(&out, 0).string().unwrap();
    assert_eq!(read.len(), 65_534);
    let mut out = Vec::new();
    write::publish(&mut out, Protocol::V311, 0x30, &"a".repeat(70_000), &[], b"x");
    assert_eq!(frame(&out, 1 << 20).unwrap(), Framed::Frame { first: 0x30, head: 4, len: out.len() });
}
