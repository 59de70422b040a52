//! Reason codes of MQTT 5.0 (section 2.4) and what MQTT 3 has in their place.

use std::fmt;

/// A reason code as on the wire. Open: a code without a name here is carried, not lost.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReasonCode(pub u8);

macro_rules! reason_codes {
    ($($(#[$doc:meta])* $code:literal $name:ident $text:literal;)*) => {
        impl ReasonCode {
            $($(#[$doc])* #[doc = concat!("`", stringify!($code), "`: ", $text, ".")] pub const $name: ReasonCode = ReasonCode($code);)*

            /// The name that the standard gives it.
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($code => $text,)*
                    _ => "Unknown reason code",
                }
            }
        }
    };
}

reason_codes! {
    0x00 SUCCESS "Success";
    0x01 GRANTED_QOS_1 "Granted QoS 1";
    0x02 GRANTED_QOS_2 "Granted QoS 2";
    0x04 DISCONNECT_WITH_WILL "Disconnect with Will Message";
    0x10 NO_MATCHING_SUBSCRIBERS "No matching subscribers";
    0x11 NO_SUBSCRIPTION_EXISTED "No subscription existed";
    0x18 CONTINUE_AUTHENTICATION "Continue authentication";
    0x19 RE_AUTHENTICATE "Re-authenticate";
    0x80 UNSPECIFIED_ERROR "Unspecified error";
    0x81 MALFORMED_PACKET "Malformed Packet";
    0x82 PROTOCOL_ERROR "Protocol Error";
    0x83 IMPLEMENTATION_SPECIFIC_ERROR "Implementation specific error";
    0x84 UNSUPPORTED_PROTOCOL_VERSION "Unsupported Protocol Version";
    0x85 CLIENT_IDENTIFIER_NOT_VALID "Client Identifier not valid";
    0x86 BAD_USER_NAME_OR_PASSWORD "Bad User Name or Password";
    0x87 NOT_AUTHORIZED "Not authorized";
    0x88 SERVER_UNAVAILABLE "Server unavailable";
    0x89 SERVER_BUSY "Server busy";
    0x8A BANNED "Banned";
    0x8B SERVER_SHUTTING_DOWN "Server shutting down";
    0x8C BAD_AUTHENTICATION_METHOD "Bad authentication method";
    0x8D KEEP_ALIVE_TIMEOUT "Keep Alive timeout";
    0x8E SESSION_TAKEN_OVER "Session taken over";
    0x8F TOPIC_FILTER_INVALID "Topic Filter invalid";
    0x90 TOPIC_NAME_INVALID "Topic Name invalid";
    0x91 PACKET_IDENTIFIER_IN_USE "Packet Identifier in use";
    0x92 PACKET_IDENTIFIER_NOT_FOUND "Packet Identifier not found";
    0x93 RECEIVE_MAXIMUM_EXCEEDED "Receive Maximum exceeded";
    0x94 TOPIC_ALIAS_INVALID "Topic Alias invalid";
    0x95 PACKET_TOO_LARGE "Packet too large";
    0x96 MESSAGE_RATE_TOO_HIGH "Message rate too high";
    0x97 QUOTA_EXCEEDED "Quota exceeded";
    0x98 ADMINISTRATIVE_ACTION "Administrative action";
    0x99 PAYLOAD_FORMAT_INVALID "Payload format invalid";
    0x9A RETAIN_NOT_SUPPORTED "Retain not supported";
    0x9B QOS_NOT_SUPPORTED "QoS not supported";
    0x9C USE_ANOTHER_SERVER "Use another server";
    0x9D SERVER_MOVED "Server moved";
    0x9E SHARED_SUBSCRIPTIONS_NOT_SUPPORTED "Shared Subscriptions not supported";
    0x9F CONNECTION_RATE_EXCEEDED "Connection rate exceeded";
    0xA0 MAXIMUM_CONNECT_TIME "Maximum connect time";
    0xA1 SUBSCRIPTION_IDENTIFIERS_NOT_SUPPORTED "Subscription Identifiers not supported";
    0xA2 WILDCARD_SUBSCRIPTIONS_NOT_SUPPORTED "Wildcard Subscriptions not supported";
}

impl ReasonCode {
    /// Whether it says that something failed (2.4: 0x80 or greater).
    pub const fn is_failure(self) -> bool {
        self.0 >= 0x80
    }

    /// The Connect Return Code that an MQTT 3 client is given instead (3.1.1, table 3.1).
    pub const fn connack_v3(self) -> u8 {
        match self {
            ReasonCode::SUCCESS => 0,
            ReasonCode::UNSUPPORTED_PROTOCOL_VERSION => 1,
            ReasonCode::CLIENT_IDENTIFIER_NOT_VALID => 2,
            ReasonCode::BAD_USER_NAME_OR_PASSWORD => 4,
            ReasonCode::SERVER_UNAVAILABLE
            | ReasonCode::SERVER_BUSY
            | ReasonCode::QUOTA_EXCEEDED
            | ReasonCode::CONNECTION_RATE_EXCEEDED
            | ReasonCode::USE_ANOTHER_SERVER
            | ReasonCode::SERVER_MOVED
            | ReasonCode::UNSPECIFIED_ERROR
            | ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR => 3,
            _ => 5,
        }
    }

    /// What a CONNACK says of a refusal: the code itself where a CONNACK may have it (table 3.1), else `Not authorized`.
    pub const fn in_connack(self) -> ReasonCode {
        match self.0 {
            0x80..=0x8A | 0x8C | 0x90 | 0x95 | 0x97 | 0x99..=0x9D | 0x9F => self,
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }

    /// What a PUBACK or PUBREC says of a refusal: the code itself where they may have it (tables 3-4 and 3-5), else `Not
    /// authorized`.
    pub const fn in_puback(self) -> ReasonCode {
        match self.0 {
            0x80 | 0x83 | 0x87 | 0x90 | 0x91 | 0x97 | 0x99 => self,
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }

    /// What a server's DISCONNECT says of an end: the code itself where it may have it (table 3-13), else the next best.
    pub const fn in_disconnect(self) -> ReasonCode {
        match self.0 {
            0x00 | 0x80..=0x83 | 0x87 | 0x89 | 0x8B | 0x8D..=0x90 | 0x93..=0xA2 => self,
            0x88 => ReasonCode::IMPLEMENTATION_SPECIFIC_ERROR,
            0x8A => ReasonCode::ADMINISTRATIVE_ACTION,
            _ => ReasonCode::NOT_AUTHORIZED,
        }
    }

    /// The SUBACK return code that an MQTT 3 client is given instead (3.1.1, 3.9.3).
    pub const fn suback_v3(self) -> u8 {
        if self.is_failure() { 0x80 } else { self.0 }
    }
}

impl fmt::Debug for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} {}", self.0, self.name())
    }
}

impl fmt::Display for ReasonCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:02X} ({})", self.0, self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// MQTT-3.2.2-8, MQTT-3.4.2-1, MQTT-3.14.2-1: what a plugin says becomes a code that the packet may have, always one of
    /// failure; codes that it may have stay.
    #[test]
    fn packets_have_only_their_own_codes() {
        const CONNACK: &[u8] = &[
            0x80, 0x81, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89, 0x8A, 0x8C, 0x90, 0x95, 0x97, 0x99, 0x9A, 0x9B,
            0x9C, 0x9D, 0x9F,
        ];
        const PUBACK: &[u8] = &[0x80, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99];
        const DISCONNECT: &[u8] = &[
            0x80, 0x81, 0x82, 0x83, 0x87, 0x89, 0x8B, 0x8D, 0x8E, 0x8F, 0x90, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99,
            0x9A, 0x9B, 0x9C, 0x9D, 0x9E, 0x9F, 0xA0, 0xA1, 0xA2,
        ];
        for code in 0x80..=0xFF {
            let said = ReasonCode(code);
            for (what, own) in
                [(said.in_connack(), CONNACK), (said.in_puback(), PUBACK), (said.in_disconnect(), DISCONNECT)]
            {
                assert!(own.contains(&what.0) && (what == said || !own.contains(&code)), "{said} becomes {what}");
            }
        }
    }
}
