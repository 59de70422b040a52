//! CONNACK (3.2) for all three versions.

use gatemq_types::{Protocol, QoS, ReasonCode};

use crate::codec::properties::{Property, Words};
use crate::codec::write;
use crate::packet::connect;
use crate::{Breach, kind};

/// A CONNACK. MQTT 3 is told `session_present` and a return code; 5.0 everything that is not the default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ConnAck<'a> {
    /// Whether a session is resumed; never said with a failure (MQTT-3.2.2-6).
    pub session_present: bool,
    /// Success or why not.
    pub code: ReasonCode,
    /// Session Expiry Interval in seconds, where it differs from what the client asked for.
    pub session_expiry_s: Option<u32>,
    /// Receive Maximum, not 0; `None` is 65,535.
    pub receive_max: Option<u16>,
    /// Maximum QoS; QoS 2 is the default and left out.
    pub qos_max: QoS,
    /// Retain Available.
    pub retain_available: bool,
    /// Maximum Packet Size in bytes, not 0; `None` is any.
    pub packet_bytes_max: Option<u32>,
    /// The client identifier that the server assigned (MQTT-3.2.2-16).
    pub assigned_client_id: Option<&'a str>,
    /// Topic Alias Maximum; 0 is none.
    pub topic_alias_max: u16,
    /// Wildcard Subscription Available.
    pub wildcard_available: bool,
    /// Subscription Identifier Available.
    pub subscription_id_available: bool,
    /// Shared Subscription Available.
    pub shared_available: bool,
    /// Server Keep Alive in seconds, where it differs from what the client asked for.
    pub server_keep_alive_s: Option<u16>,
    /// Response Information, only where the client requested it (MQTT-3.1.2-28).
    pub response_info: Option<&'a str>,
    /// Which server to use instead.
    pub server_reference: Option<&'a str>,
    /// Authentication Method, as in CONNECT (MQTT-4.12.0-5).
    pub auth_method: Option<&'a str>,
    /// Authentication Data.
    pub auth_data: Option<&'a [u8]>,
    /// Reason string and user properties.
    pub words: Words<'a>,
}

impl<'a> ConnAck<'a> {
    /// With this code and all else as the standard's defaults.
    pub const fn new(code: ReasonCode) -> Self {
        ConnAck {
            session_present: false,
            code,
            session_expiry_s: None,
            receive_max: None,
            qos_max: QoS::ExactlyOnce,
            retain_available: true,
            packet_bytes_max: None,
            assigned_client_id: None,
            topic_alias_max: 0,
            wildcard_available: true,
            subscription_id_available: true,
            shared_available: true,
            server_keep_alive_s: None,
            response_info: None,
            server_reference: None,
            auth_method: None,
            auth_data: None,
            words: Words { reason_string: None, user: &[] },
        }
    }

    /// Appends it. Reason string and user properties are left out where the packet would be larger than the client takes
    /// (`client_packet_bytes_max`, 0: any; MQTT-3.2.2-19 and -20); false, and nothing appended, when it is so without
    /// them.
    pub fn write(&self, out: &mut Vec<u8>, protocol: Protocol, client_packet_bytes_max: u32) -> bool {
        // Reserved in 3.1.
        let session_present = u8::from(self.session_present && !self.code.is_failure() && protocol != Protocol::V31);
        if protocol != Protocol::V5 {
            out.extend_from_slice(&[kind::CONNACK << 4, 2, session_present, self.code.connack_v3()]);
            return true;
        }
        let mut properties = Vec::new();
        for property in self.properties().into_iter().flatten() {
            property.write(&mut properties);
        }
        self.words.append(&mut properties, 2, client_packet_bytes_max);
        let body = 2 + write::varint_len(properties.len()) + properties.len();
        if !write::fits(body, client_packet_bytes_max) {
            return false;
        }
        out.push(kind::CONNACK << 4);
        write::varint(out, body);
        out.extend_from_slice(&[session_present, self.code.0]);
        write::properties(out, &properties);
        true
    }

    /// The properties that differ from the standard's defaults.
    fn properties(&self) -> [Option<Property<'a>>; 15] {
        let unless = |available: bool, property| if available { None } else { Some(property) };
        [
            self.session_expiry_s.map(Property::SessionExpiry),
            self.receive_max.map(Property::ReceiveMaximum),
            unless(self.qos_max == QoS::ExactlyOnce, Property::MaximumQos(self.qos_max.bits())),
            unless(self.retain_available, Property::RetainAvailable(0)),
            self.packet_bytes_max.map(Property::MaximumPacketSize),
            self.assigned_client_id.map(Property::AssignedClientId),
            unless(self.topic_alias_max == 0, Property::TopicAliasMaximum(self.topic_alias_max)),
            unless(self.wildcard_available, Property::WildcardAvailable(0)),
            unless(self.subscription_id_available, Property::SubscriptionIdAvailable(0)),
            unless(self.shared_available, Property::SharedAvailable(0)),
            self.server_keep_alive_s.map(Property::ServerKeepAlive),
            self.response_info.map(Property::ResponseInfo),
            self.server_reference.map(Property::ServerReference),
            self.auth_method.map(Property::AuthMethod),
            self.auth_data.map(Property::AuthData),
        ]
    }
}

/// Appends the answer to a CONNECT (`frame`, its body at `head`) that broke a rule; false, and nothing appended, when the
/// connection is closed without one: the peer does not speak MQTT, or it speaks MQTT 3, which is answered only when its
/// version (return code 1, 3.1.1 MQTT-3.1.2-2) or client identifier (2, MQTT-3.1.3-8) is refused (MQTT-3.1.4-1).
pub fn refuse(out: &mut Vec<u8>, frame: &[u8], head: usize, breach: Breach) -> bool {
    let Some(protocol) = connect::answer_form(frame, head) else { return false };
    let has_code = matches!(breach, Breach::ProtocolLevelUnsupported | Breach::ClientIdEmpty);
    if protocol != Protocol::V5 && !has_code {
        return false;
    }
    ConnAck::new(breach.code()).write(out, protocol, 0)
}
