//! The same words for what either codec read. Left out is what one of them does not keep: where a property stood among
//! others, and whether a value that equals its default was written.

use std::fmt::{Debug, Write as _};
use std::num::{NonZeroU16, NonZeroU32};

use gatemq_mqtt::Properties;
use gatemq_mqtt::codec::properties::Property;
use gatemq_mqtt::connection::Packet;
use gatemq_mqtt::packet::ack::Ack;
use gatemq_mqtt::packet::connect::Connect;
use gatemq_types::Protocol;
use rmqtt_codec::types::Publish as TheirPublish;
use rmqtt_codec::{v3, v5};

/// Fields by name, in the order in which they are put.
#[derive(Default)]
struct Words(String);

impl Words {
    fn new(name: &str) -> Words {
        Words(name.to_owned())
    }

    /// A field.
    fn put(mut self, name: &str, value: impl Debug) -> Words {
        let _ = write!(self.0, " {name}={value:?}");
        self
    }

    /// A field, where it is there.
    fn some(self, name: &str, value: Option<impl Debug>) -> Words {
        match value {
            Some(value) => self.put(name, value),
            None => self,
        }
    }

    fn users<N: AsRef<str>, V: AsRef<str>>(mut self, pairs: impl IntoIterator<Item = (N, V)>) -> Words {
        for (name, value) in pairs {
            self = self.put("user", (name.as_ref(), value.as_ref()));
        }
        self
    }
}

/// What properties of a message say.
#[derive(Default)]
struct Message<'a> {
    payload_format: bool,
    expiry: Option<u32>,
    content_type: Option<&'a str>,
    response_topic: Option<&'a str>,
    correlation: Option<&'a [u8]>,
    topic_alias: Option<u16>,
    subscription_ids: Vec<u32>,
}

impl<'a> Message<'a> {
    fn of(properties: Properties<'a>) -> Message<'a> {
        let mut message = Message::default();
        for property in properties {
            match property {
                Property::PayloadFormat(format) => message.payload_format = format == 1,
                Property::MessageExpiry(seconds) => message.expiry = Some(seconds),
                Property::ContentType(text) => message.content_type = Some(text),
                Property::ResponseTopic(text) => message.response_topic = Some(text),
                Property::CorrelationData(bytes) => message.correlation = Some(bytes),
                Property::TopicAlias(alias) => message.topic_alias = Some(alias),
                Property::SubscriptionId(id) => message.subscription_ids.push(id),
                _ => {}
            }
        }
        message
    }

    fn put(self, words: Words) -> Words {
        words
            .put("utf8", self.payload_format)
            .some("expiry", self.expiry)
            .some("content_type", self.content_type)
            .some("response_topic", self.response_topic)
            .some("correlation", self.correlation)
            .some("alias", self.topic_alias)
            .put("subscription_ids", self.subscription_ids)
    }
}

/// Our CONNECT.
pub(super) fn connect(connect: &Connect) -> String {
    let mut words = Words::new("CONNECT")
        .put("clean", connect.clean_start)
        .put("keep_alive", connect.keep_alive_s)
        .put("id", &connect.client_id)
        .some("name", connect.user_name.as_deref())
        .some("password", connect.password.as_ref().map(|secret| secret.as_bytes()));
    if connect.protocol == Protocol::V5 {
        words = words
            .put("session_expiry", connect.session_expiry_s)
            .put("receive_max", connect.receive_max)
            .put("packet_max", connect.packet_bytes_max)
            .put("alias_max", connect.topic_alias_max)
            .put("response", connect.request_response_info)
            .put("problem", connect.request_problem_info)
            .some("method", connect.auth_method.as_deref())
            .some("data", connect.auth_data.as_ref().map(|secret| secret.as_bytes()))
            .users(connect.user_properties.iter().map(|(name, value)| (name, value)));
    } else {
        words = words.put("level", if connect.protocol == Protocol::V31 { 3 } else { 4 });
    }
    if let Some(will) = &connect.will {
        words = words
            .put("will", &will.topic)
            .put("qos", will.qos.bits())
            .put("retain", will.retain)
            .put("payload", will.payload.as_slice());
        if connect.protocol == Protocol::V5 {
            let properties = Properties::trusted(&will.properties);
            words = Message::of(properties).put(words.put("delay", will.delay_s)).users(properties.user());
        }
    }
    words.0
}

/// Any other packet of ours.
pub(super) fn packet(packet: &Packet<'_>, protocol: Protocol) -> String {
    let words = match packet {
        Packet::Publish(message) => {
            let words = Words::new("PUBLISH")
                .put("dup", message.dup)
                .put("qos", message.qos.bits())
                .put("retain", message.retain)
                .put("topic", message.topic)
                .put("id", message.packet_id)
                .put("payload", message.payload);
            match protocol {
                Protocol::V5 => Message::of(message.properties).put(words).users(message.properties.user()),
                _ => words,
            }
        }
        Packet::PubAck(read) => ack("PUBACK", read),
        Packet::PubRec(read) => ack("PUBREC", read),
        Packet::PubRel(read) => ack("PUBREL", read),
        Packet::PubComp(read) => ack("PUBCOMP", read),
        Packet::Subscribe(read) => {
            let mut words =
                Words::new("SUBSCRIBE").put("id", read.packet_id).some("subscription", read.subscription_id);
            for (filter, options) in read.iter() {
                words = words.put("filter", filter.text).put("options", options.bits());
            }
            words.users(read.properties.user())
        }
        Packet::Unsubscribe(read) => {
            let mut words = Words::new("UNSUBSCRIBE").put("id", read.packet_id);
            for filter in read.iter() {
                words = words.put("filter", filter.text);
            }
            words.users(read.properties.user())
        }
        Packet::PingReq => Words::new("PINGREQ"),
        Packet::Disconnect(read) => Words::new("DISCONNECT")
            .put("reason", read.reason.0)
            .some("session_expiry", read.session_expiry_s)
            .some("string", reason_string(read.properties))
            .users(read.properties.user()),
        Packet::Auth(read) => Words::new("AUTH")
            .put("reason", read.reason.0)
            .put("method", read.method)
            .some("data", read.data)
            .some("string", reason_string(read.properties))
            .users(read.properties.user()),
    };
    words.0
}

fn ack(name: &str, ack: &Ack<'_>) -> Words {
    Words::new(name)
        .put("id", ack.packet_id)
        .put("reason", ack.reason.0)
        .some("string", reason_string(ack.properties))
        .users(ack.properties.user())
}

fn reason_string(properties: Properties<'_>) -> Option<&str> {
    properties.iter().find_map(|property| match property {
        Property::ReasonString(text) => Some(text),
        _ => None,
    })
}

fn users(words: Words, properties: &v5::UserProperties) -> Words {
    words.users(properties.iter().map(|(name, value)| (&**name, &**value)))
}

fn their_publish(message: &TheirPublish) -> Words {
    let words = Words::new("PUBLISH")
        .put("dup", message.dup)
        .put("qos", u8::from(message.qos))
        .put("retain", message.retain)
        .put("topic", &*message.topic)
        .put("id", message.packet_id.map_or(0, NonZeroU16::get))
        .put("payload", &*message.payload);
    let Some(properties) = &message.properties else { return words };
    let said = Message {
        payload_format: properties.is_utf8_payload,
        expiry: properties.message_expiry_interval.map(NonZeroU32::get),
        content_type: properties.content_type.as_deref(),
        response_topic: properties.response_topic.as_deref(),
        correlation: properties.correlation_data.as_deref(),
        topic_alias: properties.topic_alias.map(NonZeroU16::get),
        subscription_ids: properties.subscription_ids.iter().map(|id| id.get()).collect(),
    };
    users(said.put(words), &properties.user_properties)
}

/// Their packet of 3.1 and 3.1.1.
pub(super) fn their_v3(packet: &v3::Packet) -> String {
    let ack = |name: &str, id: &NonZeroU16| Words::new(name).put("id", id.get()).put("reason", 0u8);
    let words = match packet {
        v3::Packet::Connect(connect) => {
            let words = Words::new("CONNECT")
                .put("clean", connect.clean_session)
                .put("keep_alive", connect.keep_alive)
                .put("id", &*connect.client_id)
                .some("name", connect.username.as_deref())
                .some("password", connect.password.as_deref())
                .put("level", connect.protocol.0);
            match &connect.last_will {
                None => words,
                Some(will) => words
                    .put("will", &*will.topic)
                    .put("qos", u8::from(will.qos))
                    .put("retain", will.retain)
                    .put("payload", &*will.message),
            }
        }
        v3::Packet::Publish(message) => their_publish(message),
        v3::Packet::PublishAck { packet_id } => ack("PUBACK", packet_id),
        v3::Packet::PublishReceived { packet_id } => ack("PUBREC", packet_id),
        v3::Packet::PublishRelease { packet_id } => ack("PUBREL", packet_id),
        v3::Packet::PublishComplete { packet_id } => ack("PUBCOMP", packet_id),
        v3::Packet::Subscribe { packet_id, topic_filters } => {
            let mut words = Words::new("SUBSCRIBE").put("id", packet_id.get());
            for (filter, qos) in topic_filters {
                words = words.put("filter", &**filter).put("options", u8::from(*qos));
            }
            words
        }
        v3::Packet::Unsubscribe { packet_id, topic_filters } => {
            let mut words = Words::new("UNSUBSCRIBE").put("id", packet_id.get());
            for filter in topic_filters {
                words = words.put("filter", &**filter);
            }
            words
        }
        v3::Packet::PingRequest => Words::new("PINGREQ"),
        v3::Packet::Disconnect => Words::new("DISCONNECT").put("reason", 0u8),
        other => Words::new("OF A SERVER").put("type", other.packet_type() >> 4),
    };
    words.0
}

/// Their packet of 5.0.
pub(super) fn their_v5(packet: &v5::Packet) -> String {
    let words = match packet {
        v5::Packet::Connect(connect) => their_connect(connect),
        v5::Packet::Publish(message) => their_publish(message),
        v5::Packet::PublishAck(read) => their_ack("PUBACK", read),
        v5::Packet::PublishReceived(read) => their_ack("PUBREC", read),
        v5::Packet::PublishRelease(read) => their_ack2("PUBREL", read),
        v5::Packet::PublishComplete(read) => their_ack2("PUBCOMP", read),
        v5::Packet::Subscribe(read) => {
            let id = read.id.map(NonZeroU32::get);
            let mut words = Words::new("SUBSCRIBE").put("id", read.packet_id.get()).some("subscription", id);
            for (filter, options) in &read.topic_filters {
                let flags = u8::from(options.no_local) << 2 | u8::from(options.retain_as_published) << 3;
                let bits = u8::from(options.qos) | flags | u8::from(options.retain_handling) << 4;
                words = words.put("filter", &**filter).put("options", bits);
            }
            users(words, &read.user_properties)
        }
        v5::Packet::Unsubscribe(read) => {
            let mut words = Words::new("UNSUBSCRIBE").put("id", read.packet_id.get());
            for filter in &read.topic_filters {
                words = words.put("filter", &**filter);
            }
            users(words, &read.user_properties)
        }
        v5::Packet::PingRequest => Words::new("PINGREQ"),
        v5::Packet::Disconnect(read) => {
            let words = Words::new("DISCONNECT")
                .put("reason", u8::from(read.reason_code))
                .some("session_expiry", read.session_expiry_interval_secs)
                .some("string", read.reason_string.as_deref());
            users(words, &read.user_properties)
        }
        v5::Packet::Auth(read) => {
            let words = Words::new("AUTH")
                .put("reason", u8::from(read.reason_code))
                .some("method", read.auth_method.as_deref())
                .some("data", read.auth_data.as_deref())
                .some("string", read.reason_string.as_deref());
            users(words, &read.user_properties)
        }
        other => Words::new("OF A SERVER").put("type", other.packet_type() >> 4),
    };
    words.0
}

fn their_connect(connect: &v5::Connect) -> Words {
    let words = Words::new("CONNECT")
        .put("clean", connect.clean_start)
        .put("keep_alive", connect.keep_alive)
        .put("id", &*connect.client_id)
        .some("name", connect.username.as_deref())
        .some("password", connect.password.as_deref())
        .put("session_expiry", connect.session_expiry_interval_secs)
        .put("receive_max", connect.receive_max.map_or(u16::MAX, NonZeroU16::get))
        .put("packet_max", connect.max_packet_size.map_or(0, NonZeroU32::get))
        .put("alias_max", connect.topic_alias_max)
        .put("response", connect.request_response_info)
        .put("problem", connect.request_problem_info)
        .some("method", connect.auth_method.as_deref())
        .some("data", connect.auth_data.as_deref());
    let words = users(words, &connect.user_properties);
    let Some(will) = &connect.last_will else { return words };
    let words = words
        .put("will", &*will.topic)
        .put("qos", u8::from(will.qos))
        .put("retain", will.retain)
        .put("payload", &*will.message)
        .put("delay", will.will_delay_interval_sec.unwrap_or(0));
    let said = Message {
        payload_format: will.is_utf8_payload.unwrap_or(false),
        expiry: will.message_expiry_interval.map(NonZeroU32::get),
        content_type: will.content_type.as_deref(),
        response_topic: will.response_topic.as_deref(),
        correlation: will.correlation_data.as_deref(),
        ..Message::default()
    };
    users(said.put(words), &will.user_properties)
}

fn their_ack(name: &str, ack: &v5::PublishAck) -> Words {
    let words = Words::new(name).put("id", ack.packet_id.get()).put("reason", u8::from(ack.reason_code));
    users(words.some("string", ack.reason_string.as_deref()), &ack.properties)
}

fn their_ack2(name: &str, ack: &v5::PublishAck2) -> Words {
    let words = Words::new(name).put("id", ack.packet_id.get()).put("reason", u8::from(ack.reason_code));
    users(words.some("string", ack.reason_string.as_deref()), &ack.properties)
}
