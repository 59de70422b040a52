//! What a peer may do wrong: one closed list, each breach with its clause and its reason code.

use std::fmt;

use gatemq_types::{Protocol, ReasonCode};

macro_rules! breaches {
    ($($name:ident $class:ident $code:ident $clause:literal / $clause_v3:literal $detail:literal;)*) => {
        /// A rule that a peer broke. The connection is closed.
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
        pub enum Breach {
            $(#[doc = concat!($detail, " (5.0: ", $clause, "; 3.1.1: ", $clause_v3, ").")] $name,)*
        }

        impl Breach {
            /// Every breach, in the order of the list.
            pub const ALL: &[Breach] = &[$(Breach::$name),*];

            /// Clause of MQTT 5.0, such as `MQTT-3.3.1-4`, or the section where no clause is numbered.
            pub const fn clause(self) -> &'static str {
                match self { $(Breach::$name => $clause,)* }
            }

            /// Clause for a client of that version: numbers of 3.1.1 and 5.0 differ. A rule that 3.1.1 does not have
            /// keeps its clause of 5.0.
            pub const fn clause_in(self, protocol: Protocol) -> &'static str {
                match (self, protocol) {
                    $((Breach::$name, Protocol::V31 | Protocol::V311) if !$clause_v3.is_empty() => $clause_v3,)*
                    _ => self.clause(),
                }
            }

            /// Reason code for CONNACK or DISCONNECT.
            pub const fn code(self) -> ReasonCode {
                match self { $(Breach::$name => ReasonCode::$code,)* }
            }

            /// What was wrong, for people; holds nothing that the peer sent.
            pub const fn detail(self) -> &'static str {
                match self { $(Breach::$name => $detail,)* }
            }

            /// Its name, as in counters.
            pub const fn name(self) -> &'static str {
                match self { $(Breach::$name => stringify!($name),)* }
            }

            /// Whether the bytes are no packet at all (Malformed Packet); else they are one that the protocol or a
            /// limit forbids (Protocol Error). MQTT 5.0, 4.13.1.
            pub const fn is_malformed(self) -> bool {
                match self { $(Breach::$name => breaches!(@$class),)* }
            }
        }
    };
    (@malformed) => { true };
    (@forbidden) => { false };
}

breaches! {
    // Framing and fields.
    LengthTooLong malformed MALFORMED_PACKET "1.5.5" / "2.2.3" "variable byte integer takes more than four bytes";
    LengthNotMinimal malformed MALFORMED_PACKET "MQTT-1.5.5-1" / "" "variable byte integer is not in the fewest bytes";
    PacketTooLarge forbidden PACKET_TOO_LARGE "MQTT-3.2.2-15" / "" "packet is larger than allowed";
    EndsEarly malformed MALFORMED_PACKET "2.1.4" / "2.2.3" "packet ends within a field";
    BytesLeft malformed MALFORMED_PACKET "2.1.4" / "2.2.3" "bytes are left after the last field";
    TypeReserved malformed MALFORMED_PACKET "2.1.2" / "2.2.1" "packet type is reserved";
    FlagsReserved malformed MALFORMED_PACKET "MQTT-2.1.3-1" / "MQTT-2.2.2-1" "reserved flags of the fixed header are set";
    StringNotUtf8 malformed MALFORMED_PACKET "MQTT-1.5.4-1" / "MQTT-1.5.3-1" "string is not well-formed UTF-8";
    StringHasNul malformed MALFORMED_PACKET "MQTT-1.5.4-2" / "MQTT-1.5.3-2" "string has U+0000";
    PacketIdZero forbidden PROTOCOL_ERROR "MQTT-2.2.1-3" / "MQTT-2.3.1-1" "packet identifier is 0";

    // Properties.
    PropertyUnknown malformed MALFORMED_PACKET "2.2.2.2" / "" "property identifier is unknown";
    PropertyMisplaced malformed MALFORMED_PACKET "2.2.2.2" / "" "property does not belong into this packet";
    PropertyRepeated forbidden PROTOCOL_ERROR "2.2.2.2" / "" "property is there twice";
    UserPropertiesTooMany forbidden QUOTA_EXCEEDED "2.2.2.2" / "" "more user properties than allowed";
    UserPropertiesTooLarge forbidden QUOTA_EXCEEDED "2.2.2.2" / "" "user properties have more bytes than allowed";
    PayloadFormatUnknown forbidden PROTOCOL_ERROR "3.3.2.3.2" / "" "Payload Format Indicator is neither 0 nor 1";
    ReceiveMaximumZero forbidden PROTOCOL_ERROR "3.1.2.11.3" / "" "Receive Maximum is 0";
    MaximumPacketSizeZero forbidden PROTOCOL_ERROR "3.1.2.11.4" / "" "Maximum Packet Size is 0";
    RequestResponseInfoUnknown forbidden PROTOCOL_ERROR "3.1.2.11.6" / "" "Request Response Information is neither 0 nor 1";
    RequestProblemInfoUnknown forbidden PROTOCOL_ERROR "3.1.2.11.7" / "" "Request Problem Information is neither 0 nor 1";
    AvailabilityUnknown forbidden PROTOCOL_ERROR "3.2.2.3" / "" "what the server has available is neither 0 nor 1";
    TopicAliasZero forbidden TOPIC_ALIAS_INVALID "MQTT-3.3.2-8" / "" "Topic Alias is 0";
    TopicAliasTooLarge forbidden TOPIC_ALIAS_INVALID "MQTT-3.3.2-9" / "" "Topic Alias is above the announced maximum";
    TopicAliasUnknown forbidden PROTOCOL_ERROR "3.3.2.3.4" / "" "Topic Alias without a topic name that was not set before";
    SubscriptionIdZero forbidden PROTOCOL_ERROR "3.8.2.1.2" / "" "Subscription Identifier is 0";
    SubscriptionIdFromClient forbidden PROTOCOL_ERROR "MQTT-3.3.4-6" / "" "PUBLISH of a client has a Subscription Identifier";
    ResponseTopicWildcard forbidden PROTOCOL_ERROR "MQTT-3.3.2-14" / "" "Response Topic has a wildcard";
    AuthDataWithoutMethod forbidden PROTOCOL_ERROR "3.1.2.11.10" / "" "Authentication Data without Authentication Method";

    // Topic names and filters.
    TopicEmpty forbidden PROTOCOL_ERROR "MQTT-4.7.3-1" / "MQTT-4.7.3-1" "topic name is empty";
    TopicWildcard forbidden TOPIC_NAME_INVALID "MQTT-3.3.2-2" / "MQTT-3.3.2-2" "topic name has a wildcard";
    TopicTooDeep forbidden TOPIC_NAME_INVALID "4.7.3" / "4.7.3" "topic name has more levels than allowed";
    TopicTooLong forbidden TOPIC_NAME_INVALID "4.7.3" / "4.7.3" "topic name is longer than allowed";
    FilterEmpty malformed TOPIC_FILTER_INVALID "MQTT-4.7.3-1" / "MQTT-4.7.3-1" "topic filter is empty";
    FilterHashMisplaced malformed TOPIC_FILTER_INVALID "MQTT-4.7.1-1" / "MQTT-4.7.1-2" "'#' is not the whole last level";
    FilterPlusMisplaced malformed TOPIC_FILTER_INVALID "MQTT-4.7.1-2" / "MQTT-4.7.1-3" "'+' is not a whole level";
    FilterTooDeep forbidden TOPIC_FILTER_INVALID "4.7.3" / "4.7.3" "topic filter has more levels than allowed";
    FilterTooLong forbidden TOPIC_FILTER_INVALID "4.7.3" / "4.7.3" "topic filter is longer than allowed";
    ShareNameEmpty malformed TOPIC_FILTER_INVALID "MQTT-4.8.2-1" / "" "share name is empty";
    ShareNameWildcard malformed TOPIC_FILTER_INVALID "MQTT-4.8.2-2" / "" "share name has a wildcard";
    ShareFilterMissing malformed TOPIC_FILTER_INVALID "MQTT-4.8.2-2" / "" "share name is not followed by '/' and a filter";

    // CONNECT.
    ConnectNotFirst forbidden PROTOCOL_ERROR "MQTT-3.1.0-1" / "MQTT-3.1.0-1" "first packet is not CONNECT";
    ConnectAgain forbidden PROTOCOL_ERROR "MQTT-3.1.0-2" / "MQTT-3.1.0-2" "second CONNECT";
    ProtocolNameUnknown forbidden UNSUPPORTED_PROTOCOL_VERSION "MQTT-3.1.2-1" / "MQTT-3.1.2-1" "protocol name is unknown";
    ProtocolLevelUnsupported forbidden UNSUPPORTED_PROTOCOL_VERSION "MQTT-3.1.2-2" / "MQTT-3.1.2-2" "protocol version is not supported";
    ConnectFlagReserved malformed MALFORMED_PACKET "MQTT-3.1.2-3" / "MQTT-3.1.2-3" "reserved flag of CONNECT is set";
    WillQosWithoutWill malformed MALFORMED_PACKET "MQTT-3.1.2-11" / "MQTT-3.1.2-13" "Will QoS without Will Flag";
    WillRetainWithoutWill malformed MALFORMED_PACKET "MQTT-3.1.2-13" / "MQTT-3.1.2-15" "Will Retain without Will Flag";
    WillQosReserved malformed MALFORMED_PACKET "MQTT-3.1.2-12" / "MQTT-3.1.2-14" "Will QoS is 3";
    PasswordWithoutUserName malformed MALFORMED_PACKET "3.1.2.9" / "MQTT-3.1.2-22" "password without user name";
    ClientIdEmpty forbidden CLIENT_IDENTIFIER_NOT_VALID "MQTT-3.1.3-8" / "MQTT-3.1.3-8" "empty client identifier without Clean Session";

    // PUBLISH and acknowledgements.
    QosReserved malformed MALFORMED_PACKET "MQTT-3.3.1-4" / "MQTT-3.3.1-4" "QoS is 3";
    DupAtQos0 malformed MALFORMED_PACKET "MQTT-3.3.1-2" / "MQTT-3.3.1-2" "DUP is set at QoS 0";
    ReceiveMaximumExceeded forbidden RECEIVE_MAXIMUM_EXCEEDED "MQTT-3.3.4-7" / "" "more unacknowledged messages than the announced Receive Maximum";
    QosNotAnnounced forbidden QOS_NOT_SUPPORTED "MQTT-3.2.2-11" / "" "QoS is above the announced Maximum QoS";
    RetainNotAnnounced forbidden RETAIN_NOT_SUPPORTED "MQTT-3.2.2-14" / "" "RETAIN, but the server announced that it is not available";
    PubAckCode forbidden PROTOCOL_ERROR "MQTT-3.4.2-1" / "" "PUBACK has a reason code that a client may not send";
    PubRecCode forbidden PROTOCOL_ERROR "MQTT-3.5.2-1" / "" "PUBREC has a reason code that a client may not send";
    PubRelCode forbidden PROTOCOL_ERROR "MQTT-3.6.2-1" / "" "PUBREL has a reason code that a client may not send";
    PubCompCode forbidden PROTOCOL_ERROR "MQTT-3.7.2-1" / "" "PUBCOMP has a reason code that a client may not send";
    PubRelFlags malformed MALFORMED_PACKET "MQTT-3.6.1-1" / "MQTT-3.6.1-1" "flags of PUBREL are not 0010";

    // SUBSCRIBE and UNSUBSCRIBE.
    SubscribeFlags malformed MALFORMED_PACKET "MQTT-3.8.1-1" / "MQTT-3.8.1-1" "flags of SUBSCRIBE are not 0010";
    SubscribeWithoutFilter forbidden PROTOCOL_ERROR "MQTT-3.8.3-2" / "MQTT-3.8.3-3" "SUBSCRIBE without a filter";
    SubscribeOptionsReserved malformed MALFORMED_PACKET "MQTT-3.8.3-5" / "MQTT-3.8.3-4" "reserved subscription options are set";
    SubscribeQosReserved forbidden PROTOCOL_ERROR "3.8.3.1" / "MQTT-3.8.3-4" "QoS of a subscription is 3";
    RetainHandlingReserved forbidden PROTOCOL_ERROR "3.8.3.1" / "" "Retain Handling is 3";
    NoLocalShared forbidden PROTOCOL_ERROR "MQTT-3.8.3-4" / "" "No Local on a shared subscription";
    UnsubscribeFlags malformed MALFORMED_PACKET "MQTT-3.10.1-1" / "MQTT-3.10.1-1" "flags of UNSUBSCRIBE are not 0010";
    UnsubscribeWithoutFilter forbidden PROTOCOL_ERROR "MQTT-3.10.3-2" / "MQTT-3.10.3-2" "UNSUBSCRIBE without a filter";
    FiltersTooMany forbidden QUOTA_EXCEEDED "3.8.3" / "3.8.3" "more filters in one packet than allowed";

    // DISCONNECT, AUTH and what does not fit the state.
    DisconnectFlags malformed MALFORMED_PACKET "MQTT-3.14.1-1" / "MQTT-3.14.1-1" "reserved flags of DISCONNECT are set";
    DisconnectCode forbidden PROTOCOL_ERROR "MQTT-3.14.2-1" / "" "DISCONNECT has a reason code that a client may not send";
    SessionExpiryRaised forbidden PROTOCOL_ERROR "3.14.2.2.2" / "" "DISCONNECT sets a Session Expiry Interval where CONNECT had 0";
    AuthFlags malformed MALFORMED_PACKET "MQTT-3.15.1-1" / "" "reserved flags of AUTH are set";
    AuthCode forbidden PROTOCOL_ERROR "MQTT-3.15.2-1" / "" "AUTH has a reason code that does not fit here";
    AuthMethodMissing forbidden PROTOCOL_ERROR "3.15.2.2.2" / "" "AUTH without Authentication Method";
    AuthMethodChanged forbidden PROTOCOL_ERROR "MQTT-4.12.0-5" / "" "AUTH has another Authentication Method than CONNECT";
    AuthNotOffered forbidden PROTOCOL_ERROR "MQTT-4.12.0-7" / "" "AUTH, but CONNECT had no Authentication Method";
    BeforeConnAck forbidden PROTOCOL_ERROR "MQTT-3.1.2-30" / "" "another packet than AUTH or DISCONNECT before CONNACK";
    ServerPacket forbidden PROTOCOL_ERROR "2.1.2" / "2.2.1" "packet that only a server sends";
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.detail(), self.clause())
    }
}

impl std::error::Error for Breach {}
